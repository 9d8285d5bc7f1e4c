use super::*;
use crate::{
    model::{Driver, RunState, StepTests},
    testing::{START, run_with_tests, running, tested},
};
use TestVerdict::{Crashed, Failed, Passed};

fn news(results: Vec<TestResult>) -> TestsNews {
    let results = (0..).zip(results).map(|(index, result)| TestResult { index, ..result }).collect();
    TestsNews { step: 0, results, counts: None }
}

/// A run of which so many of ten seconds are done, by nine tests.
fn run_at(done: u64) -> Run {
    let mut run = run_with_tests(Driver::Gtest, RunState::Running, vec![running(0)]);
    let open = if done == 10 { 0 } else { 9 };
    let counts = OutcomeCounts {
        listed: 9,
        open,
        estimate: Duration::from_secs(10),
        estimate_done: Duration::from_secs(done),
        ..OutcomeCounts::default()
    };
    run.tests = vec![StepTests { step: 0, counts: Some(counts), verified: true }];
    run
}

#[test]
fn progress_goes_by_time_and_the_rest_is_reckoned_from_the_rate_that_was_seen() {
    let mut view = TestsView::default();
    let mut at = |seconds, done| {
        view.lines(&run_at(done), START + Duration::from_secs(seconds), Paint::Plain).join("|")
    };
    assert_eq!(at(100, 2), "20 % by time, 0 of 9 tests");
    // Four seconds of work in eight of time.
    assert_eq!(at(108, 6), "60 % by time, 0 of 9 tests, about 8.0s left");
    assert_eq!(at(120, 10), "100 % by time, 9 of 9 tests");
}

#[test]
fn without_estimates_progress_goes_by_number() {
    let counts = OutcomeCounts { listed: 4, open: 1, ..OutcomeCounts::default() };
    assert_eq!(share(&counts), 0.75);
    assert_eq!(share(&OutcomeCounts::default()), 1.0);
}

#[test]
fn a_failure_is_told_once_as_it_happens_with_the_end_of_its_output() {
    let mut view = TestsView::default();
    let mut take = |results| view.take(&news(results), Paint::Plain).join("\n");
    insta::assert_snapshot!(take(vec![tested("A.b", TestOutcome::Open, &[Failed])]), @r"
    failed A.b on bot-0 after 0.70s, is run again: not good the 0th time
        output 0
    ");
    insta::assert_snapshot!(take(vec![tested("A.b", TestOutcome::Crashed, &[Failed, Crashed])]), @r"
    crashed A.b on bot-1 after 0.80s: not good the 1th time
        output 1
    ");
    assert_eq!(take(vec![tested("A.b", TestOutcome::Crashed, &[Failed, Crashed])]), "");
}

#[test]
fn of_many_failures_only_the_first_are_told_in_full() {
    let failed = |n| tested(&format!("A.{n}"), TestOutcome::Failed, &[Failed]);
    let lines = TestsView::default().take(&news((0..1000).map(failed).collect()), Paint::Plain);
    assert_eq!(lines.len(), TOLD + WITH_OUTPUT + 1, "a line of output each");
    assert_eq!(lines.last().unwrap(), "more tests have failed: all are told in the end");
}

#[test]
fn the_slowest_tests_and_those_that_run_longest_are_named() {
    let mut view = TestsView::default();
    let slow = |name: &str, millis| {
        let mut result = tested(name, TestOutcome::Passed, &[Passed]);
        result.executions[0].took = Duration::from_millis(millis);
        result
    };
    let open = tested("A.open", TestOutcome::Open, &[TestVerdict::Running]);
    let all = vec![open, slow("A.a", 10), slow("A.b", 30), slow("A.c", 20), slow("A.d", 5), slow("A.e", 40)];
    assert!(view.take(&news(all), Paint::Plain).is_empty());
    let lines = view.lines(&run_at(2), START + Duration::from_secs(10), Paint::Plain);
    assert_eq!(lines[..2], ["running: A.open 7.0s on bot-0", "slowest: A.e 40ms, A.b 30ms, A.c 20ms"]);
    // It has ended.
    view.take(&news(vec![tested("A.open", TestOutcome::Passed, &[Passed])]), Paint::Plain);
    assert!(view.lines(&run_at(2), START, Paint::Plain)[0].starts_with("slowest: A.open"));
}
