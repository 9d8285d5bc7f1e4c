//! What a program of GoogleTest says: events from its socket, and from stdout whose output is whose.
//!
//! The socket tells the truth but neither skipped from failed nor what a test wrote; stdout tells both but can be imitated by
//! any test. So an end counts when both have it, in the order of the socket. Where the socket is compiled out, stdout has
//! to do.

use super::{
    apart::Apart,
    list,
    stream::{field, unescape},
};
use crate::{
    drivers::{Event, Finished, Left, Reader},
    suite::{MAX_MESSAGE, TestVerdict},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

const RUN: &str = "[ RUN      ] ";
const ENDS: [(&str, Mark); 3] =
    [("[       OK ] ", Mark::Passed), ("[  FAILED  ] ", Mark::Failed), ("[  SKIPPED ] ", Mark::Skipped)];

/// So many events of the socket wait for stdout, then no more marks are expected. What is not passed waits on: skipped or
/// failed, the results will say.
const BACKLOG: usize = 16;

/// Longest line of stdout that is searched for marks.
const LONGEST_LINE: usize = 64 * 1024;

/// How exact the program's own times are.
const EXACT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Passed,
    Failed,
    Skipped,
}

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Undecided,
    Socket,
    Stdout,
}

/// What the socket said and stdout does not have yet.
#[derive(Debug)]
enum Pending {
    Event(Event),
    SuiteEnded(String),
    Ended { name: String, passed: bool, message: String, took: Duration },
}

/// See the module.
#[derive(Debug)]
pub(super) struct GtestReader {
    selected: HashSet<String>,
    source: Source,
    /// Of stdout, what is no whole line yet.
    partial: Vec<u8>,
    /// The test whose output comes from stdout.
    printing: Option<String>,
    /// No marks come where they should: another printer, or a test has closed stdout.
    unmarked: bool,
    ends: HashMap<String, Mark>,
    pending: VecDeque<Pending>,
    /// The suite that has begun on the socket.
    suite: String,
    apart: Apart,
    /// The test that has begun on the socket, and what failed in it.
    open: Option<String>,
    message: String,
    done: bool,
}

impl GtestReader {
    pub(super) fn new(selected: impl Iterator<Item = String>) -> Self {
        Self {
            selected: selected.collect(),
            source: Source::Undecided,
            partial: Vec::new(),
            printing: None,
            unmarked: false,
            ends: HashMap::new(),
            pending: VecDeque::new(),
            suite: String::new(),
            apart: Apart::default(),
            open: None,
            message: String::new(),
            done: false,
        }
    }

    /// Tells what both sides have.
    fn settle(&mut self, events: &mut Vec<Event>) {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Event(event) => events.push(event),
                Pending::SuiteEnded(suite) => {
                    if self.apart.is_doubtful(&suite) {
                        events.push(Event::Ending);
                        self.pending.push_front(Pending::SuiteEnded(suite));
                        return;
                    }
                    self.suite_ended(&suite, events);
                }
                Pending::Ended { name, passed, message, took } => {
                    let mark = self.ends.remove(&name);
                    self.unmarked |= self.pending.len() >= BACKLOG;
                    if mark.is_none() && !(self.unmarked && passed) {
                        events.push(Event::Ending);
                        self.pending.push_front(Pending::Ended { name, passed, message, took });
                        return;
                    }
                    events.push(self.finished(name, passed, mark, message, took));
                }
            }
        }
    }

    /// Nothing of the suite is left to run.
    fn suite_ended(&mut self, suite: &str, events: &mut Vec<Event>) {
        let by_socket = self.source == Source::Socket;
        events.extend(self.apart.failure(suite, by_socket).map(Event::Blamed));
        events.push(Event::Settled { group: None });
    }

    /// A test that was skipped for what failed before it has failed.
    fn finished(
        &self,
        name: String,
        passed: bool,
        mark: Option<Mark>,
        message: String,
        took: Duration,
    ) -> Event {
        let before = || self.apart.failure_before(&name, self.source == Source::Socket);
        match mark {
            Some(Mark::Skipped) if !passed => match before() {
                Some(failure) => finished(name, false, Some(Mark::Failed), failure, took),
                None => finished(name, false, mark, message, took),
            },
            _ => finished(name, passed, mark, message, took),
        }
    }

    /// A whole line of stdout, its end included if it has one.
    fn printed(&mut self, bytes: &[u8], connected: bool, events: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        if let Some(name) = self.printing.clone() {
            match end(line, &name) {
                None => events.push(Event::Output(Some(name), bytes.to_vec())),
                Some((before, mark, took)) => {
                    if !before.is_empty() {
                        events.push(Event::Output(Some(name.clone()), before.as_bytes().to_vec()));
                    }
                    self.printing = None;
                    self.marked_end(name, mark, took, events);
                }
            }
        } else if let Some(name) = line.find(RUN).map(|at| &line[at + RUN.len()..])
            && self.selected.contains(name)
        {
            self.apart.begun();
            self.printing = Some(name.to_owned());
            if self.source == Source::Undecided {
                self.source = if connected { Source::Socket } else { Source::Stdout };
            }
            if self.source == Source::Stdout {
                events.push(Event::Started(name.to_owned()));
            }
        } else {
            let ended = self.apart.printed(line);
            if self.source != Source::Socket {
                return self.between(line, ended, events);
            }
            if let Some(name) = self.open.as_ref().filter(|_| self.unmarked) {
                events.push(Event::Output(Some(name.clone()), bytes.to_vec()));
            }
            self.settle(events);
        }
    }

    fn marked_end(&mut self, name: String, mark: Mark, took: Option<Duration>, events: &mut Vec<Event>) {
        if self.source != Source::Stdout {
            self.ends.insert(name, mark);
            return self.settle(events);
        }
        let took = took.unwrap_or_default();
        events.push(self.finished(name, mark == Mark::Passed, Some(mark), String::new(), took));
    }

    /// A line between tests, where there is no socket or none yet. It may be the end of a suite.
    fn between(&mut self, line: &str, ended: Option<String>, events: &mut Vec<Event>) {
        if let Some(suite) = ended {
            self.suite_ended(&suite, events);
        } else if line.starts_with("[==========] Running ") {
            events.push(Event::Up);
        } else if line.starts_with("[==========] ") && line.contains(" ran.") {
            self.done = true;
        } else if let Some(rest) = line.strip_prefix("[----------] ") {
            let suite = rest.split_once(" from ");
            let group = suite.map(|(_, name)| name.split(", ").next().unwrap_or(name).to_owned());
            events.push(Event::Settled { group });
        }
    }

    fn ended_on_socket(&mut self, fields: &str) {
        let Some(name) = self.open.take() else { return };
        let took = field(fields, "elapsed_time").and_then(|text| text.strip_suffix("ms")?.parse().ok());
        self.pending.push_back(Pending::Ended {
            name,
            passed: field(fields, "passed") == Some("1"),
            message: std::mem::take(&mut self.message),
            took: Duration::from_millis(took.unwrap_or(0)),
        });
    }

    fn failed_part(&mut self, fields: &str) {
        let part = |name| unescape(field(fields, name).unwrap_or_default());
        if self.message.len() < MAX_MESSAGE {
            let (file, line, message) = (part("file"), part("line"), part("message"));
            self.message.push_str(&format!("{file}:{line}\n{message}\n"));
        }
    }
}

impl Reader for GtestReader {
    fn output(&mut self, bytes: &[u8], connected: bool, events: &mut Vec<Event>) {
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&bytes[..=end]);
            bytes = &bytes[end + 1..];
            self.printed(&line, connected, events);
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LONGEST_LINE {
            let line = std::mem::take(&mut self.partial);
            self.printed(&line, connected, events);
        }
    }

    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(line);
        let Some(rest) = line.strip_prefix("event=") else { return };
        if self.source == Source::Stdout {
            return;
        }
        self.source = Source::Socket;
        let (event, fields) = rest.split_once('&').unwrap_or((rest, ""));
        let name = || fields.strip_prefix("name=").unwrap_or_default().to_owned();
        match event {
            "TestProgramStart" => self.pending.push_back(Pending::Event(Event::Up)),
            "TestProgramEnd" => self.done = true,
            "TestCaseStart" => {
                self.suite = name();
                let group = Some(self.suite.clone());
                self.pending.push_back(Pending::Event(Event::Settled { group }));
            }
            "TestCaseEnd" => self.pending.push_back(Pending::SuiteEnded(std::mem::take(&mut self.suite))),
            "TestStart" => {
                let name = format!("{}.{}", self.suite, name());
                self.pending.push_back(Pending::Event(Event::Started(name.clone())));
                self.open = Some(name);
                self.message.clear();
            }
            "TestPartResult" if self.open.is_none() => self.apart.told(&self.suite),
            "TestPartResult" => self.failed_part(fields),
            "TestEnd" => self.ended_on_socket(fields),
            _ => {}
        }
        self.settle(events);
    }

    fn ended(&mut self, left: &Left, events: &mut Vec<Event>) {
        let last = std::mem::take(&mut self.partial);
        if !last.is_empty() {
            self.printed(&last, true, events);
        }
        let [premature, results] = left.results.as_slice() else { return };
        let skipped: HashSet<String> = results.iter().flat_map(|results| list::skipped(results)).collect();
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Event(event) => events.push(event),
                Pending::SuiteEnded(suite) => self.suite_ended(&suite, events),
                Pending::Ended { name, passed, message, took } => {
                    let mark = skipped.contains(&name).then_some(Mark::Skipped);
                    let mark = self.ends.remove(&name).or(mark);
                    events.push(self.finished(name, passed, mark, message, took));
                }
            }
        }
        if self.done && premature.is_none() {
            let failure = self.apart.failure("", self.source == Source::Socket);
            events.extend(failure.map(Event::Blamed));
            events.push(Event::Done);
        }
    }
}

fn finished(name: String, passed: bool, mark: Option<Mark>, message: String, took: Duration) -> Event {
    let verdict = match mark {
        _ if passed => TestVerdict::Passed,
        Some(Mark::Skipped) => TestVerdict::Skipped,
        _ => TestVerdict::Failed,
    };
    // Successes have messages, too.
    let message = if passed { String::new() } else { message };
    Event::Finished(Finished { name, verdict, message, took: Some((took, EXACT)) })
}

/// The end of `name` in a line, with what comes before it, or nothing. The test may not have ended its last line.
fn end<'a>(line: &'a str, name: &str) -> Option<(&'a str, Mark, Option<Duration>)> {
    ENDS.iter().find_map(|(text, mark)| {
        let at = line.rfind(text)?;
        let rest = line[at + text.len()..].strip_prefix(name)?;
        // What fails is followed by its parameters, everything by its time.
        let (_, time) = rest.strip_suffix(" ms)")?.rsplit_once('(')?;
        let is_whole = rest.starts_with(" (") || rest.starts_with(", where ");
        is_whole.then(|| (&line[..at], *mark, time.parse().ok().map(Duration::from_millis)))
    })
}
