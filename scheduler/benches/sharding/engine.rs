//! Bots in simulated time. What they run is a [`Policy`]'s decision.

use crate::fleet::Fleet;
use proto::Timestamp;
use scheduler::sharding::TestIndex;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

/// When a bot that has died is taken to be silent: as the queue's clock and ticks make it.
pub(crate) const SILENT: Duration = Duration::from_secs(4);
/// A bot that is told to wait asks again after this.
const ASKS_AGAIN: Duration = Duration::from_secs(1);

/// What a worker is told.
pub(crate) enum Work {
    /// Run these; the bot first pays for the dispatch, or not.
    Run {
        tests: Vec<TestIndex>,
        is_dispatch: bool,
    },
    Wait,
    End,
}

/// Who decides which worker runs what.
pub(crate) trait Policy {
    fn joined(&mut self, worker: u32, speed: Option<f64>, now: Timestamp);
    fn next(&mut self, worker: u32, now: Timestamp) -> Work;
    /// The first report of a test ends it.
    fn ended(&mut self, worker: u32, test: TestIndex, took: Duration, now: Timestamp);
    /// How long it waits for a bot until its lease is over.
    fn lease(&self) -> Duration;
    /// A worker's bot is not heard of. Answers how many workers more there are to be.
    fn silent(&mut self, worker: u32, now: Timestamp) -> u32;
    /// The lease of a worker is over; what it did not report is to be run by others.
    fn lost(&mut self, worker: u32, now: Timestamp);
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Played {
    /// Seconds from the start to the last first report.
    pub(crate) makespan: f64,
    /// Bot-seconds between a bot's arrival and the moment at which it is let go.
    pub(crate) paid: f64,
    /// Bot-seconds spent on tests that had been reported, or were by somebody else in the end.
    pub(crate) doubled: f64,
    pub(crate) dispatches: u64,
    /// Seconds from the death of a bot until all its tests were granted to others, if it had any of its own; without the time in
    /// which all others were busy.
    pub(crate) moved: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ended,
    Asks,
    Arrives,
    Dies,
    Silent,
    Lost,
}

/// When, number, what, to which slot in which life.
type Due = (Timestamp, u64, Event, usize, u32);

/// One worker, and the bot that is it now.
struct Slot {
    bot: usize,
    since: Option<Timestamp>,
    batch: VecDeque<TestIndex>,
    began: Timestamp,
    /// Events of earlier lives are void.
    life: u32,
}

impl Slot {
    fn of(bot: usize) -> Self {
        Self { bot, since: None, batch: VecDeque::new(), began: Timestamp::default(), life: 0 }
    }
}

struct Engine<'a, P> {
    policy: &'a mut P,
    fleet: &'a Fleet,
    truth: &'a [Duration],
    overhead: Duration,
    slots: Vec<Slot>,
    events: BinaryHeap<Reverse<Due>>,
    number: u64,
    open: BTreeSet<TestIndex>,
    /// Bots that were let go, and workers whose bot is gone.
    free: Vec<usize>,
    vacant: Vec<usize>,
    /// What a bot that has died had, and nobody has yet; when it died.
    orphans: BTreeSet<TestIndex>,
    died: Timestamp,
    /// Time until that was known, and since when somebody else is free for them.
    moved: Duration,
    wanted: Option<Timestamp>,
    played: Played,
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::default() + Duration::from_secs_f64(seconds)
}

fn seconds(time: Timestamp) -> f64 {
    time.since(Timestamp::default()).as_secs_f64()
}

/// Runs all tests on a fleet, whose bots pay `overhead` for a dispatch.
pub(crate) fn play(
    policy: &mut impl Policy,
    truth: &[Duration],
    fleet: &Fleet,
    overhead: Duration,
) -> Played {
    let mut engine = Engine {
        policy,
        fleet,
        truth,
        overhead,
        slots: (0..fleet.bots.len()).map(Slot::of).collect(),
        events: BinaryHeap::new(),
        number: 0,
        open: (0..truth.len()).map(|position| TestIndex(position as u32)).collect(),
        free: Vec::new(),
        vacant: Vec::new(),
        orphans: BTreeSet::new(),
        died: Timestamp::default(),
        moved: Duration::ZERO,
        wanted: None,
        played: Played::default(),
    };
    engine.run();
    engine.played
}

impl<P: Policy> Engine<'_, P> {
    fn run(&mut self) {
        for (position, bot) in self.fleet.bots.iter().enumerate() {
            self.later(at(bot.arrives), Event::Arrives, position);
            if let Some(dies) = bot.dies {
                self.later(at(dies), Event::Dies, position);
            }
        }
        while !self.open.is_empty() {
            let Some(Reverse((now, _, event, slot, life))) = self.events.pop() else {
                panic!("{} tests are left, and nobody runs them", self.open.len());
            };
            if life == self.slots[slot].life || event == Event::Dies {
                self.happens(event, slot, now);
            }
            if self.open.is_empty() {
                self.finish(now);
            }
        }
    }

    fn later(&mut self, at: Timestamp, event: Event, slot: usize) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event, slot, self.slots[slot].life)));
    }

    fn happens(&mut self, event: Event, slot: usize, now: Timestamp) {
        match event {
            Event::Arrives => self.join(slot, now),
            Event::Asks => self.ask(slot, now),
            Event::Ended => self.end_test(slot, now),
            Event::Dies => self.die(slot, now),
            Event::Silent => {
                self.moved = now.since(self.died);
                for _ in 0..self.policy.silent(slot as u32, now) {
                    self.vacant.push(self.slots.len());
                    self.slots.push(Slot::of(usize::MAX));
                }
                self.fill(now);
                self.wake(now);
            }
            Event::Lost => {
                self.policy.lost(slot as u32, now);
                self.vacant.push(slot);
                self.fill(now);
            }
        }
    }

    fn join(&mut self, slot: usize, now: Timestamp) {
        let bot = &self.fleet.bots[self.slots[slot].bot];
        let speed = self.fleet.is_known.then_some(bot.speed);
        self.slots[slot].since = Some(now);
        self.policy.joined(slot as u32, speed, now);
        self.ask(slot, now);
    }

    fn ask(&mut self, slot: usize, now: Timestamp) {
        if !self.moved.is_zero() && !self.orphans.is_empty() {
            self.wanted.get_or_insert(now);
        }
        match self.policy.next(slot as u32, now) {
            Work::Run { tests, is_dispatch } => {
                self.played.dispatches += u64::from(is_dispatch);
                let overhead = if is_dispatch { self.overhead } else { Duration::ZERO };
                self.adopt(&tests, now);
                self.slots[slot].batch = tests.into();
                self.begin(slot, now + overhead);
            }
            Work::Wait => self.later(now + ASKS_AGAIN, Event::Asks, slot),
            Work::End => {
                self.let_go(slot, now);
                self.free.push(self.slots[slot].bot);
                self.fill(now);
            }
        }
    }

    fn begin(&mut self, slot: usize, now: Timestamp) {
        let Some(test) = self.slots[slot].batch.front() else { return self.ask(slot, now) };
        let took = self.truth[test.0 as usize].div_f64(self.fleet.bots[self.slots[slot].bot].speed);
        self.slots[slot].began = now;
        self.later(now + took, Event::Ended, slot);
    }

    fn end_test(&mut self, slot: usize, now: Timestamp) {
        let Some(test) = self.slots[slot].batch.pop_front() else { return };
        let took = now.since(self.slots[slot].began);
        if !self.open.remove(&test) {
            self.played.doubled += took.as_secs_f64();
        }
        self.policy.ended(slot as u32, test, took, now);
        if !self.open.is_empty() {
            self.begin(slot, now);
        }
    }

    /// A bot dies, whichever worker it is; nobody knows before the lease ends.
    fn die(&mut self, bot: usize, now: Timestamp) {
        self.free.retain(|free| *free != bot);
        let Some(slot) = self.slots.iter().position(|slot| slot.bot == bot && slot.since.is_some()) else {
            return;
        };
        self.let_go(slot, now);
        let held = std::mem::take(&mut self.slots[slot].batch);
        let alone = |test: &TestIndex| self.slots.iter().all(|slot| !slot.batch.contains(test));
        self.orphans = held.into_iter().filter(|test| self.open.contains(test)).filter(alone).collect();
        self.died = now;
        self.later(now + SILENT.min(self.policy.lease()), Event::Silent, slot);
        self.later(now + self.policy.lease(), Event::Lost, slot);
    }

    /// Somebody has these now.
    fn adopt(&mut self, tests: &[TestIndex], now: Timestamp) {
        let before = self.orphans.len();
        self.orphans.retain(|test| !tests.contains(test));
        if self.orphans.len() < before {
            self.moved += self.wanted.take().map_or(Duration::ZERO, |since| now.since(since));
        }
        if before > 0 && self.orphans.is_empty() {
            let moved = if self.moved.is_zero() { now.since(self.died) } else { self.moved };
            self.played.moved = Some(moved.as_secs_f64());
        }
    }

    fn let_go(&mut self, slot: usize, now: Timestamp) {
        let slot = &mut self.slots[slot];
        slot.life += 1;
        self.played.paid += slot.since.take().map_or(0.0, |since| now.since(since).as_secs_f64());
    }

    /// Those that wait ask at once.
    fn wake(&mut self, now: Timestamp) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].since.is_some() && self.slots[slot].batch.is_empty() {
                self.slots[slot].life += 1;
                self.ask(slot, now);
            }
        }
    }

    /// Bots that were let go become workers whose bot is gone.
    fn fill(&mut self, now: Timestamp) {
        while !self.free.is_empty() && !self.vacant.is_empty() {
            let (bot, slot) = (self.free.remove(0), self.vacant.remove(0));
            self.slots[slot].bot = bot;
            self.join(slot, now);
        }
    }

    fn finish(&mut self, now: Timestamp) {
        self.played.makespan = seconds(now);
        for slot in 0..self.slots.len() {
            if !self.slots[slot].batch.is_empty() {
                self.played.doubled += now.since(self.slots[slot].began).as_secs_f64();
            }
            self.let_go(slot, now);
        }
    }
}
