//! The scheduler's shell, as small as it gets: a queue, calls that wait, and decisions that are not durable yet.

use super::super::super::*;
use crate::wire::record::{decode, encode};
use proto::{BotId, SessionId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// See `BotSide::new`.
fn number_of(id: &BotId) -> usize {
    id.as_str()[1..].parse().unwrap()
}

/// What a bot or a user is told once everything before it is durable.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Bot {
        bot: usize,
        call: u64,
        /// With whether it is to be stopped. None: another session has taken its place.
        desired: Option<Vec<(LeaseRef, bool)>>,
        /// Leases under which it has reported a result.
        reported: Vec<LeaseRef>,
    },
    /// This request has its run.
    Triggered { request: usize, run: proto::RunId },
}

/// A call that is held back.
#[derive(Debug)]
struct Parked {
    bot: usize,
    call: u64,
    id: BotId,
    session: SessionId,
    until: Timestamp,
}

/// One decision.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Vec<u8>>,
    pub(super) answers: Vec<Answer>,
}

/// One life of the scheduler.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) queue: Queue,
    pub(super) unwritten: Vec<Batch>,
    pub(super) due: Timestamp,
    heartbeat: Duration,
    parked: BTreeMap<u64, Parked>,
    tickets: BTreeMap<usize, u64>,
    ends: BTreeSet<(Timestamp, u64)>,
    waiting: Waiting,
    last_ticket: u64,
}

impl Scheduler {
    /// Over what is durable.
    pub(super) fn start(tuning: Tuning, journal: &[Vec<u8>], now: Timestamp) -> Self {
        let mut queue = Queue::new(tuning);
        for record in journal {
            queue.replay(&decode(record).unwrap()).unwrap();
        }
        queue.resume(now);
        Self {
            queue,
            unwritten: vec![],
            due: now,
            heartbeat: tuning.lease_ttl / 3,
            parked: BTreeMap::new(),
            tickets: BTreeMap::new(),
            ends: BTreeSet::new(),
            waiting: Waiting::default(),
            last_ticket: 0,
        }
    }

    /// Does what is due. One that comes late knows that bots may have called in vain.
    pub(super) fn pulse(&mut self, now: Timestamp) {
        let mut batch = Batch::default();
        if now.since(self.due) > self.heartbeat {
            self.queue.stalled(now);
        }
        let ticked = self.apply(Event::Tick, now, &mut batch);
        self.follow_up(ticked.unwrap().effects, now, &mut batch);
        while let Some((_, ticket)) = self.ends.first().filter(|(until, _)| *until <= now) {
            let parked = self.take(*ticket);
            self.answer(&parked, vec![], &mut batch);
        }
        self.offer(now, &mut batch);
        self.unwritten.push(batch);
    }

    pub(super) fn synchronize(&mut self, bot: usize, call: u64, report: BotReport, now: Timestamp) {
        let mut batch = Batch::default();
        let reported = report.held.iter().filter(|held| held.result.is_some()).map(|held| held.lease);
        let reported: Vec<LeaseRef> = reported.collect();
        let held: BTreeSet<LeaseRef> = report.held.iter().map(|held| held.lease).collect();
        let (id, session) = (report.bot.clone(), report.session.clone());
        let earlier = self.tickets.get(&bot).copied();
        match self.apply(Event::Synchronize(report), now, &mut batch) {
            Err(_) => batch.answers.push(Answer::Bot { bot, call, desired: None, reported }),
            Ok(decided) => {
                if let Some(ticket) = earlier.filter(|ticket| self.parked.contains_key(ticket)) {
                    let parked = self.take(ticket);
                    self.answer(&parked, vec![], &mut batch);
                }
                let parked = Parked { bot, call, id, session, until: now + self.heartbeat };
                let desired = self.desired(&parked);
                let same = desired.iter().map(|(lease, _)| *lease).collect::<BTreeSet<_>>() == held;
                let kills = desired.iter().any(|(_, kill)| *kill);
                if same && !kills && reported.is_empty() {
                    self.park(parked);
                } else {
                    self.answer(&parked, reported, &mut batch);
                }
                self.follow_up(decided.effects, now, &mut batch);
            }
        }
        self.unwritten.push(batch);
    }

    pub(super) fn trigger(&mut self, number: usize, trigger: Trigger, now: Timestamp) {
        let mut batch = Batch::default();
        let request = trigger.request.clone();
        if let Ok(decided) = self.apply(Event::Trigger(trigger), now, &mut batch) {
            let run = self.queue.run_of(&request).unwrap().id;
            batch.answers.push(Answer::Triggered { request: number, run });
            self.follow_up(decided.effects, now, &mut batch);
        }
        self.unwritten.push(batch);
    }

    pub(super) fn cancel(&mut self, run: proto::RunId, mode: CancelMode, now: Timestamp) {
        let mut batch = Batch::default();
        // One that is out of history by now is refused.
        if let Ok(decided) = self.apply(Event::Cancel { run, mode }, now, &mut batch) {
            self.follow_up(decided.effects, now, &mut batch);
        }
        self.unwritten.push(batch);
    }

    fn apply(&mut self, event: Event, now: Timestamp, batch: &mut Batch) -> Result<Decided, Refusal> {
        let decided = self.queue.apply(event, now)?;
        batch.records.extend(decided.records.iter().map(encode));
        Ok(decided)
    }

    fn follow_up(&mut self, effects: BTreeSet<Effect>, now: Timestamp, batch: &mut Batch) {
        for effect in effects {
            match effect {
                Effect::Offer => self.offer(now, batch),
                Effect::Wake(id) => {
                    let ticket = self.tickets.get(&number_of(&id)).copied();
                    if let Some(ticket) = ticket {
                        let parked = self.take(ticket);
                        self.answer(&parked, vec![], batch);
                    }
                }
            }
        }
    }

    /// Bots that wait ask, the longest waiting first.
    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        let mut offer = Offer::of(&self.queue, &self.waiting);
        while let Some(ticket) = offer.next(&self.queue, &mut self.waiting) {
            let parked = &self.parked[&ticket];
            let ask = Event::Ask { bot: parked.id.clone(), session: parked.session.clone() };
            if self.apply(ask, now, batch).is_ok_and(|decided| !decided.records.is_empty()) {
                let parked = self.take(ticket);
                self.answer(&parked, vec![], batch);
            }
        }
    }

    fn desired(&self, parked: &Parked) -> Vec<(LeaseRef, bool)> {
        let desired = self.queue.desired(&parked.id, &parked.session).into_iter();
        desired.map(|desired| (desired.lease, desired.kill)).collect()
    }

    fn answer(&self, parked: &Parked, reported: Vec<LeaseRef>, batch: &mut Batch) {
        let desired = Some(self.desired(parked));
        batch.answers.push(Answer::Bot { bot: parked.bot, call: parked.call, desired, reported });
    }

    fn park(&mut self, parked: Parked) {
        self.last_ticket += 1;
        self.tickets.insert(parked.bot, self.last_ticket);
        self.ends.insert((parked.until, self.last_ticket));
        if let Some(dimensions) = self.queue.with_room(&parked.id) {
            self.waiting.insert(self.last_ticket, dimensions);
        }
        self.parked.insert(self.last_ticket, parked);
    }

    fn take(&mut self, ticket: u64) -> Parked {
        let parked = self.parked.remove(&ticket).unwrap();
        self.ends.remove(&(parked.until, ticket));
        self.waiting.remove(ticket);
        self.tickets.remove(&parked.bot);
        parked
    }
}
