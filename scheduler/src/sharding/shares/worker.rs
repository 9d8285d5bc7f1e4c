//! One worker: its queue, what it runs, how fast it is.

use super::TestIndex;
use proto::{BotId, Timestamp};
use std::collections::VecDeque;

/// Deviation of the logarithm of bots' speeds: of those that nothing is known of, and of one that was measured before.
const SPREAD: f64 = 0.3;
const SPREAD_MEASURED: f64 = 0.1;
/// Deviation of the logarithm of real to estimated durations, as if it had been seen so often.
const NOISE: f64 = 0.3;
const NOISE_SEEN: f64 = 10.0;
/// Logarithms beyond this say that a test has changed, nothing about the bot.
const OUTLIER: f64 = 2.0;
/// Tests for which the first guess about unknown ones counts.
const PRIOR_TESTS: f64 = 5.0;

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

    /// Whether history has none of them.
    pub(super) fn is_unknown(self) -> bool {
        self.known_count == 0
    }

    /// Whether there are none.
    pub(super) fn is_empty(self) -> bool {
        self.known_count + self.unknown_count == 0
    }

    /// Seconds on a bot of speed 1.
    pub(super) fn seconds(self, unknown: f64) -> f64 {
        self.known + f64::from(self.unknown_count) * unknown
    }
}

/// A mean that begins with a guess. What goes on counts with what it has taken so far, by the maximum likelihood of times that
/// are cut off: those that have ended first are the short ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    sum: f64,
    weight: f64,
    /// Of all that goes on.
    going: f64,
}

impl Mean {
    pub(super) fn new(guess: f64) -> Self {
        Self { sum: guess * PRIOR_TESTS, weight: PRIOR_TESTS, going: 0.0 }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.weight += 1.0;
    }

    pub(super) fn goes_on(&mut self, sum: f64) {
        self.going = sum;
    }

    pub(super) fn get(self) -> f64 {
        (self.sum + self.going) / self.weight
    }

    /// Whether hardly anything was added yet.
    pub(super) fn is_guess(self) -> bool {
        self.weight < 2.0 * PRIOR_TESTS
    }
}

/// How much faster tests with history ended than estimated: logarithms, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    sum: f64,
    squares: f64,
    count: f64,
}

impl Pace {
    /// Durations of no length say nothing.
    pub(super) fn add(&mut self, estimated: f64, took: f64) {
        let faster = (estimated.max(1e-3) / took.max(1e-3)).ln().clamp(-OUTLIER, OUTLIER);
        self.sum += faster;
        self.squares += faster * faster;
        self.count += 1.0;
    }

    fn mean(self) -> f64 {
        self.sum / (self.count + NOISE_SEEN)
    }

    /// Of one test.
    fn variance(self) -> f64 {
        let seen = self.squares - self.count * self.mean().powi(2);
        (NOISE * NOISE * NOISE_SEEN + seen.max(0.0)) / (NOISE_SEEN + self.count)
    }

    /// So many times its estimate a test takes seldom: two and a half deviations.
    pub(super) fn overdue(self) -> f64 {
        (2.5 * self.variance().sqrt()).exp().clamp(1.25, 4.0)
    }
}

/// Units, the next one first; the tests of each in reverse order.
pub(super) type Queue = VecDeque<Vec<TestIndex>>;

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) presence: Presence,
    /// On which it runs, if that is known.
    pub(super) bot: Option<BotId>,
    /// What it was, when it is absent because nobody has heard of it, and may be all the same.
    pub(super) silent: Option<Presence>,
    /// May name tests that have gone elsewhere.
    pub(super) queue: Queue,
    /// Of the tests in the queue that are still there.
    pub(super) load: Load,
    /// Granted and not reported, in the order in which they are run.
    pub(super) out: VecDeque<TestIndex>,
    /// When the first of `out` began.
    pub(super) since: Timestamp,
    pub(super) waits_since: Option<Timestamp>,
    /// It has asked for tests since it began, or since the plan was made: before a restart it may have been told that there is
    /// nothing any more.
    pub(super) asked: bool,
    speed_before: Option<f64>,
    pub(super) pace: Pace,
    /// Seconds given to it to be measured.
    pub(super) probed: f64,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            presence: Presence::New,
            bot: None,
            silent: None,
            queue: VecDeque::new(),
            load: Load::default(),
            out: VecDeque::new(),
            since: Timestamp::default(),
            waits_since: None,
            asked: false,
            speed_before: None,
            pace: Pace::default(),
            probed: 0.0,
        }
    }
}

impl Worker {
    pub(super) fn begin(&mut self, speed: Option<f64>, now: Timestamp) {
        self.presence = Presence::Active;
        self.bot = None;
        self.silent = None;
        self.asked = false;
        self.speed_before = speed.filter(|speed| speed.is_finite()).map(|speed| speed.clamp(0.05, 20.0));
        self.pace = Pace::default();
        self.probed = 0.0;
        self.since = now;
    }

    /// How fast it is beside the fleet: what was known before, corrected by what it has reported.
    pub(super) fn speed(&self, fleet: Pace) -> f64 {
        let (before, trust) = match self.speed_before {
            Some(speed) => (speed.ln(), SPREAD_MEASURED.powi(-2)),
            None => (0.0, SPREAD.powi(-2)),
        };
        let seen = self.pace.sum - self.pace.count * fleet.mean();
        let noise = fleet.variance();
        ((seen / noise + before * trust) / (self.pace.count / noise + trust)).exp()
    }

    /// Whether the speed is known about as well as that of a bot that was measured before.
    pub(super) fn is_measured(&self, fleet: Pace) -> bool {
        self.speed_before.is_some() || self.pace.count / fleet.variance() >= SPREAD_MEASURED.powi(-2)
    }

    /// Seconds that it waited, when it did.
    pub(super) fn wait_ended(&mut self, now: Timestamp) -> f64 {
        self.waits_since.take().map_or(0.0, |since| now.since(since).as_secs_f64())
    }
}

/// Seconds until a test that has run for `elapsed` ends, when `expected` was expected: one that is overdue is taken to
/// need as long again.
pub(super) fn remaining(expected: f64, elapsed: f64, overdue: f64) -> f64 {
    if elapsed > expected * overdue { elapsed } else { (expected - elapsed).max(0.0) }
}
