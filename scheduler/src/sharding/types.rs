//! The words that estimates, shares and ledger have in common.

use proto::Timestamp;
use std::{sync::Arc, time::Duration};

/// A test, by its position in the listing of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TestIndex(pub u32);

impl TestIndex {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }

    /// Listings have fewer than 2^32 tests: `Ledger::new` refuses longer ones.
    pub(super) fn of(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX))
    }
}

/// A worker, by the index of its shard in the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// A test as its framework lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTest {
    /// The framework's full name, unique in the step.
    pub name: Arc<str>,
    /// Class, module or fixture: its tests stay on one worker unless they are more than a fair share.
    pub group: Option<Arc<str>>,
    /// Never runs twice at the same time.
    pub exclusive: bool,
    /// Listed, but not to be run.
    pub disabled: bool,
}

/// How one execution of a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// It held.
    Passed,
    /// It did not hold.
    Failed,
    /// The framework left it out.
    Skipped,
    /// The process ended while the test was open: the signal or exit code, as text.
    Crashed(Arc<str>),
    /// It took longer than it may.
    TimedOut,
    /// The runner of this bot does not know the test.
    Unknown,
    /// What it ran on has failed, by the test's own word.
    Infrastructure,
}

impl TestOutcome {
    /// Whether another execution could give a better verdict.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Passed | Self::Skipped)
    }

    /// Whether it says that something is wrong with the test: a bot that does not know it, or could not do its part, says
    /// nothing of it.
    pub fn is_of_the_test(&self) -> bool {
        matches!(self, Self::Failed | Self::Crashed(_) | Self::TimedOut)
    }
}

/// What a worker tells of one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// Which test.
    pub test: TestIndex,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took.
    pub duration: Duration,
    /// When it began, by the bot's clock.
    pub started: Timestamp,
    /// The failure in the framework's words, up to 4 KiB.
    pub message: Arc<str>,
    /// The end of what a failing test printed, up to 16 KiB.
    pub output: Arc<str>,
}

/// What a listed test is worth in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Passed at once.
    Passed,
    /// Passed after it had failed, on the same inputs.
    Flaky,
    /// Left out by the framework, or disabled in the listing.
    Skipped,
    /// Failed, but is in quarantine.
    Quarantined,
    /// Failed each time.
    Failed,
    /// The process ended while the test was open.
    Crashed,
    /// It took longer than it may.
    TimedOut,
    /// No runner knew it.
    Unknown,
    /// Nobody reported it before the step ended.
    Missing,
}

impl Verdict {
    /// Whether the run is red because of it.
    pub fn is_red(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::TimedOut | Self::Unknown | Self::Missing)
    }
}
