//! One worker: its queue, what it runs, how fast it is.

use super::TestIndex;
use proto::Timestamp;
use std::collections::VecDeque;

/// Seconds of tests for which a bot's speed from before counts as if it were measured now.
const PRIOR_SECONDS: f64 = 10.0;
/// Tests for which the first guess about unknown ones counts.
const PRIOR_TESTS: f64 = 5.0;
/// A test that has taken this much longer than estimated is taken to need as long again as it has by now.
const OVERDUE: f64 = 1.25;

/// Whether somebody works as this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not yet.
    New,
    /// Not any more: lost.
    Absent { since: Timestamp },
    /// Yes.
    Active,
    /// Was told that there is nothing any more.
    Done,
}

/// The sum of a set of tests, in which unknown ones are counted, since what they are taken to need changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    known: f64,
    known_count: u32,
    unknown_count: u32,
}

impl Load {
    pub(super) fn add(&mut self, known: Option<f64>) {
        match known {
            Some(known) => {
                self.known += known;
                self.known_count += 1;
            }
            None => self.unknown_count += 1,
        }
    }

    pub(super) fn remove(&mut self, known: Option<f64>) {
        match known {
            Some(known) => {
                self.known_count -= 1;
                // Nothing is left of rounding.
                self.known = if self.known_count == 0 { 0.0 } else { (self.known - known).max(0.0) };
            }
            None => self.unknown_count -= 1,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.known_count + self.unknown_count == 0
    }

    /// Seconds on a bot of speed 1.
    pub(super) fn seconds(self, unknown: f64) -> f64 {
        self.known + f64::from(self.unknown_count) * unknown
    }
}

/// A mean that begins with a guess.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    pub(super) fn new(guess: f64) -> Self {
        Self { sum: guess * PRIOR_TESTS, weight: PRIOR_TESTS }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.weight += 1.0;
    }

    pub(super) fn get(self) -> f64 {
        self.sum / self.weight
    }
}

/// Estimated and real seconds of the same tests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    estimated: f64,
    took: f64,
}

impl Pace {
    pub(super) fn add(&mut self, estimated: f64, took: f64) {
        self.estimated += estimated;
        self.took += took;
    }
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) presence: Presence,
    /// Units, the next one last; the tests of each in reverse order. May name tests that have gone elsewhere.
    pub(super) queue: Vec<Vec<TestIndex>>,
    /// Of the tests in the queue that are still there.
    pub(super) load: Load,
    /// Granted and not reported, in the order in which they are run.
    pub(super) out: VecDeque<TestIndex>,
    /// When the first of `out` began.
    pub(super) since: Timestamp,
    pub(super) waits_since: Option<Timestamp>,
    speed_before: f64,
    pub(super) pace: Pace,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            presence: Presence::New,
            queue: Vec::new(),
            load: Load::default(),
            out: VecDeque::new(),
            since: Timestamp::default(),
            waits_since: None,
            speed_before: 1.0,
            pace: Pace::default(),
        }
    }
}

impl Worker {
    pub(super) fn begin(&mut self, speed: f64, now: Timestamp) {
        self.presence = Presence::Active;
        self.speed_before = if speed.is_finite() { speed.clamp(0.05, 20.0) } else { 1.0 };
        self.pace = Pace::default();
        self.since = now;
    }

    /// How fast it is beside the fleet: what was known before, corrected by what it has reported.
    pub(super) fn speed(&self, fleet: Pace) -> f64 {
        let drift = (PRIOR_SECONDS + fleet.estimated) / (PRIOR_SECONDS + fleet.took);
        let usual = self.pace.took * drift;
        ((PRIOR_SECONDS * self.speed_before + self.pace.estimated) / (PRIOR_SECONDS + usual)).max(0.05)
    }

    /// Seconds that it waited, when it did.
    pub(super) fn wait_ended(&mut self, now: Timestamp) -> f64 {
        self.waits_since.take().map_or(0.0, |since| now.since(since).as_secs_f64())
    }
}

/// Seconds until a test that has run for `elapsed` ends, when `expected` was expected.
pub(super) fn remaining(expected: f64, elapsed: f64) -> f64 {
    if elapsed > expected * OVERDUE { elapsed } else { (expected - elapsed).max(0.0) }
}
