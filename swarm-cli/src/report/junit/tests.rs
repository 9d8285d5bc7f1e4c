use super::*;
use crate::{
    model::RunState,
    report::{Parsed, ReportFile, ShardReports, merge, parse},
    testing::{completed, run},
};
use proptest::prelude::*;
use proto::RelPath;

/// The JUnit file of a run with one shard that reported these tests.
fn written(cases: Vec<TestCase>) -> String {
    let run = run(RunState::Succeeded, vec![completed(0, 0)]);
    let path = RelPath::new("report.xml").unwrap();
    let file = ReportFile { path, parsed: Parsed { cases, damage: None } };
    let reports = ShardReports { files: vec![file], unreadable: vec![] };
    junit(&run, &merge(&run, [(run.shards[0].id, reports)].into(), &[]))
}

#[test]
fn a_merged_report_tells_tests_shards_and_where_they_ran() {
    let mut failed = TestCase::new("Suite", "fails <&\"> ");
    failed.status = Status::Failed;
    failed.time = Some(Duration::from_millis(1500));
    failed.file = "t.cc".into();
    failed.line = Some(3);
    let problem = |kind, text: &str| Problem {
        kind,
        message: "a\nb".into(),
        type_name: String::new(),
        text: text.into(),
    };
    failed.problems = vec![
        problem(ProblemKind::RerunFailure, "again"),
        problem(ProblemKind::Failure, "]]> \u{1b}[31m\u{0} & <"),
    ];
    failed.properties = vec![("key".into(), "value".into())];
    failed.system_out = "out".into();
    let mut skipped = TestCase::new("Suite", "skips");
    skipped.status = Status::Disabled;
    insta::assert_snapshot!(written(vec![TestCase::new("Suite", "passes"), failed, skipped]), @r##"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="nightly" tests="3" failures="1" errors="0" skipped="1" time="3.200">
      <testsuite name="suite" id="0" hostname="bot-0" timestamp="2023-11-14T22:13:22Z" tests="3" failures="1" errors="0" skipped="1" time="3.200">
        <properties>
          <property name="shard" value="1hf7yat000007/0/0"/>
          <property name="state" value="completed"/>
          <property name="bot" value="bot-0"/>
          <property name="attempt" value="1"/>
          <property name="digest" value="blake3:e33fb19325cbc72b5905e783e0c47290468c610090e376de9215e8b5f8ba83d3/5"/>
          <property name="outputs" value="blake3:76f0654b7a179e3b720f54eb9fb147168baaa67ebb652d1688658466ea137acf/7"/>
          <property name="reproduce" value="swarm reproduce 1hf7yat000007/0/0"/>
        </properties>
        <testcase classname="Suite" name="passes"/>
        <testcase classname="Suite" name="fails &lt;&amp;&quot;&gt; " time="1.500" file="t.cc" line="3">
          <properties>
            <property name="key" value="value"/>
          </properties>
          <failure message="a&#10;b"><![CDATA[]]]]><![CDATA[> [31m & <]]></failure>
          <rerunFailure message="a&#10;b"><stackTrace><![CDATA[again]]></stackTrace></rerunFailure>
          <system-out><![CDATA[out]]></system-out>
        </testcase>
        <testcase classname="Suite" name="skips">
          <skipped message="disabled"/>
        </testcase>
      </testsuite>
    </testsuites>
    "##);
}

#[test]
fn an_empty_name_stays_a_name() {
    assert!(written(vec![TestCase::new("", "")]).contains(r#"<testcase name=""/>"#));
}

/// Text in which everything that XML minds occurs often.
fn text() -> impl Strategy<Value = String> {
    "([a-z ]|\\]\\]>|&|<|>|\"|'|\n|\t|\u{e9}|\u{1f600}){0,12}"
}

fn kind() -> impl Strategy<Value = ProblemKind> {
    prop::sample::select(vec![
        ProblemKind::Failure,
        ProblemKind::Error,
        ProblemKind::FlakyFailure,
        ProblemKind::RerunError,
    ])
}

prop_compose! {
    fn problem()(kind in kind(), message in text(), type_name in text(), text in text()) -> Problem {
        Problem { kind, message, type_name, text }
    }
}

prop_compose! {
    fn test_case()(
        class_name in "[A-Z]{1,2}",
        name in text(),
        mut problems in prop::collection::vec(problem(), 0..3),
        time in prop::option::of(0..10_000u64),
        system_out in text(),
        system_err in text(),
    ) -> TestCase {
        problems.sort_by_key(|problem| !matches!(problem.kind, ProblemKind::Failure | ProblemKind::Error));
        let statuses = problems.iter().map(|problem| match problem.kind {
            ProblemKind::Failure => Status::Failed,
            ProblemKind::Error => Status::Errored,
            _ => Status::Passed,
        });
        let status = statuses.max().unwrap_or(Status::Passed);
        let time = time.map(Duration::from_millis);
        TestCase { status, problems, time, system_out, system_err, ..TestCase::new(class_name, name) }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(cases in prop::collection::vec(test_case(), 0..6)) {
        let parsed = parse(written(cases.clone()).as_bytes()).unwrap();
        prop_assert_eq!(parsed.damage, None);
        prop_assert_eq!(parsed.cases, cases);
    }

    #[test]
    fn any_text_makes_well_formed_xml(name in "\\PC{0,20}|.{0,20}", text in "(?s).{0,40}") {
        let mut case = TestCase::new("C", name);
        case.system_out = text;
        let parsed = parse(written(vec![case]).as_bytes()).unwrap();
        prop_assert_eq!(parsed.damage, None);
        prop_assert_eq!(parsed.cases.len(), 1);
    }
}
