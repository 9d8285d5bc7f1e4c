//! An attempt that runs tests one by one: lists them if it is told to, takes batches until there are no more, and tells
//! of each test by itself.
//!
//! Every process runs as any other command does: under the supervisor, its output to the spool. What bounds it is what one
//! test may take, as the scheduler says with each, and how long a runner may be at work with no test to show for it; an
//! attempt may go on for as long as there are tests. A test that takes its process with it costs a new process for the
//! rest, nothing more. What runners have to say is understood by `drivers`; `progress` makes verdicts of it, pure.

mod channel;
mod log;
mod process;
mod progress;
mod report;

use crate::{
    attempt::{CommandExit, Ending, Timeouts},
    drivers::{Base, Listed, Runner, runner},
    executor::{Cause, Executor, Interruption},
    files,
    spool::Spool,
    suite::{
        Batch, ListedTest, MAX_NAME, MAX_TESTS, TestToRun, TestsCommand, TestsLine, TestsNews, TestsOrder,
    },
    task::failure::Failure,
};
use log::Logs;
use proto::{
    limits::{MAX_LISTING_BYTES, MAX_LISTING_TEXT},
    listing,
};
use std::{
    collections::{HashSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Exit code of an attempt whose runner has failed with no test to blame. No verdict tells of it, so the scheduler counts
/// the worker as failed.
const BROKEN: i32 = 2;

/// How an attempt with tests ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SuiteEnd {
    pub(super) ending: Ending,
    /// 0 when every test that was run has passed or was skipped, 1 when one has not, [`BROKEN`] when a runner has failed
    /// after its tests, whatever these were.
    pub(super) exit: Option<CommandExit>,
    pub(super) message: String,
    pub(super) out_of_memory: bool,
    pub(super) took: Duration,
}

/// What the tests of an attempt are run with.
#[derive(Debug)]
pub(super) struct Suite<'a> {
    executor: &'a Executor,
    spool: &'a Arc<Spool>,
    timeouts: Timeouts,
    interrupted: &'a mut watch::Receiver<Interruption>,
    line: TestsLine,
    runner: Box<dyn Runner>,
    base: Base,
    logs: Logs,
    queue: VecDeque<TestToRun>,
    complete: bool,
    /// Has asked for more since the last batch.
    hungry: bool,
    /// Processes that were started.
    number: u32,
    failed: bool,
    /// A runner has failed when its tests were over.
    broken: bool,
    notes: Vec<String>,
    out_of_memory: bool,
}

/// What an attempt with tests runs within.
#[derive(Debug)]
pub(super) struct Limits<'a> {
    pub(super) executor: &'a Executor,
    pub(super) spool: &'a Arc<Spool>,
    pub(super) timeouts: Timeouts,
    pub(super) interrupted: &'a mut watch::Receiver<Interruption>,
}

/// Why an attempt goes no further.
#[derive(Debug)]
enum Stop {
    /// A timeout that is no test's has passed, or the scheduler wants its end.
    Ended(Ending, String),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs the tests that `line` asks for to their end, whatever brings that about.
pub(super) async fn run(limits: Limits<'_>, order: &TestsOrder, base: Base, line: TestsLine) -> SuiteEnd {
    let clock = Arc::clone(&limits.executor.clock);
    let began = clock.elapsed();
    let mut end = SuiteEnd {
        ending: Ending::Completed,
        exit: None,
        message: String::new(),
        out_of_memory: false,
        took: Duration::ZERO,
    };
    match Suite::new(limits, order, base, line) {
        Err(failure) => (end.ending, end.message) = (failure.ending, failure.message),
        Ok(mut suite) => {
            let stopped = suite.carry_out(order.list).await.err();
            end.exit = Some(CommandExit::Code(suite.exit_code()));
            end.out_of_memory = suite.out_of_memory;
            end.message = suite.notes.join("; ");
            let (ending, message) = match stopped {
                None => (Ending::Completed, String::new()),
                Some(Stop::Ended(ending, message)) => (ending, message),
                Some(Stop::Failed(Failure { ending, message })) => (ending, message),
            };
            end.ending = ending;
            if !message.is_empty() {
                super::say(&mut end.message, &message);
            }
        }
    }
    end.took = clock.elapsed().saturating_sub(began);
    end
}

impl<'a> Suite<'a> {
    fn new(limits: Limits<'a>, order: &TestsOrder, base: Base, line: TestsLine) -> Result<Self, Failure> {
        let Limits { executor, spool, timeouts, interrupted } = limits;
        std::fs::create_dir_all(&base.own)
            .map_err(|error| Failure::internal(format!("cannot make {}: {error}", base.own.display())))?;
        let runner =
            runner(&order.driver, base.clone()).map_err(|error| Failure::client(error.to_string()))?;
        let logs = Logs::new(&base.outputs);
        Ok(Self {
            executor,
            spool,
            timeouts,
            interrupted,
            line,
            runner,
            base,
            logs,
            queue: VecDeque::new(),
            complete: false,
            hungry: false,
            number: 0,
            failed: false,
            broken: false,
            notes: Vec::new(),
            out_of_memory: false,
        })
    }

    async fn carry_out(&mut self, list: bool) -> Result<(), Stop> {
        if list || self.runner.runs_what_it_lists() {
            self.list().await?;
        }
        if list {
            let tests = checked(self.runner.tests())?;
            self.tell(TestsNews::Listed(tests)).await?;
        }
        loop {
            if !self.queue.is_empty() {
                self.run_process().await?;
            } else if self.complete {
                return self.clear_away().await;
            } else {
                self.ask().await?;
                self.wait().await?;
            }
        }
    }

    async fn list(&mut self) -> Result<(), Stop> {
        while let Some(listing) = self.runner.list() {
            self.write(&listing.files, &[])?;
            // Its output goes elsewhere, so its silence means nothing.
            let timeouts = Timeouts { io: None, ..self.timeouts };
            let execution = self.executor.run(&listing.command, timeouts, self.spool, self.interrupted).await;
            let execution = execution.map_err(Failure::from)?;
            match execution.cause {
                Cause::Itself if execution.out_of_memory => {
                    self.out_of_memory = true;
                    let message = "out of memory: the kernel killed the runner when it listed its tests";
                    return Err(Failure::client(message.into()).into());
                }
                Cause::Itself => {}
                Cause::Interrupted => return Err(killed()),
                Cause::HardTimeout | Cause::IoTimeout => {
                    let hard = self.timeouts.hard;
                    let message =
                        format!("the list of the tests took longer than the hard timeout of {hard:?}");
                    return Err(Stop::Ended(Ending::TimedOut, message));
                }
            }
            let read = |path: Option<&Path>| {
                let bytes = path.map_or(Ok(None), |path| files::read(path, files::MOST));
                bytes.map_err(|error| Failure::client(format!("the list of the tests: {error}")))
            };
            let stdout = listing.command.files.as_ref().map(|files| files.stdout.as_path());
            let stdout = read(stdout)?.unwrap_or_default();
            let listed = Listed { exit: execution.exit, stdout, result: read(listing.result.as_deref())? };
            self.runner.listed(listed).map_err(|error| Failure::client(error.to_string()))?;
        }
        Ok(())
    }

    /// Waits for the next command, with nothing to do.
    async fn wait(&mut self) -> Result<(), Stop> {
        let wanted = *self.interrupted.borrow_and_update();
        if wanted != Interruption::None {
            return Err(killed());
        }
        tokio::select! {
            command = self.line.commands.recv() => self.obey(command),
            Ok(()) = self.interrupted.changed() => Ok(()),
        }
    }

    /// Takes in a command. That there will be none is as good as a kill.
    fn obey(&mut self, command: Option<TestsCommand>) -> Result<(), Stop> {
        match command {
            None => Err(killed()),
            Some(TestsCommand::Complete) => {
                self.complete = true;
                Ok(())
            }
            Some(TestsCommand::Batch(Batch { tests, .. })) => {
                self.hungry = false;
                self.queue.extend(tests);
                Ok(())
            }
        }
    }

    /// Asks for more, once.
    async fn ask(&mut self) -> Result<(), Stop> {
        if self.complete || std::mem::replace(&mut self.hungry, true) {
            return Ok(());
        }
        self.tell(TestsNews::Hungry).await
    }

    async fn tell(&mut self, news: TestsNews) -> Result<(), Stop> {
        self.line.news.send(news).await.map_err(|_| killed())
    }

    fn exit_code(&self) -> i32 {
        if self.broken { BROKEN } else { i32::from(self.failed) }
    }

    /// Removes what must not be there when a process starts: files and directories of which only the last part may be what
    /// a test has put there.
    fn remove<'p>(&self, mut paths: impl Iterator<Item = &'p PathBuf>) -> Result<(), Stop> {
        let remove = |path: &PathBuf| {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
            cas::remove(parent, name).map_err(|error| (path.display().to_string(), error))
        };
        paths.try_for_each(remove).map_err(|(path, error)| {
            Stop::Failed(Failure::internal(format!("cannot remove {path} before another run: {error}")))
        })
    }

    /// Writes what a driver wants to be there before its process starts.
    fn write(&self, files: &[(PathBuf, Vec<u8>)], directories: &[PathBuf]) -> Result<(), Stop> {
        let own = &self.base.own;
        let roots = [own.parent().unwrap_or(own), &self.base.outputs];
        files::write(roots, files, directories).map_err(|error| {
            Stop::Failed(Failure::internal(format!("cannot write to {}: {error}", own.display())))
        })
    }
}

fn killed() -> Stop {
    Stop::Ended(Ending::Killed, "killed on request".into())
}

fn overtime(hard: Duration) -> Stop {
    Stop::Ended(Ending::TimedOut, format!("the tests took longer than the hard timeout of {hard:?}"))
}

/// What is listed becomes the names by which everything is told apart.
fn checked(tests: Vec<ListedTest>) -> Result<Vec<ListedTest>, Failure> {
    if tests.len() > MAX_TESTS {
        let tests = tests.len();
        let reason =
            format!("the runner lists {tests} tests, more than {MAX_TESTS}: make several steps of it");
        return Err(Failure::client(reason));
    }
    let mut names = HashSet::new();
    // What the scheduler refuses would stop all that this bot has to say.
    let is_told = |text: &Option<String>| {
        text.as_ref().is_none_or(|text| text.len() <= MAX_NAME && !text.contains(char::is_control))
    };
    for ListedTest { name, group, file, .. } in &tests {
        let wrong = match name.len() {
            0 => "a test without a name",
            length if length > MAX_NAME => "a name that is too long",
            _ if name.contains(char::is_control) => "a name with control characters",
            _ if !is_told(group) || !is_told(file) => {
                "a test whose group or file has control characters or is too long"
            }
            _ if !names.insert(name.as_str()) => "two tests of one name",
            _ => continue,
        };
        let start: String = name.chars().take(200).collect();
        return Err(Failure::client(format!("the runner lists {wrong}: `{}`", start.escape_debug())));
    }
    let (text, told) = size(&tests);
    for (bytes, most) in [(text, MAX_LISTING_TEXT), (told, MAX_LISTING_BYTES)] {
        if bytes > most {
            let reason = format!(
                "the list of the tests has {bytes} bytes, more than {most}: make several steps of it"
            );
            return Err(Failure::client(reason));
        }
    }
    Ok(tests)
}

/// The bytes of all names, groups and files; and how many the list has at most when it is told, which leaves out what tests
/// have in common with those before them.
fn size(tests: &[ListedTest]) -> (usize, usize) {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let nothing = ListedTest::default();
    let before = std::iter::once(&nothing).chain(tests);
    tests.iter().zip(before).fold((0, 0), |(text, told), (test, before)| {
        let whole = test.name.len() + length(&test.group) + length(&test.file);
        let same = |one: &Option<String>, other: &Option<String>| if one == other { length(one) } else { 0 };
        let shared = listing::shared(&before.name, &test.name)
            + same(&before.group, &test.group)
            + same(&before.file, &test.file);
        (text + whole, told + whole - shared + listing::OVERHEAD)
    })
}

#[cfg(test)]
mod tests;
