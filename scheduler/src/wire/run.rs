//! Runs, shards and attempts as clients see them.

use super::{result, spec, suite};
use crate::queue::{Attempt, AttemptEnd, Loss, Queue, Run, RunState, Shard, ShardState, Tally};
use crate::shell::TestsView;
use proto::{BotId, ShardId, v1};

/// Without its shards.
pub(crate) fn run_summary(run: &Run) -> v1::Run {
    v1::Run {
        id: run.id.to_string(),
        spec: Some(spec::run_outline(&run.spec)),
        state: run_state(run.state()).into(),
        created: Some(run.created.into()),
        ended: run.ended.map(Into::into),
        shards: Vec::new(),
        counts: Some(counts(&run.tally)),
        has_secret: run.spec.secret.is_some(),
        tests: Vec::new(),
    }
}

/// With all of its shards.
pub(crate) fn run(queue: &Queue, run: &Run) -> v1::Run {
    let of_run = |(id, one): (ShardId, &Shard)| shard(id, one, queue.live_output(one), run.bot_of(id));
    let shards = run.shards().map(of_run).collect();
    let tests = run.suites.keys().filter_map(|step| TestsView::of(queue, run.id, *step));
    let tests = tests.map(|view| suite::tests_to_wire(&view)).collect();
    v1::Run { shards, tests, ..run_summary(run) }
}

/// One shard. `live_output` is how much output its running attempt has, `bot` the one that it is for.
pub(crate) fn shard(id: ShardId, shard: &Shard, live_output: u64, bot: Option<&BotId>) -> v1::Shard {
    v1::Shard {
        id: id.to_string(),
        step: id.step,
        index: id.index,
        state: shard_state(shard.state).into(),
        attempts: shard.attempts.iter().map(|one| attempt(one, live_output)).collect(),
        ended: shard.ended.map(Into::into),
        message: shard.message.to_string(),
        killing: shard.killing,
        slice: shard.slice.into(),
        bot_id: bot.map(ToString::to_string).unwrap_or_default(),
        deduped_from: shard.reused.as_ref().map(|reused| reused.from.to_string()).unwrap_or_default(),
        deduped_result: shard.reused.as_ref().map(|reused| result::result_to_wire(&reused.result)),
    }
}

fn attempt(attempt: &Attempt, live_output: u64) -> v1::Attempt {
    let (ended, lost, output_size) = match &attempt.end {
        AttemptEnd::Running => (None, String::new(), live_output),
        AttemptEnd::Finished { at, output_size, .. } => (Some(*at), String::new(), *output_size),
        AttemptEnd::Lost { at, reason, output_size, .. } => (Some(*at), reason.clone(), *output_size),
    };
    v1::Attempt {
        number: attempt.number,
        bot_id: attempt.bot.to_string(),
        started: Some(attempt.started.into()),
        ended: ended.map(Into::into),
        result: attempt.result().map(result::result_to_wire),
        lost,
        output_size,
        returned: matches!(attempt.end, AttemptEnd::Lost { loss: Loss::Returned, .. }),
    }
}

fn shard_state(state: ShardState) -> v1::ShardState {
    match state {
        ShardState::Waiting => v1::ShardState::Waiting,
        ShardState::Pending => v1::ShardState::Pending,
        ShardState::Running => v1::ShardState::Running,
        ShardState::Ended(ending) => result::ending_to_wire(ending),
    }
}

/// The state's number.
pub(crate) fn run_state(state: RunState) -> v1::RunState {
    match state {
        RunState::Pending => v1::RunState::Pending,
        RunState::Running => v1::RunState::Running,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Canceled => v1::RunState::Canceled,
        RunState::Incomplete => v1::RunState::Incomplete,
    }
}

/// The state with this number, if there is one.
pub(crate) fn parse_run_state(state: i32) -> Option<RunState> {
    match v1::RunState::try_from(state).ok()? {
        v1::RunState::Unspecified => None,
        v1::RunState::Pending => Some(RunState::Pending),
        v1::RunState::Running => Some(RunState::Running),
        v1::RunState::Succeeded => Some(RunState::Succeeded),
        v1::RunState::Failed => Some(RunState::Failed),
        v1::RunState::Canceled => Some(RunState::Canceled),
        v1::RunState::Incomplete => Some(RunState::Incomplete),
    }
}

fn counts(tally: &Tally) -> v1::ShardCounts {
    v1::ShardCounts {
        pending: tally.pending,
        running: tally.running,
        succeeded: tally.succeeded,
        failed: tally.failed(),
        waiting: tally.waiting,
        skipped: tally.skipped(),
    }
}
