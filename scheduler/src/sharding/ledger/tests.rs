//! What a report is worth.

use super::*;
use proto::Timestamp;
use std::time::Duration;

const BUDGET: Budget = Budget { retries: 2, retried_percent: 100, fail_fast: None };

fn listed(count: u32) -> Arc<[ListedTest]> {
    let test = |index| ListedTest {
        name: format!("t{index}").into(),
        group: None,
        exclusive: false,
        disabled: false,
    };
    (0..count).map(test).collect()
}

fn ledger(count: u32, budget: Budget) -> Ledger {
    Ledger::new(listed(count), BTreeSet::new(), budget).unwrap()
}

fn report(test: u32, outcome: TestOutcome) -> TestReport {
    TestReport {
        test: TestIndex(test),
        outcome,
        duration: Duration::from_secs(1),
        started: Timestamp::default(),
        message: "why".into(),
        output: "what".into(),
    }
}

fn crash() -> TestOutcome {
    TestOutcome::Crashed("signal 6".into())
}

/// Grants test 0 to a lease of its own for each outcome.
fn after(ledger: &mut Ledger, outcomes: &[TestOutcome]) -> Vec<Accepted> {
    let each = outcomes.iter().zip(1..).map(|(outcome, token)| {
        ledger.grant(token, &[TestIndex(0)]);
        ledger.report(token, &[report(0, outcome.clone())])[0]
    });
    each.collect()
}

#[test]
fn a_pass_after_a_failure_is_flaky_and_green() {
    let mut ledger = ledger(1, BUDGET);
    let accepted = after(&mut ledger, &[TestOutcome::Failed, TestOutcome::Passed]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Verdict(Verdict::Flaky)]);
    assert!(ledger.is_complete() && ledger.counts().red() == 0);
    assert_eq!(ledger.attempts(TestIndex(0)).len(), 2);
}

#[test]
fn a_test_that_keeps_failing_is_red_after_its_retries() {
    let mut ledger = ledger(1, BUDGET);
    let accepted = after(&mut ledger, &[const { TestOutcome::Failed }; 3]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Retry, Accepted::Verdict(Verdict::Failed)]);
    assert_eq!((ledger.verdict(TestIndex(0)), ledger.counts().red()), (Some(Verdict::Failed), 1));
}

#[test]
fn a_second_crash_ends_the_retries() {
    let accepted = after(&mut ledger(1, BUDGET), &[crash(), crash()]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Verdict(Verdict::Crashed)]);
}

#[test]
fn a_bot_that_does_not_know_a_test_leaves_it_to_others() {
    // Nothing of the test has failed.
    let accepted = after(&mut ledger(1, BUDGET), &[TestOutcome::Unknown, TestOutcome::Passed]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Verdict(Verdict::Passed)]);
    let accepted = after(&mut ledger(1, BUDGET), &[TestOutcome::Unknown, TestOutcome::Skipped]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Verdict(Verdict::Skipped)]);
    let mixed = [TestOutcome::Unknown, TestOutcome::Failed, TestOutcome::Passed];
    let accepted = after(&mut ledger(1, BUDGET), &mixed);
    assert_eq!(accepted[2], Accepted::Verdict(Verdict::Flaky), "this one has");
    // It counts as one of the attempts.
    let accepted = after(&mut ledger(1, Budget { retries: 0, ..BUDGET }), &[TestOutcome::Unknown]);
    assert_eq!(accepted, [Accepted::Verdict(Verdict::Unknown)]);
    let accepted = after(&mut ledger(1, BUDGET), &[const { TestOutcome::Unknown }; 3]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Retry, Accepted::Verdict(Verdict::Unknown)]);
}

#[test]
fn a_bot_that_is_broken_costs_a_test_neither_a_retry_nor_its_name() {
    use TestOutcome::{Failed, Infrastructure, Passed};
    let none = Budget { retries: 0, retried_percent: 0, ..BUDGET };
    let accepted = after(&mut ledger(1, none), &[Infrastructure, Infrastructure, Passed]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Retry, Accepted::Verdict(Verdict::Passed)]);
    let mut one = ledger(1, Budget { retries: 1, ..none });
    let accepted = after(&mut one, &[Failed, Infrastructure, Passed]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Retry, Accepted::Verdict(Verdict::Flaky)]);
    assert_eq!(one.retried, 1);
    // Where it is so everywhere, the test is red.
    let mut everywhere = ledger(1, BUDGET);
    let accepted = after(&mut everywhere, &[const { Infrastructure }; 3]);
    assert_eq!(accepted, [Accepted::Retry, Accepted::Retry, Accepted::Verdict(Verdict::Failed)]);
    assert_eq!((everywhere.counts().red(), everywhere.retried), (1, 0));
    assert_eq!(&*everywhere.attempts(TestIndex(0))[2].report.message, "why");
}

#[test]
fn what_breaks_everything_is_not_retried_for_ever() {
    let mut ledger = ledger(100, Budget { retried_percent: 10, ..BUDGET });
    let retries = (0..100).filter(|test| {
        ledger.grant(7, &[TestIndex(*test)]);
        ledger.report(7, &[report(*test, TestOutcome::Failed)]) == [Accepted::Retry]
    });
    assert_eq!(retries.count(), 10);
}

#[test]
fn a_duplicate_that_fails_leaves_the_verdict_to_the_other() {
    let mut ledger = ledger(1, BUDGET);
    ledger.grant(1, &[TestIndex(0)]);
    ledger.grant(2, &[TestIndex(0)]);
    assert_eq!(ledger.report(1, &[report(0, TestOutcome::Failed)]), [Accepted::Twin]);
    assert_eq!(ledger.release(2, LeaseEnd::Lost), [TestIndex(0)], "and is run again when that is lost");
}

#[test]
fn only_the_first_result_of_a_doubled_test_counts() {
    let mut ledger = ledger(1, BUDGET);
    ledger.grant(1, &[TestIndex(0)]);
    ledger.grant(2, &[TestIndex(0)]);
    assert_eq!(ledger.report(2, &[report(0, TestOutcome::Passed)]), [Accepted::Verdict(Verdict::Passed)]);
    assert_eq!(ledger.report(1, &[report(0, TestOutcome::Failed)]), [Accepted::Duplicate]);
    assert!(ledger.is_complete() && ledger.counts().red() == 0);
    assert_eq!(ledger.counts().duplicates, 1);
}

#[test]
fn a_report_after_the_lease_is_kept_and_counts_for_nothing() {
    let mut ledger = ledger(1, BUDGET);
    ledger.grant(1, &[TestIndex(0)]);
    assert_eq!(ledger.release(1, LeaseEnd::Lost), [TestIndex(0)]);
    assert_eq!(ledger.report(1, &[report(0, TestOutcome::Passed)]), [Accepted::Late]);
    assert_eq!(ledger.attempts(TestIndex(0))[0].standing, Standing::Late);
    assert_eq!(ledger.open(), [TestIndex(0)]);
}

#[test]
fn a_report_that_comes_twice_counts_once() {
    let mut ledger = ledger(1, BUDGET);
    ledger.grant(1, &[TestIndex(0)]);
    let failed = [report(0, TestOutcome::Failed), report(0, TestOutcome::Failed)];
    assert_eq!(ledger.report(1, &failed), [Accepted::Retry, Accepted::Late]);
}

#[test]
fn what_is_not_listed_is_told() {
    let mut ledger = ledger(1, BUDGET);
    ledger.grant(1, &[TestIndex(0), TestIndex(9)]);
    assert_eq!(ledger.held(1), [TestIndex(0)]);
    assert_eq!(ledger.report(1, &[report(9, TestOutcome::Passed)]), [Accepted::Unlisted]);
}

#[test]
fn what_a_lease_holds_is_granted_to_it_once() {
    let mut ledger = ledger(2, BUDGET);
    ledger.grant(1, &[TestIndex(0), TestIndex(0)]);
    ledger.grant(1, &[TestIndex(0), TestIndex(1)]);
    assert_eq!(ledger.held(1), [TestIndex(0), TestIndex(1)]);
    assert_eq!(ledger.ungranted(), []);
}

#[test]
fn a_lost_lease_gives_back_what_it_has_not_reported_first_what_was_open() {
    let mut ledger = ledger(4, BUDGET);
    ledger.grant(1, &[TestIndex(3), TestIndex(1)]);
    ledger.grant(1, &[TestIndex(2)]);
    ledger.report(1, &[report(3, TestOutcome::Passed)]);
    assert_eq!(ledger.release(1, LeaseEnd::Lost), [TestIndex(1), TestIndex(2)]);
    assert_eq!(ledger.release(1, LeaseEnd::Lost), []);
}

#[test]
fn a_test_that_takes_its_bots_down_has_crashed_and_the_rest_goes_on() {
    let mut ledger = ledger(2, BUDGET);
    let again: Vec<_> = (1..=5)
        .map(|token| {
            ledger.grant(token, &[TestIndex(1), TestIndex(0)]);
            ledger.release(token, LeaseEnd::Lost)
        })
        .collect();
    assert_eq!(again[3], [TestIndex(1), TestIndex(0)]);
    assert_eq!(again[4], [TestIndex(0)]);
    assert_eq!(ledger.verdict(TestIndex(1)), Some(Verdict::Crashed));
}

#[test]
fn stops_that_nobody_died_of_count_against_no_test() {
    let mut ledger = ledger(1, BUDGET);
    for token in 1..=20 {
        ledger.grant(token, &[TestIndex(0)]);
        assert_eq!(ledger.release(token, LeaseEnd::Orderly), [TestIndex(0)]);
    }
    for token in 21..=24 {
        ledger.grant(token, &[TestIndex(0)]);
        ledger.release(token, LeaseEnd::Lost);
    }
    assert_eq!(ledger.verdict(TestIndex(0)), None, "four deaths");
}

#[test]
fn a_run_with_missing_tests_is_red() {
    let mut ledger = ledger(3, BUDGET);
    ledger.grant(1, &[TestIndex(1)]);
    ledger.report(1, &[report(1, TestOutcome::Passed)]);
    assert_eq!(ledger.open(), [TestIndex(0), TestIndex(2)]);
    ledger.close();
    assert_eq!(ledger.counts().verdicts, [(Verdict::Passed, 1), (Verdict::Missing, 2)].into());
    assert!(ledger.is_complete() && ledger.counts().red() == 2);
}

#[test]
fn disabled_tests_are_skipped_and_quarantined_ones_forgiven() {
    let mut tests = listed(2).to_vec();
    tests[1].disabled = true;
    let budget = Budget { retries: 0, ..BUDGET };
    let mut ledger = Ledger::new(tests.into(), BTreeSet::from([TestIndex(0)]), budget).unwrap();
    assert_eq!(ledger.open(), [TestIndex(0)]);
    assert_eq!(after(&mut ledger, &[TestOutcome::Failed]), [Accepted::Verdict(Verdict::Quarantined)]);
    assert!(ledger.is_complete() && ledger.counts().red() == 0);
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    let mut tests = listed(2).to_vec();
    tests[1].name = tests[0].name.clone();
    let error = Ledger::new(tests.into(), BTreeSet::new(), BUDGET).unwrap_err();
    assert_eq!(error.to_string(), r#"test "t0" is listed twice; give each test a name of its own"#);
}

#[test]
fn fail_fast_stops_at_its_number_of_red_tests() {
    let mut ledger = ledger(3, Budget { retries: 0, fail_fast: Some(1), ..BUDGET });
    assert!(!ledger.is_stopped());
    after(&mut ledger, &[TestOutcome::Failed]);
    assert!(ledger.is_stopped());
}

#[test]
fn text_that_is_kept_is_bounded() {
    let mut ledger = ledger(5, BUDGET);
    let output: Arc<str> = "x".repeat(20 << 20).into();
    for test in 0..5 {
        ledger.grant(1, &[TestIndex(test)]);
        ledger.report(1, &[TestReport { output: output.clone(), ..report(test, TestOutcome::Passed) }]);
    }
    let kept = |test| ledger.attempts(TestIndex(test))[0].report.output.len();
    assert_eq!((0..5).map(kept).sum::<usize>(), 60 << 20);
    assert!(ledger.is_complete() && ledger.counts().red() == 0);
}

#[test]
fn a_test_that_passes_at_once_and_says_nothing_takes_no_more_than_it_needs() {
    let mut ledger = ledger(2, BUDGET);
    ledger.grant(1, &[TestIndex(0), TestIndex(1)]);
    for test in [0, 1] {
        let silent =
            TestReport { message: "".into(), output: "".into(), ..report(test, TestOutcome::Passed) };
        ledger.report(1, &[silent]);
    }
    let [first, second] = [0, 1].map(|test| ledger.attempts(TestIndex(test))[0].clone());
    assert!(Arc::ptr_eq(&first.report.message, &second.report.output), "nobody has an empty text of its own");
    assert_eq!(ledger.entries[0].attempts.capacity(), 1);
}
