//! Who gets what.

use super::*;

const SETTINGS: Settings = Settings {
    mode: Mode::Pull,
    overhead: Duration::from_millis(200),
    duplicates_percent: 100,
    idle_percent: 1000,
};

fn at(seconds: f64) -> Timestamp {
    Timestamp::default() + Duration::from_secs_f64(seconds)
}

/// Tests of so many seconds each; none for those without history.
fn shares(seconds: &[Option<u64>], workers: u32, settings: Settings) -> Shares {
    let listed: Vec<_> = (0..seconds.len())
        .map(|index| ListedTest {
            name: index.to_string().into(),
            group: None,
            exclusive: index == 9,
            disabled: false,
        })
        .collect();
    let known = seconds.iter().map(|seconds| seconds.map(Duration::from_secs)).collect();
    let open: Vec<_> = (0..seconds.len()).map(TestIndex::of).collect();
    Shares::plan(&listed, &Estimates::from_known(known), &open, workers, settings, at(0.0))
}

fn joined(seconds: &[Option<u64>], workers: u32, settings: Settings) -> Shares {
    let mut shares = shares(seconds, workers, settings);
    for worker in 0..workers {
        shares.join(WorkerId(worker), Some(1.0), at(0.0));
    }
    shares
}

fn batch(tests: &[u32]) -> Next {
    Next::Batch(tests.iter().copied().map(TestIndex).collect())
}

fn took(shares: &mut Shares, worker: u32, test: u32, seconds: u64, now: f64) {
    shares.reported(WorkerId(worker), TestIndex(test), Duration::from_secs(seconds), at(now));
}

#[test]
fn what_decides_the_end_comes_first_then_what_is_unknown_then_the_rest() {
    let mut shares = joined(&[Some(1), None, Some(3), Some(2)], 1, SETTINGS);
    let mut order = Vec::new();
    while let Next::Batch(tests) = shares.next(WorkerId(0), at(0.0)) {
        for test in tests {
            order.push(test.0);
            took(&mut shares, 0, test.0, 1, 0.0);
        }
    }
    assert_eq!(order, [2, 1, 3, 0]);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), Next::Nothing);
}

#[test]
fn what_is_beside_a_long_test_comes_before_what_is_not_when_nothing_is_known() {
    let first = |shares: &mut Shares, worker| match shares.next(WorkerId(worker), at(0.0)) {
        Next::Batch(tests) => tests[0].0,
        other => panic!("{other:?}"),
    };
    // One that has ended, and one that goes on.
    for ends in [true, false] {
        let mut shares = joined(&[None; 64], 2, SETTINGS);
        let [zero, other] = [first(&mut shares, 0), first(&mut shares, 1)];
        assert!(zero == 0 && other > 10, "{other} is far away");
        if ends {
            took(&mut shares, 0, 0, 100, 100.0);
            assert_eq!(shares.next(WorkerId(0), at(100.0)), batch(&[1]));
        }
        took(&mut shares, 1, other, 1, 100.0);
        assert_eq!(shares.next(WorkerId(1), at(100.0)), batch(&[if ends { 2 } else { 1 }]));
    }
    // Of what is known nothing is suspected.
    let mut shares = joined(&[Some(1); 64], 2, SETTINGS);
    assert_eq!([first(&mut shares, 0), first(&mut shares, 1)], [0, 1]);
    took(&mut shares, 0, 0, 100, 100.0);
    assert_eq!(first(&mut shares, 0), 2);
}

#[test]
fn who_asks_before_its_last_short_test_has_ended_waits_for_one_that_is_suspected_of_being_long() {
    let mut shares = joined(&[None; 2000], 2, SETTINGS);
    let long = TestIndex(1000);
    // Whatever was dealt to whom: it is with the second worker, and hundreds of others have ended.
    shares.holds(WorkerId(1), &[long], |_| true, at(0.0));
    for test in 0..600 {
        shares.reported(WorkerId(0), TestIndex(test), Duration::from_millis(10), at(6.0));
    }
    let Next::Batch(held) = shares.next(WorkerId(0), at(6.0)) else { panic!("there is enough for it") };
    shares.reported(WorkerId(1), long, Duration::from_secs(40), at(40.0));
    let (last, others) = held.split_last().unwrap();
    for test in others {
        shares.reported(WorkerId(0), *test, Duration::from_millis(10), at(40.0));
    }
    assert_eq!(shares.next(WorkerId(0), at(40.0)), Next::Wait);
    shares.reported(WorkerId(0), *last, Duration::from_millis(10), at(40.0));
    let beside = shares.next(WorkerId(0), at(40.0));
    assert!(beside == batch(&[999]) || beside == batch(&[1001]), "{beside:?}");
    assert_eq!(shares.next(WorkerId(0), at(40.5)), Next::Wait, "it is not taken for a short one");
}

#[test]
fn a_group_is_not_torn_apart_because_one_of_its_tests_is_long() {
    let test = |index: u32| ListedTest {
        name: index.to_string().into(),
        group: (index < 32).then(|| "set-up".into()),
        exclusive: false,
        disabled: false,
    };
    let listed: Vec<_> = (0..64).map(test).collect();
    let open: Vec<_> = (0..64).map(TestIndex).collect();
    let estimates = Estimates::from_known(vec![None; 64]);
    let mut shares = Shares::plan(&listed, &estimates, &open, 2, SETTINGS, at(0.0));
    for worker in 0..2 {
        shares.join(WorkerId(worker), None, at(0.0));
        assert!(matches!(shares.next(WorkerId(worker), at(0.0)), Next::Batch(_)));
    }
    for test in (50..64).chain(20..32) {
        took(&mut shares, 0, test, 1, 50.0);
    }
    shares.reported(WorkerId(0), TestIndex(10), Duration::from_secs(100), at(100.0));
    assert!(shares.suspects.is_empty());
    shares.reported(WorkerId(0), TestIndex(40), Duration::from_secs(100), at(100.0));
    assert!(!shares.suspects.is_empty());
}

#[test]
fn a_test_that_goes_on_says_that_others_may_not_be_short() {
    let mut shares = joined(&[None; 64], 4, SETTINGS);
    for worker in 0..4 {
        assert!(matches!(shares.next(WorkerId(worker), at(0.0)), Next::Batch(tests) if tests.len() == 1));
    }
    // Ten short ones have ended before ten seconds of the other three.
    for test in [0, 2, 4, 6, 8, 10, 12, 14, 18, 20] {
        shares.reported(WorkerId(0), TestIndex(test), Duration::from_millis(1), at(0.1));
    }
    let many = shares.clone().next(WorkerId(0), at(0.1));
    assert!(matches!(&many, Next::Batch(tests) if tests.len() > 1), "{many:?}");
    let one = shares.next(WorkerId(0), at(10.0));
    assert!(matches!(&one, Next::Batch(tests) if tests.len() == 1), "{one:?}");
}

#[test]
fn a_process_gets_half_of_what_is_left_but_not_too_little() {
    let process = Settings { mode: Mode::Process, ..SETTINGS };
    let mut shares = joined(&[Some(1); 8], 1, process);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0, 1, 2, 3]));
    for test in 0..4 {
        took(&mut shares, 0, test, 1, 4.0);
    }
    assert_eq!(shares.next(WorkerId(0), at(4.0)), batch(&[4, 5]), "1.6 s at least");
}

#[test]
fn what_a_silent_worker_has_is_given_to_others_too_until_it_is_heard_again() {
    let mut shares =
        joined(&[Some(10), Some(9), None, None, None, None, None, None, None, Some(5)], 2, SETTINGS);
    let Next::Batch(held) = shares.next(WorkerId(0), at(0.0)) else { panic!("it has a share") };
    shares.silent(WorkerId(0), at(4.0));
    assert_eq!(shares.next(WorkerId(1), at(4.0)), Next::Batch(held.clone()), "before its own");
    let mut shares = joined(&[Some(10); 10], 2, SETTINGS);
    let Next::Batch(held) = shares.next(WorkerId(0), at(0.0)) else { panic!("it has a share") };
    shares.silent(WorkerId(0), at(4.0));
    shares.heard(WorkerId(0));
    assert_ne!(shares.next(WorkerId(1), at(4.0)), Next::Batch(held));
}

#[test]
fn who_was_dismissed_is_no_less_silent_and_stays_dismissed_when_it_is_heard() {
    let mut shares = joined(&[Some(10); 4], 2, SETTINGS);
    let Next::Batch(held) = shares.next(WorkerId(0), at(0.0)) else { panic!("it has a share") };
    shares.dismiss(WorkerId(0), at(1.0));
    shares.silent(WorkerId(0), at(4.0));
    assert_eq!(shares.next(WorkerId(1), at(4.0)), Next::Batch(held));
    shares.heard(WorkerId(0));
    assert_eq!(shares.next(WorkerId(0), at(5.0)), Next::Nothing);
}

#[test]
fn more_workers_are_wanted_for_what_came_back_when_others_were_let_go_and_not_without_end() {
    let settings = Settings { mode: Mode::Process, idle_percent: 0, ..SETTINGS };
    let mut shares = joined(&[Some(10), Some(1), Some(1)], 3, settings);
    for worker in 0..3 {
        assert_eq!(shares.next(WorkerId(worker), at(0.0)), batch(&[worker]));
    }
    for worker in [1, 2] {
        took(&mut shares, worker, worker, 1, 1.0);
        assert_eq!(shares.next(WorkerId(worker), at(1.0)), Next::Nothing);
    }
    assert_eq!(shares.wanted(3), 0, "nothing came back");
    shares.silent(WorkerId(0), at(4.0));
    assert_eq!(shares.wanted(3), 1, "one test");
    shares.heard(WorkerId(0));
    assert_eq!(shares.wanted(3), 0);
    shares.silent(WorkerId(0), at(8.0));
    for worker in 3..6 {
        assert_eq!(shares.wanted(3), 1);
        shares.join(WorkerId(worker), None, at(9.0));
        assert_eq!(shares.wanted(3), 0, "it will take it");
        shares.leave(WorkerId(worker), at(9.0));
    }
    assert_eq!(shares.wanted(3), 0, "twice as many as were planned for have been there");
}

#[test]
fn somebody_more_is_wanted_for_what_came_back_while_all_others_are_busy() {
    let mut shares = joined(&[Some(100), Some(90), Some(80)], 3, SETTINGS);
    for worker in 0..3 {
        assert_eq!(shares.next(WorkerId(worker), at(0.0)), batch(&[worker]));
    }
    shares.silent(WorkerId(0), at(4.0));
    assert_eq!(shares.wanted(3), 1, "in the place of who is silent");
    shares.join(WorkerId(3), None, at(4.0));
    assert_eq!(shares.next(WorkerId(3), at(4.0)), batch(&[0]));
    assert_eq!(shares.wanted(4), 0);
}

#[test]
fn processes_get_little_enough_at_a_time_that_somebody_is_soon_free() {
    let process = Settings { mode: Mode::Process, ..SETTINGS };
    let mut shares = joined(&[Some(1); 1600], 8, process);
    let sizes: Vec<usize> = (0..8)
        .map(|worker| match shares.next(WorkerId(worker), at(0.0)) {
            Next::Batch(tests) => tests.len(),
            next => panic!("it has a share: {next:?}"),
        })
        .collect();
    assert!(sizes.iter().all(|size| (28..=56).contains(size)), "half of 200 s would be too much: {sizes:?}");
    let different: std::collections::BTreeSet<_> = sizes.iter().collect();
    assert!(different.len() >= 6, "they do not end at the same moment: {sizes:?}");
}

#[test]
fn a_process_takes_of_what_came_back_as_much_as_it_would_get_of_its_own() {
    let process = Settings { mode: Mode::Process, ..SETTINGS };
    let mut shares = joined(&[Some(1); 160], 4, process);
    let Next::Batch(lost) = shares.next(WorkerId(0), at(0.0)) else { panic!("it has a share") };
    assert_eq!(lost.len(), 20);
    shares.silent(WorkerId(0), at(4.0));
    let Next::Batch(taken) = shares.next(WorkerId(1), at(4.0)) else { panic!("it is free") };
    assert_eq!(taken, lost, "not a third of it: others would have to be free, too");
}

#[test]
fn who_comes_in_the_place_of_a_lost_worker_takes_what_that_one_had() {
    let mut shares = joined(&[Some(60), Some(20), Some(2)], 2, SETTINGS);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0]));
    assert_eq!(shares.next(WorkerId(1), at(0.0)), batch(&[1]));
    shares.silent(WorkerId(0), at(4.0));
    shares.leave(WorkerId(0), at(10.0));
    shares.join(WorkerId(0), Some(1.0), at(10.0));
    assert_eq!(
        shares.next(WorkerId(0), at(10.0)),
        batch(&[0]),
        "the other one is free sooner than 60 s later"
    );
}

#[test]
fn what_may_not_run_twice_waits_for_a_silent_worker() {
    let mut shares = shares(&[Some(1); 10], 1, SETTINGS);
    shares.join(WorkerId(0), Some(1.0), at(0.0));
    shares.holds(WorkerId(0), &[TestIndex(9)], |_| true, at(0.0));
    shares.join(WorkerId(1), Some(1.0), at(0.0));
    shares.silent(WorkerId(0), at(4.0));
    while let Next::Batch(tests) = shares.next(WorkerId(1), at(4.0)) {
        assert!(!tests.contains(&TestIndex(9)));
        tests.iter().for_each(|test| took(&mut shares, 1, test.0, 1, 4.0));
    }
}

#[test]
fn who_has_nothing_takes_about_half_of_what_is_left_to_the_last() {
    let mut shares = shares(&[Some(10); 8], 2, SETTINGS);
    shares.join(WorkerId(0), Some(1.0), at(0.0));
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0]));
    shares.join(WorkerId(1), Some(1.0), at(0.0));
    for (test, now) in [(1, 0.0), (3, 1.0), (5, 2.0), (7, 3.0)] {
        assert_eq!(shares.next(WorkerId(1), at(now)), batch(&[test]));
        took(&mut shares, 1, test, 10, now + 1.0);
    }
    assert_eq!(shares.next(WorkerId(1), at(4.0)), batch(&[2]));
    assert_eq!(shares.workers[&WorkerId(1)].load.seconds(0.0), 10.0);
    assert_eq!(shares.workers[&WorkerId(0)].load.seconds(0.0), 10.0);
}

#[test]
fn nothing_is_stolen_that_is_not_worth_a_dispatch() {
    let mut shares =
        joined(&[Some(10), Some(10), Some(0)], 2, Settings { duplicates_percent: 0, ..SETTINGS });
    shares.next(WorkerId(0), at(0.0));
    shares.next(WorkerId(1), at(0.0));
    took(&mut shares, 1, 1, 10, 9.9);
    assert_eq!(shares.next(WorkerId(1), at(9.9)), Next::Wait);
}

#[test]
fn many_small_tests_are_worth_a_dispatch_together() {
    let mut shares = joined(&[None; 100], 2, SETTINGS);
    shares.next(WorkerId(0), at(0.0));
    while !shares.workers[&WorkerId(1)].load.is_empty() {
        let Next::Batch(tests) = shares.next(WorkerId(1), at(0.0)) else { panic!("it has a share") };
        for test in tests {
            shares.reported(WorkerId(1), test, Duration::from_millis(100), at(0.0));
        }
    }
    assert!(matches!(shares.next(WorkerId(1), at(0.0)), Next::Batch(_)));
    assert_eq!(shares.steals(), 1);
}

#[test]
fn a_worker_that_never_comes_is_worked_for() {
    let mut shares = shares(&[Some(1); 6], 3, SETTINGS);
    shares.join(WorkerId(2), Some(1.0), at(0.0));
    let mut done = 0;
    while let Next::Batch(tests) = shares.next(WorkerId(2), at(f64::from(done))) {
        for test in tests {
            done += 1;
            took(&mut shares, 2, test.0, 1, f64::from(done));
        }
    }
    assert_eq!(done, 6);
}

#[test]
fn what_a_lost_worker_had_comes_before_everything_else() {
    let mut shares = joined(&[Some(5), Some(4), Some(3), Some(2)], 2, SETTINGS);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0]));
    shares.leave(WorkerId(0), at(1.0));
    shares.give_back(&[TestIndex(0)], Some(WorkerId(0)));
    assert_eq!(shares.next(WorkerId(1), at(1.0)), batch(&[0]));
}

#[test]
fn a_retry_goes_to_another_worker_when_there_is_one() {
    let mut shares = joined(&[Some(1), Some(1)], 2, SETTINGS);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0]));
    assert_eq!(shares.next(WorkerId(1), at(0.0)), batch(&[1]));
    took(&mut shares, 0, 0, 1, 1.0);
    shares.give_back(&[TestIndex(0)], Some(WorkerId(0)));
    assert_eq!(shares.next(WorkerId(0), at(1.0)), Next::Wait);
    took(&mut shares, 1, 1, 1, 1.0);
    assert_eq!(shares.next(WorkerId(1), at(1.0)), batch(&[0]));
}

#[test]
fn a_retry_waits_for_another_bot_and_not_for_another_worker_of_the_same() {
    let mut shares = joined(&[Some(1), Some(1), Some(1)], 3, SETTINGS);
    for (worker, bot) in [(0, "a"), (1, "a"), (2, "b")] {
        shares.sits_on(WorkerId(worker), &bot.parse().unwrap());
        assert_eq!(shares.next(WorkerId(worker), at(0.0)), batch(&[worker]));
    }
    took(&mut shares, 0, 0, 1, 1.0);
    shares.give_back(&[TestIndex(0)], Some(WorkerId(0)));
    took(&mut shares, 1, 1, 1, 1.0);
    assert_eq!([0, 1].map(|worker| shares.next(WorkerId(worker), at(1.0))), [Next::Wait, Next::Wait]);
    took(&mut shares, 2, 2, 1, 1.0);
    assert_eq!(shares.next(WorkerId(2), at(1.0)), batch(&[0]));
}

#[test]
fn a_retry_waits_a_while_for_a_bot_that_may_come() {
    let mut shares = joined(&[Some(1), Some(1)], 2, SETTINGS);
    for worker in 0..2 {
        shares.sits_on(WorkerId(worker), &"a".parse().unwrap());
        shares.next(WorkerId(worker), at(0.0));
    }
    took(&mut shares, 0, 0, 1, 1.0);
    assert!(!shares.needs_another(WorkerId(0)));
    shares.give_back(&[TestIndex(0)], Some(WorkerId(0)));
    assert!(shares.needs_another(WorkerId(0)));
    shares.hold_back(WorkerId(0), at(1.0));
    took(&mut shares, 1, 1, 1, 1.0);
    assert_eq!([0, 1].map(|worker| shares.next(WorkerId(worker), at(5.0))), [Next::Wait, Next::Wait]);
    let mut later = shares.clone();
    assert_eq!(later.next(WorkerId(1), at(6.5)), batch(&[0]), "nobody has come");
    shares.join(WorkerId(2), None, at(5.0));
    shares.sits_on(WorkerId(2), &"b".parse().unwrap());
    assert_eq!(shares.next(WorkerId(2), at(5.0)), batch(&[0]));
}

#[test]
fn a_retry_of_no_duration_is_not_forgotten() {
    let mut shares = joined(&[Some(0)], 1, Settings { mode: Mode::Process, ..SETTINGS });
    shares.next(WorkerId(0), at(0.0));
    took(&mut shares, 0, 0, 0, 1.0);
    shares.give_back(&[TestIndex(0)], None);
    assert_eq!(shares.next(WorkerId(0), at(1.0)), batch(&[0]));
}

#[test]
fn a_retry_runs_where_it_failed_when_nobody_else_is_there() {
    let mut shares = joined(&[Some(1)], 1, SETTINGS);
    shares.next(WorkerId(0), at(0.0));
    took(&mut shares, 0, 0, 1, 1.0);
    shares.give_back(&[TestIndex(0)], Some(WorkerId(0)));
    assert_eq!(shares.next(WorkerId(0), at(1.0)), batch(&[0]));
}

#[test]
fn a_straggler_is_doubled_once() {
    let mut shares = shares(&[Some(10); 3], 3, SETTINGS);
    for worker in 0..3 {
        shares.join(WorkerId(worker), None, at(0.0));
    }
    for worker in 0..3 {
        assert_eq!(shares.next(WorkerId(worker), at(0.0)), batch(&[worker]));
    }
    took(&mut shares, 1, 1, 10, 10.0);
    took(&mut shares, 2, 2, 10, 10.0);
    assert_eq!(shares.next(WorkerId(1), at(12.0)), Next::Wait, "it is a little late");
    assert_eq!(shares.next(WorkerId(1), at(35.0)), batch(&[0]));
    assert_eq!(shares.next(WorkerId(2), at(35.0)), Next::Wait);
}

#[test]
fn on_a_bot_of_known_speed_a_late_test_is_a_long_test() {
    let mut shares = joined(&[Some(10), Some(1)], 2, SETTINGS);
    shares.next(WorkerId(0), at(0.0));
    shares.next(WorkerId(1), at(0.0));
    took(&mut shares, 1, 1, 1, 1.0);
    assert_eq!(shares.next(WorkerId(1), at(35.0)), Next::Wait);
}

#[test]
fn a_slow_bot_leaves_the_longest_test_to_a_faster_one() {
    let mut shares = shares(&[Some(100), Some(10), Some(10)], 2, SETTINGS);
    shares.join(WorkerId(0), Some(0.7), at(0.0));
    shares.join(WorkerId(1), Some(1.0), at(0.0));
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[1]));
    assert_eq!(shares.next(WorkerId(1), at(0.0)), batch(&[0]));
}

#[test]
fn the_longest_test_does_not_wait_for_ever_for_faster_bots_that_never_come() {
    let mut shares = shares(&[Some(100)], 2, SETTINGS);
    shares.join(WorkerId(0), Some(1.0), at(0.0));
    assert_eq!(shares.next(WorkerId(0), at(0.0)), Next::Wait);
    assert_eq!(shares.next(WorkerId(0), at(20.0)), batch(&[0]));
}

#[test]
fn a_bot_of_unknown_speed_is_measured_with_short_tests_before_it_gets_the_longest() {
    let mut seconds = vec![Some(1); 20];
    seconds.push(Some(100));
    let mut shares = shares(&seconds, 2, SETTINGS);
    shares.join(WorkerId(0), None, at(0.0));
    shares.join(WorkerId(1), None, at(0.0));
    let Next::Batch(first) = shares.next(WorkerId(0), at(0.0)) else { panic!("there is something to do") };
    assert_eq!(shares.estimate(first[0]), 1.0);
}

#[test]
fn exclusive_tests_are_never_doubled() {
    let mut shares = joined(&[Some(1); 10], 10, SETTINGS);
    for worker in 0..10 {
        shares.next(WorkerId(worker), at(0.0));
    }
    for worker in 0..9 {
        took(&mut shares, worker, worker, 1, 1.0);
    }
    assert_eq!(shares.next(WorkerId(0), at(50.0)), Next::Wait);
}

#[test]
fn without_a_budget_nobody_waits_and_nothing_is_doubled() {
    let settings = Settings { duplicates_percent: 0, idle_percent: 0, ..SETTINGS };
    let mut shares = joined(&[Some(10), Some(1)], 2, settings);
    shares.next(WorkerId(0), at(0.0));
    shares.next(WorkerId(1), at(0.0));
    took(&mut shares, 1, 1, 1, 1.0);
    assert_eq!(shares.next(WorkerId(1), at(20.0)), Next::Nothing);
}

#[test]
fn the_next_batch_is_granted_only_when_the_last_test_has_nearly_ended() {
    let mut shares = joined(&[Some(10), Some(1)], 1, SETTINGS);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0]));
    assert_eq!(shares.next(WorkerId(0), at(5.0)), Next::Wait);
    assert_eq!(shares.next(WorkerId(0), at(9.9)), batch(&[1]));
}

#[test]
fn nothing_waits_for_a_long_test_that_others_may_be_free_before() {
    let mut shares = joined(&[Some(100), Some(90), Some(3), Some(2)], 2, SETTINGS);
    for worker in 0..2 {
        assert_eq!(shares.next(WorkerId(worker), at(0.0)), batch(&[worker]));
    }
    assert_eq!(shares.next(WorkerId(1), at(89.9)), Next::Wait, "what is left is short beside 90 s");
    took(&mut shares, 0, 0, 95, 95.0);
    assert_eq!(shares.next(WorkerId(0), at(95.0)), batch(&[2]));
    let mut shares = joined(&[Some(10); 20], 2, SETTINGS);
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[0]));
    assert_eq!(shares.next(WorkerId(0), at(9.9)), batch(&[2]), "plenty is left");
}

#[test]
fn tests_held_over_a_restart_are_not_given_away() {
    let mut shares = shares(&[Some(2), Some(1)], 2, SETTINGS);
    shares.join(WorkerId(1), Some(1.0), at(0.0));
    shares.holds(WorkerId(1), &[TestIndex(0)], |_| true, at(0.0));
    shares.join(WorkerId(0), Some(1.0), at(0.0));
    assert_eq!(shares.next(WorkerId(0), at(0.0)), batch(&[1]));
}
