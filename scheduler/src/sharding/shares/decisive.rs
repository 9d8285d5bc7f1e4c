//! The few tests that decide when the run ends: each begins where it ends soonest.

use super::{Place, Presence, Shares, TestIndex, WorkerId};
use proto::Timestamp;
use std::collections::VecDeque;

/// Looks at so many of them at a time.
const LOOK_AT: usize = 32;
/// Another worker has to end a test by so much sooner to be waited for.
const SOONER: f64 = 1.05;
/// Part of the run for which a bot of unknown speed is measured with small tests.
const PROBE: f64 = 0.02;
/// Somebody as fast as this is hoped for as long as workers are to come.
const HOPED_FOR: f64 = 1.15;

impl Shares {
    /// Small tests for a worker whose speed is not known, while there is something decisive: its own, or else of who has
    /// most.
    pub(super) fn probe(&mut self, id: WorkerId, now: Timestamp) -> Vec<TestIndex> {
        let most = self.horizon * PROBE;
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        if self.decisive.is_empty() || worker.is_measured(self.fleet) || worker.probed >= most {
            return Vec::new();
        }
        let has_none = worker.load.is_empty();
        let other = if has_none { self.last_to_end(id, now).map(|(other, _)| other) } else { Some(id) };
        let Some(source) = other else { return Vec::new() };
        let batch = self.take(source, self.overhead.min(most), VecDeque::back_mut, VecDeque::pop_back);
        let seconds: f64 = batch.iter().map(|test| self.estimate(*test)).sum();
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.probed += seconds.max(self.overhead);
        }
        batch
    }

    /// Moves the longest decisive unit that nobody would end sooner to the worker's queue. Whether one was.
    pub(super) fn take_decisive(&mut self, id: WorkerId, now: Timestamp) -> bool {
        let places = &self.tests;
        self.decisive.retain(|unit| unit.iter().any(|test| places[test.at()].place == Place::Decisive));
        if self.decisive.is_empty() {
            return false;
        }
        let mut others = self.others(id, now);
        let Some(speed) = self.workers.get(&id).map(|worker| worker.speed(self.fleet)) else { return false };
        for position in 0..self.decisive.len().min(LOOK_AT) {
            let unit = &self.decisive[position];
            let seconds: f64 = unit.iter().map(|test| self.estimate(*test)).sum();
            let ends = others.iter().map(|(busy, speed)| busy + seconds / speed);
            let soonest = ends.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            match soonest {
                Some((other, end)) if end * SOONER < seconds / speed => {
                    others.swap_remove(other);
                }
                _ => {
                    let unit = self.decisive.remove(position);
                    let unit = unit.into_iter().filter(|test| self.tests[test.at()].place == Place::Decisive);
                    let unit = unit.collect();
                    self.enqueue(id, unit, VecDeque::push_front);
                    return true;
                }
            }
        }
        false
    }

    /// When who else is free, in seconds, and how fast it is.
    fn others(&self, id: WorkerId, now: Timestamp) -> Vec<(f64, f64)> {
        let passed = now.since(self.planned).as_secs_f64() + self.horizon * PROBE;
        let others = self.workers.iter().filter(|(other, _)| **other != id);
        others
            .filter_map(|(other, worker)| match worker.presence {
                Presence::Active => Some((self.busy(*other, now) + self.overhead, worker.speed(self.fleet))),
                // It may take as long again until somebody comes.
                Presence::New => Some((passed, HOPED_FOR)),
                Presence::Absent { .. } | Presence::Done => None,
            })
            .collect()
    }
}
