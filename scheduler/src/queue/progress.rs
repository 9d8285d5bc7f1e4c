//! What bots tell of the tests of their attempts.

use super::{
    apply::Queue,
    event::{Decided, Held},
    record::Transition,
    shard::{Attempt, AttemptEnd, Token},
    silent::Silence,
    suite::{Listing, Suite},
};
use crate::sharding::{TestIndex, TestReport, WorkerId};
use proto::{BotId, ShardId, Timestamp};
use std::{sync::Arc, time::Duration};

/// What a dispatch is taken to cost at most: a bot that was stopped meanwhile says nothing of the others.
const LONGEST_DISPATCH: Duration = Duration::from_secs(5);

/// Seconds of tests over which a bot's speed is measured.
const PACE_SECONDS: f64 = 600.0;

/// What a bot tells of the tests of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) listing: Option<Arc<Listing>>,
    /// The number of the first report.
    pub(crate) reports_from: u64,
    pub(crate) reports: Vec<TestReport>,
    /// Batches that it has had.
    pub(crate) batches: u32,
    /// It would run more.
    pub(crate) hungry: bool,
    pub(crate) running: Vec<TestIndex>,
}

impl Progress {
    /// Reports that were not taken. What is told again was taken before; a gap is filled by what the bot tells next.
    fn news(&self, suite: &Suite, token: Token) -> &[TestReport] {
        let known = suite.reports(token).checked_sub(self.reports_from);
        let known = known.and_then(|known| usize::try_from(known).ok());
        known.and_then(|known| self.reports.get(known..)).unwrap_or_default()
    }
}

impl Queue {
    /// Takes in what a bot tells of the tests of a live attempt.
    pub(super) fn take_progress(&mut self, held: &Held, bot: &BotId, now: Timestamp, decided: &mut Decided) {
        let (id, token) = (held.lease.shard, held.lease.token);
        let policy = self.state.context(id).and_then(|(_, step)| step.fan_out.tests().cloned());
        let (Some(progress), Some(policy)) = (&held.tests, policy) else {
            // The process that has asked for more is gone.
            if let Some(hand) = self.sharing.hands.get_mut(&token) {
                hand.hungry = false;
                self.sharing.note(id, token);
                if let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) {
                    pool.shares.asks_no_more(WorkerId(id.index));
                }
            }
            return;
        };
        let hand = self.sharing.hands.entry(token).or_default();
        hand.had = progress.batches;
        hand.hungry = progress.hungry && held.result.is_none();
        hand.running.clone_from(&progress.running);
        let silence = std::mem::take(&mut hand.silence);
        self.sharing.note(id, token);
        if silence == Silence::Certain
            && let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step))
        {
            pool.shares.heard(WorkerId(id.index));
            self.end_idle_workers(id.run, id.step, now, decided);
        }
        if let Some(listing) = &progress.listing
            && self.suite(id.run, id.step).is_none()
        {
            self.list(id.run, id.step, &policy, Arc::clone(listing), now, decided);
        }
        self.take_reports(id, token, bot, progress, now, decided);
    }

    fn take_reports(
        &mut self,
        id: ShardId,
        token: Token,
        bot: &BotId,
        progress: &Progress,
        now: Timestamp,
        decided: &mut Decided,
    ) {
        let Some(suite) = self.suite(id.run, id.step) else { return };
        let new = progress.news(suite, token);
        if new.is_empty() {
            return;
        }
        let reports = new.to_vec();
        self.commit(Transition::TestsReported { shard: id, token, reports }, now, decided);
        self.measure_dispatch(id, token, new, now);
        if self.count_reports(id, bot, new, now) {
            self.break_off(id, bot, now, decided);
        }
        self.call_elsewhere(id, bot, now, decided);
        self.quarantine_to_blame(id, now, decided);
        if self.suite(id.run, id.step).is_some_and(|suite| suite.ledger.is_stopped()) {
            self.stop_workers(id.run, id.step, now, decided);
        }
    }

    /// Keeps what a bot tells under a lease of its that has ended, beside what counts: it was silent for too long, and others
    /// run what it had.
    pub(super) fn take_late(&mut self, held: &Held, bot: &BotId, now: Timestamp, decided: &mut Decided) {
        let (id, token) = (held.lease.shard, held.lease.token);
        let is_of_bot = |attempt: &Attempt| {
            attempt.token == token && attempt.bot == *bot && attempt.end != AttemptEnd::Running
        };
        let is_its_own = self.shard(id).is_some_and(|shard| shard.attempts.iter().any(is_of_bot));
        let goes_on = self.run(id.run).is_some_and(|run| run.ended.is_none());
        let (Some(progress), Some(suite)) = (&held.tests, self.suite(id.run, id.step)) else { return };
        let new = progress.news(suite, token).iter();
        let reports: Vec<TestReport> =
            new.filter(|report| suite.ledger.has_room(report.test)).cloned().collect();
        if is_its_own && goes_on && !reports.is_empty() {
            self.commit(Transition::TestsReported { shard: id, token, reports }, now, decided);
        }
    }

    /// Tells the plan of a step what was run. Says whether too much of it has crashed.
    fn count_reports(&mut self, id: ShardId, bot: &BotId, reports: &[TestReport], now: Timestamp) -> bool {
        let worker = WorkerId(id.index);
        self.plan(id.run, id.step, now);
        let Some(suite) = self.state.runs.get(&id.run).and_then(|run| run.suites.get(&id.step)) else {
            return false;
        };
        let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) else { return false };
        let (estimated, took) = self.sharing.paces.entry(bot.clone()).or_default();
        let mut trips = false;
        for report in reports {
            pool.shares.reported(worker, report.test, report.duration, now);
            if suite.ledger.verdict(report.test).is_none() {
                pool.shares.give_back(&[report.test], Some(worker));
            }
            trips |= pool.breaker.trips(bot, &report.outcome);
            if let Some(known) = pool.estimates.known(report.test) {
                *estimated += known.as_secs_f64();
                *took += report.duration.as_secs_f64();
                if *took > PACE_SECONDS {
                    (*estimated, *took) = (*estimated / 2.0, *took / 2.0);
                }
            }
        }
        trips
    }

    /// What was not spent on tests since a batch was granted is what the dispatch has cost.
    fn measure_dispatch(&mut self, id: ShardId, token: Token, reports: &[TestReport], now: Timestamp) {
        let granted = self.sharing.hands.get_mut(&token).and_then(|hand| hand.granted.take());
        let pool = self.sharing.pools.get_mut(&(id.run, id.step));
        if let (Some(granted), Some(pool)) = (granted, pool) {
            let tests: Duration = reports.iter().map(|report| report.duration).sum();
            pool.shares.dispatched(now.since(granted).saturating_sub(tests).min(LONGEST_DISPATCH));
        }
    }
}
