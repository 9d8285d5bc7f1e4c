//! Runs made up for tests.

use crate::model::{
    Attempt, AttemptResult, AttemptStats, Counts, Run, RunSpec, RunState, Shard, ShardState, Slice, StepSpec,
};
use proto::{DigestFunction, RunId, ShardId, Timestamp};
use std::time::Duration;

/// When made-up runs are triggered.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A run of one step named `suite` that has these shards.
pub(crate) fn run(state: RunState, shards: Vec<Shard>) -> Run {
    let step = StepSpec {
        name: "suite".into(),
        input: DigestFunction::Blake3.digest(b"input"),
        command: vec![],
        extra_args: vec![],
        first: Slice::default(),
        fallbacks: vec![],
        environment: vec![],
        environment_prefixes: vec![],
        outputs: vec![],
        named_caches: vec![],
        hard_timeout: None,
        io_timeout: None,
        grace: None,
        shards: u32::try_from(shards.len()).unwrap(),
        max_attempts: None,
        idempotent: false,
    };
    let spec = RunSpec {
        name: "nightly".into(),
        user: "ann".into(),
        tags: vec!["branch:main".into()],
        priority: 100,
        steps: vec![step],
        parent: None,
    };
    let counts = Counts::of(&shards);
    let ended = state.is_final().then_some(START + Duration::from_secs(65));
    Run { id: run_id(), spec, state, created: START, ended, shards, counts, has_secret: false }
}

pub(crate) fn run_id() -> RunId {
    RunId::new(START, 7)
}

/// A pending shard.
pub(crate) fn pending(index: u32) -> Shard {
    let id = ShardId { run: run_id(), step: 0, index };
    Shard {
        id,
        state: ShardState::Pending,
        attempts: vec![],
        ended: None,
        message: String::new(),
        killing: false,
        slice: 0,
        reused: None,
    }
}

/// A shard that a bot has.
pub(crate) fn running(index: u32) -> Shard {
    let attempt = Attempt {
        number: 1,
        bot: format!("bot-{index}"),
        started: Some(START + Duration::from_secs(2)),
        ended: None,
        result: None,
        lost: String::new(),
        output_size: 0,
        returned: false,
    };
    Shard { state: ShardState::Running, attempts: vec![attempt], ..pending(index) }
}

/// A shard whose command ended with this code.
pub(crate) fn completed(index: u32, exit_code: i32) -> Shard {
    let mut shard = running(index);
    let stats = AttemptStats {
        fetch: Duration::from_millis(40),
        run: Duration::from_millis(3200),
        upload: Duration::from_millis(8),
        cold_items: 2,
        cold_bytes: 24_222_105,
        ..AttemptStats::default()
    };
    let attempt = shard.attempts.last_mut().unwrap();
    attempt.ended = Some(START + Duration::from_secs(6));
    attempt.result = Some(AttemptResult {
        state: ShardState::Completed,
        exit_code: Some(exit_code),
        signal: None,
        message: String::new(),
        outputs: Some(DigestFunction::Blake3.digest(b"outputs")),
        stats,
        out_of_memory: false,
    });
    Shard { state: ShardState::Completed, ended: attempt.ended, ..shard }
}

/// A shard that ended without running to its end.
pub(crate) fn ended(index: u32, state: ShardState, message: &str) -> Shard {
    Shard { state, message: message.into(), ended: Some(START + Duration::from_secs(60)), ..pending(index) }
}
