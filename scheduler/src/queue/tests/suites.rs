//! Steps whose tests are shared out among workers.

use super::super::{testing::*, *};
use crate::sharding::{ListedTest, TestIndex, TestOutcome, TestReport, Verdict};
use proptest::prelude::*;
use proto::{RunId, Timestamp};
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

mod bots;
mod pasts;

const SECOND: Duration = Duration::from_secs(1);

fn policy(retries: u32) -> TestsPolicy {
    TestsPolicy {
        driver: TestDriver::Pytest,
        partitions: 0,
        decided: 0,
        max_workers: NonZeroU32::new(4),
        target_time: None,
        retries,
        fail_fast: false,
        suite: "suite".into(),
        only: Default::default(),
        test_timeout: None,
    }
}

fn sharing(policy: TestsPolicy) -> StepSpec {
    let step = step(1, &[]);
    StepSpec { fan_out: FanOut::Tests(Arc::new(policy)), max_attempts: NonZeroU32::new(9).unwrap(), ..step }
}

fn listing(names: impl IntoIterator<Item = String>) -> Arc<Listing> {
    let test =
        |name: String| ListedTest { name: name.into(), group: None, exclusive: false, disabled: false };
    let tests: Arc<[ListedTest]> = names.into_iter().map(test).collect();
    Arc::new(Listing { places: vec![Place::default(); tests.len()], tests })
}

fn numbered(count: u32) -> Arc<Listing> {
    listing((0..count).map(|number| format!("t{number}")))
}

/// A slot of a bot, as the real ones behave: it tells its whole state and does what it is told.
#[derive(Clone, Debug, Default)]
struct Worker {
    lease: Option<LeaseRef>,
    listing: Option<Arc<Listing>>,
    reports: Vec<TestReport>,
    taken: u64,
    batches: u32,
    queue: Vec<TestIndex>,
    complete: bool,
    sessions: u32,
    ran: usize,
}

impl Worker {
    fn held(&self, exit_code: i32) -> Vec<Held> {
        let Some(lease) = self.lease else { return vec![] };
        let reports = self.reports[self.taken as usize..].to_vec();
        let over = self.complete && self.queue.is_empty() && reports.is_empty();
        let progress = Progress {
            listing: self.listing.clone(),
            reports_from: self.taken,
            reports,
            batches: self.batches,
            hungry: !self.complete && self.queue.is_empty(),
            running: vec![],
        };
        let held = if over { finished(lease, exit_code) } else { running(lease) };
        vec![Held { tests: Some(progress), ..held }]
    }

    fn hear(&mut self, desired: Option<Desired>, all: &Arc<Listing>) {
        let Some(Desired { lease, tests: Some(grant), kill, .. }) = desired else {
            return *self = Self { sessions: self.sessions, ran: self.ran, ..Self::default() };
        };
        if self.lease != Some(lease) {
            *self = Self { lease: Some(lease), sessions: self.sessions, ran: self.ran, ..Self::default() };
        }
        self.listing = grant.list.then(|| Arc::clone(all));
        self.taken = self.taken.max(grant.reports_taken);
        for (number, tests) in grant.batches {
            if number == self.batches + 1 {
                self.batches = number;
                self.queue.extend(tests.iter().map(|granted| granted.test));
            }
        }
        self.complete |= grant.complete || kill;
        if kill {
            self.queue.clear();
        }
    }
}

/// The bot of a slot.
fn host(slot: &str) -> &str {
    slot.split('/').next().unwrap()
}

/// Bots, a queue, and what tests do.
struct Fleet {
    bench: Bench,
    workers: BTreeMap<&'static str, Worker>,
    all: Arc<Listing>,
    /// What becomes of a test on its nth execution; passes when it is not in here.
    outcomes: BTreeMap<u32, Vec<TestOutcome>>,
    executions: BTreeMap<u32, usize>,
    /// Of workers that have run all they were granted.
    exit_code: i32,
    ending: Ending,
    draining: Option<&'static str>,
}

impl Fleet {
    fn new(bots: &[&'static str], tests: u32) -> Self {
        let workers = bots.iter().map(|bot| (*bot, Worker::default())).collect();
        let (outcomes, executions) = (BTreeMap::new(), BTreeMap::new());
        let (bench, all) = (Bench::new(), numbered(tests));
        let (exit_code, ending) = (0, Ending::Completed);
        Self { bench, workers, all, outcomes, executions, exit_code, ending, draining: None }
    }

    /// One bot calls, and hears the answer unless it is lost.
    fn call(&mut self, bot: &'static str, heard: bool) {
        let mut held = self.workers[bot].held(self.exit_code);
        let results = held.iter_mut().filter_map(|held| held.result.as_mut());
        results.for_each(|result| result.ending = self.ending);
        self.tell(bot, held, heard);
    }

    /// The same, and these are what it says of its tests. Slots of one bot are `BOT/NUMBER`.
    fn tell(&mut self, bot: &'static str, held: Vec<Held>, heard: bool) {
        let worker = &self.workers[bot];
        let session = format!("s{}", worker.sessions);
        let draining = self.draining == Some(bot);
        let slots: Vec<_> = self.workers.iter().filter(|(slot, _)| host(slot) == host(bot)).collect();
        let of_others: Vec<_> =
            slots.iter().filter(|(slot, _)| **slot != bot).filter_map(|(_, worker)| worker.lease).collect();
        let count = slots.len() as u32;
        let report = BotReport { draining, slots: count, ..report(host(bot), &session, held) };
        let (id, session, own) = (report.bot.clone(), report.session.clone(), worker.lease);
        self.bench.apply(Event::Synchronize(report)).unwrap();
        let desired = self.bench.queue.desired(&id, &session).into_iter();
        let desired = desired.filter(|desired| !of_others.contains(&desired.lease));
        let desired = desired.max_by_key(|desired| (Some(desired.lease) == own, desired.lease.token));
        if heard {
            self.workers.get_mut(bot).unwrap().hear(desired, &self.all);
        }
    }

    /// It runs the next test that it has.
    fn work(&mut self, bot: &'static str) {
        let worker = self.workers.get_mut(bot).unwrap();
        if worker.queue.is_empty() {
            return;
        }
        let test = worker.queue.remove(0);
        let nth = self.executions.entry(test.0).or_default();
        let outcome = self.outcomes.get(&test.0).and_then(|outcomes| outcomes.get(*nth).or(outcomes.last()));
        let outcome = outcome.cloned().unwrap_or(TestOutcome::Passed);
        *nth += 1;
        worker.ran += 1;
        worker.reports.push(TestReport {
            test,
            outcome,
            duration: SECOND,
            started: Timestamp::default(),
            message: "".into(),
            output: "".into(),
        });
        self.bench.now = self.bench.now + Duration::from_millis(300);
    }

    /// It has to stop, gives back what it has, and comes again later.
    fn stop(&mut self, bot: &'static str) {
        let worker = self.workers.get_mut(bot).unwrap();
        let returned = worker.lease.into_iter().collect();
        *worker = Worker { sessions: worker.sessions + 1, ran: worker.ran, ..Worker::default() };
        let session = format!("farewell{}", worker.sessions);
        let farewell = BotReport { draining: true, returned, ..report(bot, &session, vec![]) };
        self.bench.apply(Event::Synchronize(farewell)).unwrap();
    }

    /// Everybody works until nothing happens any more.
    fn finish(&mut self, run: RunId) {
        for _ in 0..2000 {
            for bot in self.workers.keys().copied().collect::<Vec<_>>() {
                self.call(bot, true);
                self.work(bot);
            }
            self.bench.pass(Duration::from_millis(500));
            if self.bench.queue.run(run).unwrap().ended.is_some() {
                return;
            }
        }
        panic!("it does not end: {:?}", self.bench.queue.run(run).unwrap().tally);
    }

    fn act(&mut self, bots: &[&'static str], act: Act) {
        match act {
            Act::Call(bot) => self.call(bots[bot], true),
            Act::Unheard(bot) => self.call(bots[bot], false),
            Act::Work(bot) => self.work(bots[bot]),
            Act::Restart(bot) => {
                let sessions = self.workers[bots[bot]].sessions + 1;
                self.workers.insert(bots[bot], Worker { sessions, ..Worker::default() });
            }
            Act::RestartScheduler => self.bench.restart(),
            Act::Pass(millis) => drop(self.bench.pass(Duration::from_millis(millis.into()))),
        }
    }

    fn verdicts(&self, run: RunId) -> Vec<Option<Verdict>> {
        let suite = self.bench.queue.suite(run, 0).unwrap();
        (0..suite.listing.tests.len() as u32).map(|test| suite.ledger.verdict(TestIndex(test))).collect()
    }
}

#[test]
fn each_test_is_run_once_and_all_bots_take_part() {
    let mut fleet = Fleet::new(&["b1", "b2", "b3"], 60);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(run);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    assert!(fleet.verdicts(run).iter().all(|verdict| *verdict == Some(Verdict::Passed)));
    assert!(fleet.workers.values().all(|worker| worker.ran >= 10), "{:?}", fleet.workers);
    let shards = &fleet.bench.queue.run(run).unwrap().steps[0];
    assert_eq!(shards.len(), 4, "as many workers as there may be");
    let unneeded = shards.iter().filter(|shard| shard.state == ShardState::Ended(Ending::NotNeeded));
    let unneeded = unneeded.count();
    assert!(unneeded <= 1, "and a bot for three of them at least");
}

#[test]
fn no_worker_is_meant_for_a_bot_that_keeps_itself_from_work() {
    for (quarantined, workers) in [("", 3), ("disk full", 1)] {
        let mut fleet = Fleet::new(&["b1"], 60);
        for bot in ["b2", "b3"] {
            let condition = Condition { quarantined: quarantined.into(), ..Condition::default() };
            let idle = BotReport { condition, ..report(bot, "s0", vec![]) };
            fleet.bench.apply(Event::Synchronize(idle)).unwrap();
        }
        let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { max_workers: None, ..policy(0) })]));
        // The list is asked for, made, and told.
        (0..3).for_each(|_| fleet.call("b1", true));
        assert_eq!(fleet.bench.queue.run(run).unwrap().steps[0].len(), workers, "{quarantined}");
    }
}

#[test]
fn a_listing_is_made_once_for_equal_commands() {
    let mut fleet = Fleet::new(&["b1"], 5);
    let first = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(first);
    let second = fleet.bench.run(spec(0, [sharing(policy(0))]));
    assert!(fleet.bench.queue.suite(second, 0).is_some(), "it is known before any bot calls");
    let other = StepSpec { extra_args: vec!["-v".into()], ..sharing(policy(0)) };
    let other = fleet.bench.run(spec(0, [other]));
    assert!(fleet.bench.queue.suite(other, 0).is_none());
}

#[test]
fn known_tests_of_a_step_that_waits_are_listed_once_and_only_while_the_run_goes_on() {
    let mut fleet = Fleet::new(&["b1"], 5);
    let first = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(first);
    let waiting = |after: &[u32], demand| StepSpec {
        after: after.iter().map(|step| After { step: *step, demand }).collect(),
        ..sharing(policy(0))
    };
    // What it waits for ends in one tick, because no bot fits.
    let gate = || step(1, &["os=none"]);
    let run = fleet.bench.run(spec(0, [gate(), gate(), waiting(&[0, 1], Demand::Ended)]));
    fleet.bench.pass(Duration::from_secs(30 * 24 * 3600));
    assert!(fleet.bench.queue.suite(run, 2).is_some());
    fleet.bench.cancel(run, CancelMode::PendingOnly);

    let run = fleet.bench.run(spec(0, [step(1, &[]), waiting(&[0], Demand::Succeeded)]));
    let [lease] = fleet.bench.bot("b", vec![])[..] else { panic!() };
    assert_eq!(lease.shard.step, 0);
    fleet.bench.cancel(run, CancelMode::PendingOnly);
    fleet.bench.bot("b", vec![finished(lease, 0)]);
    assert_eq!(fleet.bench.run_state(run), RunState::Canceled);
    assert!(fleet.bench.queue.suite(run, 1).is_none(), "nobody is to run them");
}

#[test]
fn a_failure_is_run_again_elsewhere_and_is_flaky_when_it_passes() {
    let mut fleet = Fleet::new(&["b1", "b2"], 10);
    fleet.outcomes.insert(3, vec![TestOutcome::Failed, TestOutcome::Passed]);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.finish(run);
    assert_eq!(fleet.verdicts(run)[3], Some(Verdict::Flaky));
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    let suite = fleet.bench.queue.suite(run, 0).unwrap();
    let attempts = suite.ledger.attempts(TestIndex(3));
    let workers: Vec<_> = attempts.iter().map(|attempt| suite.worker(attempt.token).unwrap().0).collect();
    assert_ne!(workers[0], workers[1], "another worker");
}

#[test]
fn a_crash_is_the_verdict_of_one_test() {
    let mut fleet = Fleet::new(&["b1", "b2"], 10);
    fleet.outcomes.insert(3, vec![TestOutcome::Crashed("signal 11".into())]);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(run);
    let verdicts = fleet.verdicts(run);
    assert_eq!(verdicts[3], Some(Verdict::Crashed));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Some(Verdict::Passed)).count(), 9);
    assert_eq!(fleet.bench.run_state(run), RunState::Failed);
}

#[test]
fn the_first_failure_ends_a_run_that_fails_fast() {
    let mut fleet = Fleet::new(&["b1", "b2"], 200);
    fleet.outcomes.insert(0, vec![TestOutcome::Failed]);
    let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { fail_fast: true, ..policy(0) })]));
    fleet.finish(run);
    let missing = fleet.verdicts(run).iter().filter(|verdict| **verdict == Some(Verdict::Missing)).count();
    assert!(missing > 100, "{missing}");
    assert_eq!(fleet.bench.run_state(run), RunState::Failed);
}

#[test]
fn only_some_are_run_and_unknown_names_are_told() {
    let mut fleet = Fleet::new(&["b1"], 10);
    let only = ["t2".to_owned(), "nonsense".to_owned()].into();
    fleet.outcomes.insert(1, vec![TestOutcome::Unknown]);
    let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { only, ..policy(0) })]));
    fleet.finish(run);
    assert_eq!(fleet.verdicts(run), [Some(Verdict::Passed), Some(Verdict::Unknown)]);
    assert_eq!(fleet.bench.run_state(run), RunState::Incomplete);
}

#[test]
fn a_step_without_tests_proves_nothing() {
    let mut fleet = Fleet::new(&["b1"], 0);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(run);
    assert_eq!(fleet.bench.run_state(run), RunState::Incomplete);
}

#[test]
fn a_quarantined_failure_makes_no_run_fail() {
    let mut fleet = Fleet::new(&["b1"], 4);
    let quarantined = Quarantined {
        suite: "suite".into(),
        test: "t1".into(),
        owner: "ann".into(),
        reason: String::new(),
        expires: fleet.bench.now + Duration::from_secs(100),
    };
    fleet.bench.apply(Event::Quarantine { quarantined }).unwrap();
    fleet.outcomes.insert(1, vec![TestOutcome::Failed]);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(run);
    assert_eq!(fleet.verdicts(run)[1], Some(Verdict::Quarantined));
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    fleet.bench.pass(Duration::from_secs(200));
    let later = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(later);
    assert_eq!(fleet.verdicts(later)[1], Some(Verdict::Failed), "it counts again");
}

#[test]
fn a_lost_bot_costs_nothing_that_it_has_told() {
    let mut fleet = Fleet::new(&["b1", "b2"], 40);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    for _ in 0..8 {
        for bot in ["b1", "b2"] {
            fleet.call(bot, true);
            fleet.work(bot);
        }
    }
    fleet.call("b1", true);
    let told = fleet.workers["b1"].ran;
    fleet.workers.remove("b1");
    fleet.finish(run);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    let twice = fleet.executions.values().filter(|count| **count > 1).count();
    assert!(told > 3 && twice <= 1, "{told} told, {twice} run twice");
}

#[test]
fn bots_that_have_to_stop_blame_no_test() {
    let mut fleet = Fleet::new(&["b1"], 1);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    for _ in 0..6 {
        while fleet.workers["b1"].queue.is_empty() {
            fleet.call("b1", true);
        }
        fleet.stop("b1");
    }
    fleet.finish(run);
    assert_eq!(fleet.verdicts(run), [Some(Verdict::Passed)]);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[test]
fn the_tests_of_a_bot_that_is_not_heard_of_go_to_others_before_its_lease_ends() {
    let mut fleet = Fleet::new(&["b1", "b2"], 40);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    while fleet.workers["b1"].queue.is_empty() || fleet.workers["b2"].queue.is_empty() {
        fleet.call("b1", true);
        fleet.call("b2", true);
    }
    let held = fleet.workers["b1"].queue.clone();
    let dead = fleet.workers.remove("b1").unwrap();
    let began = fleet.bench.now;
    while !held.iter().all(|test| fleet.executions.contains_key(&test.0)) {
        assert!(fleet.bench.now.since(began) < Duration::from_secs(6), "{held:?}");
        fleet.call("b2", true);
        fleet.work("b2");
        fleet.bench.pass(Duration::from_millis(200));
    }
    // It was only out of reach: what it has run meanwhile counts for nothing twice.
    fleet.workers.insert("b1", dead);
    fleet.finish(run);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    assert!(fleet.verdicts(run).iter().all(|verdict| *verdict == Some(Verdict::Passed)));
}

#[test]
fn a_run_whose_tests_are_done_does_not_wait_for_the_lease_of_a_dead_bot() {
    let mut fleet = Fleet::new(&["b1", "b2"], 10);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    while fleet.workers["b1"].queue.is_empty() {
        fleet.call("b1", true);
        fleet.call("b2", true);
    }
    fleet.workers.remove("b1");
    let died = fleet.bench.now;
    fleet.finish(run);
    assert!(fleet.bench.now.since(died) < TTL - 5 * SECOND);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[test]
fn bots_that_were_let_go_come_back_for_the_tests_of_a_dead_one() {
    let mut fleet = Fleet::new(&["b1", "b2", "b3"], 12);
    let driver = TestDriver::Gtest;
    let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { driver, ..policy(0) })]));
    while fleet.workers["b1"].queue.is_empty() {
        ["b1", "b2", "b3"].into_iter().for_each(|bot| fleet.call(bot, true));
    }
    let has_one = |fleet: &Fleet| fleet.workers.values().filter(|worker| worker.lease.is_some()).count();
    for _ in 0..200 {
        ["b1", "b2", "b3"].into_iter().for_each(|bot| fleet.call(bot, true));
        ["b2", "b3"].into_iter().for_each(|bot| fleet.work(bot));
        fleet.bench.pass(SECOND);
    }
    assert_eq!(has_one(&fleet), 1, "b1 has a long test, and there is nothing for others");
    let held = fleet.workers.remove("b1").unwrap().queue;
    let died = fleet.bench.now;
    while !held.iter().all(|test| fleet.executions.contains_key(&test.0)) {
        assert!(fleet.bench.now.since(died) < 8 * SECOND, "{held:?} wait for the lease of a dead bot");
        for bot in ["b2", "b3"] {
            fleet.call(bot, true);
            fleet.work(bot);
        }
        fleet.bench.pass(Duration::from_millis(200));
    }
    fleet.finish(run);
    assert!(fleet.bench.now.since(died) < TTL - 5 * SECOND);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);
}

#[test]
fn the_tests_of_a_bot_that_fell_silent_when_it_was_to_get_no_more_go_to_others() {
    let mut fleet = Fleet::new(&["b1", "b2"], 40);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    while fleet.workers["b1"].queue.is_empty() || fleet.workers["b2"].queue.is_empty() {
        fleet.call("b1", true);
        fleet.call("b2", true);
    }
    // It wants to stop, and asks while its last test runs.
    let mut held = fleet.workers["b1"].held(0);
    held[0].tests.as_mut().unwrap().hungry = true;
    let asks = BotReport { draining: true, ..report("b1", "s0", held) };
    let (id, session) = (asks.bot.clone(), asks.session.clone());
    fleet.bench.apply(Event::Synchronize(asks)).unwrap();
    let told = fleet.bench.queue.desired(&id, &session).pop().unwrap().tests.unwrap();
    assert!(told.complete);
    let held = fleet.workers.remove("b1").unwrap().queue;
    let died = fleet.bench.now;
    while !held.iter().all(|test| fleet.executions.contains_key(&test.0)) {
        assert!(fleet.bench.now.since(died) < 8 * SECOND, "{held:?} wait for the lease of a dead bot");
        fleet.call("b2", true);
        fleet.work("b2");
        fleet.bench.pass(Duration::from_millis(200));
    }
    fleet.finish(run);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[test]
fn the_last_test_of_a_bot_that_wants_to_stop_is_run_again_by_another_when_it_fails() {
    let mut fleet = Fleet::new(&["b1", "b2"], 10);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    while fleet.workers["b1"].queue.is_empty() || fleet.workers["b2"].queue.is_empty() {
        ["b1", "b2"].into_iter().for_each(|bot| fleet.call(bot, true));
    }
    let mut held = fleet.workers["b1"].held(0);
    held[0].tests.as_mut().unwrap().hungry = true;
    let asks = BotReport { draining: true, ..report("b1", "s0", held) };
    fleet.bench.apply(Event::Synchronize(asks)).unwrap();
    fleet.draining = Some("b1");
    fleet.call("b1", true);
    assert!(fleet.workers["b1"].complete, "it gets no more");
    for _ in 0..100 {
        fleet.call("b1", true);
        fleet.call("b2", true);
        fleet.work("b2");
        fleet.bench.pass(SECOND);
    }
    let last = fleet.workers["b1"].queue[..].to_vec();
    fleet.outcomes.extend(last.iter().map(|test| (test.0, vec![TestOutcome::Failed, TestOutcome::Passed])));
    fleet.finish(run);
    assert!(last.iter().all(|test| fleet.verdicts(run)[test.0 as usize] == Some(Verdict::Flaky)));
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[test]
fn a_worker_says_by_its_exit_code_only_what_its_tests_have_said() {
    let mut fleet = Fleet::new(&["b1"], 4);
    fleet.exit_code = 1;
    fleet.outcomes.insert(1, vec![TestOutcome::Failed, TestOutcome::Passed]);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.finish(run);
    assert_eq!(fleet.verdicts(run)[1], Some(Verdict::Flaky));
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[test]
fn a_worker_whose_runner_failed_after_its_tests_fails_the_run() {
    let mut fleet = Fleet::new(&["b1"], 4);
    fleet.exit_code = 2;
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.finish(run);
    assert!(fleet.verdicts(run).iter().all(|verdict| *verdict == Some(Verdict::Passed)));
    assert_eq!(fleet.bench.run_state(run), RunState::Failed);
}

#[test]
fn a_bot_that_wants_to_stop_leaves_the_rest_to_others() {
    let mut fleet = Fleet::new(&["b1", "b2"], 100);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    for _ in 0..4 {
        for bot in ["b1", "b2"] {
            fleet.call(bot, true);
            fleet.work(bot);
        }
    }
    fleet.draining = Some("b1");
    let before = fleet.workers["b1"].ran;
    fleet.finish(run);
    assert!(fleet.workers["b1"].ran <= before + 1, "what it had, and no more");
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[test]
fn a_failure_is_run_again_although_a_restart_has_forgotten_that_all_others_were_let_go() {
    let mut fleet = Fleet::new(&["b1", "b2"], 10);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    while fleet.workers["b2"].queue.is_empty() {
        ["b1", "b2"].into_iter().for_each(|bot| fleet.call(bot, true));
    }
    // All that b2 has is left to it, and there is nothing more for b1.
    while !fleet.workers["b1"].complete {
        fleet.call("b1", true);
        fleet.work("b1");
        fleet.bench.pass(Duration::from_millis(100));
        fleet.call("b2", true);
    }
    let last = fleet.workers["b2"].queue[..].to_vec();
    fleet.outcomes.extend(last.iter().map(|test| (test.0, vec![TestOutcome::Failed, TestOutcome::Passed])));
    fleet.bench.restart();
    last.iter().for_each(|_| fleet.work("b2"));
    for _ in 0..3 {
        fleet.call("b2", true);
        fleet.bench.pass(Duration::from_millis(100));
    }
    fleet.finish(run);
    assert!(last.iter().all(|test| fleet.verdicts(run)[test.0 as usize] == Some(Verdict::Flaky)));
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
}

#[derive(Clone, Debug)]
enum Act {
    Call(usize),
    Unheard(usize),
    Work(usize),
    Restart(usize),
    RestartScheduler,
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3usize).prop_map(Act::Call),
        2 => (0..3usize).prop_map(Act::Unheard),
        6 => (0..3usize).prop_map(Act::Work),
        1 => (0..3usize).prop_map(Act::Restart),
        1 => Just(Act::RestartScheduler),
        1 => (0..2000u16).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn every_test_ends_once_whatever_happens(
        acts in prop::collection::vec(act(), 0..300),
        driver in prop_oneof![Just(TestDriver::Pytest), Just(TestDriver::Gtest)],
    ) {
        let bots = ["b1", "b2", "b3"];
        let mut fleet = Fleet::new(&bots, 25);
        fleet.outcomes.insert(7, vec![TestOutcome::Failed, TestOutcome::Passed]);
        fleet.outcomes.insert(8, vec![TestOutcome::Failed]);
        let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { driver, ..policy(2) })]));
        for act in acts {
            fleet.act(&bots, act);
            let replayed = fleet.bench.replayed();
            prop_assert_eq!(&replayed.state, &fleet.bench.queue.state);
        }
        fleet.finish(run);
        let state = fleet.bench.run_state(run);
        // A shard may have lost more bots than it is allowed: then the run says so.
        let tally = &fleet.bench.queue.run(run).unwrap().tally;
        if state == RunState::Incomplete {
            prop_assert!(tally.ended.contains_key(&Ending::BotDied), "{tally:?} {:?}", fleet.verdicts(run));
        } else {
            prop_assert_eq!(state, RunState::Failed);
            let verdicts = fleet.verdicts(run);
            let passed = verdicts.iter().filter(|verdict| **verdict == Some(Verdict::Passed)).count();
            // One that was open whenever a bot was lost is taken to be the reason.
            let suspects = verdicts.iter().filter(|verdict| **verdict == Some(Verdict::Crashed)).count();
            prop_assert!(passed + suspects >= 23, "{:?}", verdicts);
            prop_assert!(matches!(verdicts[8], Some(Verdict::Failed | Verdict::Crashed)));
        }
    }
}

/// Tests, and a step that demands that all of them have passed.
fn tests_then(policy: TestsPolicy) -> RunSpec {
    let after = vec![After { step: 0, demand: Demand::Succeeded }];
    spec(0, [sharing(policy), StepSpec { after, ..step(1, &[]) }])
}

#[test]
fn a_step_waits_for_all_tests_of_an_earlier_one_and_not_for_exit_codes() {
    for (outcome, skipped) in [(TestOutcome::Passed, false), (TestOutcome::Failed, true)] {
        let mut fleet = Fleet::new(&["b1", "b2"], 6);
        fleet.outcomes.insert(4, vec![outcome]);
        // As a runner ends some of whose failures are known.
        fleet.exit_code = 1;
        let run = fleet.bench.run(tests_then(policy(0)));
        let later = |fleet: &Fleet| fleet.bench.state(shard(run, 1, 0));
        for _ in 0..200 {
            if later(&fleet) != ShardState::Waiting {
                break;
            }
            for bot in ["b1", "b2"] {
                fleet.call(bot, true);
                fleet.work(bot);
            }
            fleet.bench.pass(Duration::from_millis(500));
        }
        let verdicts = fleet.verdicts(run);
        assert!(verdicts.iter().all(Option::is_some), "the step has ended: {verdicts:?}");
        assert_eq!(later(&fleet) == ShardState::Ended(Ending::Skipped), skipped, "{:?}", later(&fleet));
        assert_ne!(later(&fleet), ShardState::Waiting);
    }
}

#[test]
fn workers_whose_outputs_a_later_step_is_given_are_no_more_than_it_can_be_told_of() {
    let mut bench = Bench::new();
    let includes = vec![OutputOf { step: 0, into: "parts/{index}".parse().unwrap() }];
    let after = vec![After { step: 0, demand: Demand::Ended }];
    let merge = StepSpec { includes, after, ..step(1, &[]) };
    let many = sharing(TestsPolicy { max_workers: None, ..policy(0) });
    bench.call(BotReport { slots: 5000, ..report("b", "s1", vec![]) });
    let run = bench.run(spec(0, [many, merge]));
    let lease = bench.call(BotReport { slots: 5000, ..report("b", "s1", vec![]) })[0];
    let told = Progress {
        listing: Some(numbered(9000)),
        reports_from: 0,
        reports: vec![],
        batches: 0,
        hungry: false,
        running: vec![],
    };
    let held = vec![Held { tests: Some(told), ..running(lease) }];
    bench.queue.tuning.most_pending = 100_000;
    bench.call(BotReport { slots: 5000, ..report("b", "s1", held) });
    let workers = bench.queue.run(run).unwrap().steps[0].len();
    assert_eq!(workers, proto::limits::MAX_INCLUDED_SHARDS as usize);
}

#[test]
fn a_worker_that_cannot_keep_what_its_tests_have_left_is_a_failure_in_the_record_and_their_verdicts_stand() {
    let mut fleet = Fleet::new(&["b1", "b2"], 6);
    fleet.ending = Ending::InternalError;
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(run);
    assert!(fleet.verdicts(run).iter().all(|verdict| *verdict == Some(Verdict::Passed)));
    assert!(fleet.executions.values().all(|times| *times == 1), "{:?}", fleet.executions);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    let shards = &fleet.bench.queue.run(run).unwrap().steps[0];
    let attempts: Vec<_> = shards.iter().flat_map(|shard| &shard.attempts).collect();
    assert!(!attempts.is_empty());
    for attempt in attempts {
        let AttemptEnd::Lost { reason, .. } = &attempt.end else { panic!("{attempt:?}") };
        assert!(reason.contains("could not do its part"), "{reason}");
    }
}

#[test]
fn a_test_whose_bot_says_that_it_is_broken_goes_to_another_and_is_not_flaky() {
    let mut fleet = Fleet::new(&["b1", "b2"], 10);
    fleet.outcomes.insert(3, vec![TestOutcome::Infrastructure, TestOutcome::Passed]);
    fleet.outcomes.insert(4, vec![TestOutcome::Infrastructure]);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(run);
    let verdicts = fleet.verdicts(run);
    assert_eq!((verdicts[3], verdicts[4]), (Some(Verdict::Passed), Some(Verdict::Failed)));
    let suite = fleet.bench.queue.suite(run, 0).unwrap();
    let attempts = suite.ledger.attempts(TestIndex(3));
    let workers: Vec<_> = attempts.iter().map(|attempt| suite.worker(attempt.token).unwrap().0).collect();
    assert_ne!(workers[0], workers[1], "another worker");
    assert_eq!(fleet.bench.run_state(run), RunState::Failed);
}
