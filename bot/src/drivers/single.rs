//! A process for each test: its output is the test's, its end the verdict.

use super::{Event, Finished, Left, Reader};
use crate::{attempt::CommandExit, suite::TestVerdict};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Output that a judge sees, from each end.
const SEEN: usize = 64 * 1024;

/// Most output that a judge sees who wants all of it.
pub(super) const WHOLE: usize = 64 * 1024 * 1024;

/// The variable that names a file which a program makes when it begins its tests, and removes when it has ended them.
/// GoogleTest does, and what follows Bazel's protocol.
pub(super) const PREMATURE_EXIT_FILE: &str = "TEST_PREMATURE_EXIT_FILE";

/// Has the process of this number make such a file, and tells which, unless the step knows better: an empty value means none.
pub(super) fn watch_for_premature_exit(
    environment: &mut BTreeMap<String, String>,
    own: &Path,
    number: u32,
) -> PathBuf {
    let file = own.join(format!("premature-{number}"));
    let variable = environment.entry(PREMATURE_EXIT_FILE.to_owned());
    variable.or_insert_with(|| file.display().to_string());
    file
}

/// What it means that the file is still there: something in the middle has ended the process.
pub(super) fn premature(exit: CommandExit) -> (TestVerdict, String) {
    let message = format!("it ended in the middle of its tests: it has left its {PREMATURE_EXIT_FILE}");
    (TestVerdict::Crashed { how: exit.to_string() }, message)
}

/// How such a process ended.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) left: &'a Left,
    /// The beginning of its output.
    pub(super) head: &'a str,
    /// The end of its output.
    pub(super) tail: &'a str,
    /// `head` is all of its output.
    pub(super) is_whole: bool,
}

/// What that means. `None`: the process did not come to the end of its test.
pub(super) type Judge = Box<dyn Fn(&Ending<'_>) -> Option<(TestVerdict, String)> + Send>;

/// See the module.
pub(super) struct Single {
    name: String,
    judge: Judge,
    /// Longest that `head` may become.
    most: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
    is_whole: bool,
}

impl fmt::Debug for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Single {
    /// Of the test `name`.
    pub(super) fn of(name: &str, judge: Judge) -> Box<dyn Reader> {
        Self::seeing(SEEN, name, judge)
    }

    /// Of the test `name`, whose judge wants all of its output: up to [`WHOLE`] of it.
    pub(super) fn whole(name: &str, judge: Judge) -> Box<dyn Reader> {
        Self::seeing(WHOLE, name, judge)
    }

    fn seeing(most: usize, name: &str, judge: Judge) -> Box<dyn Reader> {
        let (head, tail) = (Vec::new(), Vec::new());
        Box::new(Self { name: name.to_owned(), judge, most, head, tail, is_whole: true })
    }
}

impl Reader for Single {
    fn started(&mut self, events: &mut Vec<Event>) {
        events.push(Event::Started(self.name.clone()));
    }

    fn output(&mut self, bytes: &[u8], _: bool, events: &mut Vec<Event>) {
        let room = self.most - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_whole &= bytes.len() <= room;
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * SEEN {
            self.tail.drain(..self.tail.len() - SEEN);
        }
        events.push(Event::Output(None, bytes.to_vec()));
    }

    fn line(&mut self, _: &[u8], _: &mut Vec<Event>) {}

    fn ended(&mut self, left: &Left, events: &mut Vec<Event>) {
        if left.stopped {
            return;
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&self.tail));
        let ending = Ending { left, head: &head, tail: &tail, is_whole: self.is_whole };
        let Some((verdict, message)) = (self.judge)(&ending) else { return };
        let finished = Finished { name: self.name.clone(), verdict, message, took: None };
        events.extend([Event::Finished(finished), Event::Judged]);
    }
}
