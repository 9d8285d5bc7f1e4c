//! Who runs which tests: workers that ask get more, or are told that there is nothing any more.
//!
//! What was granted and reported is in records. Who is to run what is not granted yet ([`Pool`]), and which workers wait
//! for more ([`Hand`]), is volatile: after a restart it is planned anew, and bots say again what they have.

use super::{
    apply::Queue,
    event::{Decided, Effect},
    pending::take_out,
    policy::{TestDriver, TestsPolicy},
    pool::Pool,
    record::{Record, Transition},
    shard::{Ending, ShardState, Token},
    silent::Silence,
    spec::StepSpec,
    suite::Suite,
    suites::suite_key,
};
use crate::sharding::{Next, SuiteKey, TestIndex, TimeoutLimits, WorkerId};
use proto::{BotId, RunId, ShardId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long a call of a bot that has tests is held back, at most.
pub(crate) const WORKER_CALLS: Duration = Duration::from_millis(1500);

/// No test is taken to hang sooner, whatever it took before.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(60);

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
    pub(super) paces: BTreeMap<BotId, (f64, f64)>,
    /// What a dispatch has cost in the last step that a driver has run: of each suite on its kind of bots, and of any.
    pub(super) overheads: BTreeMap<(TestDriver, Option<SuiteKey>), Duration>,
}

/// A worker's live attempt, as its bot has told of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hand {
    /// Batches that it has had.
    pub(super) had: u32,
    pub(super) hungry: bool,
    /// There is nothing more for it.
    complete: bool,
    pub(super) running: Vec<TestIndex>,
    /// When it was granted its last batch, until something of that is told.
    pub(super) granted: Option<Timestamp>,
    pub(super) silence: Silence,
}

impl Sharing {
    /// A hand has changed.
    pub(super) fn note(&mut self, shard: ShardId, token: Token) {
        let step = (shard.run, shard.step);
        if self.hands.get(&token).is_some_and(|hand| hand.hungry && !hand.complete) {
            self.hungry.entry(step).or_default().insert(token);
        } else {
            take_out(&mut self.hungry, &step, &token);
        }
    }
}
impl Queue {
    /// A worker gets no more tests.
    pub(super) fn dismiss(&mut self, id: ShardId, token: Token, now: Timestamp) {
        if let Some(hand) = self.sharing.hands.get_mut(&token) {
            hand.complete = true;
        }
        self.sharing.note(id, token);
        if let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step)) {
            pool.shares.dismiss(WorkerId(id.index), now);
        }
    }

    /// Nothing more of this step is to be run.
    pub(super) fn stop_workers(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
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

    /// Tests of a step that are being run, as far as bots have told.
    pub(crate) fn tests_running(&self, run: RunId, step: u32) -> usize {
        let hands = self.sharing.hands.iter();
        let of_step = hands.filter(|(token, _)| {
            self.state.leases.get(token).is_some_and(|shard| shard.run == run && shard.step == step)
        });
        of_step.map(|(_, hand)| hand.running.len()).sum()
    }

    pub(super) fn shards_of(&self, run: RunId, step: u32, state: ShardState) -> Vec<ShardId> {
        let shards = self.run(run).and_then(|run| run.steps.get(step as usize));
        let shards = (0u32..).zip(shards.into_iter().flatten());
        let in_state = shards.filter(|(_, shard)| shard.state == state);
        in_state.map(|(index, _)| ShardId { run, step, index }).collect()
    }

    /// Workers that go on taking tests. After a restart who has none that counts and asks for none may have been let go before
    /// it.
    pub(super) fn workers_live(&self, run: RunId, step: u32) -> usize {
        self.workers_going_on(run, step).count()
    }

    /// These workers.
    pub(super) fn workers_going_on(&self, run: RunId, step: u32) -> impl Iterator<Item = ShardId> {
        let (suite, pool) = (self.suite(run, step), self.sharing.pools.get(&(run, step)));
        let counts = move |suite: &Suite, token: Token| {
            suite.ledger.held(token.0).iter().any(|test| suite.ledger.verdict(*test).is_none())
        };
        let goes_on = move |id: &ShardId| {
            let shard = self.shard(*id).filter(|shard| !shard.killing);
            let Some(live) = shard.and_then(|shard| shard.live()) else { return false };
            let hand = self.sharing.hands.get(&live.token);
            let told = hand.is_some_and(|hand| hand.complete || hand.silence == Silence::Certain);
            let takes = pool.is_some_and(|pool| pool.shares.asks(WorkerId(id.index)))
                || suite.is_some_and(|suite| counts(suite, live.token));
            let leaving = self.presence.bots.get(&live.bot).is_none_or(|bot| bot.draining);
            takes && !told && !leaving && self.order_of(&live.bot).is_none()
        };
        self.shards_of(run, step, ShardState::Running).into_iter().filter(goes_on)
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
}
