//! What bots do to tests: their time is over, they are silent for long, they crash one test after another.

use super::*;
use crate::sharding::Standing;

impl Fleet {
    /// Everybody works for a while.
    fn go_on(&mut self, rounds: u32) {
        for _ in 0..rounds {
            for bot in self.workers.keys().copied().collect::<Vec<_>>() {
                self.call(bot, true);
                self.work(bot);
            }
            self.bench.pass(Duration::from_millis(500));
        }
    }

    /// The bot gives its worker no more time.
    fn overtime(&mut self, bot: &'static str) {
        let timed_out = |held| Held { result: Some(result(Ending::TimedOut, 0)), busy: false, ..held };
        let held = self.workers[bot].held(0).into_iter().map(timed_out).collect();
        self.tell(bot, held, true);
    }

    /// The bots that have run a test, in the order of their reports.
    fn bots_of(&self, run: RunId, test: TestIndex) -> Vec<String> {
        let (known, suite) = (self.bench.queue.run(run).unwrap(), self.bench.queue.suite(run, 0).unwrap());
        let bot = |token| {
            let (shard, number) = suite.worker(token).unwrap();
            known.shard(shard).unwrap().attempts[number as usize - 1].bot.to_string()
        };
        suite.ledger.attempts(test).iter().map(|attempt| bot(attempt.token)).collect()
    }

    /// All of them have tests.
    fn begin(&mut self, bots: &[&'static str]) {
        while bots.iter().any(|bot| self.workers[bot].queue.is_empty()) {
            bots.iter().for_each(|bot| self.call(bot, true));
        }
    }
}

#[test]
fn a_run_that_takes_longer_than_the_hard_timeout_ends_complete_and_green() {
    let bots = ["b1", "b2"];
    let mut fleet = Fleet::new(&bots, 200);
    let two = TestsPolicy { max_workers: NonZeroU32::new(2), ..policy(0) };
    let run = fleet.bench.run(spec(0, [sharing(two)]));
    let began = fleet.bench.now;
    for _ in 0..6 {
        // Each for as long as one test may take.
        fleet.go_on(15);
        bots.into_iter().for_each(|bot| fleet.overtime(bot));
    }
    assert!(fleet.bench.now.since(began) > TTL && fleet.bench.run_state(run) == RunState::Running);
    fleet.finish(run);
    assert!(fleet.verdicts(run).iter().all(|verdict| *verdict == Some(Verdict::Passed)));
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    let tally = &fleet.bench.queue.run(run).unwrap().tally;
    assert_eq!(tally.ended.get(&Ending::TimedOut), Some(&12), "{tally:?}");
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);
}

#[test]
fn a_worker_that_has_told_of_no_test_in_its_time_is_not_followed_by_another() {
    let mut fleet = Fleet::new(&["b1"], 10);
    let run =
        fleet.bench.run(spec(0, [sharing(TestsPolicy { max_workers: NonZeroU32::new(1), ..policy(0) })]));
    (0..3).for_each(|_| fleet.call("b1", true));
    fleet.overtime("b1");
    assert_eq!(fleet.bench.run_state(run), RunState::Incomplete);
}

#[test]
fn what_a_bot_tells_after_its_lease_has_ended_is_kept_and_counts_for_nothing() {
    let mut fleet = Fleet::new(&["b1", "b2"], 40);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.begin(&["b1", "b2"]);
    let test = fleet.workers["b1"].queue[0];
    fleet.outcomes.insert(test.0, vec![TestOutcome::Failed, TestOutcome::Passed]);
    fleet.work("b1");
    let late = fleet.workers["b1"].clone();
    for _ in 0..40 {
        fleet.call("b2", true);
        fleet.bench.pass(SECOND);
    }
    for _ in 0..2 {
        // The answer is lost, and it tells all of it again.
        fleet.workers.insert("b1", late.clone());
        fleet.call("b1", true);
    }
    let attempts = fleet.bench.queue.suite(run, 0).unwrap().ledger.attempts(test);
    let standings: Vec<_> = attempts.iter().map(|attempt| attempt.standing).collect();
    assert_eq!((standings, fleet.verdicts(run)[test.0 as usize]), (vec![Standing::Late], None));
    assert!(fleet.bench.queue.test_pasts("suite", &format!("t{}", test.0)).is_empty());
    fleet.finish(run);
    assert_eq!(
        fleet.verdicts(run)[test.0 as usize],
        Some(Verdict::Passed),
        "it never failed where it counts"
    );
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);
}

#[test]
fn a_failure_is_run_again_on_another_bot_and_not_by_another_worker_of_the_same() {
    let bots = ["b1/1", "b1/2", "b2/1"];
    let mut fleet = Fleet::new(&bots, 12);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.begin(&bots);
    let test = fleet.workers["b1/1"].queue[0];
    fleet.outcomes.insert(test.0, vec![TestOutcome::Failed, TestOutcome::Passed]);
    fleet.work("b1/1");
    fleet.call("b1/1", true);
    for _ in 0..5 {
        // The other worker there is free for it.
        fleet.call("b1/2", true);
        fleet.work("b1/2");
    }
    fleet.finish(run);
    assert_eq!(fleet.verdicts(run)[test.0 as usize], Some(Verdict::Flaky));
    assert_eq!(fleet.bots_of(run, test), ["b1", "b2"]);
}

#[test]
fn a_bot_without_work_is_called_to_run_what_has_failed_on_the_only_other_one() {
    let mut fleet = Fleet::new(&["b1/1", "b1/2"], 30);
    let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { max_workers: None, ..policy(1) })]));
    fleet.begin(&["b1/1", "b1/2"]);
    fleet.workers.insert("b2", Worker::default());
    fleet.call("b2", true);
    assert_eq!(fleet.workers["b2"].lease, None, "no worker is left for it");
    let test = fleet.workers["b1/1"].queue[0];
    fleet.outcomes.insert(test.0, vec![TestOutcome::Failed, TestOutcome::Passed]);
    fleet.work("b1/1");
    fleet.finish(run);
    assert_eq!(fleet.bots_of(run, test), ["b1", "b2"]);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded);
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);
}

/// Each test that the bot gets in so many calls crashes on it.
fn crash_on(fleet: &mut Fleet, bot: &'static str, calls: usize) {
    for _ in 0..calls {
        fleet.call(bot, true);
        let Some(test) = fleet.workers[bot].queue.first().copied() else { continue };
        let nth = fleet.executions.get(&test.0).copied().unwrap_or_default();
        let mut outcomes = vec![TestOutcome::Passed; nth];
        outcomes.extend([TestOutcome::Crashed("signal 11".into()), TestOutcome::Passed]);
        fleet.outcomes.insert(test.0, outcomes);
        fleet.work(bot);
    }
}

fn order_of(fleet: &Fleet, bot: &str) -> Option<BotOrder> {
    Some(fleet.bench.queue.order_of(&bot.parse().unwrap())?.order.clone())
}

#[test]
fn a_bot_that_crashes_one_test_after_another_gets_no_more_and_is_in_quarantine_until_it_is_lifted() {
    let mut fleet = Fleet::new(&["b1", "b2"], 120);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.begin(&["b1", "b2"]);
    crash_on(&mut fleet, "b1", 100);
    let crashed = fleet.workers["b1"].ran;
    assert!((5..10).contains(&crashed), "{crashed}");
    assert_eq!(order_of(&fleet, "b1"), None, "the code may be broken");
    for _ in 0..10 {
        fleet.call("b2", true);
        fleet.work("b2");
    }
    assert_eq!(order_of(&fleet, "b1"), Some(BotOrder::Quarantine));
    let why = fleet.bench.queue.order_of(&"b1".parse().unwrap()).unwrap().to_string();
    assert!(why.contains("5 tests in a row") && why.contains(&run.to_string()), "{why}");
    fleet.finish(run);
    assert_eq!(fleet.workers["b1"].ran, crashed);
    assert_eq!(fleet.bench.run_state(run), RunState::Succeeded, "others have run them again");

    // Neither does it get anything of other runs, as long as another bot fits.
    let other = fleet.bench.run(spec(0, [step(1, &[])]));
    fleet.call("b1", true);
    assert_eq!(fleet.bench.state(shard(other, 0, 0)), ShardState::Pending);
    let order = Event::Order { bot: "b1".parse().unwrap(), wanted: Wanted::Work, message: String::new() };
    fleet.bench.apply(order).unwrap();
    fleet.call("b1", true);
    assert_eq!(fleet.bench.state(shard(other, 0, 0)), ShardState::Running);
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);
}

#[test]
fn a_bot_that_crashes_tests_goes_on_when_no_other_fits_and_that_is_explained() {
    let mut fleet = Fleet::new(&["b1"], 30);
    let run = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.begin(&["b1"]);
    crash_on(&mut fleet, "b1", 15);
    assert!(fleet.workers["b1"].ran > 10 && order_of(&fleet, "b1").is_none());
    let notes = fleet.bench.queue.explain_crashes(Subject::Run(run), fleet.bench.now);
    assert!(notes[0].1.contains("bot b1: it goes on"), "{notes:?}");
    fleet.finish(run);
    let crashed = fleet.verdicts(run).iter().filter(|verdict| **verdict == Some(Verdict::Crashed)).count();
    assert!((11..=15).contains(&crashed), "{crashed}");
}

#[test]
fn code_that_crashes_everywhere_costs_no_bot() {
    let mut fleet = Fleet::new(&["b1", "b2", "b3"], 100);
    fleet.outcomes.extend((0..100).map(|test| (test, vec![TestOutcome::Crashed("signal 11".into())])));
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.finish(run);
    assert!(["b1", "b2", "b3"].iter().all(|bot| order_of(&fleet, bot).is_none()));
    assert!(fleet.verdicts(run).iter().all(|verdict| *verdict == Some(Verdict::Crashed)));
    assert_eq!(fleet.bench.run_state(run), RunState::Failed);
}

#[test]
fn a_quarantine_for_crashes_leaves_a_bot_what_no_other_fits() {
    let mut fleet = Fleet::new(&["b1", "b2"], 120);
    let run = fleet.bench.run(spec(0, [sharing(policy(1))]));
    fleet.begin(&["b1", "b2"]);
    crash_on(&mut fleet, "b1", 100);
    for _ in 0..10 {
        fleet.call("b2", true);
        fleet.work("b2");
    }
    assert_eq!(order_of(&fleet, "b1"), Some(BotOrder::Quarantine));
    fleet.bench.cancel(run, CancelMode::KillRunning);
    let other = fleet.bench.run(spec(0, [step(1, &["id=b1"])]));
    fleet.call("b1", true);
    fleet.call("b1", true);
    assert_eq!(fleet.bench.state(shard(other, 0, 0)), ShardState::Running);
}

proptest! {
    #[test]
    fn every_test_ends_once_whatever_happens_to_workers_that_crash_and_run_out_of_time(
        acts in prop::collection::vec((act(), 0..10u8), 0..250),
        driver in prop_oneof![Just(TestDriver::Pytest), Just(TestDriver::Gtest)],
    ) {
        let bots = ["b1", "b2", "b3"];
        let mut fleet = Fleet::new(&bots, 25);
        let crash = || TestOutcome::Crashed("signal 11".into());
        fleet.outcomes.extend((0..25).step_by(2).map(|test| (test, vec![crash(), TestOutcome::Passed])));
        fleet.outcomes.insert(8, vec![crash()]);
        let run = fleet.bench.run(spec(0, [sharing(TestsPolicy { driver, ..policy(1) })]));
        for (act, chance) in acts {
            match act {
                Act::Call(bot) if chance == 0 => fleet.overtime(bots[bot]),
                act => fleet.act(&bots, act),
            }
            prop_assert_eq!(&fleet.bench.replayed().state, &fleet.bench.queue.state);
        }
        fleet.finish(run);
        let (verdicts, known) = (fleet.verdicts(run), fleet.bench.queue.run(run).unwrap());
        prop_assert!(verdicts.iter().all(Option::is_some), "{verdicts:?}");
        // Nothing has waited for a bot in vain.
        prop_assert!(!known.tally.ended.contains_key(&Ending::Expired), "{:?}", known.tally);
        let given_up = [Ending::BotDied, Ending::TimedOut].iter().any(|end| known.tally.ended.contains_key(end));
        prop_assert!(given_up || !verdicts.contains(&Some(Verdict::Missing)), "{verdicts:?}");
    }
}
