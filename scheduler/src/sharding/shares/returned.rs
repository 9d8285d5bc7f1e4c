//! What came back: tests of workers that are lost or silent, and those that failed and are to be run elsewhere.

use super::{
    Place, Presence, Shares, TestIndex, WorkerId,
    batch::{BATCH_MOST, PROCESS_FLOOR},
    worker::Worker,
};
use proto::{BotId, Timestamp};
use std::{collections::VecDeque, time::Duration};

/// A retry waits so many seconds, at least, for a bot other than the one on which the test failed.
const PATIENCE: f64 = 5.0;

/// A test that is to be run once more, before all others.
#[derive(Clone, Debug)]
pub(super) struct Returned {
    pub(super) test: TestIndex,
    /// Who should not have it again.
    pub(super) avoid: Option<Avoid>,
    /// Until then somebody else may come for it, though nobody is there.
    held_until: Option<Timestamp>,
}

/// Where a test should not be run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Avoid {
    /// By a worker whose bot is not known.
    Worker(WorkerId),
    /// By any worker of a bot.
    Bot(BotId),
}

impl Shares {
    /// On which bot a worker runs that has joined: workers of one bot are alike.
    pub fn sits_on(&mut self, id: WorkerId, bot: &BotId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.bot = Some(bot.clone());
        }
    }

    /// These are to be run once more, before all others; not on the bot of `avoid` when somebody else is there.
    pub fn give_back(&mut self, tests: &[TestIndex], avoid: Option<WorkerId>) {
        let avoid = avoid.map(|id| self.place_of(id));
        for test in tests {
            let Some(state) = self.tests.get_mut(test.at()) else { continue };
            let is_free = matches!(state.place, Place::Out | Place::Settled);
            if is_free && state.copies == 0 {
                state.place = Place::Returned;
                self.put_back(*test, avoid.clone());
            }
        }
    }

    pub(super) fn put_back(&mut self, test: TestIndex, avoid: Option<Avoid>) {
        self.returned.push_back(Returned { test, avoid, held_until: None });
    }

    /// Where a worker is.
    pub(super) fn place_of(&self, id: WorkerId) -> Avoid {
        let bot = self.workers.get(&id).and_then(|worker| worker.bot.clone());
        bot.map_or(Avoid::Worker(id), Avoid::Bot)
    }

    /// Whether something that came back should not run where this worker does, and nobody works elsewhere.
    pub fn needs_another(&self, id: WorkerId) -> bool {
        if self.returned.is_empty() {
            return false;
        }
        let here = self.place_of(id);
        self.returned.iter().any(|returned| returned.avoid.as_ref() == Some(&here))
            && self.active_but(&here).next().is_none()
    }

    /// Somebody may come from elsewhere: what should not run where this worker does waits for that, but not for long, and
    /// once.
    pub fn hold_back(&mut self, id: WorkerId, now: Timestamp) {
        let here = self.place_of(id);
        for returned in &mut self.returned {
            if returned.avoid.as_ref() == Some(&here) {
                returned.held_until.get_or_insert(now + Duration::from_secs_f64(PATIENCE));
            }
        }
    }

    /// What came back, divided among those who are there; what a worker should avoid only if nobody else takes it soon.
    pub(super) fn take_returned(&mut self, id: WorkerId, now: Timestamp) -> Vec<TestIndex> {
        if self.returned.is_empty() {
            return Vec::new();
        }
        // Who is free first takes as much as it would be given of its own: others take over its share meanwhile.
        let active = self.workers.values().filter(|worker| worker.presence == Presence::Active).count();
        let returned: f64 = self.returned.iter().map(|returned| self.estimate(returned.test)).sum();
        let unknown = self.unknown.get();
        let queued: f64 = self.workers.values().map(|worker| worker.load.seconds(unknown)).sum();
        let enough = self.enough(id, (returned + queued) / active.max(1) as f64);
        let here = self.place_of(id);
        let elsewhere = self.soonest_but(&here, now);
        let (mut batch, mut sum, mut kept) = (Vec::new(), 0.0, VecDeque::new());
        for returned in std::mem::take(&mut self.returned) {
            let estimate = self.estimate(returned.test);
            let is_avoided = returned.avoid.as_ref() == Some(&here)
                && (elsewhere < estimate.max(PATIENCE)
                    || returned.held_until.is_some_and(|until| now < until));
            let is_full = !batch.is_empty() && (sum >= enough || batch.len() >= BATCH_MOST);
            if is_avoided || is_full {
                kept.push_back(returned);
                continue;
            }
            sum += estimate;
            self.tests[returned.test.at()].place = Place::Out;
            batch.push(returned.test);
        }
        self.returned = kept;
        batch
    }

    /// So many workers more are worth having for what came back, beside those that wait: in place of those that were told
    /// that there is nothing any more or are silent, and over time, with the `shards` that there were, no more than were
    /// planned for.
    pub fn wanted(&self, shards: usize) -> u32 {
        let count = |is: fn(&Worker) -> bool| self.workers.values().filter(|worker| is(worker)).count();
        let waiting = count(|worker| worker.presence == Presence::Active && worker.out.is_empty());
        let all: f64 = self.returned.iter().map(|returned| self.estimate(returned.test)).sum();
        let worth = (all / (self.overhead * PROCESS_FLOOR)).ceil() as usize;
        // Those that came in the place of others are there.
        let there = count(|worker| matches!(worker.presence, Presence::Active | Presence::New));
        let gone = (self.most_workers / 2).saturating_sub(there);
        let wanted = worth.max(1).min(self.returned.len()).saturating_sub(waiting).min(gone);
        let wanted = wanted.min(self.most_workers.saturating_sub(self.workers.len().max(shards)));
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    /// Whether something that came back is with nobody.
    pub fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Seconds until some worker elsewhere is free.
    fn soonest_but(&self, here: &Avoid, now: Timestamp) -> f64 {
        self.active_but(here).map(|other| self.busy(other, now)).fold(f64::INFINITY, f64::min)
    }

    /// Who works elsewhere.
    fn active_but(&self, here: &Avoid) -> impl Iterator<Item = WorkerId> {
        let is_elsewhere = move |(id, worker): &(&WorkerId, &Worker)| {
            let is_here = match here {
                Avoid::Worker(worker) => worker == *id,
                Avoid::Bot(bot) => worker.bot.as_ref() == Some(bot),
            };
            worker.presence == Presence::Active && !is_here
        };
        self.workers.iter().filter(is_elsewhere).map(|(id, _)| *id)
    }
}
