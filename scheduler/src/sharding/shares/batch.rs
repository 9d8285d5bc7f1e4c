//! What a worker gets when it asks.

use super::{
    Mode, Next, Place, Presence, Queue, Shares, TestIndex, WorkerId,
    worker::{Worker, remaining},
};
use proto::Timestamp;
use std::collections::VecDeque;

/// A process runs tests worth so many dispatches, at least.
pub(super) const PROCESS_FLOOR: f64 = 8.0;
/// What is left of a share when it is worth so many dispatches or less goes in one batch: halving it, because its worker
/// may be slow, would cost more bot-seconds than it can save.
const PROCESS_LAST: f64 = 6.0;
/// And tests worth so many at most: what is granted cannot be taken back, and when the bot of a worker dies others must
/// soon be free for what it had. Costs one part in so many of the bot-seconds.
const PROCESS_MOST: f64 = 280.0;
/// From so many workers on only so many: their shares are small, so that few are as large, and the more workers there are the
/// more often one of them dies.
const MANY: usize = 32;
const MANY_MOST: f64 = 100.0;
/// Tests in one batch: a batch is one message.
pub(super) const BATCH_MOST: usize = 10_000;
/// Seconds of tests that a worker has in hand when it is given more, so that it does not wait for the answer: a call, and
/// the reports that the bot gathers for it.
const LEAD: f64 = 0.1;
/// So many times that a worker runs something that may well end later than it should, and that what is granted meanwhile waits
/// for: it is granted when that has ended, unless plenty is left for everybody.
const LONG: f64 = 4.0;

/// Dispatches that one batch of a process is worth at most where there are so many workers, between half of the most and all
/// of it by the worker's number: equal batches would all end at the same moment. Multiples of the golden ratio have fractions
/// that are spread evenly.
fn process_most(id: WorkerId, workers: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let most = if workers < MANY { PROCESS_MOST } else { MANY_MOST };
    most * (0.5 + 0.5 * (f64::from(id.0) * GOLDEN).fract())
}

impl Shares {
    /// What a worker is to do now. It may ask while the last test of its last batch runs.
    ///
    /// In this order: what came back, what decides the end of the run (if nobody else would end it sooner), what may do so
    /// for all that is known, its own share, what it can steal, what it can double. A worker waits until it has nearly ended what it runs: what is
    /// granted cannot be stolen any more.
    pub fn next(&mut self, id: WorkerId, now: Timestamp) -> Next {
        let is_active = |worker: &&mut Worker| worker.presence == Presence::Active;
        let Some(worker) = self.workers.get_mut(&id).filter(is_active) else { return Next::Nothing };
        worker.asked = true;
        let (busy, lead) = (self.busy(id, now), self.overhead.max(LEAD));
        let is_free = busy == 0.0;
        // One of which nothing is known may go on for long after it should have ended: what was granted would wait for it.
        let may_go_on = !is_free && self.unknown.get() > lead && self.runs_unknown(id);
        // One that is suspected of being long begins when somebody is free for it.
        if busy > lead || may_go_on || (!is_free && !self.suspects.is_empty()) {
            return Next::Wait;
        }
        if !is_free && self.runs_long(id, lead * LONG) {
            return Next::Wait;
        }
        self.watch_running(now);
        let mut batch = self.take_returned(id, now);
        if batch.is_empty() {
            batch = self.probe(id, now);
        }
        if batch.is_empty() && (is_free || self.decisive.is_empty()) {
            if !self.take_decisive(id, now) && is_free {
                batch.extend(self.take_suspect());
            }
            if batch.is_empty() {
                batch = self.take_own(id);
            }
        }
        if batch.is_empty() && is_free && self.steal(id, now) {
            batch = self.take_own(id);
        }
        if batch.is_empty() && is_free {
            batch.extend(self.double(id, now));
        }
        if batch.is_empty() {
            return self.wait(id, now);
        }
        self.hand_out(id, &batch, now);
        Next::Batch(batch)
    }

    pub(super) fn hand_out(&mut self, id: WorkerId, batch: &[TestIndex], now: Timestamp) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        self.waited += worker.wait_ended(now);
        if worker.out.is_empty() {
            worker.since = now;
        }
        for test in batch {
            if let Some(state) = self.tests.get_mut(test.at()) {
                worker.out.push_back(*test);
                state.copies += 1;
            }
        }
    }

    /// Seconds until the worker has probably ended what it was granted.
    pub(super) fn busy(&self, id: WorkerId, now: Timestamp) -> f64 {
        let Some(worker) = self.workers.get(&id) else { return 0.0 };
        let speed = worker.speed(self.fleet);
        let mut expected = worker.out.iter().map(|test| self.estimate(*test) / speed);
        let Some(first) = expected.next() else { return 0.0 };
        let elapsed = now.since(worker.since).as_secs_f64();
        remaining(first, elapsed, self.fleet.overdue()).max(1e-6) + expected.sum::<f64>()
    }

    /// Whether it holds a test of which nothing is known.
    fn runs_unknown(&self, id: WorkerId) -> bool {
        let out = self.workers.get(&id).into_iter().flat_map(|worker| &worker.out);
        out.into_iter().any(|test| self.tests[test.at()].known.is_none())
    }

    /// Whether what it runs is longer than that, and than what is left for each: if it goes on for longer than it should, others
    /// are free sooner.
    fn runs_long(&self, id: WorkerId, least: f64) -> bool {
        let Some(worker) = self.workers.get(&id) else { return false };
        let runs: f64 = worker.out.iter().map(|test| self.estimate(*test)).sum();
        let is_other =
            |(other, worker): (&WorkerId, &Worker)| *other != id && worker.presence == Presence::Active;
        runs > least && runs > self.left() && self.workers.iter().any(is_other)
    }

    /// Seconds of tests in one batch out of so many that are left.
    pub(super) fn enough(&self, id: WorkerId, left: f64) -> f64 {
        match self.settings.mode {
            Mode::Pull => self.overhead.max(LEAD),
            // What is left over must be worth a process, too.
            Mode::Process if left < 2.0 * self.overhead * PROCESS_FLOOR => left,
            Mode::Process => (left / 2.0).min(self.overhead * process_most(id, self.workers.len())),
        }
    }

    fn take_own(&mut self, id: WorkerId) -> Vec<TestIndex> {
        let unknown = self.unknown.get();
        let Some(worker) = self.workers.get(&id) else { return Vec::new() };
        // A slow bot takes as long for less; one that is not measured yet may be slow.
        let speed =
            worker.speed(self.fleet).min(1.0) * if worker.is_measured(self.fleet) { 1.0 } else { 0.5 };
        let enough = match self.settings.mode {
            // Nothing is known of any: as little as possible, until something is.
            Mode::Pull if worker.load.is_unknown() && self.unknown.is_guess() => 0.0,
            Mode::Process if worker.load.is_unknown() && self.unknown.is_guess() => {
                worker.load.seconds(unknown) / 3.0
            }
            Mode::Process if worker.load.seconds(unknown) < self.overhead * PROCESS_LAST => f64::INFINITY,
            _ => self.enough(id, worker.load.seconds(unknown) * speed),
        };
        self.take(id, enough, VecDeque::front_mut, VecDeque::pop_front)
    }

    /// The next tests out of a worker's queue, from one end of it.
    pub(super) fn take(
        &mut self,
        id: WorkerId,
        enough: f64,
        end: fn(&mut Queue) -> Option<&mut Vec<TestIndex>>,
        drop_end: fn(&mut Queue) -> Option<Vec<TestIndex>>,
    ) -> Vec<TestIndex> {
        let unknown = self.unknown.get();
        let (mut batch, mut sum) = (Vec::new(), 0.0);
        let Some(worker) = self.workers.get_mut(&id) else { return batch };
        while batch.len() < BATCH_MOST && (batch.is_empty() || sum < enough) {
            let Some(unit) = end(&mut worker.queue) else { break };
            let Some(test) = unit.pop() else {
                drop_end(&mut worker.queue);
                continue;
            };
            let state = &mut self.tests[test.at()];
            if state.place == Place::Queued(id) {
                state.place = Place::Out;
                worker.load.remove(state.known);
                sum += state.known.unwrap_or(unknown);
                batch.push(test);
            }
        }
        batch
    }

    /// Waits for what may come back (retries, lost workers, stragglers), as long as that is paid for; in any case when no other
    /// worker has asked for tests that may take it.
    fn wait(&mut self, id: WorkerId, now: Timestamp) -> Next {
        let end = self.workers.keys().map(|worker| self.busy(*worker, now)).fold(0.0, f64::max);
        let is_over = end == 0.0
            && self.returned.is_empty()
            && self.decisive.is_empty()
            && self.suspects.is_empty()
            && self.workers.values().all(|w| w.load.is_empty());
        let is_last = !self.workers.keys().any(|other| *other != id && self.asks(*other));
        let Some(worker) = self.workers.get(&id) else { return Next::Nothing };
        if !worker.out.is_empty() {
            return Next::Wait;
        }
        let others =
            self.workers.iter().filter(|(other, worker)| **other != id && worker.waits_since.is_some());
        let waits =
            |since: Option<Timestamp>| end + since.map_or(0.0, |since| now.since(since).as_secs_f64());
        let promised = self.waited
            + waits(worker.waits_since)
            + others.map(|(_, worker)| waits(worker.waits_since)).sum::<f64>();
        let budget = self.total * f64::from(self.settings.idle_percent) / 100.0;
        let Some(worker) = self.workers.get_mut(&id) else { return Next::Nothing };
        if !is_over && (promised <= budget || is_last) {
            worker.waits_since.get_or_insert(now);
            return Next::Wait;
        }
        self.waited += worker.wait_ended(now);
        worker.presence = Presence::Done;
        Next::Nothing
    }
}
