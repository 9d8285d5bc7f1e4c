//! The conventions of test runners: how each lists its tests, how it is told to run exactly these, and what it says
//! meanwhile. Pure, one file for each runner; `task/suite` starts the processes and holds the channel.
//!
//! | driver | a process runs | tells by | knows its tests by |
//! |---|---|---|---|
//! | `gtest` | many tests | a socket, else stdout | `--gtest_list_tests` |
//! | `pytest` | what it is told of one by one | the plugin, by a socket | the plugin |
//! | `libtest` | one test | its exit code and summary | `--list --format terse` |
//! | `ctest` | one test, after what it needs | what its properties say | `--show-only=json-v1` |
//! | `bazel` | one partition | its exit code and files | the number of partitions |
//! | `opaque` | one partition | its exit code | the number of partitions |

mod bazel;
mod ctest;
mod gtest;
mod libtest;
mod opaque;
mod partitions;
mod pytest;
mod single;

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
    /// What is to be removed first.
    pub(crate) removed: Vec<PathBuf>,
    /// Directories to be made first.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) takes: Takes,
    /// Files whose content says how it went. Removed first.
    pub(crate) results: Vec<PathBuf>,
    /// Longest that each of its tests may take, whatever the scheduler says; or that it may take itself, if it takes none.
    pub(crate) timeout: Option<Duration>,
    /// The program is the test's own: that it cannot be started is the test's failure.
    pub(crate) is_of_test: bool,
    pub(crate) reader: Box<dyn Reader>,
}

impl Launch {
    /// One that needs nothing but its command.
    fn of(command: Command, takes: Takes, reader: Box<dyn Reader>) -> Self {
        Self {
            command,
            takes,
            reader,
            files: Vec::new(),
            removed: Vec::new(),
            directories: Vec::new(),
            results: Vec::new(),
            timeout: None,
            is_of_test: false,
        }
    }
}

/// Which tests a process is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// So many from the front of the queue.
    Front(usize),
    /// None yet: it asks for them by [`Event::Ready`].
    Pulls,
    /// None: it prepares what tests need, or clears it away.
    Nothing,
}

/// What to do about the first test of the queue.
#[derive(Debug)]
pub(crate) enum Next {
    /// To start a process.
    Process(Box<Launch>),
    /// Nothing: this is what becomes of it.
    Told(TestRun),
}

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestRun {
    pub(crate) verdict: TestVerdict,
    pub(crate) message: String,
    /// The end of what it wrote.
    pub(crate) output: Vec<u8>,
    pub(crate) took: Duration,
}

impl TestRun {
    /// Of one that did not run at all.
    fn of(verdict: TestVerdict, message: impl Into<String>) -> Self {
        Self { verdict, message: message.into(), output: Vec::new(), took: Duration::ZERO }
    }
}

/// Bytes of the end of an output that stand in a message.
const LAST_WORDS: usize = 2000;

/// The message, and how the output of what it is about ends.
pub(crate) fn with_last_words(message: String, output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    let text = &text[text.ceil_char_boundary(text.len().saturating_sub(LAST_WORDS))..];
    if text.is_empty() { message } else { format!("{message}; its output ends with: {text}") }
}

/// How a process of a [`Launch`] ended.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) exit: CommandExit,
    /// It was stopped, by the kernel for lack of memory or by us: its exit is not its own.
    pub(crate) stopped: bool,
    /// Of [`Launch::results`], what was there.
    pub(crate) results: Vec<Option<Vec<u8>>>,
}

/// What a process tells of its tests by while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    /// Its output and its end say all.
    None,
    /// TCP on the loopback address.
    Loopback,
    /// A socket in the file system.
    Socket,
}

/// Where a process finds its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    None,
    Port(u16),
    Socket(PathBuf),
}

/// The conventions of one runner.
pub(crate) trait Runner: Send + fmt::Debug {
    /// The next process that is needed to know the tests.
    fn list(&mut self) -> Option<Listing> {
        None
    }

    /// What that process left.
    fn listed(&mut self, listed: Listed) -> Result<(), DriverError> {
        let _ = listed;
        Ok(())
    }

    /// The tests, when [`Runner::list`] wants no more.
    fn tests(&self) -> Vec<ListedTest>;

    /// Whether tests cannot be run before they were listed in this very attempt.
    fn runs_what_it_lists(&self) -> bool {
        false
    }

    /// What its processes tell of their tests by, beside their output.
    fn channel(&self) -> ChannelKind {
        ChannelKind::None
    }

    /// What runs the first tests of `queue`, which is not empty. The `number` of the process is unique in the attempt;
    /// `channel` is where it finds its channel.
    fn next(
        &mut self,
        queue: &VecDeque<TestToRun>,
        number: u32,
        channel: &Address,
    ) -> Result<Next, DriverError>;

    /// A process has ended that was started for the first test of the queue, or for nothing, and this is how that went.
    /// Answers what should be known of it and no verdict tells.
    fn left(&mut self, run: TestRun) -> Option<String> {
        let _ = run;
        None
    }

    /// What is to be run after the last test, one process at a time.
    fn epilogue(&mut self) -> Option<Launch> {
        None
    }
}

/// Understands what one process says, bytes as they come.
pub(crate) trait Reader: Send + fmt::Debug {
    /// The process was started.
    fn started(&mut self, events: &mut Vec<Event>) {
        let _ = events;
    }

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

    /// The line that answers [`Event::Sync`], and [`Event::Ahead`] when nobody knows yet what comes next.
    fn later(&self) -> String {
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
    /// The same, while the test that has begun is about to end: it wants to know now, or that nobody knows yet.
    Ahead,
    /// It goes on when it is told that what it has said so far was taken in.
    Sync,
    /// This test has begun.
    Started(String),
    /// Output of this test, or of the one that has begun.
    Output(Option<String>, Vec<u8>),
    /// The test that has begun is at this part of it.
    Doing(String),
    /// The test that has begun is at its end, of which not all is known yet.
    Ending,
    /// This test has ended.
    Finished(Finished),
    /// Whatever fails from now on is not the fault of what has finished. What comes next is in `group`, if it says so.
    Settled { group: Option<String> },
    /// What this test has left, which has begun or was the last one, is being put away; with `all` what the whole process
    /// shares, too.
    Clearing { name: String, all: bool },
    /// It was put away. Not empty: with this problem.
    Cleared { name: String, problem: String },
    /// It does not know this test.
    Unknown(String),
    /// It has come to its proper end.
    Done,
    /// The same, and its exit code is no news any more.
    Judged,
    /// The test that has ended last has failed after all, for this reason.
    Blamed(String),
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
pub(crate) fn runner(driver: &Driver, mut base: Base) -> Result<Box<dyn Runner>, DriverError> {
    for name in SHARDS {
        base.command.environment.remove(name);
    }
    match driver {
        Driver::Gtest => Ok(Box::new(gtest::Gtest::new(base))),
        Driver::Pytest => Ok(Box::new(pytest::Pytest::new(base))),
        Driver::Libtest => Ok(Box::new(libtest::Libtest::new(base))),
        Driver::Ctest => Ok(Box::new(ctest::Ctest::new(base))),
        Driver::Bazel { partitions } => Ok(Box::new(bazel::Bazel::new(base, *partitions))),
        Driver::Opaque { partitions } => Ok(Box::new(opaque::Opaque::new(base, *partitions))),
    }
}

/// Variables by which steps of shards tell which one it is, and runners would leave tests out.
const SHARDS: [&str; 6] = [
    "GTEST_SHARD_INDEX",
    "GTEST_TOTAL_SHARDS",
    "TEST_SHARD_INDEX",
    "TEST_TOTAL_SHARDS",
    "SHARD_INDEX",
    "SHARD_TOTAL",
];
