//! A worker for which nothing is left runs a straggler's test a second time, and the first to end it counts.

use super::{Place, Shares, TestIndex, WorkerId, worker::remaining};
use proto::Timestamp;

/// What a duplicate has to gain of what the straggler still needs.
const GAIN: f64 = 0.1;
/// And when the budget is spent, for one test, however small the suite is.
const GAIN_ONCE: f64 = 0.4;

/// Shorter ones are not worth the look.
const LEAST: f64 = 1.0;

impl Shares {
    /// The test that gains most by being run here, too: more than a tenth, more than a dispatch costs, within the budget.
    pub(super) fn double(&mut self, id: WorkerId, now: Timestamp) -> Option<TestIndex> {
        let percent = self.settings.duplicates_percent;
        let budget = self.total * f64::from(percent) / 100.0 - self.duplicated;
        let is_first = percent > 0 && self.duplicated == 0.0;
        if budget <= 0.0 && !is_first {
            return None;
        }
        let speed = self.workers.get(&id)?.speed(self.fleet);
        let others = self.workers.keys().filter(|other| **other != id);
        let late = others.map(|other| (*other, self.busy(*other, now))).filter(|(_, end)| *end > LEAST);
        let (last, _) = late.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
        let gains = self.stragglers(last, now).into_iter().filter_map(|(test, left, needs)| {
            let here = self.overhead + needs / speed;
            let gain = left - here;
            let is_paid = here <= budget || (is_first && gain > left * GAIN_ONCE);
            let is_worth = gain > left * GAIN && gain > self.overhead && is_paid;
            is_worth.then_some((test, gain, here))
        });
        let (test, _, here) = gains.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
        self.duplicated += here;
        Some(test)
    }

    /// Tests that this worker alone runs: seconds until it ends them, and seconds that they need at speed 1.
    fn stragglers(&self, id: WorkerId, now: Timestamp) -> Vec<(TestIndex, f64, f64)> {
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        let (speed, overdue) = (worker.speed(self.fleet), self.fleet.overdue());
        let running = now.since(worker.since).as_secs_f64();
        let mut until = 0.0;
        let mut found = Vec::new();
        for (position, test) in worker.out.iter().enumerate() {
            let estimate = self.estimate(*test);
            let elapsed = if position == 0 { running } else { 0.0 };
            let left = remaining(estimate / speed, elapsed, overdue);
            until += left;
            let state = &self.tests[test.at()];
            // What takes too long on a bot whose speed is not known is rather the bot's fault than the test's, if there
            // is history of the test.
            let is_blamed = state.known.is_some() && !worker.is_measured(self.fleet);
            let needs = if is_blamed { estimate } else { (elapsed + left) * speed };
            if state.place == Place::Out && state.copies == 1 && !state.exclusive {
                found.push((*test, until, needs));
            }
        }
        found
    }
}
