//! A worker without tests takes over about half of what is left to the one that would end last.

use super::{Place, Presence, Queue, Shares, TestIndex, WorkerId};
use proto::Timestamp;
use std::collections::VecDeque;

impl Shares {
    /// Moves tests to the queue of `thief`, if the later of the two then ends sooner by more than a dispatch costs.
    /// Looks at each worker once, then at the queue of one.
    pub(super) fn steal(&mut self, thief: WorkerId, now: Timestamp) -> bool {
        let Some((victim, end)) = self.last_to_end(thief, now) else { return false };
        let Some(queue) = self.workers.get_mut(&victim).map(|worker| std::mem::take(&mut worker.queue))
        else {
            return false;
        };
        let is_there = |test: &TestIndex| self.tests[test.at()].place == Place::Queued(victim);
        let there = queue.into_iter().filter(|unit| unit.iter().any(is_there)).collect();
        let (stolen, left) = self.divide(thief, victim, end, there);
        if let Some(worker) = self.workers.get_mut(&victim) {
            worker.queue = left;
            for test in stolen.iter().flatten() {
                worker.load.remove(self.tests[test.at()].known);
            }
        }
        let any = !stolen.is_empty();
        self.steals += u64::from(any);
        for unit in stolen.into_iter().rev() {
            self.enqueue(thief, unit, VecDeque::push_front);
        }
        any
    }

    /// Which units of a queue the thief takes, and what is left: each goes over that lets the later of the two end
    /// sooner, the first, which is the longest, before all others, because it should not wait.
    fn divide(
        &self,
        thief: WorkerId,
        victim: WorkerId,
        end: f64,
        queue: Queue,
    ) -> (Vec<Vec<TestIndex>>, Queue) {
        let speed = |id| self.workers.get(&id).map_or(1.0, |worker| worker.speed(self.fleet));
        let (fast, slow) = (speed(thief), speed(victim));
        let is_here = self.workers.get(&victim).is_some_and(|worker| worker.presence == Presence::Active);
        let (mut mine, mut theirs) = (self.overhead, end);
        let goes = queue.iter().enumerate().map(|(position, unit)| {
            let estimate: f64 = unit.iter().map(|test| self.estimate(*test)).sum();
            let (after, without) = (mine + estimate / fast, theirs - estimate / slow);
            // Who is not there does not run even its first one.
            let goes = after.max(without) < theirs || (position == 0 && !is_here);
            if goes {
                (mine, theirs) = (after, without);
            }
            goes
        });
        let goes: Vec<bool> = goes.collect();
        if is_here && mine.max(theirs) + self.overhead >= end {
            return (Vec::new(), queue);
        }
        let (mut stolen, mut left) = (Vec::new(), VecDeque::new());
        for (mut unit, goes) in queue.into_iter().zip(goes) {
            unit.retain(|test| self.tests[test.at()].place == Place::Queued(victim));
            if goes {
                stolen.push(unit);
            } else {
                left.push_back(unit);
            }
        }
        (stolen, left)
    }

    /// Who has something in its queue and would end last, and in how many seconds.
    pub(super) fn last_to_end(&self, thief: WorkerId, now: Timestamp) -> Option<(WorkerId, f64)> {
        let unknown = self.unknown.get();
        let others = self.workers.iter().filter(|(id, worker)| **id != thief && !worker.load.is_empty());
        let ends = others.map(|(id, worker)| {
            let queue = worker.load.seconds(unknown) / worker.speed(self.fleet);
            let until = match worker.presence {
                Presence::Active | Presence::Done => self.busy(*id, now),
                // Whoever has not come for so long may take as long again.
                Presence::New => now.since(self.planned).as_secs_f64(),
                Presence::Absent { since } => now.since(since).as_secs_f64(),
            };
            (*id, until + queue)
        });
        ends.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }
}
