//! Where nothing is known of tests: those beside long ones are run before others, because suites keep together what is alike.

use super::{Place, Presence, Shares, TestIndex};
use proto::Timestamp;
use std::time::Duration;

/// So many tests on either side of a long one may be long, too ...
const BESIDE: u32 = 4;
/// ... the next one such a part of it, and so on.
const FALLS: f64 = 0.8;
/// Of what is left of the run, what a test has to take for it to matter when it begins.
const MATTERS: f64 = 0.1;
/// And so many times as long as others.
const UNUSUAL: f64 = 3.0;
/// And so many dispatches: it is run by itself.
const LEAST_DISPATCHES: f64 = 16.0;

impl Shares {
    /// A test has taken so many seconds, or takes more: unknown ones beside it are suspected of being long. Not those of groups,
    /// which stay together.
    pub(super) fn suspect_beside(&mut self, test: TestIndex, seconds: f64) {
        let expected = |distance: u32| seconds * FALLS.powi(distance.cast_signed());
        let unusual = (self.unknown.get() * UNUSUAL).max(self.overhead * LEAST_DISPATCHES);
        if expected(1) < unusual {
            return;
        }
        let least = unusual.max(self.left() * MATTERS);
        for distance in (1..=BESIDE).take_while(|distance| expected(*distance) >= least) {
            for beside in [test.0.checked_sub(distance), test.0.checked_add(distance)].into_iter().flatten() {
                self.suspect(TestIndex(beside), Duration::from_secs_f64(expected(distance)));
            }
        }
    }

    fn suspect(&mut self, test: TestIndex, expected: Duration) {
        let is_open = |state: &&mut super::Test| state.known.is_none() && !state.grouped;
        let Some(state) = self.tests.get_mut(test.at()).filter(is_open) else { return };
        match state.place {
            Place::Queued(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.load.remove(None);
                }
            }
            Place::Suspected if state.suspected < expected => {
                self.suspects.remove(&(state.suspected, test));
            }
            _ => return,
        }
        state.place = Place::Suspected;
        state.suspected = expected;
        self.suspects.insert((expected, test));
    }

    /// The one that is expected to take longest.
    pub(super) fn take_suspect(&mut self) -> Option<TestIndex> {
        let (_, test) = self.suspects.pop_last()?;
        self.tests[test.at()].place = Place::Out;
        Some(test)
    }

    /// Takes into account what runs of which nothing is known: it takes at least what it has taken. Once for all that happens at
    /// the same time.
    pub(super) fn watch_running(&mut self, now: Timestamp) {
        if self.watched == Some(now) {
            return;
        }
        self.watched = Some(now);
        // Who is silent may have stopped long ago.
        let heard = self.workers.values().filter(|worker| worker.silent.is_none());
        let running: Vec<(TestIndex, f64)> = heard
            .filter_map(|worker| Some((*worker.out.front()?, now.since(worker.since).as_secs_f64())))
            .filter(|(test, _)| self.tests[test.at()].known.is_none())
            .collect();
        self.unknown.goes_on(running.iter().map(|(_, elapsed)| elapsed).sum());
        for (test, elapsed) in running {
            self.suspect_beside(test, elapsed);
        }
    }

    /// Seconds that are left in all queues, for each of those who are there.
    pub(super) fn left(&self) -> f64 {
        let unknown = self.unknown.get();
        let left: f64 = self.workers.values().map(|worker| worker.load.seconds(unknown)).sum();
        let there = self.workers.values().filter(|worker| worker.presence == Presence::Active).count();
        left / there.max(1) as f64
    }
}
