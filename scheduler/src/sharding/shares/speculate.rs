//! A worker for which nothing is left runs a straggler's test a second time, and the first to end it counts.

use super::{Place, Shares, TestIndex, WorkerId, worker::remaining};
use proto::Timestamp;

/// What a duplicate has to gain of what the straggler still needs.
const GAIN: f64 = 0.1;

impl Shares {
    /// The test that gains most by being run here, too: more than a tenth, more than a dispatch costs, within the budget.
    pub(super) fn double(&mut self, id: WorkerId, now: Timestamp) -> Option<TestIndex> {
        if self.settings.duplicates_percent == 0 {
            return None;
        }
        let speed = self.workers.get(&id)?.speed(self.fleet);
        let budget = self.total * f64::from(self.settings.duplicates_percent) / 100.0 - self.duplicated;
        let candidates = self.workers.keys().filter(|other| **other != id);
        let gains =
            candidates.flat_map(|other| self.stragglers(*other, now)).filter_map(|(test, left, needs)| {
                let here = self.overhead + needs / speed;
                let gain = left - here;
                let is_worth = gain > left * GAIN && gain > self.overhead && here <= budget;
                is_worth.then_some((test, gain, here))
            });
        let (test, _, here) = gains.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
        self.duplicated += here;
        self.decisions.duplicates += 1;
        Some(test)
    }

    /// Tests that this worker alone runs: seconds until it ends them, and seconds that they need at speed 1.
    fn stragglers(&self, id: WorkerId, now: Timestamp) -> Vec<(TestIndex, f64, f64)> {
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        let speed = worker.speed(self.fleet);
        let elapsed = now.since(worker.since).as_secs_f64();
        let mut until = 0.0;
        let mut found = Vec::new();
        for (position, test) in worker.out.iter().enumerate() {
            let estimate = self.estimate(*test);
            let elapsed = if position == 0 { elapsed } else { 0.0 };
            until += remaining(estimate / speed, elapsed);
            let state = &self.tests[test.at()];
            // A test without history that takes long is a long test, not a slow bot.
            let needs = if state.known.is_some() { estimate } else { estimate.max(elapsed * speed * 2.0) };
            if state.place == Place::Out && state.copies == 1 && !state.exclusive {
                found.push((*test, until, needs));
            }
        }
        found
    }
}
