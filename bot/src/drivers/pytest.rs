//! pytest: one session for all batches, which is told of tests one by one, so that imports and shared fixtures are paid
//! once.
//!
//! What was observed of releases 7 to 9: a node id that is not there makes a command line run nothing at all (exit code 4);
//! report files are written at the end, so after a crash there are none; ids may have spaces, brackets and `::` inside of
//! brackets, but no line ends. The plugin, `isoswarm_pytest.py`, selects by itself and tells by a socket.

use super::{
    Address, Base, ChannelKind, DriverError, Event, Finished, Launch, Left, Listed, Listing, Next, Reader,
    Runner, Takes,
};
use crate::{
    attempt::CommandExit,
    executor::{Command, Files},
    suite::{ListedTest, TestToRun, TestVerdict},
};
use serde::Deserialize;
use std::{collections::VecDeque, path::PathBuf, time::Duration};

/// The plugin, and the name by which pytest loads it.
const PLUGIN: &str = include_str!("isoswarm_pytest.py");
const NAME: &str = "isoswarm_pytest";

/// Most collection errors that are told.
const ERRORS: usize = 5;

/// pytest, however it is started.
#[derive(Debug)]
pub(super) struct Pytest {
    base: Base,
    tests: Vec<ListedTest>,
    asked: bool,
}

/// A line of the plugin's list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Test { name: String, group: Option<String>, file: Option<String>, line: Option<u32> },
    Error { error: String, reason: String },
}

impl Pytest {
    pub(super) fn new(base: Base) -> Self {
        Self { base, tests: Vec::new(), asked: false }
    }

    fn command(&self, variable: &str, value: String) -> Command {
        let mut command = self.base.command.clone();
        command.arguments.extend(["-p".to_owned(), NAME.to_owned()]);
        let own = self.directory().display().to_string();
        let path = match command.environment.get("PYTHONPATH").filter(|path| !path.is_empty()) {
            Some(path) => format!("{own}:{path}"),
            None => own,
        };
        command.environment.extend([("PYTHONPATH".to_owned(), path), (variable.to_owned(), value)]);
        command
    }

    fn directory(&self) -> PathBuf {
        self.base.own.join("pytest")
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        vec![(self.directory().join(NAME).with_extension("py"), PLUGIN.into())]
    }
}

impl Runner for Pytest {
    fn list(&mut self) -> Option<Listing> {
        if std::mem::replace(&mut self.asked, true) {
            return None;
        }
        let result = self.base.own.join("list.jsonl");
        let mut command = self.command("ISOSWARM_PYTEST_LIST", result.display().to_string());
        command.files = Some(Files { stdin: None, stdout: self.base.own.join("list") });
        Some(Listing { command, files: self.files(), result: Some(result) })
    }

    fn listed(&mut self, listed: Listed) -> Result<(), DriverError> {
        let refuse = |reason| Err(DriverError::List { reason });
        let text = String::from_utf8_lossy(&listed.stdout);
        let Some(result) = &listed.result else {
            let start = text.len().saturating_sub(2000);
            let last = text[text.ceil_char_boundary(start)..].trim();
            return refuse(format!("pytest ended with {} and told none; it said: {last}", listed.exit));
        };
        let mut errors = Vec::new();
        for line in result.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Line::Test { name, group, file, line }) => {
                    self.tests.push(ListedTest { name, group, file, line, ..ListedTest::default() });
                }
                Ok(Line::Error { error, reason }) => errors.push(format!("{error}: {reason}")),
                Err(error) => return refuse(format!("the plugin says what is no test: {error}")),
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        let number = errors.len();
        errors.truncate(ERRORS);
        refuse(format!("pytest cannot collect {number} of its files or directories: {}", errors.join("; ")))
    }

    fn tests(&self) -> Vec<ListedTest> {
        self.tests.clone()
    }

    fn channel(&self) -> ChannelKind {
        ChannelKind::Socket
    }

    fn next(&mut self, _: &VecDeque<TestToRun>, _: u32, channel: &Address) -> Result<Next, DriverError> {
        let Address::Socket(socket) = channel else {
            return Err(DriverError::Setup { reason: "pytest has no socket to tell of its tests by".into() });
        };
        let command = self.command("ISOSWARM_PYTEST_SOCKET", socket.display().to_string());
        let launch = Launch::of(command, Takes::Pulls, Box::new(PytestReader::default()));
        Ok(Next::Process(Box::new(Launch { files: self.files(), ..launch })))
    }
}

/// What the plugin says.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Said {
    Ready,
    Ahead,
    Sync,
    Uncaptured,
    Start { id: String },
    Phase { when: String },
    Output { id: String, text: String },
    Finish { id: String, verdict: Verdict, message: String, seconds: f64 },
    Clear { id: String, all: bool },
    Cleared { id: String, problem: String },
    Unknown { id: String },
    Done,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// Understands the plugin.
#[derive(Debug, Default)]
struct PytestReader {
    /// All its tests are over, and what they shared is put away.
    done: bool,
    /// What tests print is not kept by pytest: it is in the output.
    uncaptured: bool,
}

impl Reader for PytestReader {
    fn output(&mut self, bytes: &[u8], _: bool, events: &mut Vec<Event>) {
        if self.uncaptured {
            events.push(Event::Output(None, bytes.to_vec()));
        }
    }

    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let Ok(said) = serde_json::from_slice(line) else { return };
        events.push(match said {
            Said::Ready => Event::Ready,
            Said::Ahead => Event::Ahead,
            Said::Sync => Event::Sync,
            Said::Start { id } => Event::Started(id),
            Said::Phase { when } => Event::Doing(when),
            Said::Output { id, text } => Event::Output(Some(id), text.into_bytes()),
            Said::Finish { id, verdict, message, seconds } => {
                let verdict = match verdict {
                    Verdict::Passed => TestVerdict::Passed,
                    Verdict::Failed => TestVerdict::Failed,
                    Verdict::Skipped => TestVerdict::Skipped,
                };
                let took = Duration::try_from_secs_f64(seconds).ok().map(|took| (took, Duration::ZERO));
                Event::Finished(Finished { name: id, verdict, message, took })
            }
            Said::Clear { id, all } => Event::Clearing { name: id, all },
            Said::Cleared { id, problem } => Event::Cleared { name: id, problem },
            Said::Unknown { id } => Event::Unknown(id),
            Said::Uncaptured => {
                self.uncaptured = true;
                return;
            }
            Said::Done => {
                self.done = true;
                return;
            }
        });
    }

    fn ended(&mut self, left: &Left, events: &mut Vec<Event>) {
        // No test has failed, some have, there are none at all.
        if self.done && [0, 1, 5].map(CommandExit::Code).contains(&left.exit) {
            events.push(Event::Judged);
        }
    }

    fn order(&self, test: Option<&TestToRun>, next: Option<&TestToRun>) -> String {
        let name = |test: Option<&TestToRun>| test.map(|test| test.name.clone());
        match name(test) {
            Some(run) => serde_json::json!({ "run": run, "next": name(next) }).to_string(),
            None => serde_json::json!({ "end": true }).to_string(),
        }
    }

    fn later(&self) -> String {
        serde_json::json!({ "wait": true }).to_string()
    }
}
