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
        let worker = &self.workers[bot];
        let session = format!("s{}", worker.sessions);
        let timed_out = |held| Held { result: Some(result(Ending::TimedOut, 0)), busy: false, ..held };
        let held = worker.held(0).into_iter().map(timed_out).collect();
        let report = report(bot, &session, held);
        let (id, session) = (report.bot.clone(), report.session.clone());
        self.bench.apply(Event::Synchronize(report)).unwrap();
        let desired = self.bench.queue.desired(&id, &session).pop();
        self.workers.get_mut(bot).unwrap().hear(desired, &self.all);
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
    while fleet.workers["b1"].queue.is_empty() || fleet.workers["b2"].queue.is_empty() {
        ["b1", "b2"].into_iter().for_each(|bot| fleet.call(bot, true));
    }
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
