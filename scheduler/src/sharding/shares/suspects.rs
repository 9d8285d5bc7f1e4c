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
const WORTHWHILE: f64 = 16.0;
/// A test that goes on is looked at again when it has taken so many times as long.
const AGAIN: f64 = 1.3;

impl Shares {
    /// A test has taken so many seconds, or takes more: unknown ones beside it are suspected of being long.
    pub(super) fn suspect_beside(&mut self, test: TestIndex, seconds: f64) {
        let least = self.least_suspected();
        let mut expected = seconds * FALLS;
        for distance in 1..=BESIDE {
            if expected < least {
                return;
            }
            for beside in [test.0.checked_sub(distance), test.0.checked_add(distance)].into_iter().flatten() {
                self.suspect(TestIndex(beside), expected);
            }
            expected *= FALLS;
        }
    }

    fn suspect(&mut self, test: TestIndex, seconds: f64) {
        let Some(state) = self.tests.get_mut(test.at()).filter(|state| state.known.is_none()) else { return };
        let expected = Duration::from_secs_f64(seconds);
        match state.place {
            Place::Queued(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.load.remove(None);
                }
            }
            Place::Suspected(before) if before < expected => {
                self.suspects.remove(&(before, test));
            }
            _ => return,
        }
        state.place = Place::Suspected(expected);
        self.suspects.insert((expected, test));
    }

    /// The one that is expected to take longest.
    pub(super) fn take_suspect(&mut self, now: Timestamp) -> Option<TestIndex> {
        self.watch_running(now);
        let (_, test) = self.suspects.pop_last()?;
        self.tests[test.at()].place = Place::Out;
        Some(test)
    }

    /// What runs for long already says as much as what has ended.
    fn watch_running(&mut self, now: Timestamp) {
        if self.workers.values().all(|worker| worker.load.is_known()) {
            return;
        }
        let least = self.least_suspected();
        let long = self.workers.iter_mut().filter_map(|(_, worker)| {
            let (test, elapsed) = (*worker.out.front()?, now.since(worker.since).as_secs_f64());
            let before = worker.watched.filter(|(watched, _)| *watched == test).map_or(0.0, |(_, at)| at);
            let is_news = elapsed * FALLS > least && elapsed > before * AGAIN;
            is_news.then(|| *worker.watched.insert((test, elapsed)))
        });
        for (test, elapsed) in long.collect::<Vec<_>>() {
            self.suspect_beside(test, elapsed);
        }
    }

    /// Seconds from which on it matters when a test begins.
    fn least_suspected(&self) -> f64 {
        let unknown = self.unknown.get();
        let left: f64 = self.workers.values().map(|worker| worker.load.seconds(unknown)).sum();
        let there = self.workers.values().filter(|worker| worker.presence == Presence::Active).count();
        let matters = left / there.max(1) as f64 * MATTERS;
        matters.max(unknown * UNUSUAL).max(self.overhead * WORTHWHILE)
    }
}
