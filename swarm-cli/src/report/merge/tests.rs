use super::*;
use crate::{
    model::RunState,
    report::parse,
    testing::{completed, ended, run},
};

fn reports(files: &[&str]) -> ShardReports {
    let file = |(n, xml): (usize, &&str)| ReportFile {
        path: RelPath::new(&format!("report-{n}.xml")).unwrap(),
        parsed: parse(xml.as_bytes()).unwrap(),
    };
    ShardReports { files: files.iter().enumerate().map(file).collect(), unreadable: vec![] }
}

fn merged(run: &Run, shards: &[ShardReports]) -> Report {
    let ids = run.shards.iter().map(|shard| shard.id);
    merge(run, ids.zip(shards.iter().cloned()).collect(), &[])
}

/// `shard: Class.name status`, one for each result.
fn lines(report: &Report) -> Vec<String> {
    let line = |suite: &Suite, case: &TestCase| {
        let problem =
            case.problems.first().map(|problem| format!(" {}", problem.type_name)).unwrap_or_default();
        format!("{}: {} {:?}{problem}", suite.shard.unwrap().index, case.full_name(), case.status)
    };
    report.suites.iter().flat_map(|suite| suite.all().map(move |case| line(suite, case))).collect()
}

#[test]
fn every_test_is_there_once_and_the_totals_count_tests() {
    let run = run(RunState::Failed, vec![completed(0, 0), completed(1, 1)]);
    let report = merged(
        &run,
        &[
            reports(&[
                r#"<testsuite name="S" tests="99"><testcase name="a"/><testcase name="DISABLED_d" status="notrun"/></testsuite>"#,
            ]),
            reports(&[
                r#"<testsuite name="S"><testcase name="DISABLED_d" status="notrun"/><testcase name="b"><failure/></testcase></testsuite>"#,
            ]),
        ],
    );
    assert_eq!(lines(&report), ["0: S.a Passed", "0: S.DISABLED_d Disabled", "1: S.b Failed "]);
    let expected = Totals { tests: 3, passed: 1, failed: 1, disabled: 1, ..Totals::default() };
    assert_eq!(report.totals, expected);
    assert_eq!(report.findings, Findings { failed: 1, ..Findings::default() });
    assert_eq!(report.notes, Vec::<String>::new());
}

#[test]
fn a_suite_that_does_not_heed_the_shards_is_not_counted_twice() {
    let run = run(RunState::Succeeded, vec![completed(0, 0), completed(1, 0), completed(2, 0)]);
    let passes = r#"<testsuite name="S"><testcase name="a"/><testcase name="b"/></testsuite>"#;
    let fails = r#"<testsuite name="S"><testcase name="a"><failure type="once"/></testcase><testcase name="b"/></testsuite>"#;
    let report = merged(&run, &[reports(&[passes]), reports(&[fails]), reports(&[passes])]);
    assert_eq!(lines(&report), ["0: S.b Passed", "1: S.a Failed once"], "the worst result is the one kept");
    assert_eq!(report.findings, Findings { failed: 1, failed_in_passed_shards: 1, ..Findings::default() });
    assert!(
        report.notes[0].starts_with("4 test results came from more than one shard"),
        "{:?}",
        report.notes
    );
}

#[test]
fn tests_of_one_name_within_a_file_are_different_tests() {
    let run = run(RunState::Succeeded, vec![completed(0, 0)]);
    let report = merged(
        &run,
        &[reports(&[r#"<testsuite name="S"><testcase name="a"/><testcase name="a"/></testsuite>"#])],
    );
    assert_eq!(report.totals.tests, 2);
    assert_eq!(report.notes, Vec::<String>::new());
}

#[test]
fn what_is_missing_is_an_error_in_the_report() {
    let mut crashed = completed(2, 139);
    crashed.attempts[0].result.as_mut().unwrap().signal = Some(11);
    let shards = vec![
        completed(0, 0),
        completed(1, 0),
        crashed,
        ended(3, ShardState::Expired, "no bot has os=plan9"),
        completed(4, 3),
        completed(5, 0),
        completed(6, 0),
    ];
    let run = run(RunState::Incomplete, shards);
    let good = r#"<testsuite name="S"><testcase name="a"/></testsuite>"#;
    let unreadable = ShardReports { files: vec![], unreadable: vec!["blob is gone".into()] };
    let report = merged(
        &run,
        &[
            reports(&[good]),
            ShardReports::default(),
            ShardReports::default(),
            ShardReports::default(),
            reports(&[r#"<testsuite name="S"><testcase name="b"/></testsuite>"#]),
            reports(&[r#"<testsuite name="S"><testcase name="c"/>"#]),
            unreadable,
        ],
    );
    insta::assert_snapshot!(lines(&report).join("\n"), @r"
    0: S.a Passed
    1: suite.shard 1 Errored missing
    2: suite.shard 2 Errored crash
    3: suite.shard 3 Errored missing
    4: S.b Passed
    4: suite.shard 4 Errored exit
    5: S.c Passed
    5: suite.shard 5 Errored damaged
    6: suite.shard 6 Errored missing
    ");
    assert_eq!(report.totals.errored, 6);
    assert_eq!(report.tests, Totals { tests: 3, passed: 3, ..Totals::default() });
    assert_eq!(
        report.findings,
        Findings { unreadable: 2, unreported: 1, ..Findings::default() },
        "stand-ins are no tests of the suite"
    );
    insta::assert_snapshot!(report.notes.join("\n"), @r"
    1 shard passed without a report, unlike others: tests may be missing
    1 report could not be read to the end
    outputs of 1 shard could not be read
    ");
}

#[test]
fn a_test_that_passed_in_the_end_counts_as_flaky() {
    let run = run(RunState::Succeeded, vec![completed(0, 0)]);
    let xml =
        r#"<testsuite name="S"><testcase name="a"><flakyError message="first"/></testcase></testsuite>"#;
    let report = merged(&run, &[reports(&[xml])]);
    assert_eq!(report.totals, Totals { tests: 1, passed: 1, flaky: 1, ..Totals::default() });
}

#[test]
fn shards_of_a_suite_that_reports_no_tests_stand_for_themselves() {
    let mut crashed = completed(2, 139);
    crashed.attempts[0].result.as_mut().unwrap().signal = Some(11);
    let shards =
        vec![completed(0, 0), completed(1, 3), crashed, ended(3, ShardState::BotDied, "its bots were lost")];
    let run = run(RunState::Incomplete, shards);
    let report = merged(&run, &[]);
    insta::assert_snapshot!(lines(&report).join("\n"), @r"
    0: suite.shard 0 Passed
    1: suite.shard 1 Errored exit
    2: suite.shard 2 Errored crash
    3: suite.shard 3 Errored missing
    ");
    assert_eq!(report.tests, Totals::default());
    assert_eq!(report.totals, Totals { tests: 4, passed: 1, errored: 3, ..Totals::default() });
    assert_eq!(report.findings, Findings::default());
    assert_eq!(report.notes, Vec::<String>::new());
}

#[test]
fn a_suite_whose_outputs_cannot_be_read_does_not_pass_for_one_without_tests() {
    let run = run(RunState::Succeeded, vec![completed(0, 0), completed(1, 0)]);
    let unreadable = ShardReports { files: vec![], unreadable: vec!["the CAS is away".into()] };
    let report = merged(&run, &[unreadable, ShardReports::default()]);
    assert_eq!(lines(&report), ["0: suite.shard 0 Errored missing", "1: suite.shard 1 Errored missing"]);
}
