//! `swarm show`: one run, or one shard, in full.

use super::Context;
use crate::{
    cli::{RunOrShard, SchedulerArgs},
    display::{
        self, Cell, Column, Page, Table, bytes, duration, outcome_counts, run_line, shard_table, state_text,
        utc,
    },
    failure::NotFound,
    json::{RunJson, ShardJson},
    model::{Attempt, FanOut, Run, Shard, StepSpec},
};
use clap::Args;
use proto::Cut;
use runtime::Exit;
use std::collections::BTreeMap;

/// Show a run or one of its shards
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm show 1hf7yat000005/0/3 --json")]
pub(crate) struct ShowArgs {
    /// A run, or a shard (RUN/STEP/INDEX)
    #[arg(value_name = "RUN|SHARD")]
    id: RunOrShard,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

pub(crate) async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let run = scheduler.get(args.id.run()).await?;
    let console = &context.console;
    let text = match args.id {
        RunOrShard::Run(_) if args.json => serde_json::to_string_pretty(&RunJson::from(&run))? + "\n",
        RunOrShard::Run(_) => render_run(&run, console.page()),
        RunOrShard::Shard(id) => {
            let shard = run.shard(id).ok_or_else(|| NotFound(format!("run {} has no shard {id}", run.id)))?;
            if args.json {
                serde_json::to_string_pretty(&ShardJson::new(&run, shard, &run.ready()))? + "\n"
            } else {
                render_shard(shard, console.page())
            }
        }
    };
    console.print(text);
    Ok(Exit::Success)
}

fn render_run(run: &Run, page: Page) -> String {
    let paint = page.paint;
    let mut text = run_line(run, paint) + "\n";
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {} {value}\n", paint.dim(&format!("{name:<10}"))));
        }
    };
    fact("user", run.spec.user.clone());
    fact("tags", run.spec.tags.join(" "));
    fact("priority", run.spec.priority.to_string());
    fact("parent", run.spec.parent.map(|parent| parent.to_string()).unwrap_or_default());
    fact("secret", if run.has_secret { "yes".into() } else { String::new() });
    fact("triggered", utc(run.created));
    if let Some(ended) = run.ended {
        fact("took", duration(ended.since(run.created)));
    }
    for (number, step) in (0..).zip(&run.spec.steps) {
        if run.spec.steps.len() > 1 {
            fact("step", run.name_of_step(number));
        }
        fact("input", step.input.map(|input| input.to_string()).unwrap_or_default());
        fact("after", display::after(run, step));
        fact("includes", display::includes(run, step));
        fact("command", step.command.join(" "));
        fact("arguments", step.extra_args.join(" "));
        fact("tests", tests(run, number));
        fact("cut", cut(step));
        for (number, slice) in std::iter::once(&step.first).chain(&step.fallbacks).enumerate() {
            let words: Vec<String> = slice.requirements.iter().map(ToString::to_string).collect();
            match number {
                0 => fact("asks for", words.join(" ")),
                _ if words.is_empty() => fact("or else", "any bot".into()),
                _ => fact("or else", words.join(" ")),
            }
        }
    }
    text.push('\n');
    text + &shard_table(run, &BTreeMap::new(), page)
}

/// What knows the tests of a step, and what they have come to.
fn tests(run: &Run, step: u32) -> String {
    let Some(policy) = run.tests_policy(step) else { return String::new() };
    let told = run.tests.iter().find(|tests| tests.step == step);
    let counts = match told.and_then(|tests| tests.counts) {
        Some(counts) => outcome_counts(&counts),
        None => "not listed yet".into(),
    };
    let unverified = if policy.driver.lists_tests() { "" } else { ", unverified" };
    format!("by {}{unverified}: {counts} (see `swarm tests {}`)", policy.driver.name(), run.id)
}

/// What its shards are, where that is more than a number.
fn cut(step: &StepSpec) -> String {
    match &step.fan_out {
        FanOut::Items(items) => match items.cut {
            Cut::PerShard(most) => format!("{} items, {most} a shard", items.count),
            Cut::Shards(_) => format!("{} items, divided evenly", items.count),
        },
        FanOut::EachBot { seen_within: None } => "a shard for each bot that was alive".into(),
        FanOut::EachBot { seen_within: Some(silence) } => {
            format!("a shard for each bot that was seen within {}", duration(*silence))
        }
        FanOut::Shards(_) | FanOut::Tests(_) => String::new(),
    }
}

fn render_shard(shard: &Shard, page: Page) -> String {
    let mut text = format!("{}: {}\n", page.paint.bold(&shard.id.to_string()), state_text(shard));
    if !shard.reason().is_empty() {
        text.push_str(&format!("  {}\n", shard.reason()));
    }
    if let Some(reused) = &shard.reused {
        text.push_str(&format!("  deduped from {}\n", reused.from));
        if let Some(outputs) = reused.result.outputs {
            text.push_str(&format!("  outputs {outputs}\n"));
        }
    }
    let mut table = Table::new([
        Column::number("attempt"),
        Column::text("state"),
        Column::number("exit"),
        Column::text("bot"),
        Column::text("started"),
        Column::number("took"),
        Column::number("output"),
        Column::text("outputs").whole(),
        Column::text("why").whole(),
    ]);
    for attempt in &shard.attempts {
        table.row(attempt_row(attempt));
    }
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.render(page));
    }
    text
}

fn attempt_row(attempt: &Attempt) -> Vec<Cell> {
    let result = attempt.result.as_ref();
    let took = attempt.started.zip(attempt.ended).map(|(started, ended)| ended.since(started));
    vec![
        attempt.number.to_string().into(),
        match result {
            Some(result) => result.state.name().into(),
            None if attempt.ended.is_some() => Cell::red("lost"),
            None => Cell::yellow("running"),
        },
        result.and_then(|result| result.exit_code).map(|code| code.to_string()).unwrap_or_default().into(),
        attempt.bot.as_str().into(),
        attempt.started.map(utc).unwrap_or_default().into(),
        took.map(duration).unwrap_or_default().into(),
        bytes(attempt.output_size).into(),
        result.and_then(|result| result.outputs).map(|digest| digest.to_string()).unwrap_or_default().into(),
        result.map_or(attempt.lost.as_str(), |result| result.message.as_str()).into(),
    ]
}
