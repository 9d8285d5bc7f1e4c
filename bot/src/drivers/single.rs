//! A process for each test: its output is the test's, its end the verdict.

use super::{Event, Finished, Left, Reader};
use crate::suite::TestVerdict;
use std::fmt;

/// Output that a judge sees, from its end.
const SEEN: usize = 64 * 1024;

/// How such a process ended.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) left: &'a Left,
    /// The beginning of its output.
    pub(super) head: &'a str,
    /// The end of its output.
    pub(super) tail: &'a str,
}

/// What that means. `None`: the process did not come to the end of its test.
pub(super) type Judge = Box<dyn Fn(&Ending<'_>) -> Option<(TestVerdict, String)> + Send>;

/// See the module.
pub(super) struct Single {
    name: String,
    judge: Judge,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl fmt::Debug for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Single {
    /// Of the test `name`.
    pub(super) fn of(name: &str, judge: Judge) -> Box<dyn Reader> {
        Box::new(Self { name: name.to_owned(), judge, head: Vec::new(), tail: Vec::new() })
    }
}

impl Reader for Single {
    fn started(&mut self, events: &mut Vec<Event>) {
        events.push(Event::Started(self.name.clone()));
    }

    fn output(&mut self, bytes: &[u8], _: bool, events: &mut Vec<Event>) {
        let room = SEEN - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
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
        let Some((verdict, message)) = (self.judge)(&Ending { left, head: &head, tail: &tail }) else {
            return;
        };
        let finished = Finished { name: self.name.clone(), verdict, message, took: None };
        events.extend([Event::Finished(finished), Event::Judged]);
    }
}
