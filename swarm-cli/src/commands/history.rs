//! `swarm history`: what a test has come to in earlier runs.

use super::Context;
use crate::{
    cli::SchedulerArgs,
    display::{Cell, Column, Page, Table, ago, duration},
    failure::NotFound,
    json::{HistoryJson, SCHEMA_VERSION},
    model::{TestHistory, TestVerdict},
};
use clap::Args;
use proto::Timestamp;
use runtime::Exit;

/// Show what a test has come to in earlier runs
///
/// How long it took, how it ended, how often it was flaky.
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm history Parser.ReadsNothing --suite unit")]
pub(crate) struct HistoryArgs {
    /// The test, by its full name
    #[arg(value_name = "TEST")]
    test: String,
    /// Of this suite only
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    suite: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct HistoriesJson<'a> {
    schema_version: u32,
    histories: Vec<HistoryJson<'a>>,
}

pub(crate) async fn history(context: &Context, args: HistoryArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let histories = scheduler.test_history(&args.suite, &args.test).await?;
    if histories.is_empty() {
        let of = if args.suite.is_empty() { "any suite".into() } else { format!("suite {}", args.suite) };
        let name = args.test;
        return Err(NotFound(format!(
            "nothing is known of a test {name} in {of}: names are whole, see `swarm tests RUN`"
        ))
        .into());
    }
    let console = &context.console;
    if args.json {
        let histories = histories.iter().map(HistoryJson::from).collect();
        let answer = HistoriesJson { schema_version: SCHEMA_VERSION, histories };
        console.print(serde_json::to_string_pretty(&answer)? + "\n");
    } else {
        let now = context.clock.now();
        let texts: Vec<String> = histories.iter().map(|one| render(one, now, console.page())).collect();
        console.print(texts.join("\n"));
    }
    Ok(Exit::Success)
}

fn render(history: &TestHistory, now: Timestamp, page: Page) -> String {
    let platform = if history.platform.is_empty() { "any platform" } else { &history.platform };
    let title = format!("{} of {} on {platform}", history.test, history.suite);
    let runs = u64::from(history.passes) + u64::from(history.failures) + u64::from(history.flakes);
    let flaky = match runs {
        0 => 0.0,
        runs => 100.0 * f64::from(history.flakes) / runs as f64,
    };
    let expected = history.estimate.map_or_else(|| "unknown".into(), duration);
    let mut text = format!(
        "{}\n  passed {}, failed {}, flaky {} ({flaky:.1} %), expected to take {expected}\n",
        page.paint.bold(&title),
        history.passes,
        history.failures,
        history.flakes,
    );
    let mut table = Table::new([
        Column::text("run").whole(),
        Column::text("when"),
        Column::text("verdict"),
        Column::number("took"),
        Column::text("bot"),
    ]);
    for past in &history.past {
        let name = past.verdict.name();
        table.row(vec![
            past.run.to_string().into(),
            ago(past.at, now).into(),
            match past.verdict {
                TestVerdict::Passed => Cell::green(name),
                verdict if verdict.is_bad() => Cell::red(name),
                _ => name.into(),
            },
            duration(past.took).into(),
            past.bot.as_str().into(),
        ]);
    }
    if !table.is_empty() {
        text.push_str(&table.render(page));
    }
    text
}
