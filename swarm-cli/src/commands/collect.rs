//! `swarm collect`: follows a run to its end and tells what it is worth.

use super::Context;
use crate::{
    cli::{CasArgs, SchedulerArgs, duration},
    display::{self, Paint, shard_table},
    failure::TimedOut,
    follow::{Followed, follow},
    live,
    model::{Run, Shard},
    output::{self, Completeness},
    remote::Scheduler,
    verdict::{self, FailedTests, Outcome, Verdict},
};
use clap::Args;
use proto::RunId;
use runtime::Exit;
use std::{collections::BTreeMap, time::Duration};

/// At most so many failing shards have their output printed; the others are named.
const MAX_OUTPUTS: usize = 20;

/// Follow a run to its end and tell what its shards reported
#[derive(Debug, Args)]
pub(crate) struct CollectArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    #[command(flatten)]
    how: CollectHow,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// How to collect.
#[derive(Debug, Args)]
pub(crate) struct CollectHow {
    /// Stop waiting after this time; the run goes on
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print so many last lines of each failing shard
    #[arg(long, value_name = "N", default_value_t = 200)]
    tail: usize,
    #[command(flatten)]
    cas: CasArgs,
}

pub(crate) async fn collect(context: &Context, args: CollectArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let mut live = live::on(&context.console);
    let followed = follow(&scheduler, args.run, args.how.timeout, &mut *live).await;
    live.finish();
    match followed? {
        Followed::Ended(run) => report(context, &scheduler, &run, &args.how).await,
        Followed::TimedOut(seen) => Err(out_of_time(args.run, seen.as_ref()).into()),
    }
}

/// What to say when the run goes on and we do not.
pub(crate) fn out_of_time(run: RunId, seen: Option<&Run>) -> TimedOut {
    let stands = seen.map(|run| format!(" ({})", display::counts(run.counts))).unwrap_or_default();
    TimedOut(format!(
        "the run has not ended in time{stands}: it goes on, see `swarm collect {run}`, `swarm cancel {run}`"
    ))
}

/// Tells what a run that has ended is worth.
pub(crate) async fn report(
    context: &Context,
    scheduler: &Scheduler,
    run: &Run,
    how: &CollectHow,
) -> anyhow::Result<Exit> {
    let console = &context.console;
    print_failing(context, scheduler, run, how.tail).await;
    console.print(format!("\n{}", shard_table(run, &BTreeMap::new(), console.paint())));
    let verdict = verdict::judge(run, FailedTests::default());
    console.print(format!("\n{}\n", verdict_line(run, &verdict, console.paint())));
    Ok(verdict.exit())
}

fn verdict_line(run: &Run, verdict: &Verdict, paint: Paint) -> String {
    let word = match verdict.outcome {
        Outcome::Passed => paint.green("PASSED"),
        Outcome::Failed => paint.red("FAILED"),
        Outcome::Incomplete => paint.red("INCOMPLETE"),
    };
    let took = run.ended.map(|ended| format!(" in {}", display::duration(ended.since(run.created))));
    let reasons =
        if verdict.reasons.is_empty() { String::new() } else { format!(": {}", verdict.reasons.join(", ")) };
    format!("{word} run {}{}{reasons}", run.id, took.unwrap_or_default())
}

/// The end of what each shard printed that did not pass.
async fn print_failing(context: &Context, scheduler: &Scheduler, run: &Run, lines: usize) {
    let failing: Vec<&Shard> = run.shards.iter().filter(|shard| !shard.passed()).collect();
    let console = &context.console;
    for shard in failing.iter().take(MAX_OUTPUTS) {
        let title = format!("==> shard {}: {}", run.label(shard.id), display::state_text(shard));
        let reason = if shard.reason().is_empty() { String::new() } else { format!(": {}", shard.reason()) };
        console.print(format!("\n{}{reason}\n", console.paint().bold(&title)));
        match output::tail(scheduler, shard, lines).await {
            Ok(tail) => {
                if tail.completeness == Completeness::Cut {
                    let note = format!("[the last lines; all of it: swarm logs {}]", shard.id);
                    console.print(format!("{}\n", console.paint().dim(&note)));
                }
                console.print(tail.text);
            }
            Err(error) => console.note(format!("its output cannot be read: {error}")),
        }
    }
    if failing.len() > MAX_OUTPUTS {
        let more = failing.len() - MAX_OUTPUTS;
        console.print(format!(
            "\n{} more did not pass: see `swarm logs SHARD`\n",
            display::count(more as u64, "shard")
        ));
    }
}
