//! What the scheduler says of the tests of a suite and what comes back for each of them: always valid, whatever was on
//! the wire.
//!
//! An attempt with a [`TestsOrder`] is a worker: it lists the tests if it is told to, then takes batches of tests until
//! there are no more, and reports each test by itself. Between the shell and the attempt's task go [`TestsCommand`] and
//! [`TestsNews`].

use proto::{Timestamp, limits};
use std::{num::NonZeroU32, time::Duration};
use tokio::sync::mpsc;

/// Longest message of a report, in bytes.
pub(crate) const MAX_MESSAGE: usize = limits::MAX_TEST_MESSAGE;

/// Longest tail of a test's output in a report, in bytes.
pub(crate) const MAX_TAIL: usize = limits::MAX_TEST_OUTPUT;

/// Most tests that are listed.
pub(crate) const MAX_TESTS: usize = limits::MAX_TESTS_PER_STEP;

/// Longest name of a test, in bytes.
pub(crate) const MAX_NAME: usize = limits::MAX_TEST_NAME;

/// What a report takes beside its text: at most so many bytes.
pub(crate) const OVERHEAD: usize = 64;

/// That an attempt runs tests one by one, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestsOrder {
    pub(crate) driver: Driver,
    /// Tells the tests first.
    pub(crate) list: bool,
}

/// Whose conventions the command follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The command is a program of GoogleTest.
    Gtest,
    /// The command is a test program of Rust, or speaks for several as one.
    Libtest,
    /// The command is pytest with its arguments, however it is started.
    Pytest,
    /// The command is ctest with its arguments.
    Ctest,
    /// Any command that splits itself by the protocol of Bazel's test encyclopedia.
    Bazel { partitions: NonZeroU32 },
    /// Any command that splits itself by variables that say which part it is.
    Opaque { partitions: NonZeroU32 },
}

/// A test, as its runner lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListedTest {
    /// Unique among the tests of the step.
    pub(crate) name: String,
    /// Tests with the same group share something that is made once in each process.
    pub(crate) group: Option<String>,
    /// Never to be run twice at a time.
    pub(crate) exclusive: bool,
    /// Not to be run.
    pub(crate) disabled: bool,
    /// Where it is, if the runner says so.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

/// Tests to be run, in this order where the runner can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) number: u32,
    pub(crate) tests: Vec<TestToRun>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestToRun {
    /// Its place in the list.
    pub(crate) index: u32,
    pub(crate) name: String,
    /// For its own run, without the start of the runner.
    pub(crate) timeout: Duration,
}

/// What became of one run of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TestVerdict {
    Passed,
    Failed,
    Skipped,
    /// The process ended while the test ran, or by what it left.
    Crashed {
        /// How, in words.
        how: String,
    },
    TimedOut,
    /// The runner on this bot does not know the test.
    Unknown,
    /// What the test ran on has failed, not the test: its own command says so.
    Infrastructure,
}

/// The result of one run of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestReport {
    pub(crate) index: u32,
    pub(crate) verdict: TestVerdict,
    pub(crate) started: Timestamp,
    pub(crate) duration: Duration,
    /// Why, in words: at most [`MAX_MESSAGE`]. Empty when there is nothing to say.
    pub(crate) message: String,
    /// The end of what it wrote, at most [`MAX_TAIL`]; only when it did not pass. All of it is among the outputs, in
    /// `test-logs/`.
    pub(crate) tail: Vec<u8>,
}

/// What the scheduler wants of a worker next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TestsCommand {
    /// To run more.
    Batch(Batch),
    /// To come to its end: there is nothing more to run after what it has.
    Complete,
}

/// What a worker tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TestsNews {
    /// All tests that there are. Comes first, and once, if it was asked for.
    Listed(Vec<ListedTest>),
    /// A test has begun.
    Started { index: u32, at: Timestamp },
    /// A test has ended.
    Finished(TestReport),
    /// The last test that it has was begun, or it has none: another batch is welcome.
    Hungry,
}

/// Between the shell and the task of an attempt that runs tests.
#[derive(Debug)]
pub(crate) struct TestsLine {
    /// Its end, without [`TestsCommand::Complete`], means that nobody wants anything any more.
    pub(crate) commands: mpsc::Receiver<TestsCommand>,
    /// To be emptied all the time: the tests wait when it is full.
    pub(crate) news: mpsc::Sender<TestsNews>,
}
