use super::*;
use crate::{
    model::{FanOut, RunState, ShardState},
    report::{ChromiumJson, ReportJson, junit, merge, schema::departures},
    testing::{completed, ended, ledger, run_with_tests, tested},
    verdict::{Outcome, judge},
};
use TestVerdict::{Crashed, Failed, Infrastructure, Passed, Skipped, TimedOut, Unknown};

/// One test of every kind.
fn all_kinds() -> Vec<TestResult> {
    let mut disabled = tested("Suite.DISABLED_off", TestOutcome::Skipped, &[]);
    disabled.disabled = true;
    let mut doubled = tested("Suite.doubled", TestOutcome::Passed, &[Passed, Failed]);
    doubled.executions[1].duplicate = true;
    let mut located = tested("Suite.passes", TestOutcome::Passed, &[Passed]);
    (located.file, located.line) = ("suite_test.cc".into(), Some(12));
    vec![
        located,
        disabled,
        doubled,
        tested("Suite.fails", TestOutcome::Failed, &[Failed, Failed]),
        tested("Suite.flaky/it's", TestOutcome::Flaky, &[Crashed, Passed]),
        tested("Suite.crashes", TestOutcome::Crashed, &[Failed, Crashed]),
        tested("Suite.hangs", TestOutcome::TimedOut, &[TimedOut]),
        tested("Suite.skips", TestOutcome::Skipped, &[Skipped]),
        tested("Suite.unheard", TestOutcome::Unknown, &[Unknown]),
        tested("Suite.known", TestOutcome::Quarantined, &[Failed]),
        tested("Suite.lost", TestOutcome::Missing, &[]),
    ]
}

fn two_workers(state: RunState) -> Run {
    run_with_tests(Driver::Gtest, state, vec![completed(0, 0), completed(1, 0)])
}

#[test]
fn a_test_is_one_case_whatever_was_retried() {
    let run = two_workers(RunState::Incomplete);
    let report = merge(&run, BTreeMap::new(), &[ledger(&run, all_kinds())]);
    assert_eq!((report.totals.tests, report.totals.flaky, report.totals.bad()), (11, 1, 5));
    insta::assert_snapshot!("junit", junit(&run, &report));
    let verdict = judge(&run, &report.findings);
    assert_eq!(verdict.outcome, Outcome::Incomplete);
    assert_eq!(verdict.reasons, ["3 tests failed", "2 tests without a verdict (Suite.unheard, Suite.lost)"]);
    let document = serde_json::to_string_pretty(&ReportJson::new(&run, &report, &verdict)).unwrap();
    assert_eq!(departures(&serde_json::from_str(&document).unwrap()), Vec::<String>::new());
    insta::assert_snapshot!("json", document);
    insta::assert_snapshot!(report.notes.join("\n"), @r"
    flaky: they failed, then passed on the same input: Suite.flaky/it's
    quarantined: they failed, as is known: Suite.known
    ");
}

#[test]
fn chromium_reads_every_execution() {
    let run = two_workers(RunState::Incomplete);
    let ledgers = [ledger(&run, all_kinds())];
    insta::assert_snapshot!("chromium", serde_json::to_string_pretty(&ChromiumJson::new(&ledgers)).unwrap());
    let complete = [ledger(&run, vec![tested("A.b", TestOutcome::Passed, &[Passed])])];
    let text = serde_json::to_string(&ChromiumJson::new(&complete)).unwrap();
    assert!(text.starts_with(r#"{"global_tags":[],"all_tests":["A.b"],"#), "{text}");
}

fn judged(run: &Run, ledger: Ledger) -> String {
    let verdict = judge(run, &merge(run, BTreeMap::new(), &[ledger]).findings);
    format!("{:?}: {}", verdict.outcome, verdict.reasons.join(", "))
}

#[test]
fn only_a_complete_ledger_is_green() {
    let good = || tested("A.good", TestOutcome::Passed, &[Passed]);
    let run = two_workers(RunState::Succeeded);
    assert_eq!(judged(&run, ledger(&run, vec![good()])), "Passed: ");
    let open = tested("A.open", TestOutcome::Open, &[]);
    assert_eq!(
        judged(&run, ledger(&run, vec![good(), open])),
        "Incomplete: 1 test without a verdict (A.open)"
    );
    let mut untold = ledger(&run, vec![good()]);
    untold.counts.as_mut().unwrap().listed = 3;
    assert_eq!(judged(&run, untold), "Incomplete: 2 tests without a verdict (2 unnamed ones)");
    let unlisted = Ledger { counts: None, ..ledger(&run, vec![]) };
    assert_eq!(judged(&run, unlisted), "Incomplete: the tests of suite were never listed");
    let doubtful = Run { state: RunState::Incomplete, ..run.clone() };
    let told = judged(&doubtful, ledger(&run, vec![good()]));
    assert_eq!(told, "Incomplete: the scheduler calls the run incomplete");
}

#[test]
fn how_workers_ended_does_not_matter_when_every_test_has_a_verdict() {
    let workers = || {
        let lost = ended(1, ShardState::BotDied, "its bots were lost");
        vec![completed(0, 0), lost, ended(2, ShardState::NotNeeded, "")]
    };
    let run = run_with_tests(Driver::Gtest, RunState::Succeeded, workers());
    let good = tested("A.good", TestOutcome::Passed, &[Passed]);
    assert_eq!(judged(&run, ledger(&run, vec![good.clone()])), "Passed: ");
    let missing = tested("A.lost", TestOutcome::Missing, &[]);
    let told = judged(&run, ledger(&run, vec![good, missing]));
    assert_eq!(told, "Incomplete: 1 shard lost with its bots, 1 test without a verdict (A.lost)");
}

#[test]
fn tests_that_a_failure_kept_from_running_leave_the_verdict_at_failed() {
    let killed = ended(1, ShardState::Killed, "");
    let mut run = run_with_tests(Driver::Gtest, RunState::Failed, vec![completed(0, 0), killed]);
    let FanOut::Tests(policy) = &mut run.spec.steps[0].fan_out else { unreachable!() };
    policy.fail_fast = true;
    let failed = tested("A.bad", TestOutcome::Failed, &[Failed]);
    let missing = tested("A.left", TestOutcome::Missing, &[]);
    let told = judged(&run, ledger(&run, vec![failed, missing]));
    assert_eq!(told, "Failed: 1 test failed, 1 test not run after the first failure");
}

#[test]
fn what_bots_could_not_do_is_no_failure_of_a_test() {
    let run = run_with_tests(Driver::Bazel, RunState::Failed, vec![completed(0, 0), completed(1, 0)]);
    let results = vec![
        tested("0/4", TestOutcome::Passed, &[Unknown, Passed]),
        tested("1/4", TestOutcome::Passed, &[Infrastructure, Passed]),
        tested("2/4", TestOutcome::Failed, &[Unknown, Infrastructure, Infrastructure]),
        tested("3/4", TestOutcome::Flaky, &[Infrastructure, Failed, Passed]),
    ];
    let report = merge(&run, BTreeMap::new(), &[ledger(&run, results)]);
    assert_eq!((report.totals.passed, report.totals.failed, report.totals.flaky), (3, 1, 1));
    let xml = junit(&run, &report);
    let problems: Vec<&str> = xml.lines().map(str::trim).filter(|line| line.contains("message=")).collect();
    let expected = [
        r#"<failure message="not good the 2th time" type="infrastructure"><![CDATA[output 2"#,
        r#"<flakyFailure message="not good the 1th time" type="failure"><stackTrace><![CDATA[output 1"#,
    ];
    assert_eq!(problems, expected, "{xml}");
    let document = serde_json::to_value(ReportJson::new(&run, &report, &judge(&run, &report.findings)));
    let document = document.unwrap();
    assert_eq!(departures(&document), Vec::<String>::new());
    let text = document.to_string();
    let count = |name: &str| text.matches(&format!(r#""verdict":"{name}""#)).count();
    assert_eq!((count("infrastructure"), count("unknown")), (4, 2), "each execution is told");
}

#[test]
fn parts_of_a_command_are_never_called_verified() {
    let run = run_with_tests(Driver::Bazel, RunState::Succeeded, vec![completed(0, 0)]);
    let report =
        merge(&run, BTreeMap::new(), &[ledger(&run, vec![tested("0/2", TestOutcome::Passed, &[Passed])])]);
    let verdict = judge(&run, &report.findings);
    assert!(verdict.unverified);
    assert!(junit(&run, &report).contains(r#"<property name="unverified" value="true"/>"#));
    assert!(report.notes[0].contains("unverified"), "{:?}", report.notes);
    let json = serde_json::to_value(ReportJson::new(&run, &report, &verdict)).unwrap();
    assert_eq!(departures(&json), Vec::<String>::new());
    assert_eq!(json["unverified"], serde_json::json!(["suite"]));
}

#[test]
fn names_are_split_as_the_frameworks_split_them() {
    let split = |driver, name: &str| names(driver, "step", &tested(name, TestOutcome::Passed, &[]));
    let pair = |class: &str, name: &str| (class.to_owned(), name.to_owned());
    assert_eq!(split(Driver::Gtest, "Inst/P.X/1"), pair("Inst/P", "X/1"));
    assert_eq!(split(Driver::Libtest, "a::b::c"), pair("a::b", "c"));
    assert_eq!(split(Driver::Libtest, "alone"), pair("step", "alone"));
    assert_eq!(split(Driver::Libtest, "krate::test_debug fmt"), pair("krate::test_debug", "fmt"));
    assert_eq!(
        split(Driver::Pytest, "t/test_a.py::TestB::test_c[x::y/z]"),
        pair("t.test_a.TestB", "test_c[x::y/z]")
    );
    assert_eq!(split(Driver::Ctest, "a.b"), pair("step", "a.b"));
}

#[test]
fn a_name_is_one_word_of_a_shell() {
    assert_eq!(quoted("A.b/1"), "A.b/1");
    assert_eq!(quoted("t.py::test_a[x y]"), "'t.py::test_a[x y]'");
    assert_eq!(quoted("it's"), r"'it'\''s'");
}
