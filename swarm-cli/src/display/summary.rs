//! Runs and shards as lines and tables.

use super::{Cell, Column, Page, Paint, Table, bytes, count, duration};
use crate::model::{
    After, AttemptStats, Counts, Demand, OutcomeCounts, OutputOf, Run, RunState, Shard, ShardState, StepSpec,
};
use std::{collections::BTreeMap, time::Duration};

/// What the reports of one shard say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// Tests that ran.
    pub ran: u64,
    /// Of them, those that did not pass.
    pub failed: u64,
}

/// A run in one line: its id, name, state and how many shards stand where.
pub fn run_line(run: &Run, paint: Paint) -> String {
    let name = if run.spec.name.is_empty() { String::new() } else { format!(" {}", run.spec.name) };
    format!(
        "{}{name}: {} · {}",
        paint.bold(&run.id.to_string()),
        run_state(run.state, paint),
        counts(run.counts)
    )
}

fn run_state(state: RunState, paint: Paint) -> String {
    match state {
        RunState::Pending => paint.dim(state.name()),
        RunState::Running => paint.cyan(state.name()),
        RunState::Succeeded => paint.green(state.name()),
        RunState::Failed | RunState::Incomplete => paint.red(state.name()),
        RunState::Canceled => paint.yellow(state.name()),
    }
}

/// `6 shards: 1 pending, 2 running, 3 passed`.
pub fn counts(counts: Counts) -> String {
    let parts = [
        (counts.waiting, "waiting"),
        (counts.pending, "pending"),
        (counts.running, "running"),
        (counts.succeeded, "passed"),
        (counts.failed, "not passed"),
        (counts.skipped, "skipped"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    format!("{}: {}", count(counts.total(), "shard"), parts.join(", "))
}

/// `build, tests (whatever becomes of it)`: what a step waits for.
pub fn after(run: &Run, step: &StepSpec) -> String {
    let one = |after: &After| {
        let name = run.name_of_step(after.step);
        match after.demand {
            Demand::Succeeded => name,
            Demand::Ended => format!("{name} (whatever becomes of it)"),
        }
    };
    step.after.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `outputs of tests in parts/{index}`: what a step is given.
pub fn includes(run: &Run, step: &StepSpec) -> String {
    let one = |include: &OutputOf| match (run.name_of_step(include.step), include.into.as_str()) {
        (name, "") => format!("outputs of {name}"),
        (name, into) => format!("outputs of {name} in {into}"),
    };
    step.includes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `5 tests: 1 open, 2 passed, 2 failed`.
pub fn outcome_counts(counts: &OutcomeCounts) -> String {
    let parts = [
        (counts.open, "open"),
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.flaky, "flaky"),
        (counts.skipped, "skipped"),
        (counts.crashed, "crashed"),
        (counts.timed_out, "timed out"),
        (counts.unknown, "unknown"),
        (counts.missing, "missing"),
        (counts.quarantined, "quarantined"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    format!("{}: {}", count(counts.listed, "test"), parts.join(", "))
}

/// The state of a shard in words, with the exit code or signal that says more.
pub fn state_text(shard: &Shard) -> String {
    match shard.state {
        _ if shard.killing && !shard.state.is_final() => "stopping".into(),
        _ if shard.passed() && shard.reused.is_some() => "deduped".into(),
        _ if shard.passed() => "passed".into(),
        ShardState::Completed if shard.result().is_some_and(|result| result.out_of_memory) => {
            "out of memory".into()
        }
        ShardState::Completed => "failed".into(),
        state => state.name().into(),
    }
}

fn state_cell(shard: &Shard) -> Cell {
    let text = state_text(shard);
    match shard.state {
        _ if shard.passed() => Cell::green(text),
        ShardState::Waiting | ShardState::Pending | ShardState::NotNeeded => text.into(),
        ShardState::Running | ShardState::Canceled | ShardState::Killed | ShardState::Skipped => {
            Cell::yellow(text)
        }
        _ => Cell::red(text),
    }
}

/// `1`, or `139 (signal 11)`.
fn exit_text(shard: &Shard) -> String {
    match shard.result().map(|result| (result.exit_code, result.signal)) {
        Some((Some(code), Some(signal))) => format!("{code} (signal {signal})"),
        Some((Some(code), None)) => code.to_string(),
        _ => String::new(),
    }
}

/// One row for each shard: how it ended, where, how long each part took, its tests, and what it fetched.
pub fn shard_table(run: &Run, tests: &BTreeMap<proto::ShardId, TestCounts>, page: Page) -> String {
    let mut table = Table::new([
        Column::text("shard"),
        Column::text("state"),
        Column::number("exit"),
        Column::text("bot"),
        Column::number("attempts"),
        Column::number("queue").minor(1),
        Column::number("fetch").minor(2),
        Column::number("run"),
        Column::number("upload").minor(3),
        Column::number("tests"),
        Column::number("failed"),
        Column::number("cold").minor(2),
        Column::number("hot").minor(4),
    ]);
    let ready = run.ready();
    for shard in &run.shards {
        let queued = run.queued(shard, &ready);
        table.row(shard_row(run, shard, queued, tests.get(&shard.id).copied()));
    }
    table.render(page)
}

fn shard_row(run: &Run, shard: &Shard, queue: Option<Duration>, tests: Option<TestCounts>) -> Vec<Cell> {
    // What was deduped took no time here.
    let stats = shard.result().filter(|_| shard.reused.is_none()).map(|result| result.stats);
    let time =
        |part: fn(&AttemptStats) -> Duration| stats.as_ref().map(part).map(duration).unwrap_or_default();
    let size = |part: fn(&AttemptStats) -> u64| stats.as_ref().map(part).map(bytes).unwrap_or_default();
    vec![
        run.label(shard.id).into(),
        state_cell(shard),
        exit_text(shard).into(),
        shard.place().into(),
        // The first one is no news.
        Some(shard.attempts.len()).filter(|&n| n > 1).map(|n| n.to_string()).unwrap_or_default().into(),
        queue.map(duration).unwrap_or_default().into(),
        time(|stats| stats.fetch).into(),
        time(|stats| stats.run).into(),
        time(|stats| stats.upload).into(),
        tests.map(|tests| tests.ran.to_string()).unwrap_or_default().into(),
        match tests {
            Some(TestCounts { failed: 0, .. }) => "0".into(),
            Some(tests) => Cell::red(tests.failed.to_string()),
            None => "".into(),
        },
        size(|stats| stats.cold_bytes).into(),
        size(|stats| stats.hot_bytes).into(),
    ]
}
