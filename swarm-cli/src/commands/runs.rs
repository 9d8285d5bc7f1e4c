//! `swarm runs`: what was triggered.

use super::Context;
use crate::{
    cli::{Moment, SchedulerArgs},
    display::{Cell, Column, Table, ago, duration},
    json::RunJson,
    model::{Run, RunState},
    remote::{RunFilter, Scheduler},
};
use clap::Args;
use proto::Timestamp;
use runtime::Exit;

/// List runs, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm runs --tag branch:main --since 2h --json")]
pub(crate) struct RunsArgs {
    /// Only runs in this state (repeat: any of them)
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<RunState>,
    /// Only runs of this user
    #[arg(long, default_value = "", hide_default_value = true)]
    user: String,
    /// Only runs with this tag (repeat: all of them)
    #[arg(long = "tag", value_name = "KEY:VALUE")]
    tags: Vec<String>,
    /// Only runs with this in their name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// Only runs that were triggered then or later (`2h` ago, `2026-01-31`, `2026-01-31T08:30:00Z`)
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Only runs that were triggered before that
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Only runs that this shard has triggered
    #[arg(long, value_name = "SHARD")]
    parent: Option<proto::ShardId>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page: String,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct RunsJson<'a> {
    runs: Vec<RunJson<'a>>,
    next_page: Option<String>,
}

pub(crate) async fn runs(context: &Context, args: RunsArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let now = context.clock.now();
    let filter = RunFilter {
        states: args.states,
        user: args.user,
        tags: args.tags,
        name: args.name,
        created_after: args.since.map(|since| since.on(now)),
        created_before: args.until.map(|until| until.on(now)),
        parent: args.parent,
    };
    let (runs, next_page) = list(&scheduler, &filter, args.limit, args.page).await?;
    let console = &context.console;
    if args.json {
        let answer = RunsJson { runs: runs.iter().map(RunJson::from).collect(), next_page };
        console.print(serde_json::to_string_pretty(&answer)? + "\n");
        return Ok(Exit::Success);
    }
    if runs.is_empty() {
        console.note("no runs");
    } else {
        console.print(table(&runs, context.clock.now()).render(console.page()));
    }
    if let Some(token) = next_page {
        console.note(format!("there are more: go on with --page {token}"));
    }
    Ok(Exit::Success)
}

/// As many pages as it takes.
async fn list(
    scheduler: &Scheduler,
    filter: &RunFilter,
    limit: u32,
    page: String,
) -> anyhow::Result<(Vec<Run>, Option<String>)> {
    const MAX_PAGE: u32 = 1000;
    let mut runs = Vec::new();
    let mut next = Some(page);
    while let Some(token) = &next {
        let wanted = limit.saturating_sub(u32::try_from(runs.len()).unwrap_or(u32::MAX));
        if wanted == 0 {
            break;
        }
        let (page, following) = scheduler.list(filter, wanted.min(MAX_PAGE), token).await?;
        runs.extend(page);
        next = following;
    }
    Ok((runs, next))
}

fn table(runs: &[Run], now: Timestamp) -> Table {
    let mut table = Table::new([
        Column::text("run").whole(),
        Column::text("name"),
        Column::text("state"),
        Column::number("shards"),
        Column::number("passed"),
        Column::text("user").minor(1),
        Column::text("triggered"),
        Column::number("took"),
        Column::text("tags").minor(2),
    ]);
    for run in runs {
        let state = run.state.name();
        table.row(vec![
            run.id.to_string().into(),
            run.spec.name.as_str().into(),
            match run.state {
                RunState::Succeeded => Cell::green(state),
                RunState::Failed | RunState::Incomplete => Cell::red(state),
                RunState::Canceled | RunState::Running => Cell::yellow(state),
                RunState::Pending => state.into(),
            },
            run.counts.total().to_string().into(),
            run.counts.succeeded.to_string().into(),
            run.spec.user.as_str().into(),
            ago(run.created, now).into(),
            duration(run.ended.unwrap_or(now).since(run.created)).into(),
            run.spec.tags.join(" ").into(),
        ]);
    }
    table
}
