//! Runs made up for tests.

use crate::{
    ledger::Ledger,
    model::{
        After, Attempt, AttemptResult, AttemptStats, Counts, Demand, Driver, Execution, FanOut,
        OutcomeCounts, OutputOf, Run, RunSpec, RunState, Shard, ShardState, Slice, StepSpec, TestOutcome,
        TestResult, TestVerdict, TestsPolicy,
    },
};
use proto::{DigestFunction, RunId, ShardId, Timestamp};
use std::time::Duration;

/// When made-up runs are triggered.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A run of one step named `suite` that has these shards.
pub(crate) fn run(state: RunState, shards: Vec<Shard>) -> Run {
    let step = StepSpec {
        name: "suite".into(),
        input: Some(DigestFunction::Blake3.digest(b"input")),
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
        fan_out: FanOut::Shards(u32::try_from(shards.len()).unwrap()),
        max_attempts: None,
        idempotent: false,
        after: vec![],
        includes: vec![],
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
    let (announced, tests) = (0, vec![]);
    Run {
        id: run_id(),
        spec,
        state,
        created: START,
        ended,
        shards,
        counts,
        has_secret: false,
        announced,
        tests,
    }
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
        bot: None,
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

/// A run of one step whose tests this driver knows, with these workers.
pub(crate) fn run_with_tests(driver: Driver, state: RunState, shards: Vec<Shard>) -> Run {
    let mut run = run(state, shards);
    run.spec.steps[0].fan_out = FanOut::Tests(TestsPolicy {
        driver,
        partitions: 0,
        max_workers: Some(4),
        target_time: None,
        retries: 1,
        fail_fast: false,
        suite: String::new(),
        only: vec![],
        test_timeout: None,
    });
    run
}

/// A second step for a run of one, named `merge`, that is given what the first has left, with these shards.
pub(crate) fn merged_by(mut run: Run, shards: Vec<Shard>) -> Run {
    run.spec.steps.push(StepSpec {
        name: "merge".into(),
        input: None,
        fan_out: FanOut::Shards(u32::try_from(shards.len()).unwrap()),
        after: vec![After { step: 0, demand: Demand::Ended }],
        includes: vec![OutputOf { step: 0, into: "parts/{index}".parse().unwrap() }],
        ..run.spec.steps[0].clone()
    });
    let of_step = |shard: Shard| Shard { id: ShardId { step: 1, ..shard.id }, ..shard };
    run.shards.extend(shards.into_iter().map(of_step));
    run.counts = Counts::of(&run.shards);
    run
}

/// The ledger of its step.
pub(crate) fn ledger(run: &Run, results: Vec<TestResult>) -> Ledger {
    let policy = run.tests_policy(0).unwrap().clone();
    let listed = u32::try_from(results.len()).unwrap();
    let counts = OutcomeCounts { listed, ..OutcomeCounts::default() };
    Ledger { step: 0, policy, counts: Some(counts), results }
}

/// A test that has come to this, by these executions on `bot-0`, `bot-1` and so on.
pub(crate) fn tested(name: &str, outcome: TestOutcome, verdicts: &[TestVerdict]) -> TestResult {
    TestResult {
        index: 0,
        name: name.into(),
        group: String::new(),
        disabled: false,
        file: String::new(),
        line: None,
        outcome,
        executions: (0..).zip(verdicts).map(|(n, &verdict)| execution(n, verdict)).collect(),
        estimate: Some(Duration::from_secs(2)),
    }
}

/// The `n`th execution of a test.
pub(crate) fn execution(n: u32, verdict: TestVerdict) -> Execution {
    let bad = verdict.is_bad();
    Execution {
        verdict,
        started: Some(START + Duration::from_secs(3 + u64::from(n))),
        took: Duration::from_millis(700 + 100 * u64::from(n)),
        message: if bad { format!("not good the {n}th time") } else { String::new() },
        output: if bad { format!("output {n}\n").into() } else { bytes::Bytes::new() },
        bot: format!("bot-{n}"),
        shard: ShardId { run: run_id(), step: 0, index: n },
        attempt: 1,
        duplicate: false,
    }
}
