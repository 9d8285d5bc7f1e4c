//! What fails outside of tests: where environments and suites are set up and torn down. GoogleTest ends with exit code 1 for
//! it, calls tests skipped that were not set up, and no test failed.
//!
//! The socket tells that something was said there, which can be a success, too; stdout what it is, later or earlier.

use std::collections::{HashMap, HashSet};

/// How the first line of a failure ends on stdout.
const FAILURE: &str = ": Failure";

/// Most bytes that are kept of what failed in one place.
const KEPT: usize = 4000;

/// See the module. A place is a suite, or the program with its environments, which has no name.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// Where stdout is.
    place: String,
    /// The lines that come are those of a failure.
    failing: bool,
    /// What failed in each place, by stdout.
    failures: HashMap<String, String>,
    /// Suites that have ended, by stdout.
    ended: HashSet<String>,
    /// Places of which the socket has told something.
    told: HashSet<String>,
}

impl Apart {
    /// Takes in a line of stdout that is no test's. Answers the suite that ends with it.
    pub(super) fn printed(&mut self, line: &str) -> Option<String> {
        if let Some(rest) = line.strip_prefix("[----------] ") {
            self.failing = false;
            let name = rest.split_once(" from ").map_or("", |(_, name)| name);
            if let Some((name, _)) = name.split_once(" (").filter(|_| name.ends_with(" total)")) {
                self.place.clear();
                self.ended.insert(name.to_owned());
                return Some(name.to_owned());
            }
            self.place = name.split(", ").next().unwrap_or(name).to_owned();
        } else if line.starts_with("[=====") {
            self.failing = false;
        } else if self.failing || line.ends_with(FAILURE) {
            self.failing = true;
            let failure = self.failures.entry(self.place.clone()).or_default();
            if failure.len() + line.len() < KEPT {
                failure.push_str(line);
                failure.push('\n');
            }
        }
        None
    }

    /// A test begins on stdout.
    pub(super) fn begun(&mut self) {
        self.failing = false;
    }

    /// The socket has told something of the suite, or of the program.
    pub(super) fn told(&mut self, suite: &str) {
        self.told.insert(suite.to_owned());
    }

    /// Whether stdout has still to say what it was.
    pub(super) fn is_doubtful(&self, suite: &str) -> bool {
        self.told.contains(suite) && !self.ended.contains(suite)
    }

    /// What failed in the suite, or in the program. Where there is a socket, nothing failed that it has not told of.
    pub(super) fn failure(&self, suite: &str, by_socket: bool) -> Option<String> {
        let is_true = !by_socket || self.told.contains(suite);
        self.failures.get(suite).filter(|_| is_true).map(|failure| {
            let place = if suite.is_empty() { "an environment".into() } else { format!("the suite {suite}") };
            format!("{place} failed, outside of its tests:\n{failure}")
        })
    }

    /// The same for what the test `name` needs.
    pub(super) fn failure_before(&self, name: &str, by_socket: bool) -> Option<String> {
        let suite = name.split_once('.').map_or(name, |(suite, _)| suite);
        self.failure(suite, by_socket).or_else(|| self.failure("", by_socket))
    }
}
