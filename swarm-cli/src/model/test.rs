//! Tests that a step shares out one by one, and what has become of them.

use proto::{ShardId, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// What lists the tests of a command, runs some of them and tells what became of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// GoogleTest programs
    Gtest,
    /// Rust test programs
    Libtest,
    /// pytest
    Pytest,
    /// `ctest` in a build directory of CMake
    Ctest,
    /// A command that follows Bazel's test protocol: cut into parts, nobody knows its tests
    Bazel,
    /// Any command that heeds SHARD_INDEX and SHARD_TOTAL: cut into parts, nobody knows its tests
    Opaque,
}

impl Driver {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gtest => "gtest",
            Self::Libtest => "libtest",
            Self::Pytest => "pytest",
            Self::Ctest => "ctest",
            Self::Bazel => "bazel",
            Self::Opaque => "opaque",
        }
    }

    /// Whether it knows the tests, so that it can be said that all were run.
    pub fn lists_tests(self) -> bool {
        !matches!(self, Self::Bazel | Self::Opaque)
    }
}

/// How a step's tests are shared out.
#[derive(Clone, Debug, PartialEq)]
pub struct TestsPolicy {
    /// What knows the tests.
    pub driver: Driver,
    /// How many parts the command is cut into, where nobody knows its tests; otherwise zero.
    pub partitions: u32,
    /// Most workers. `None`: as many as there are bots that fit.
    pub max_workers: Option<u32>,
    /// As many workers as it takes to be done by then. `None`: as many as there may be.
    pub target_time: Option<Duration>,
    /// How often a failed test is run again.
    pub retries: u32,
    /// The first failure that stands ends the step.
    pub fail_fast: bool,
    /// Under which name durations are remembered; empty: the step's.
    pub suite: String,
    /// Run these only; empty: all.
    pub only: Vec<String>,
    /// Most that one test may take. `None`: by what is known of it.
    pub test_timeout: Option<Duration>,
}

/// How far the tests of a step are.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTests {
    /// Which step.
    pub step: u32,
    /// `None` until they are listed.
    pub counts: Option<OutcomeCounts>,
    /// Whether it can be known that all were run.
    pub verified: bool,
}

/// What tests have come to, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OutcomeCounts {
    /// All of them.
    pub listed: u32,
    /// Without a verdict yet.
    pub open: u32,
    /// Of the open ones, those that are being run.
    pub running: u32,
    /// They passed.
    pub passed: u32,
    /// They failed.
    pub failed: u32,
    /// They failed and passed.
    pub flaky: u32,
    /// They were not to be run.
    pub skipped: u32,
    /// They took their process with them.
    pub crashed: u32,
    /// They took too long.
    pub timed_out: u32,
    /// No runner knew them.
    pub unknown: u32,
    /// Nobody has told of them.
    pub missing: u32,
    /// They failed, as was known.
    pub quarantined: u32,
    /// What all are expected to take, one after the other.
    #[serde(serialize_with = "seconds")]
    pub estimate: Duration,
    /// Of that, those that are done.
    #[serde(serialize_with = "seconds")]
    pub estimate_done: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl OutcomeCounts {
    /// Those that are not good.
    pub fn bad(self) -> u32 {
        let bad = [self.failed, self.crashed, self.timed_out, self.unknown, self.missing];
        bad.into_iter().fold(0, u32::saturating_add)
    }

    /// Of two steps together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            listed: self.listed.saturating_add(other.listed),
            open: self.open.saturating_add(other.open),
            running: self.running.saturating_add(other.running),
            passed: self.passed.saturating_add(other.passed),
            failed: self.failed.saturating_add(other.failed),
            flaky: self.flaky.saturating_add(other.flaky),
            skipped: self.skipped.saturating_add(other.skipped),
            crashed: self.crashed.saturating_add(other.crashed),
            timed_out: self.timed_out.saturating_add(other.timed_out),
            unknown: self.unknown.saturating_add(other.unknown),
            missing: self.missing.saturating_add(other.missing),
            quarantined: self.quarantined.saturating_add(other.quarantined),
            estimate: self.estimate.saturating_add(other.estimate),
            estimate_done: self.estimate_done.saturating_add(other.estimate_done),
        }
    }

    /// Those with a verdict.
    pub fn decided(self) -> u32 {
        self.listed.saturating_sub(self.open)
    }
}

/// How one execution of a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestVerdict {
    /// It has not ended.
    Running,
    /// Good.
    Passed,
    /// A check failed.
    Failed,
    /// It chose not to run.
    Skipped,
    /// It took its process with it.
    Crashed,
    /// It took too long.
    TimedOut,
    /// The runner on this bot does not know it.
    Unknown,
    /// What it ran on failed, by the test's own word.
    Infrastructure,
}

impl TestVerdict {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed out",
            Self::Unknown => "unknown",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// Whether it makes a test look bad.
    pub fn is_bad(self) -> bool {
        self.is_of_the_test() || matches!(self, Self::Unknown | Self::Infrastructure)
    }

    /// Whether it says that something is wrong with the test itself.
    pub fn is_of_the_test(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::TimedOut)
    }
}

/// What a test has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// Not run to its end yet
    Open,
    /// It passed
    Passed,
    /// It failed
    Failed,
    /// It failed and passed, on the same input
    Flaky,
    /// It was not to be run
    Skipped,
    /// It took its process with it
    Crashed,
    /// It took too long
    TimedOut,
    /// No bot's runner knew it
    Unknown,
    /// The step has ended and nobody has told of it
    Missing,
    /// It failed, and somebody has said that this is known
    Quarantined,
}

impl TestOutcome {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Flaky => "flaky",
            Self::Skipped => "skipped",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed out",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Quarantined => "quarantined",
        }
    }

    /// Whether nobody can say if the test is good.
    pub fn is_unresolved(self) -> bool {
        matches!(self, Self::Open | Self::Unknown | Self::Missing)
    }

    /// Whether it has been shown not to be good.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::TimedOut)
    }
}

/// A test of a step, and what has become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TestResult {
    /// Its place in the listing.
    pub index: u32,
    /// The framework's full name; unique in the step.
    pub name: String,
    /// What shares its set-up; empty: nothing.
    pub group: String,
    /// Listed, and not to be run.
    pub disabled: bool,
    /// Where it is written; empty when that is not known.
    pub file: String,
    /// And on which line.
    pub line: Option<u32>,
    /// What it has come to.
    pub outcome: TestOutcome,
    /// In the order in which they were told.
    pub executions: Vec<Execution>,
    /// What it was expected to take.
    pub estimate: Option<Duration>,
}

impl TestResult {
    /// The execution that says most of what the test has come to: the last bad one of a test that is not good, otherwise
    /// the last that counts.
    pub fn deciding(&self) -> Option<&Execution> {
        let mut counted = self.executions.iter().filter(|one| !one.duplicate).rev();
        let bad = self.outcome.is_failure()
            || matches!(self.outcome, TestOutcome::Unknown | TestOutcome::Quarantined);
        match bad {
            true => counted.clone().find(|one| one.verdict.is_bad()).or_else(|| counted.next()),
            false => counted.next(),
        }
    }
}

/// One execution of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// How it ended.
    pub verdict: TestVerdict,
    /// When it began.
    pub started: Option<Timestamp>,
    /// How long it took.
    pub took: Duration,
    /// Why it ended so; empty when there is nothing to say.
    pub message: String,
    /// The end of its output when it did not pass.
    pub output: bytes::Bytes,
    /// Who ran it.
    pub bot: String,
    /// In which worker.
    pub shard: ShardId,
    /// And in which attempt of that.
    pub attempt: u32,
    /// Another one had decided already, or the test was not this attempt's any more.
    pub duplicate: bool,
}

/// Some tests of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct TestsPage {
    /// In order.
    pub results: Vec<TestResult>,
    /// Where the next page begins; empty on the last one.
    pub next: String,
    /// Of the whole step; `None` until its tests are listed.
    pub counts: Option<OutcomeCounts>,
    /// Nothing changes any more.
    pub ended: bool,
}

/// What a test has come to in earlier runs.
#[derive(Clone, Debug, PartialEq)]
pub struct TestHistory {
    /// The suite.
    pub suite: String,
    /// The test.
    pub test: String,
    /// What it ran on.
    pub platform: String,
    /// What it is expected to take next.
    pub estimate: Option<Duration>,
    /// The newest first.
    pub past: Vec<TestPast>,
    /// Runs in which it passed.
    pub passes: u32,
    /// In which it failed.
    pub failures: u32,
    /// In which it did both.
    pub flakes: u32,
}

/// One earlier execution.
#[derive(Clone, Debug, PartialEq)]
pub struct TestPast {
    /// Of this run.
    pub run: proto::RunId,
    /// When.
    pub at: Timestamp,
    /// How it ended.
    pub verdict: TestVerdict,
    /// How long it took.
    pub took: Duration,
    /// Who ran it.
    pub bot: String,
}

/// Failures of a test that are known: they make no run fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantine {
    /// The suite.
    pub suite: String,
    /// The test.
    pub test: String,
    /// Who looks after it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// It counts again from then on.
    pub expires: Timestamp,
}
