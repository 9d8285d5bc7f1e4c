//! Who runs which tests: what workers tell of them is taken, and those that ask get more.
//!
//! What was granted and reported is in records. Who is to run what is not granted yet ([`Pool`]), and which workers wait
//! for more ([`Hand`]), is volatile: after a restart it is planned anew, and bots say again what they have.

use super::{
    apply::Queue,
    event::{Decided, Effect, Held},
    pending::take_out,
    policy::{TestDriver, TestsPolicy},
    record::{Record, Transition},
    shard::{Ending, ShardState, Token},
    silent::Silence,
    spec::StepSpec,
    suite::{Listing, Suite},
    suites::suite_key,
};
use crate::sharding::{
    Breaker, Estimates, Mode, Next, Settings, Shares, SuiteKey, TestIndex, TestReport, TimeoutLimits,
    WorkerId, workers,
};
use proto::{BotId, RunId, ShardId, Timestamp, limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// What a dispatch costs a worker until that is measured: a call, and the start of a runner.
const OVERHEAD: Duration = Duration::from_millis(200);

/// What a dispatch is taken to cost at most: a bot that was stopped meanwhile says nothing of the others.
const LONGEST_DISPATCH: Duration = Duration::from_secs(5);

/// How long a call of a bot that has tests is held back, at most.
pub(crate) const WORKER_CALLS: Duration = Duration::from_millis(1500);

/// No test is taken to hang sooner, whatever it took before.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A worker on whose bot so many tests in a row crash gets no more of this step, as long as there are others.
const MOST_CRASHES: u32 = 5;

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

/// What a bot is told of the tests of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Grant {
    /// The tests are not known.
    pub(crate) list: bool,
    /// Reports that were taken.
    pub(crate) reports_taken: u64,
    /// Those that it has not had, with their numbers.
    pub(crate) batches: Vec<(u32, Vec<GrantedTest>)>,
    /// Nothing comes after them.
    pub(crate) complete: bool,
}

/// A test that is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantedTest {
    pub(crate) test: TestIndex,
    pub(crate) name: Arc<str>,
    pub(crate) timeout: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    pub(super) pools: BTreeMap<(RunId, u32), Pool>,
    pub(super) hands: BTreeMap<Token, Hand>,
    /// Those of them that ask for more, by step: what one tells is news for these only. Without empty sets.
    hungry: BTreeMap<(RunId, u32), BTreeSet<Token>>,
    /// Estimated and real seconds of what each bot has run.
    paces: BTreeMap<BotId, (f64, f64)>,
    /// What a dispatch has cost in the last step that a driver has run.
    overheads: BTreeMap<TestDriver, Duration>,
}

/// Who is to run what of a step.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) shares: Shares,
    estimates: Estimates,
    breaker: Breaker,
}

/// A worker's live attempt, as its bot has told of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hand {
    /// Batches that it has had.
    had: u32,
    hungry: bool,
    /// It was hungry since the scheduler began: it had not been told before that there is nothing more for it.
    asked: bool,
    /// There is nothing more for it.
    complete: bool,
    running: Vec<TestIndex>,
    /// When it was granted its last batch, until something of that is told.
    granted: Option<Timestamp>,
    pub(super) silence: Silence,
}

impl Sharing {
    /// A hand has changed.
    fn note(&mut self, shard: ShardId, token: Token) {
        let step = (shard.run, shard.step);
        if self.hands.get(&token).is_some_and(|hand| hand.hungry && !hand.complete) {
            self.hungry.entry(step).or_default().insert(token);
        } else {
            take_out(&mut self.hungry, &step, &token);
        }
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
                (hand.hungry, hand.asked) = (false, false);
                self.sharing.note(id, token);
            }
            return;
        };
        let hand = self.sharing.hands.entry(token).or_default();
        hand.had = progress.batches;
        hand.hungry = progress.hungry && held.result.is_none();
        hand.asked |= hand.hungry;
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
        let most = policy.max_workers.map_or_else(|| self.slots_for(spec), |most| most.get());
        let room = u32::try_from(self.tuning.most_pending.saturating_sub(self.pending() + self.waiting()))
            .unwrap_or(u32::MAX);
        // A later step is given no more than so many.
        let most = if is_included { most.min(limits::MAX_INCLUDED_SHARDS) } else { most };
        let overhead = self.overhead(policy.driver);
        // Whoever lists the tests of a run that was cancelled since is not joined by others.
        let room = if is_canceled { 1 } else { room };
        let workers = workers(&estimates, policy.target_time, most, overhead).min(room).max(1);
        self.commit(Transition::TestsListed { run, step, listing, workers }, now, decided);
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
        // What is told again was taken before; a gap is filled by what the bot tells next.
        let Some(known) = suite.reports(token).checked_sub(progress.reports_from) else { return };
        let new = progress.reports.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
        if new.is_empty() {
            return;
        }
        let reports = new.to_vec();
        self.commit(Transition::TestsReported { shard: id, token, reports }, now, decided);
        self.measure_dispatch(id, token, new, now);
        let trips = self.count_reports(id, bot, new, now);
        if trips && self.workers_live(id.run, id.step) > 1 {
            self.dismiss(id, token, now);
        }
        if self.suite(id.run, id.step).is_some_and(|suite| suite.ledger.is_stopped()) {
            self.stop_workers(id.run, id.step, now, decided);
        }
    }

    /// Tells the plan of a step what was run. Says whether the bot is to get no more.
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

    /// A worker gets no more tests.
    fn dismiss(&mut self, id: ShardId, token: Token, now: Timestamp) {
        if let Some(hand) = self.sharing.hands.get_mut(&token) {
            hand.complete = true;
        }
        self.sharing.note(id, token);
        if let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) {
            pool.shares.dismiss(WorkerId(id.index), now);
        }
    }

    /// Nothing more of this step is to be run.
    fn stop_workers(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        let shards = |state| self.shards_of(run, step, state);
        let (pending, running) = (shards(ShardState::Pending), shards(ShardState::Running));
        for shard in pending {
            self.end_unneeded(
                shard,
                "a test has failed, and the run was to end with the first one",
                now,
                decided,
            );
        }
        for shard in running {
            if self.shard(shard).is_some_and(|shard| !shard.killing) {
                self.kill(shard, now, decided);
            }
        }
    }

    /// What has just become of tests may be news for those workers of the same steps that wait.
    pub(super) fn feed_changed(&mut self, now: Timestamp, decided: &mut Decided) {
        let changed = |record: &Record| match &record.transition {
            Transition::TestsListed { run, step, .. } => Some((*run, *step)),
            Transition::TestsReported { shard, .. }
            | Transition::AttemptFinished { shard, .. }
            | Transition::AttemptLost { shard, .. } => {
                self.suite(shard.run, shard.step).map(|_| (shard.run, shard.step))
            }
            _ => None,
        };
        let mut steps: BTreeSet<(RunId, u32)> = decided.records.iter().filter_map(changed).collect();
        // What runs of a cancelled run ends what it has.
        for run in decided.records.iter().filter_map(|record| record.transition.canceled()) {
            let suites = self.run(run).into_iter().flat_map(|run| run.suites.keys());
            steps.extend(suites.map(|step| (run, *step)));
        }
        for (run, step) in steps {
            self.feed(run, step, now, decided);
        }
    }

    /// Gives those workers of a step more that ask for it.
    fn feed(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        let hungry: Vec<Token> =
            self.sharing.hungry.get(&(run, step)).into_iter().flatten().copied().collect();
        self.feed_some(&hungry, now, decided);
        self.end_idle_workers(run, step, now, decided);
    }

    /// Gives a worker more, if it asks for it and there is something to say.
    pub(super) fn feed_one(
        &mut self,
        id: ShardId,
        token: Token,
        now: Timestamp,
        decided: &mut Decided,
    ) -> bool {
        // A silent one is not told that there is nothing for it: it may be heard of again.
        let asks = |hand: &&Hand| hand.hungry && !hand.complete && hand.silence != Silence::Certain;
        let Some(hand) = self.sharing.hands.get(&token).filter(asks) else { return false };
        let Some((run, suite)) = self.run(id.run).and_then(|run| Some((run, run.suites.get(&id.step)?)))
        else {
            return false;
        };
        if hand.had != suite.batches(token) {
            return false;
        }
        let is_over = suite.ledger.is_complete() || suite.ledger.is_stopped() || run.canceled;
        let over = is_over || self.may_leave(id);
        let next = if over {
            self.dismiss(id, token, now);
            Next::Nothing
        } else {
            self.plan(id.run, id.step, now);
            let pool = self.sharing.pools.get_mut(&(id.run, id.step));
            pool.map_or(Next::Wait, |pool| pool.shares.next(WorkerId(id.index), now))
        };
        match next {
            Next::Batch(tests) => {
                let granted = Transition::TestsGranted { shard: id, token, tests: tests.into() };
                self.commit(granted, now, decided);
                if let Some(hand) = self.sharing.hands.get_mut(&token) {
                    hand.granted = Some(now);
                }
                return true;
            }
            Next::Wait => {}
            Next::Nothing => {
                if let Some(hand) = self.sharing.hands.get_mut(&token) {
                    hand.complete = true;
                }
                self.sharing.note(id, token);
            }
        }
        next == Next::Nothing
    }

    /// Whether the bot of a worker wants to stop, and others can do its work.
    fn may_leave(&self, id: ShardId) -> bool {
        let bot = self.shard(id).and_then(|shard| self.presence.bots.get(&shard.live()?.bot));
        // It is none of those that go on itself.
        bot.is_some_and(|bot| bot.draining) && self.workers_live(id.run, id.step) > 0
    }

    /// Ends the pending workers of a step when nothing is left that is not granted: what is lost by others comes with
    /// shards of their own.
    pub(super) fn end_idle_workers(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        if self.run(run).is_none_or(|run| run.tally.pending == 0)
            || self.suite(run, step).is_none_or(|suite| {
                let is_over = suite.ledger.is_complete() || suite.ledger.is_stopped();
                !suite.ledger.is_granted() || (!is_over && self.has_returned(run, step))
            })
        {
            return;
        }
        for shard in self.shards_of(run, step, ShardState::Pending) {
            self.end_unneeded(shard, "other workers have taken all the tests", now, decided);
        }
    }

    pub(super) fn end_unneeded(&mut self, shard: ShardId, why: &str, now: Timestamp, decided: &mut Decided) {
        let ended = Transition::ShardEnded { shard, ending: Ending::NotNeeded, message: why.to_owned() };
        self.commit(ended, now, decided);
        if let Some(pool) = self.sharing.pools.get_mut(&(shard.run, shard.step)) {
            pool.shares.ended(WorkerId(shard.index));
        }
    }

    /// Whether a pending shard may end without being missed: others do the work, or have it: what they lose comes back with
    /// their own shards.
    pub(super) fn is_spare(&self, id: ShardId) -> bool {
        self.suite(id.run, id.step)
            .is_some_and(|suite| suite.ledger.is_granted() || self.workers_live(id.run, id.step) > 0)
    }

    /// Workers that wait ask again.
    pub(super) fn feed_all(&mut self, now: Timestamp, decided: &mut Decided) {
        let hungry: Vec<Token> = self.sharing.hungry.values().flatten().copied().collect();
        self.feed_some(&hungry, now, decided);
    }

    fn feed_some(&mut self, hungry: &[Token], now: Timestamp, decided: &mut Decided) {
        for &token in hungry {
            let Some(id) = self.state.leases.get(&token).copied() else { continue };
            if self.feed_one(id, token, now, decided) {
                let bot = self.shard(id).and_then(|shard| Some(shard.live()?.bot.clone()));
                decided.effects.extend(bot.map(Effect::Wake));
            }
        }
    }

    /// What the bot of a live attempt is told of its tests. None when the step shares out none.
    pub(super) fn grant_of(&self, id: ShardId, step: &StepSpec, token: Token) -> Option<Grant> {
        let policy = step.fan_out.tests()?;
        let Some(suite) = self.suite(id.run, id.step) else {
            return Some(Grant { list: true, ..Grant::default() });
        };
        let hand = self.sharing.hands.get(&token);
        let had = hand.map_or(0, |hand| hand.had);
        let key = suite_key(step);
        let batches = suite.batches_after(token, had).map(|(number, tests)| {
            let granted =
                tests.iter().filter_map(|test| self.granted(*test, suite, policy, step, key.as_ref()));
            (number, granted.collect())
        });
        Some(Grant {
            list: false,
            reports_taken: suite.reports(token),
            batches: batches.collect(),
            complete: hand.is_some_and(|hand| hand.complete),
        })
    }

    fn granted(
        &self,
        test: TestIndex,
        suite: &Suite,
        policy: &TestsPolicy,
        step: &StepSpec,
        key: Option<&SuiteKey>,
    ) -> Option<GrantedTest> {
        let name = Arc::clone(&suite.listing.tests.get(test.0 as usize)?.name);
        let limits =
            TimeoutLimits { floor: SHORTEST_TIMEOUT.min(step.timeouts.hard), cap: step.timeouts.hard };
        let by_history = || Some(self.state.books.history.timeout(key?, &name, limits));
        let timeout = policy.test_timeout.or_else(by_history).unwrap_or(step.timeouts.hard);
        Some(GrantedTest { test, name, timeout })
    }

    /// The tests of a step, once they are listed.
    pub(crate) fn suite(&self, run: RunId, step: u32) -> Option<&Suite> {
        self.run(run)?.suites.get(&step)
    }

    /// What the tests of a step are expected to take.
    fn estimates(&self, step: &StepSpec, listing: &Listing) -> Estimates {
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

    /// Tests of a step that are being run, as far as bots have told.
    pub(crate) fn tests_running(&self, run: RunId, step: u32) -> usize {
        let hands = self.sharing.hands.iter();
        let of_step = hands.filter(|(token, _)| {
            self.state.leases.get(token).is_some_and(|shard| shard.run == run && shard.step == step)
        });
        of_step.map(|(_, hand)| hand.running.len()).sum()
    }

    /// Places for workers on the bots that fit.
    fn slots_for(&self, step: &StepSpec) -> u32 {
        let fits = self.bots().filter(|(id, bot)| {
            bot.is_willing() && self.order_of(id).is_none() && step.first.requirements.fit(&bot.dimensions)
        });
        fits.map(|(_, bot)| bot.slots).fold(0, u32::saturating_add).max(1)
    }

    pub(super) fn shards_of(&self, run: RunId, step: u32, state: ShardState) -> Vec<ShardId> {
        let shards = self.run(run).and_then(|run| run.steps.get(step as usize));
        let shards = (0u32..).zip(shards.into_iter().flatten());
        let in_state = shards.filter(|(_, shard)| shard.state == state);
        in_state.map(|(index, _)| ShardId { run, step, index }).collect()
    }

    /// Workers that go on taking tests. After a restart who has none that counts and asks for none may have been let go before
    /// it.
    fn workers_live(&self, run: RunId, step: u32) -> usize {
        let suite = self.suite(run, step);
        let counts = |suite: &Suite, token: Token| {
            suite.ledger.held(token.0).iter().any(|test| suite.ledger.verdict(*test).is_none())
        };
        let goes_on = |id: &ShardId| {
            let shard = self.shard(*id).filter(|shard| !shard.killing);
            let Some(live) = shard.and_then(|shard| shard.live()) else { return false };
            let hand = self.sharing.hands.get(&live.token);
            let told = hand.is_some_and(|hand| hand.complete || hand.silence == Silence::Certain);
            let takes =
                hand.is_some_and(|hand| hand.asked) || suite.is_some_and(|suite| counts(suite, live.token));
            let leaving = self.presence.bots.get(&live.bot).is_none_or(|bot| bot.draining);
            takes && !told && !leaving && self.order_of(&live.bot).is_none()
        };
        self.shards_of(run, step, ShardState::Running).iter().filter(|id| goes_on(id)).count()
    }

    /// Plans who is to run what of a step, unless that is planned.
    fn plan(&mut self, run: RunId, step: u32, now: Timestamp) {
        if self.sharing.pools.contains_key(&(run, step)) {
            return;
        }
        let first = ShardId { run, step, index: 0 };
        let (Some(suite), Some((_, spec))) = (self.suite(run, step), self.state.context(first)) else {
            return;
        };
        let Some(policy) = spec.fan_out.tests() else { return };
        let mode = if policy.driver.pulls() { Mode::Pull } else { Mode::Process };
        let settings = Settings::new(mode, self.overhead(policy.driver));
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
            let is_open = |test| suite.ledger.verdict(test).is_none();
            shares.holds(WorkerId(id.index), suite.ledger.held(live.token.0), is_open, now);
        }
        let pool = Pool { shares, estimates, breaker: Breaker::new(MOST_CRASHES) };
        self.sharing.pools.insert((run, step), pool);
    }

    /// What a dispatch costs a worker of a driver, as far as it is known.
    fn overhead(&self, driver: TestDriver) -> Duration {
        self.sharing.overheads.get(&driver).copied().unwrap_or(OVERHEAD)
    }

    /// How fast a bot was, beside what was expected of it. None when it is not known.
    fn speed(&self, bot: &BotId) -> Option<f64> {
        let pace = self.sharing.paces.get(bot).filter(|(_, took)| *took > 1.0);
        pace.map(|(estimated, took)| estimated / took)
    }

    /// The tests that an attempt holds which is about to end.
    pub(super) fn tests_held(&self, transition: &Transition) -> Vec<TestIndex> {
        match transition {
            Transition::AttemptLost { shard, token, .. }
            | Transition::AttemptFinished { shard, token, .. } => {
                let suite = self.suite(shard.run, shard.step);
                suite.map(|suite| suite.ledger.held(token.0).to_vec()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// A worker's attempt has begun.
    pub(super) fn worker_begins(&mut self, id: ShardId, bot: &BotId, now: Timestamp) {
        let speed = self.speed(bot);
        if let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) {
            pool.shares.join(WorkerId(id.index), speed, now);
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
            let policy = self.state.context(first).and_then(|(_, step)| step.fan_out.tests());
            if let (Some(pool), Some(policy)) = (self.sharing.pools.remove(&(run, step)), policy) {
                self.sharing.overheads.insert(policy.driver, pool.shares.overhead());
            }
        }
    }
}
