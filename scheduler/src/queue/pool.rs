//! Who is to run what of a step: planned when its tests are listed, or when a worker first asks after a restart; forgotten
//! when the run has ended. What it is planned by is what history, bots and drivers have shown.

use super::{
    apply::Queue,
    event::Decided,
    policy::{TestDriver, TestsPolicy},
    record::Transition,
    run::Run,
    shard::{ShardState, Token},
    spec::StepSpec,
    suite::Listing,
    suites::suite_key,
};
use crate::sharding::{Breaker, Estimates, Mode, Settings, Shares, TestIndex, WorkerId, workers};
use proto::{BotId, RunId, ShardId, Timestamp, limits};
use std::{sync::Arc, time::Duration};

/// What a dispatch costs a worker until that is measured: a call, and the start of a runner.
const OVERHEAD: Duration = Duration::from_millis(200);

/// Suites whose dispatches are remembered.
const MOST_OVERHEADS: usize = 10_000;

/// A bot on which so many tests in a row crash gets no more of their step, as long as others fit.
pub(super) const MOST_CRASHES: u32 = 5;

/// Who is to run what of a step.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) shares: Shares,
    pub(super) estimates: Estimates,
    pub(super) breaker: Breaker,
}

impl Queue {
    /// The tests of a step are known.
    pub(super) fn list(
        &mut self,
        run: RunId,
        step: u32,
        policy: &TestsPolicy,
        listing: Arc<Listing>,
        now: Timestamp,
        decided: &mut Decided,
    ) {
        let first = ShardId { run, step, index: 0 };
        let Some((known, spec)) = self.state.context(first) else { return };
        if known.ended.is_some() || known.has_ended(step) || known.suites.contains_key(&step) {
            return;
        }
        let (is_canceled, is_included) = (known.canceled, known.is_included(step));
        let listing = if policy.only.is_empty() { listing } else { Arc::new(listing.only(&policy.only)) };
        let estimates = self.estimates(spec, &listing);
        let most = policy.max_workers.map_or_else(|| self.slots_for(spec).max(1), |most| most.get());
        let room = u32::try_from(self.tuning.most_pending.saturating_sub(self.pending() + self.waiting()))
            .unwrap_or(u32::MAX);
        // A later step is given no more than so many.
        let most = if is_included { most.min(limits::MAX_INCLUDED_SHARDS) } else { most };
        let overhead = self.overhead(policy.driver, spec);
        // Whoever lists the tests of a run that was cancelled since is not joined by others.
        let room = if is_canceled { 1 } else { room };
        let workers = workers(&estimates, policy.target_time, most, overhead).min(room).max(1);
        self.commit(Transition::TestsListed { run, step, listing, workers }, now, decided);
    }

    /// Plans who is to run what of a step, unless that is planned.
    pub(super) fn plan(&mut self, run: RunId, step: u32, now: Timestamp) {
        if self.sharing.pools.contains_key(&(run, step)) {
            return;
        }
        let first = ShardId { run, step, index: 0 };
        let (Some(suite), Some((_, spec))) = (self.suite(run, step), self.state.context(first)) else {
            return;
        };
        let Some(policy) = spec.fan_out.tests() else { return };
        let mode = if policy.driver.pulls() { Mode::Pull } else { Mode::Process };
        let settings = Settings::new(mode, self.overhead(policy.driver, spec));
        let estimates = self.estimates(spec, &suite.listing);
        let count = self.run(run).and_then(|run| run.steps.get(step as usize)).map_or(1, Vec::len);
        let workers = u32::try_from(count).unwrap_or(u32::MAX);
        let (tests, open) = (&suite.listing.tests, suite.ledger.ungranted());
        let mut shares = Shares::plan(tests, &estimates, &open, workers, settings, now);
        let shards = self.run(run).and_then(|run| run.steps.get(step as usize));
        for (index, shard) in (0..).zip(shards.into_iter().flatten()) {
            if matches!(shard.state, ShardState::Ended(_)) {
                shares.ended(WorkerId(index));
            }
        }
        for id in self.shards_of(run, step, ShardState::Running) {
            let Some(live) = self.shard(id).and_then(|shard| shard.live()) else { continue };
            shares.join(WorkerId(id.index), self.speed(&live.bot), now);
            shares.sits_on(WorkerId(id.index), &live.bot);
            let is_open = |test| suite.ledger.verdict(test).is_none();
            shares.holds(WorkerId(id.index), suite.ledger.held(live.token.0), is_open, now);
        }
        let pool = Pool { shares, estimates, breaker: Breaker::new(MOST_CRASHES) };
        self.sharing.pools.insert((run, step), pool);
    }

    /// Places for workers on the bots that fit.
    pub(super) fn slots_for(&self, step: &StepSpec) -> u32 {
        let fits = self.bots().filter(|(id, bot)| {
            bot.is_willing() && self.order_of(id).is_none() && step.first.requirements.fit(&bot.dimensions)
        });
        fits.map(|(_, bot)| bot.slots).fold(0, u32::saturating_add)
    }

    /// What the tests of a step are expected to take.
    pub(super) fn estimates(&self, step: &StepSpec, listing: &Listing) -> Estimates {
        match suite_key(step) {
            Some(key) => Estimates::new(&listing.tests, &self.state.books.history, &key),
            None => Estimates::from_known(vec![None; listing.tests.len()]),
        }
    }

    /// What the tests of a step were expected to take when they were shared out; what they are expected to take now when
    /// nobody has them yet. None when the run has ended.
    pub(crate) fn planned(&self, run: RunId, step: u32) -> Option<Estimates> {
        if let Some(pool) = self.sharing.pools.get(&(run, step)) {
            return Some(pool.estimates.clone());
        }
        let (_, spec) =
            self.state.context(ShardId { run, step, index: 0 }).filter(|(run, _)| run.ended.is_none())?;
        Some(self.estimates(spec, &self.suite(run, step)?.listing))
    }

    /// What a dispatch costs a worker of a driver, as far as it is known: of the step's suite on its kind of bots, or of any.
    pub(super) fn overhead(&self, driver: TestDriver, step: &StepSpec) -> Duration {
        let of = |key| self.sharing.overheads.get(&(driver, key)).copied();
        suite_key(step).and_then(|key| of(Some(key))).or_else(|| of(None)).unwrap_or(OVERHEAD)
    }

    /// How fast a bot was, beside what was expected of it. None when it is not known.
    pub(super) fn speed(&self, bot: &BotId) -> Option<f64> {
        let pace = self.sharing.paces.get(bot).filter(|(_, took)| *took > 1.0);
        pace.map(|(estimated, took)| estimated / took)
    }

    /// A worker's attempt has begun.
    pub(super) fn worker_begins(&mut self, id: ShardId, bot: &BotId, now: Timestamp) {
        let speed = self.speed(bot);
        if let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) {
            pool.shares.join(WorkerId(id.index), speed, now);
            pool.shares.sits_on(WorkerId(id.index), bot);
        }
    }

    /// A worker whose own time is over, as bots have it that give it no more than a test, is followed by another when it has
    /// told of tests and some are left: as a worker of its own, because a shard ends once. To be called before it ends, or the
    /// step might end with it.
    pub(super) fn succeed_worker(
        &mut self,
        id: ShardId,
        token: Token,
        now: Timestamp,
        decided: &mut Decided,
    ) {
        let is_wanted = self.shard(id).is_some_and(|shard| !shard.killing)
            && self.run(id.run).is_some_and(|run| !run.canceled)
            && self.suite(id.run, id.step).is_some_and(|suite| {
                let is_over = suite.ledger.is_complete() || suite.ledger.is_stopped();
                !is_over && suite.reports(token) > 0
            });
        if is_wanted {
            self.add_workers(id.run, id.step, 1, now, decided);
        }
    }

    /// Sees to it that so many workers of a step are pending, as far as there is room for them.
    pub(super) fn add_workers(
        &mut self,
        run: RunId,
        step: u32,
        wanted: u32,
        now: Timestamp,
        decided: &mut Decided,
    ) {
        let Some(of_run) = self.run(run) else { return };
        let pending = self.shards_of(run, step, ShardState::Pending).len();
        let room = room_in(of_run, step)
            .min(self.tuning.most_pending.saturating_sub(self.pending() + self.waiting()));
        let more = (wanted as usize).saturating_sub(pending).min(room);
        if let Some(more) = u32::try_from(more).ok().filter(|more| *more > 0) {
            self.commit(Transition::WorkersAdded { run, step, more }, now, decided);
        }
    }

    /// A worker's attempt has ended, holding these tests.
    pub(super) fn worker_ends(&mut self, id: ShardId, token: Token, held: &[TestIndex], now: Timestamp) {
        self.sharing.hands.remove(&token);
        self.sharing.note(id, token);
        let Some(suite) = self.state.runs.get(&id.run).and_then(|run| run.suites.get(&id.step)) else {
            return;
        };
        let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) else { return };
        pool.shares.leave(WorkerId(id.index), now);
        // It may have been the last that one test takes with it.
        let (judged, again): (Vec<TestIndex>, Vec<TestIndex>) =
            held.iter().copied().partition(|test| suite.ledger.verdict(*test).is_some());
        judged.into_iter().for_each(|test| pool.shares.withdraw(test));
        pool.shares.give_back(&again, None);
    }

    /// Forgets the plans of a run that has ended.
    pub(super) fn forget_plans(&mut self, run: RunId) {
        let of_run: Vec<(RunId, u32)> =
            self.sharing.pools.range((run, 0)..=(run, u32::MAX)).map(|(key, _)| *key).collect();
        for (run, step) in of_run {
            let first = ShardId { run, step, index: 0 };
            let of_step =
                |(_, step): (_, &Arc<StepSpec>)| Some((step.fan_out.tests()?.driver, suite_key(step)));
            let of_step = self.state.context(first).and_then(of_step);
            if let (Some(pool), Some((driver, key))) = (self.sharing.pools.remove(&(run, step)), of_step) {
                let known = &mut self.sharing.overheads;
                if known.len() >= MOST_OVERHEADS {
                    known.retain(|(_, key), _| key.is_none());
                }
                known.extend([None, key].map(|key| ((driver, key), pool.shares.overhead())));
            }
        }
    }
}

/// How many shards a step may still get: later ones are given those of all that they include, and no more than a bot takes.
fn room_in(run: &Run, step: u32) -> usize {
    let len = |step: u32| run.steps.get(step as usize).map_or(0, Vec::len);
    let most = |step: u32| {
        let planned = run.spec.steps.get(step as usize).map_or(0, |spec| spec.fan_out.most_shards());
        len(step).max(planned as usize)
    };
    let all = (limits::MAX_SHARDS_PER_RUN as usize).saturating_sub(run.shards().count());
    let of_later = run.spec.steps.iter().filter_map(|later| {
        let times = later.includes.iter().filter(|include| include.step == step).count();
        let included: usize = later.includes.iter().map(|include| most(include.step)).sum();
        let free = (limits::MAX_INCLUDED_SHARDS as usize).saturating_sub(included);
        Some(most(step) - len(step) + free.checked_div(times)?)
    });
    of_later.min().map_or(all, |room| room.min(all))
}
