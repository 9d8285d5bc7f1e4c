//! Tests as documents.

use crate::{
    display::utc,
    model::{
        Driver, Execution, OutcomeCounts, Quarantine, Run, TestHistory, TestOutcome, TestPast, TestResult,
        TestVerdict, TestsPolicy,
    },
};
use serde::Serialize;
use std::time::Duration;

/// How a step's tests are shared out, and how far they are.
#[derive(Debug, Serialize)]
pub struct StepTestsJson<'a> {
    /// What knows the tests.
    pub driver: Driver,
    /// Whether it can be known that all were run.
    pub verified: bool,
    /// How many parts the command is cut into, where nobody knows its tests.
    pub partitions: u32,
    /// Most workers; null: as many as fit.
    pub max_bots: Option<u32>,
    /// Seconds in which it is to be done.
    pub target_time: Option<f64>,
    /// How often a failed test is run again.
    pub retries: u32,
    /// Whether the first failure that stands ends the step.
    pub fail_fast: bool,
    /// Under which name durations are remembered; empty: the step's.
    pub suite: &'a str,
    /// Of a part of the suite: its tests.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub only: &'a [String],
    /// Null until the tests are listed.
    pub counts: Option<OutcomeCounts>,
}

impl<'a> StepTestsJson<'a> {
    pub(super) fn new(run: &Run, step: u32, policy: &'a TestsPolicy) -> Self {
        let told = run.tests.iter().find(|tests| tests.step == step);
        Self {
            driver: policy.driver,
            verified: told.map_or(policy.driver.lists_tests(), |tests| tests.verified),
            partitions: policy.partitions,
            max_bots: policy.max_workers,
            target_time: policy.target_time.map(seconds),
            retries: policy.retries,
            fail_fast: policy.fail_fast,
            suite: &policy.suite,
            only: &policy.only,
            counts: told.and_then(|tests| tests.counts),
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// A test and what has become of it.
#[derive(Debug, Serialize)]
pub struct ResultJson<'a> {
    /// Its step's name.
    pub step: String,
    /// The framework's full name.
    pub id: &'a str,
    /// What shares its set-up; empty: nothing.
    pub group: &'a str,
    /// What it has come to.
    pub outcome: TestOutcome,
    /// Seconds that it was expected to take.
    pub estimate: Option<f64>,
    /// In the order in which they were told.
    pub executions: Vec<ExecutionJson<'a>>,
}

impl<'a> ResultJson<'a> {
    /// A test of this step.
    pub fn new(step: String, result: &'a TestResult) -> Self {
        Self {
            step,
            id: &result.name,
            group: &result.group,
            outcome: result.outcome,
            estimate: result.estimate.map(seconds),
            executions: result.executions.iter().map(ExecutionJson::from).collect(),
        }
    }
}

/// One execution of a test.
#[derive(Debug, Serialize)]
pub struct ExecutionJson<'a> {
    /// How it ended.
    pub verdict: TestVerdict,
    /// Who ran it.
    pub bot: &'a str,
    /// In which worker.
    pub shard: String,
    /// And in which attempt of that.
    pub attempt: u32,
    /// When it began.
    pub started: Option<String>,
    /// Seconds that it took.
    pub time: f64,
    /// Why it ended so; empty when there is nothing to say.
    pub message: &'a str,
    /// Another one had decided already.
    pub duplicate: bool,
}

impl<'a> From<&'a Execution> for ExecutionJson<'a> {
    fn from(execution: &'a Execution) -> Self {
        Self {
            verdict: execution.verdict,
            bot: &execution.bot,
            shard: execution.shard.to_string(),
            attempt: execution.attempt,
            started: execution.started.map(utc),
            time: seconds(execution.took),
            message: &execution.message,
            duplicate: execution.duplicate,
        }
    }
}

/// What a test has come to in earlier runs.
#[derive(Debug, Serialize)]
pub struct HistoryJson<'a> {
    /// The suite.
    pub suite: &'a str,
    /// The test's full name.
    pub id: &'a str,
    /// What it ran on.
    pub platform: &'a str,
    /// Seconds that it is expected to take next.
    pub estimate: Option<f64>,
    /// Runs in which it passed.
    pub passes: u32,
    /// In which it failed.
    pub failures: u32,
    /// In which it did both.
    pub flakes: u32,
    /// The newest first.
    pub past: Vec<PastJson<'a>>,
}

/// One earlier execution.
#[derive(Debug, Serialize)]
pub struct PastJson<'a> {
    /// Of this run.
    pub run: String,
    /// When.
    pub at: String,
    /// How it ended.
    pub verdict: TestVerdict,
    /// Seconds that it took.
    pub time: f64,
    /// Who ran it.
    pub bot: &'a str,
}

impl<'a> From<&'a TestHistory> for HistoryJson<'a> {
    fn from(history: &'a TestHistory) -> Self {
        let past = |past: &'a TestPast| PastJson {
            run: past.run.to_string(),
            at: utc(past.at),
            verdict: past.verdict,
            time: seconds(past.took),
            bot: &past.bot,
        };
        Self {
            suite: &history.suite,
            id: &history.test,
            platform: &history.platform,
            estimate: history.estimate.map(seconds),
            passes: history.passes,
            failures: history.failures,
            flakes: history.flakes,
            past: history.past.iter().map(past).collect(),
        }
    }
}

/// Failures that are known.
#[derive(Debug, Serialize)]
pub struct QuarantineJson<'a> {
    /// The suite.
    pub suite: &'a str,
    /// The test's full name.
    pub id: &'a str,
    /// Who looks after it.
    pub owner: &'a str,
    /// Why.
    pub reason: &'a str,
    /// It counts again from then on.
    pub expires: String,
}

impl<'a> From<&'a Quarantine> for QuarantineJson<'a> {
    fn from(quarantine: &'a Quarantine) -> Self {
        Self {
            suite: &quarantine.suite,
            id: &quarantine.test,
            owner: &quarantine.owner,
            reason: &quarantine.reason,
            expires: utc(quarantine.expires),
        }
    }
}
