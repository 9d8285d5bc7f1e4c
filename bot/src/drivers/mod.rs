//! The conventions of test runners: how each lists its tests, how it is told to run exactly these, and what it says
//! meanwhile. Pure, one file for each runner; `task/suite` starts the processes and holds the channel.
//!
//! | driver | a process runs | tells by | knows its tests by |
//! |---|---|---|---|
//! | `gtest` | many tests | a socket, else stdout | `--gtest_list_tests` |

mod gtest;

use crate::{
    attempt::CommandExit,
    executor::Command,
    suite::{Driver, ListedTest, TestToRun, TestVerdict},
};
use std::{collections::VecDeque, fmt, path::PathBuf, time::Duration};

/// What a runner is started with, and where.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// As the step has it.
    pub(crate) command: Command,
    /// The root of the input.
    pub(crate) input: PathBuf,
    /// What `${ISOLATED_OUTDIR}` stands for.
    pub(crate) outputs: PathBuf,
    /// A directory for the driver's own files.
    pub(crate) own: PathBuf,
}

/// Why a runner cannot be made use of. Another bot would not fare better.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DriverError {
    /// What it lists is not what such a runner lists.
    #[error("cannot list the tests: {reason}")]
    List { reason: String },
    /// The step asks for what cannot be.
    #[error("cannot run the tests: {reason}")]
    Setup { reason: String },
}

/// A process to start for the list.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) command: Command,
    /// To be written first.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// What it leaves, if it does.
    pub(crate) result: Option<PathBuf>,
}

/// What it left.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) exit: CommandExit,
    pub(crate) stdout: Vec<u8>,
    pub(crate) result: Option<Vec<u8>>,
}

/// A process to start for tests.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) command: Command,
    /// To be written first.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// Directories to be made first.
    pub(crate) directories: Vec<PathBuf>,
    /// How many tests, from the front of the queue, it was told of.
    pub(crate) takes: usize,
    /// Files whose content says how it went.
    pub(crate) results: Vec<PathBuf>,
    pub(crate) reader: Box<dyn Reader>,
}

/// How a process of a [`Launch`] ended.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) exit: CommandExit,
    /// Of [`Launch::results`], what was there.
    pub(crate) results: Vec<Option<Vec<u8>>>,
}

/// The conventions of one runner.
pub(crate) trait Runner: Send + fmt::Debug {
    /// The next process that is needed to know the tests.
    fn list(&mut self) -> Option<Listing>;

    /// What that process left.
    fn listed(&mut self, listed: Listed) -> Result<(), DriverError>;

    /// The tests, when [`Runner::list`] wants no more.
    fn tests(&self) -> Vec<ListedTest>;

    /// Whether tests cannot be run before they were listed in this very attempt.
    fn runs_what_it_lists(&self) -> bool {
        false
    }

    /// The process that runs the first tests of `queue`, which is not empty. The `number` of the process is unique in the
    /// attempt; `port` is the channel's, on the loopback address.
    fn launch(&self, queue: &VecDeque<TestToRun>, number: u32, port: u16) -> Result<Launch, DriverError>;
}

/// Understands what one process says, bytes as they come.
pub(crate) trait Reader: Send + fmt::Debug {
    /// Some of its output. `connected` tells whether it has opened its channel.
    fn output(&mut self, bytes: &[u8], connected: bool, events: &mut Vec<Event>);

    /// A line from the channel, without its end.
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>);

    /// Nothing more will come.
    fn ended(&mut self, left: &Left, events: &mut Vec<Event>);

    /// The line for the channel that has the process run `test`, after which comes `next`; without a test it is to end.
    /// Only asked of those that tell [`Event::Ready`].
    fn order(&self, test: Option<&TestToRun>, next: Option<&TestToRun>) -> String {
        let _ = (test, next);
        String::new()
    }
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It has come so far that tests will run.
    Up,
    /// It wants to be told of a test.
    Ready,
    /// This test has begun.
    Started(String),
    /// Output of this test, or of the one that has begun.
    Output(Option<String>, Vec<u8>),
    /// This test has ended.
    Finished(Finished),
    /// Whatever fails from now on is not the fault of what has finished. What comes next is in `group`, if it says so.
    Settled { group: Option<String> },
    /// It does not know this test.
    Unknown(String),
    /// It has come to its proper end.
    Done,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) name: String,
    pub(crate) verdict: TestVerdict,
    pub(crate) message: String,
    /// What the runner says that it took, and how exact that is.
    pub(crate) took: Option<(Duration, Duration)>,
}

/// The runner of `driver`.
pub(crate) fn runner(driver: &Driver, base: Base) -> Result<Box<dyn Runner>, DriverError> {
    match driver {
        Driver::Gtest => Ok(Box::new(gtest::Gtest::new(base))),
        _ => Err(DriverError::Setup { reason: "no such driver".into() }),
    }
}
