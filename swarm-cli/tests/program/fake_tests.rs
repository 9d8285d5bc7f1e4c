//! The tests of the fake scheduler's run.

use crate::fake::{START, State, input, shard_id};
use proto::v1;
use std::time::Duration;
use v1::{TestOutcome, TestVerdict};

/// Of one page; few, so that pages are followed.
const PAGE: usize = 2;

impl State {
    /// A run of one step whose tests are shared out, with one worker.
    pub(crate) fn with_tests(driver: v1::TestDriver, results: Vec<v1::TestResult>) -> Self {
        let state = Self::new(1);
        state.change(|run| {
            let policy = v1::TestsPolicy { driver: driver.into(), retries: 1, ..v1::TestsPolicy::default() };
            let step = &mut run.spec.as_mut().unwrap().steps[0];
            step.fan_out = Some(v1::FanOut { policy: Some(v1::fan_out::Policy::Tests(policy)) });
            step.input = Some(input().into());
        });
        state.tell_tests(results);
        state
    }

    /// What has become of the tests by now.
    pub(crate) fn tell_tests(&self, results: Vec<v1::TestResult>) {
        let counts = (!results.is_empty()).then(|| counts(&results));
        *self.tests.lock().unwrap() = results;
        self.change(|run| run.tests = vec![v1::StepTests { step: 0, counts, verified: true }]);
    }

    /// One more worker, in this state.
    pub(crate) fn add_shard(&self, state: v1::ShardState) {
        self.change(|run| {
            let index = u32::try_from(run.shards.len()).unwrap();
            let id = shard_id(index).to_string();
            run.shards.push(v1::Shard { id, index, state: state.into(), ..v1::Shard::default() });
        });
    }

    /// The first worker and the run have ended.
    pub(crate) fn end_worker(&self, state: v1::RunState) {
        self.change(|run| {
            run.state = state.into();
            run.ended = Some((START + Duration::from_secs(65)).into());
            run.shards[0].state = v1::ShardState::Completed.into();
            let result = v1::AttemptResult {
                state: v1::ShardState::Completed.into(),
                exit_code: Some(0),
                ..v1::AttemptResult::default()
            };
            let number = 1;
            let attempt = v1::Attempt {
                number,
                bot_id: "bot-0".into(),
                result: Some(result),
                ..v1::Attempt::default()
            };
            run.shards[0].attempts = vec![attempt];
        });
    }

    pub(crate) fn tests_page(&self, request: &v1::ListTestsRequest) -> v1::ListTestsResponse {
        let results = self.tests.lock().unwrap();
        let from: usize = request.page_token.parse().unwrap_or(0);
        // Of those that are still open nothing has changed.
        let told = |result: &&v1::TestResult| !request.changed || result.outcome() != TestOutcome::Open;
        let page: Vec<_> = results.iter().filter(told).skip(from).take(PAGE).cloned().collect();
        let next = from + page.len();
        let last = !request.changed && next >= results.len();
        v1::ListTestsResponse {
            next_page_token: if last { String::new() } else { next.to_string() },
            counts: (!results.is_empty()).then(|| counts(&results)),
            ended: self.has_ended(),
            results: page,
        }
    }
}

/// A test of this name that has come to this.
pub(crate) fn test(index: u32, name: &str, outcome: TestOutcome, verdicts: &[TestVerdict]) -> v1::TestResult {
    let execution = |(n, verdict): (u32, &TestVerdict)| execution(n, *verdict);
    v1::TestResult {
        index,
        test: Some(v1::ListedTest { name: name.into(), ..v1::ListedTest::default() }),
        outcome: outcome.into(),
        executions: (0..).zip(verdicts).map(execution).collect(),
        estimate: Duration::from_secs(2).try_into().ok(),
    }
}

fn execution(n: u32, verdict: TestVerdict) -> v1::TestExecution {
    let bad = !matches!(verdict, TestVerdict::Passed | TestVerdict::Skipped);
    let report = v1::TestReport {
        verdict: verdict.into(),
        started: Some((START + Duration::from_secs(3 + u64::from(n))).into()),
        took: Duration::from_millis(700).try_into().ok(),
        message: if bad { format!("{} the {n}th time", verdict.as_str_name()) } else { String::new() },
        output: if bad { b"one\ntwo\nthree\n".to_vec().into() } else { b"".to_vec().into() },
        ..v1::TestReport::default()
    };
    v1::TestExecution {
        report: Some(report),
        bot_id: format!("bot-{n}"),
        shard_id: shard_id(0).to_string(),
        attempt: 1,
        duplicate: false,
    }
}

fn counts(results: &[v1::TestResult]) -> v1::TestCounts {
    let of =
        |outcome| u32::try_from(results.iter().filter(|result| result.outcome() == outcome).count()).unwrap();
    let listed = u32::try_from(results.len()).unwrap();
    let open = of(TestOutcome::Open);
    v1::TestCounts {
        listed,
        open,
        running: open.min(1),
        passed: of(TestOutcome::Passed),
        failed: of(TestOutcome::Failed),
        flaky: of(TestOutcome::Flaky),
        skipped: of(TestOutcome::Skipped),
        crashed: of(TestOutcome::Crashed),
        timed_out: of(TestOutcome::TimedOut),
        unknown: of(TestOutcome::Unknown),
        missing: of(TestOutcome::Missing),
        quarantined: of(TestOutcome::Quarantined),
        estimate: Duration::from_secs(2 * u64::from(listed)).try_into().ok(),
        estimate_done: Duration::from_secs(2 * u64::from(listed - open)).try_into().ok(),
    }
}
