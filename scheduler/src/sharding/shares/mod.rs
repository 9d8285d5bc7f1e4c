//! Who will run what is not granted yet. Volatile: planned, then corrected as workers come, report and vanish.

mod batch;
mod decisive;
mod returned;
mod speculate;
mod steal;
mod suspects;
#[cfg(test)]
mod tests;
mod worker;

use super::{
    Estimates, ListedTest, TestIndex, Unit, WorkerId,
    plan::{horizon, plan, units},
};
use proto::Timestamp;
use returned::{Avoid, Returned};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use worker::{Presence, Queue, Worker};

/// How a driver's runner takes tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A runner that stays takes one test after another: batches are as small as one dispatch is worth.
    Pull,
    /// Each batch is a process of its own: half of what is left, but worth several dispatches.
    Process,
}

/// Of the time of all tests, what may be spent on running tests twice that take too long, in percent.
const DUPLICATES_PERCENT: u32 = 2;

/// Of the time of all tests, what workers may wait for others to end, in percent.
const IDLE_PERCENT: u32 = 2;

/// How shares are made and corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How batches are sized.
    pub mode: Mode,
    /// What a dispatch costs a worker, until it is measured.
    pub overhead: Duration,
    /// Time spent on duplicates of running tests, in percent of all test time; 0: none.
    pub duplicates_percent: u32,
    /// Time in which workers may wait for work to come back, in percent of all test time.
    pub idle_percent: u32,
}

impl Settings {
    /// As the scheduler has them.
    pub fn new(mode: Mode, overhead: Duration) -> Self {
        Self { mode, overhead, duplicates_percent: DUPLICATES_PERCENT, idle_percent: IDLE_PERCENT }
    }
}

/// What a worker is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run these, in this order.
    Batch(Vec<TestIndex>),
    /// Nothing now; ask again when something has changed, or after a second.
    Wait,
    /// Nothing any more: the worker may end.
    Nothing,
}

/// Where a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Among the decisive ones.
    Decisive,
    /// In the queue of a worker.
    Queued(WorkerId),
    /// Among those that may take long.
    Suspected,
    /// In the line of those that came back.
    Returned,
    /// With one or more workers.
    Out,
    /// Reported, disabled, or not part of this plan.
    Settled,
}

#[derive(Clone, Debug)]
struct Test {
    /// Seconds, from history.
    known: Option<f64>,
    /// What it is suspected to take at least, when nothing else is known. Zero: of nothing.
    suspected: Duration,
    exclusive: bool,
    /// Others should run on the same worker.
    grouped: bool,
    place: Place,
    /// Workers that run it.
    copies: u32,
}

/// Everything that is not granted yet, and who runs what is.
#[derive(Clone, Debug)]
pub struct Shares {
    settings: Settings,
    tests: Vec<Test>,
    workers: BTreeMap<WorkerId, Worker>,
    /// How many there may be in all, those that have ended among them.
    most_workers: usize,
    /// Units that decide when the run ends, the longest first; of each the tests in reverse order. In no queue, because
    /// where they run depends on who is there and how fast it is.
    decisive: Vec<Vec<TestIndex>>,
    /// Of which nothing is known but what tests beside them take, by what they are suspected to take. In no queue either.
    suspects: BTreeSet<(Duration, TestIndex)>,
    /// Lost or to be retried.
    returned: VecDeque<Returned>,
    planned: Timestamp,
    /// Seconds that a dispatch costs.
    overhead: f64,
    /// Seconds of all planned tests.
    total: f64,
    /// Seconds from the plan to its soonest end.
    horizon: f64,

    /// Seconds promised to duplicates.
    duplicated: f64,
    /// Seconds that workers have waited, those of now left out.
    waited: f64,
    unknown: worker::Mean,
    /// When running tests were looked at last, unless something was reported since.
    watched: Option<Timestamp>,
    /// Of all workers.
    fleet: worker::Pace,
    steals: u64,
}

impl Shares {
    /// Plans `open` for `workers`, none of which has joined yet.
    pub fn plan(
        listed: &[ListedTest],
        estimates: &Estimates,
        open: &[TestIndex],
        workers: u32,
        settings: Settings,
        now: Timestamp,
    ) -> Self {
        let tests = listed.iter().enumerate().map(|(position, test)| Test {
            known: estimates.known(TestIndex::of(position)).map(|known| known.as_secs_f64()),
            suspected: Duration::ZERO,
            exclusive: test.exclusive,
            grouped: test.group.is_some(),
            place: Place::Settled,
            copies: 0,
        });
        let total: f64 = open.iter().map(|test| estimates.of(*test).as_secs_f64()).sum();
        let units = units(listed, estimates, open, workers);
        let mut shares = Self {
            settings,
            tests: tests.collect(),
            workers: (0..workers).map(|index| (WorkerId(index), Worker::default())).collect(),
            most_workers: workers as usize * 2,
            decisive: Vec::new(),
            suspects: BTreeSet::new(),
            returned: VecDeque::new(),
            planned: now,
            overhead: settings.overhead.as_secs_f64(),
            total,
            horizon: horizon(&units, workers).as_secs_f64(),
            duplicated: 0.0,
            waited: 0.0,
            unknown: worker::Mean::new(estimates.unknown().as_secs_f64()),
            watched: None,
            fleet: worker::Pace::default(),
            steals: 0,
        };
        shares.deal(&units, workers);
        shares
    }

    fn deal(&mut self, units: &[Unit], workers: u32) {
        let horizon = horizon(units, workers);
        let mut decisive = Vec::new();
        for (share, index) in plan(units, workers).into_iter().zip(0..) {
            for unit in share.into_iter().map(|position| &units[position as usize]) {
                let tests = unit.tests.iter().rev().copied().collect();
                if unit.is_decisive(horizon) {
                    decisive.push((unit.estimate, tests));
                } else {
                    self.enqueue(WorkerId(index), tests, VecDeque::push_back);
                }
            }
        }
        decisive.sort_by_key(|(estimate, _)| std::cmp::Reverse(*estimate));
        for test in decisive.iter().flat_map(|(_, tests)| tests) {
            self.tests[test.at()].place = Place::Decisive;
        }
        self.decisive = decisive.into_iter().map(|(_, tests)| tests).collect();
    }

    /// Adds a unit, whose tests are in reverse order, to a worker's queue.
    fn enqueue(&mut self, id: WorkerId, unit: Vec<TestIndex>, push: fn(&mut Queue, Vec<TestIndex>)) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        for test in &unit {
            let state = &mut self.tests[test.at()];
            state.place = Place::Queued(id);
            worker.load.add(state.known);
        }
        push(&mut worker.queue, unit);
    }

    /// A bot begins as this worker. `speed` is how fast it was in earlier runs beside other bots: 1 is usual. One of
    /// which nothing is known is measured before it gets anything that decides when the run ends.
    pub fn join(&mut self, id: WorkerId, speed: Option<f64>, now: Timestamp) {
        let worker = self.workers.entry(id).or_default();
        worker.begin(speed, now);
    }

    /// The worker is gone. What it had been granted is given back by whoever knows what the ledger wants again; what
    /// it had not is there to be stolen, or for the next bot that joins as this worker.
    pub fn leave(&mut self, id: WorkerId, now: Timestamp) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        self.waited += worker.wait_ended(now);
        // Who was told that there is nothing any more has ended as it should.
        if worker.presence != Presence::Done {
            worker.presence = Presence::Absent { since: now };
        }
        worker.silent = None;
        for test in std::mem::take(&mut worker.out) {
            self.tests[test.at()].copies -= 1;
        }
        // Whoever comes in its place is another.
        for returned in &mut self.returned {
            returned.avoid.take_if(|avoid| *avoid == Avoid::Worker(id));
        }
    }

    /// Whether the worker has asked for tests and goes on: one that has not may have been told before a restart that there is
    /// nothing any more.
    pub fn asks(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| worker.asked && worker.presence == Presence::Active)
    }

    /// The process that has asked is gone, and its worker with it soon.
    pub fn asks_no_more(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.asked = false;
        }
    }

    /// The worker gets no more, and ends what it has.
    pub fn dismiss(&mut self, id: WorkerId, now: Timestamp) {
        if let Some(worker) = self.workers.get_mut(&id).filter(|w| w.presence == Presence::Active) {
            self.waited += worker.wait_ended(now);
            worker.presence = Presence::Done;
        }
    }

    /// The worker has ended, or will not come: somebody else may come in its place.
    pub fn ended(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.presence == Presence::New) {
            worker.presence = Presence::Done;
        }
    }

    /// Nobody has heard of the worker for a while. What it has is given to others, too, unless it may not run twice, and
    /// what it has not is there to be stolen, until it is [`Shares::heard`] again or has left.
    pub fn silent(&mut self, id: WorkerId, now: Timestamp) {
        let is_there = |worker: &&mut Worker| matches!(worker.presence, Presence::Active | Presence::Done);
        let Some(worker) = self.workers.get_mut(&id).filter(is_there) else { return };
        self.waited += worker.wait_ended(now);
        worker.silent = Some(std::mem::replace(&mut worker.presence, Presence::Absent { since: now }));
        let (out, avoid) = (worker.out.clone(), self.place_of(id));
        for test in out {
            let state = &mut self.tests[test.at()];
            if state.place == Place::Out && state.copies == 1 && !state.exclusive {
                state.place = Place::Returned;
                self.put_back(test, Some(avoid.clone()));
            }
        }
    }

    /// A silent worker is there again, with what it had.
    pub fn heard(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(before) = worker.silent.take() else { return };
        worker.presence = before;
        for test in &worker.out {
            let state = &mut self.tests[test.at()];
            if state.place == Place::Returned {
                state.place = Place::Out;
            }
        }
        let tests = &self.tests;
        self.returned.retain(|returned| tests[returned.test.at()].place == Place::Returned);
    }

    /// What a worker holds already, after a restart: also tests that another one has ended meanwhile, which are not open.
    pub fn holds(
        &mut self,
        id: WorkerId,
        tests: &[TestIndex],
        is_open: impl Fn(TestIndex) -> bool,
        now: Timestamp,
    ) {
        for test in tests.iter().filter(|test| is_open(**test)) {
            self.withdraw(*test);
            if let Some(state) = self.tests.get_mut(test.at()) {
                state.place = Place::Out;
            }
        }
        self.hand_out(id, tests, now);
    }

    /// A worker has ended a test, whatever the verdict, after `took`.
    pub fn reported(&mut self, id: WorkerId, test: TestIndex, took: Duration, now: Timestamp) {
        if test.at() >= self.tests.len() {
            return;
        }
        self.withdraw(test);
        let state = &mut self.tests[test.at()];
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if let Some(position) = worker.out.iter().position(|held| *held == test) {
            worker.out.remove(position);
            worker.since = now;
            state.copies -= 1;
        }
        let took = took.as_secs_f64();
        match state.known {
            Some(estimate) => {
                worker.pace.add(estimate, took);
                self.fleet.add(estimate, took);
            }
            None => self.unknown.add(took),
        }
        self.watched = None;
        self.suspect_beside(test, took);
    }

    /// What a dispatch has cost a worker: from its answer to the begin of the first test.
    pub fn dispatched(&mut self, cost: Duration) {
        self.overhead += (cost.as_secs_f64() - self.overhead) / 8.0;
    }

    /// What a dispatch costs, as far as it is known.
    pub fn overhead(&self) -> Duration {
        Duration::from_secs_f64(self.overhead)
    }

    /// How often a worker has taken over tests of another one: the simulator lets it pay for that.
    pub fn steals(&self) -> u64 {
        self.steals
    }

    /// Takes a test out of wherever it waits.
    pub fn withdraw(&mut self, test: TestIndex) {
        let Some(state) = self.tests.get_mut(test.at()) else { return };
        let place = std::mem::replace(&mut state.place, Place::Settled);
        match place {
            Place::Queued(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.load.remove(state.known);
                }
            }
            Place::Suspected => drop(self.suspects.remove(&(state.suspected, test))),
            Place::Returned => self.returned.retain(|returned| returned.test != test),
            Place::Decisive | Place::Out | Place::Settled => {}
        }
    }

    /// Seconds of a test on a bot of speed 1.
    fn estimate(&self, test: TestIndex) -> f64 {
        let Test { known, suspected, .. } = self.tests[test.at()];
        known.unwrap_or_else(|| self.unknown.get().max(suspected.as_secs_f64()))
    }
}
