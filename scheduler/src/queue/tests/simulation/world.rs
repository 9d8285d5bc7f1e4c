//! Time, the network, and everything that goes wrong.

use super::{
    super::super::*,
    fleet::BotSide,
    ledger::Ledger,
    scheduler::{Answer, Scheduler},
    users::Wish,
};
use crate::wire::record::decode;
use proto::{RunId, Timestamp};
use runtime::{Entropy as _, SeededEntropy};
use std::{collections::BTreeMap, time::Duration};

/// How often what goes wrong. Of messages one in so many; of others the mean time between two.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
    pub(super) bot_crash: Option<Duration>,
    pub(super) bot_freeze: Option<Duration>,
    pub(super) scheduler_crash: Option<Duration>,
    pub(super) jump: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) tuning: Tuning,
    pub(super) bots: usize,
    /// Between two looks of the scheduler at what is due.
    pub(super) pulse: Duration,
    /// Until then there are faults and new runs; afterwards everything has to come to its end.
    pub(super) horizon: Duration,
    pub(super) runs_each: Duration,
    pub(super) most_shards: u32,
    pub(super) most_runtime: Duration,
    pub(super) faults: Faults,
}

/// Everything ends within this time when nothing goes wrong any more: slices expire, and bots are let in again.
const SETTLES: Duration = Duration::from_secs(3 * 3600);

/// What is down or frozen is so for this long at most, and a message is late by as much.
const OUTAGE: Duration = Duration::from_secs(60);

/// A clock jumps by up to this.
const JUMP: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
enum Happening {
    Call {
        bot: usize,
        call: u64,
        /// Boxed, because most of what happens is small.
        report: Box<BotReport>,
    },
    Trigger {
        wish: usize,
    },
    Cancel {
        run: RunId,
        mode: CancelMode,
    },
    Answer(Answer),
    /// The journal's writer is done.
    Written,
    Pulse,
    /// A bot calls, unless it has heard of this call of this life.
    CallAgain {
        bot: usize,
        life: u32,
        call: u64,
    },
    CommandEnds {
        bot: usize,
        life: u32,
        lease: LeaseRef,
        ending: Ending,
    },
    /// A user goes on asking until there is a run.
    Ask {
        wish: usize,
    },
    NewRun,
    BotCrash,
    BotStart {
        bot: usize,
    },
    BotFreeze,
    SchedulerCrash,
    SchedulerStart,
    Jump,
}

pub(super) struct World {
    settings: Settings,
    entropy: SeededEntropy,
    now: Timestamp,
    end: Timestamp,
    /// What the scheduler's clock says more. Changes when it starts: somebody sets the host's clock.
    skew: Duration,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    last: u64,
    last_call: u64,
    scheduler: Option<Scheduler>,
    writing: bool,
    bots: Vec<BotSide>,
    wishes: Vec<Wish>,
    /// Encoded records that are durable.
    pub(super) journal: Vec<Vec<u8>>,
    pub(super) ledger: Ledger,
    pub(super) crashes: usize,
    pub(super) calls: usize,
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings) -> Self {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let mut world = Self {
            entropy: SeededEntropy::new(seed),
            now,
            end: now + settings.horizon,
            skew: JUMP * 12,
            agenda: BTreeMap::new(),
            last: 0,
            last_call: 0,
            scheduler: None,
            writing: false,
            bots: (0..settings.bots).map(BotSide::new).collect(),
            wishes: vec![],
            journal: vec![],
            ledger: Ledger::default(),
            crashes: 0,
            calls: 0,
            settings,
        };
        world.at(Duration::ZERO, Happening::SchedulerStart);
        for bot in 0..world.bots.len() {
            let first = world.draw(OUTAGE);
            world.at(first, Happening::CallAgain { bot, life: 0, call: 0 });
        }
        world.at(Duration::ZERO, Happening::NewRun);
        world.next_faults(&[
            Happening::BotCrash,
            Happening::BotFreeze,
            Happening::SchedulerCrash,
            Happening::Jump,
        ]);
        world
    }

    /// Until everything has come to its end.
    pub(super) fn run(&mut self) {
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            // What was due while the clock jumped comes late.
            self.now = self.now.max(at);
            self.happen(happening);
            if self.now > self.end && self.is_settled() {
                break;
            }
            assert!(
                self.now < self.end + SETTLES,
                "not everything has ended: {:?}",
                self.ledger.is_complete()
            );
        }
        let scheduler = self.scheduler.as_ref().unwrap();
        assert_eq!(scheduler.queue.waiting() + scheduler.queue.pending() + scheduler.queue.running(), 0);
        let replayed = Scheduler::start(self.settings.tuning, &self.journal, self.now + self.skew);
        assert_eq!(replayed.queue.state, scheduler.queue.state, "the state is what its records replay to");
    }

    fn is_settled(&self) -> bool {
        self.ledger.is_complete()
            && self.scheduler.as_ref().is_some_and(|scheduler| scheduler.unwritten.is_empty())
            && self.wishes.iter().all(|wish| wish.run.is_some())
            && self.bots.iter().all(|bot| bot.up && bot.is_idle())
    }

    fn at(&mut self, after: Duration, happening: Happening) {
        self.last += 1;
        self.agenda.insert((self.now + after, self.last), happening);
    }

    fn draw(&self, most: Duration) -> Duration {
        Duration::from_micros(self.entropy.next() % u64::try_from(most.as_micros()).unwrap())
    }

    fn one_in(&self, number: u64) -> bool {
        self.now < self.end && self.entropy.next().is_multiple_of(number)
    }

    fn any_bot(&self) -> usize {
        usize::try_from(self.entropy.next()).unwrap() % self.bots.len()
    }

    /// Over the network.
    fn send(&mut self, message: Happening) {
        let faults = self.settings.faults.clone();
        if self.one_in(faults.lost) {
            return;
        }
        if self.one_in(faults.doubled) {
            let late = self.draw(OUTAGE);
            self.at(late, message.clone());
        }
        let most = if self.one_in(faults.late) { OUTAGE } else { Duration::from_millis(40) };
        let delay = self.draw(most);
        self.at(delay, message);
    }

    /// Each of these faults happens again after some time.
    fn next_faults(&mut self, faults: &[Happening]) {
        for fault in faults {
            let mean = match fault {
                Happening::BotCrash => self.settings.faults.bot_crash,
                Happening::BotFreeze => self.settings.faults.bot_freeze,
                Happening::SchedulerCrash => self.settings.faults.scheduler_crash,
                Happening::Jump => self.settings.faults.jump,
                other => unreachable!("{other:?} is no fault"),
            };
            if let Some(mean) = mean
                && self.now < self.end
            {
                let after = self.draw(mean * 2);
                self.at(after, fault.clone());
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Call { bot, call, report } => {
                self.calls += 1;
                self.schedule(|scheduler, now| scheduler.synchronize(bot, call, *report, now));
            }
            Happening::Trigger { wish } => self.trigger(wish),
            Happening::Cancel { run, mode } => {
                self.schedule(|scheduler, now| scheduler.cancel(run, mode, now));
            }
            Happening::Answer(answer) => self.hear(answer),
            Happening::Written => self.written(),
            Happening::Pulse => self.pulse(),
            Happening::CallAgain { bot, life, call } => {
                if self.awake(bot, life, Happening::CallAgain { bot, life, call })
                    && self.bots[bot].call == call
                {
                    self.call(bot);
                }
            }
            Happening::CommandEnds { bot, life, lease, ending } => {
                let same = Happening::CommandEnds { bot, life, lease, ending };
                if self.awake(bot, life, same) && self.bots[bot].finish(&lease, ending) {
                    self.call(bot);
                }
            }
            Happening::Ask { wish } => {
                if self.wishes[wish].run.is_none() {
                    self.send(Happening::Trigger { wish });
                    self.at(OUTAGE / 4, Happening::Ask { wish });
                }
            }
            Happening::NewRun => self.new_run(),
            fault => self.go_wrong(&fault),
        }
    }

    fn go_wrong(&mut self, fault: &Happening) {
        match fault {
            Happening::BotCrash => {
                let bot = self.any_bot();
                if self.bots[bot].up {
                    self.bot_crash(bot);
                }
                self.next_faults(&[Happening::BotCrash]);
            }
            Happening::BotStart { bot } => {
                self.bots[*bot].up = true;
                self.call(*bot);
            }
            Happening::BotFreeze => {
                let bot = self.any_bot();
                self.bots[bot].frozen_until = self.now + self.draw(OUTAGE * 2);
                self.next_faults(&[Happening::BotFreeze]);
            }
            Happening::SchedulerCrash => {
                if self.scheduler.take().is_some() {
                    self.crashes += 1;
                    self.writing = false;
                    let down = self.draw(OUTAGE);
                    self.at(down, Happening::SchedulerStart);
                }
                self.next_faults(&[Happening::SchedulerCrash]);
            }
            Happening::SchedulerStart => {
                self.skew = self.draw(JUMP * 24);
                let now = self.now + self.skew;
                self.scheduler = Some(Scheduler::start(self.settings.tuning, &self.journal, now));
                self.at(Duration::ZERO, Happening::Pulse);
            }
            Happening::Jump => {
                self.now = self.now + self.draw(JUMP);
                self.next_faults(&[Happening::Jump]);
            }
            other => unreachable!("{other:?} is no fault"),
        }
    }

    /// The scheduler does something, if it is there. Calls to one that is not fail.
    fn schedule(&mut self, act: impl FnOnce(&mut Scheduler, Timestamp)) {
        let now = self.now + self.skew;
        let Some(scheduler) = &mut self.scheduler else { return };
        act(scheduler, now);
        if !self.writing {
            self.writing = true;
            let sync = self.draw(Duration::from_millis(10));
            self.at(sync, Happening::Written);
        }
    }

    fn pulse(&mut self) {
        // Of a life that is over, or of this one: there is one at a time.
        if self.agenda.values().take(64).any(|other| matches!(other, Happening::Pulse)) {
            return;
        }
        let pulse = self.settings.pulse;
        self.schedule(|scheduler, now| {
            scheduler.pulse(now);
            scheduler.due = now + pulse;
        });
        if self.scheduler.is_some() {
            self.at(pulse, Happening::Pulse);
        }
    }

    /// A group commit is done, or cut off when the scheduler has crashed meanwhile.
    fn written(&mut self) {
        let Some(scheduler) = self.scheduler.as_mut().filter(|_| self.writing) else { return };
        self.writing = false;
        for batch in std::mem::take(&mut scheduler.unwritten) {
            for record in batch.records {
                self.ledger.take(&decode(&record).unwrap());
                self.journal.push(record);
            }
            for answer in batch.answers {
                self.check(&answer);
                self.send(Happening::Answer(answer));
            }
        }
    }

    /// Nothing is told that is not durable.
    fn check(&self, answer: &Answer) {
        match answer {
            Answer::Bot { desired: Some(desired), reported, .. } => {
                assert!(desired.iter().all(|(lease, _)| self.ledger.is_live(lease)), "{answer:?} is durable");
                let left_out = |lease: &&LeaseRef| desired.iter().all(|(other, _)| other != *lease);
                assert!(!reported.iter().filter(left_out).any(|lease| self.ledger.is_live(lease)));
            }
            Answer::Bot { desired: None, .. } => {}
            Answer::Triggered { run, .. } => assert!(self.ledger.has(*run), "{run} is durable"),
        }
    }

    fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Triggered { request, run } => {
                let wish = &mut self.wishes[request];
                assert!(wish.run.is_none_or(|known| known == run), "a request makes one run");
                let first = wish.run.replace(run).is_none();
                if let Some(mode) = wish.cancels.filter(|_| first) {
                    self.send(Happening::Cancel { run, mode });
                }
            }
            Answer::Bot { bot, call, desired, reported } => {
                let life = self.bots[bot].life;
                if self.is_frozen(bot) {
                    let again = Answer::Bot { bot, call, desired, reported };
                    self.awake(bot, life, Happening::Answer(again));
                    return;
                }
                if !self.bots[bot].up || self.bots[bot].call != call {
                    return;
                }
                match desired {
                    Some(desired) => self.obey(bot, &desired),
                    None => self.bot_crash(bot),
                }
            }
        }
    }

    fn obey(&mut self, bot: usize, desired: &[(LeaseRef, bool)]) {
        let heard = self.bots[bot].hear(desired);
        let life = self.bots[bot].life;
        for lease in heard.started {
            let runtime = self.draw(self.settings.most_runtime);
            self.at(runtime, Happening::CommandEnds { bot, life, lease, ending: Ending::Completed });
        }
        for lease in heard.killed {
            let dies = self.draw(Duration::from_secs(1));
            self.at(dies, Happening::CommandEnds { bot, life, lease, ending: Ending::Killed });
        }
        // A bot that is told something again and again does not call without a pause.
        if self.bots[bot].has_news() || !desired.iter().any(|(_, kill)| *kill) {
            self.call(bot);
        } else {
            let call = self.bots[bot].call;
            self.at(Duration::from_secs(1), Happening::CallAgain { bot, life, call });
        }
    }

    fn call(&mut self, bot: usize) {
        self.last_call += 1;
        let call = self.last_call;
        let side = &mut self.bots[bot];
        side.call = call;
        let (report, life) = (Box::new(side.report()), side.life);
        self.send(Happening::Call { bot, call, report });
        let patience = self.settings.tuning.lease_ttl / 3 + Duration::from_secs(5);
        // To one that is down it is sooner.
        let patience = if self.scheduler.is_some() { patience } else { Duration::from_secs(5) };
        let patience = patience + self.draw(Duration::from_secs(5));
        self.at(patience, Happening::CallAgain { bot, life, call });
    }

    fn bot_crash(&mut self, bot: usize) {
        self.bots[bot].crash();
        let down = self.draw(OUTAGE);
        self.at(down, Happening::BotStart { bot });
    }

    /// Whether a bot that is up stands still.
    fn is_frozen(&self, bot: usize) -> bool {
        let side = &self.bots[bot];
        side.up && side.frozen_until > self.now
    }

    /// Whether this happens to a bot now. To one that is frozen it happens later; to one that has crashed, never.
    fn awake(&mut self, bot: usize, life: u32, happening: Happening) -> bool {
        let side = &self.bots[bot];
        if !side.up || side.life != life {
            return false;
        }
        if side.frozen_until > self.now {
            let later = side.frozen_until.since(self.now);
            self.at(later, happening);
            return false;
        }
        true
    }

    fn new_run(&mut self) {
        if self.now >= self.end {
            return;
        }
        // Runs come in bursts.
        let burst = if self.entropy.next().is_multiple_of(6) { 1 + self.entropy.next() % 8 } else { 1 };
        for _ in 0..burst {
            let wish = self.wishes.len();
            self.wishes.push(Wish::make(wish, self.settings.most_shards, self.settings.bots, &self.entropy));
            self.at(Duration::ZERO, Happening::Ask { wish });
        }
        let next = self.draw(self.settings.runs_each * 2);
        self.at(next, Happening::NewRun);
    }

    fn trigger(&mut self, number: usize) {
        let Wish { request, spec, .. } = self.wishes[number].clone();
        let run = RunId::new(self.now, u32::try_from(number).unwrap() & 0xf_ffff);
        self.schedule(|scheduler, now| {
            let reuses = scheduler.queue.reusable(&spec, now);
            scheduler.trigger(number, Trigger { run, request, spec, reuses }, now);
        });
    }
}
