//! `swarm tests`: what has become of the tests of a run.

use super::Context;
use crate::{
    cli::SchedulerArgs,
    display::{Cell, Column, Table, duration, outcome_counts},
    failure::NotFound,
    json::{ResultJson, SCHEMA_VERSION},
    ledger::{Ledger, ledgers},
    model::{Run, TestOutcome, TestResult},
};
use clap::Args;
use proto::RunId;
use runtime::Exit;
use std::{cmp::Reverse, time::Duration};

const EXAMPLES: &str = "\
Examples:
  swarm tests 1hf7yat000005 --state failed --state crashed
  swarm tests 1hf7yat000005 --slowest 20
  swarm tests 1hf7yat000005 --json | jq -r '.tests[] | select(.outcome == \"flaky\") | .id'";

/// List the tests of a run that shares them out, and what has become of each
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TestsArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Only tests that have come to this (repeat: any of them)
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<TestOutcome>,
    /// Only so many that took longest, the slowest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slowest: Option<u32>,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct TestsJson<'a> {
    schema_version: u32,
    run: String,
    tests: Vec<ResultJson<'a>>,
}

pub(crate) async fn tests(context: &Context, args: TestsArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let run = scheduler.get(args.run).await?;
    must_have_tests(&run)?;
    let ledgers = ledgers(&scheduler, &run).await?;
    let shown = select(&ledgers, &args.states, args.slowest);
    let console = &context.console;
    if args.json {
        let tests = shown.iter().map(|&(step, result)| ResultJson::new(run.name_of_step(step), result));
        let run = run.id.to_string();
        let answer = TestsJson { schema_version: SCHEMA_VERSION, run, tests: tests.collect() };
        console.print(serde_json::to_string_pretty(&answer)? + "\n");
        return Ok(Exit::Success);
    }
    for ledger in &ledgers {
        let name = run.name_of_step(ledger.step);
        match &ledger.counts {
            Some(counts) => console.note(format!("{name}: {}", outcome_counts(counts))),
            None => console.note(format!("{name}: the tests are not listed yet")),
        }
    }
    if !shown.is_empty() {
        console.print(table(&shown).render(console.page()));
    }
    Ok(Exit::Success)
}

/// Says what to do instead with a run that does not share out its tests.
pub(super) fn must_have_tests(run: &Run) -> Result<(), NotFound> {
    match run.steps_with_tests().next() {
        Some(_) => Ok(()),
        None => Err(NotFound(format!(
            "run {} does not share out its tests (it was triggered without --driver): its reports have them, see `swarm collect {} --junit FILE`",
            run.id, run.id
        ))),
    }
}

fn select<'a>(
    ledgers: &'a [Ledger],
    states: &[TestOutcome],
    slowest: Option<u32>,
) -> Vec<(u32, &'a TestResult)> {
    let of = |ledger: &'a Ledger| ledger.results.iter().map(|result| (ledger.step, result));
    let wanted = |(_, result): &(u32, &TestResult)| states.is_empty() || states.contains(&result.outcome);
    let mut shown: Vec<_> = ledgers.iter().flat_map(of).filter(wanted).collect();
    if let Some(most) = slowest {
        shown.sort_by_key(|(_, result)| Reverse(took(result)));
        shown.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    shown
}

fn took(result: &TestResult) -> Option<Duration> {
    result.deciding().map(|one| one.took)
}

fn table(shown: &[(u32, &TestResult)]) -> Table {
    let mut table = Table::new([
        Column::text("test").whole(),
        Column::text("state"),
        Column::number("took"),
        Column::number("expected").minor(2),
        Column::number("runs").minor(1),
        Column::text("bot"),
        Column::text("shard").minor(3),
        Column::text("why"),
    ]);
    for (_, result) in shown {
        let deciding = result.deciding();
        let why = deciding.and_then(|one| one.message.lines().next()).unwrap_or_default();
        let name = result.outcome.name();
        table.row(vec![
            result.name.as_str().into(),
            match result.outcome {
                TestOutcome::Passed => Cell::green(name),
                TestOutcome::Skipped | TestOutcome::Open => name.into(),
                TestOutcome::Flaky | TestOutcome::Quarantined => Cell::yellow(name),
                _ => Cell::red(name),
            },
            took(result).map(duration).unwrap_or_default().into(),
            result.estimate.map(duration).unwrap_or_default().into(),
            // One run is no news.
            Some(result.executions.len())
                .filter(|&n| n > 1)
                .map(|n| n.to_string())
                .unwrap_or_default()
                .into(),
            deciding.map(|one| one.bot.as_str()).unwrap_or_default().into(),
            deciding.map(|one| one.shard.to_string()).unwrap_or_default().into(),
            why.into(),
        ]);
    }
    table
}
