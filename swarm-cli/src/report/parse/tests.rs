use super::*;
use proptest::prelude::*;

fn cases(xml: &str) -> Vec<TestCase> {
    let parsed = parse(xml.as_bytes()).unwrap();
    assert_eq!(parsed.damage, None);
    parsed.cases
}

const GTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" disabled="1" errors="0" time="0.012" timestamp="2026-11-23T23:55:00.123" name="AllTests">
  <testsuite name="Inst/P" tests="4" failures="1" disabled="1" skipped="1" errors="0" time="0." timestamp="2026-11-23T23:55:00.124">
    <testcase name="X/1" value_param="&quot;# c = d&quot;" file="t.cc" line="12" status="run" result="completed" time="0." timestamp="2026-11-23T23:55:00.124" classname="Inst/P" />
    <testcase name="Fails" file="t.cc" line="20" status="run" result="completed" time="0.005" classname="Inst/P">
      <failure message="t.cc:21&#x0A;Expected equality" type=""><![CDATA[t.cc:21
Expected ]]]]><![CDATA[> equality]]></failure>
      <failure message="second" type=""/>
      <properties>
        <property name="key" value="a &amp; b"/>
      </properties>
    </testcase>
    <testcase name="Skips" status="run" result="skipped" time="0" classname="Inst/P">
      <skipped message="no network"><![CDATA[]]></skipped>
    </testcase>
    <testcase name="DISABLED_Off" status="notrun" result="suppressed" time="0" classname="Inst/P" recorded="7"/>
  </testsuite>
  <testsuite name="NonTestSuiteFailure" tests="1" failures="1">
    <testcase name="" status="run" result="completed" time="0" classname="">
      <failure message="environment" type=""/>
    </testcase>
  </testsuite>
</testsuites>
"#;

#[test]
fn gtest_xml_is_read_with_its_quirks() {
    let cases = cases(GTEST);
    let told: Vec<_> = cases.iter().map(|case| (case.full_name(), case.status)).collect();
    assert_eq!(
        told,
        [
            ("Inst/P.X/1".into(), Status::Passed),
            ("Inst/P.Fails".into(), Status::Failed),
            ("Inst/P.Skips".into(), Status::Skipped),
            ("Inst/P.DISABLED_Off".into(), Status::Disabled),
            (String::new(), Status::Failed),
        ]
    );
    assert_eq!(cases[0].time, Some(Duration::ZERO));
    assert_eq!(cases[0].properties, [("value_param".to_owned(), "\"# c = d\"".to_owned())]);
    assert_eq!((cases[0].file.as_str(), cases[0].line), ("t.cc", Some(12)));
    assert_eq!(cases[1].problems.len(), 2);
    assert_eq!(cases[1].problems[0].message, "t.cc:21\nExpected equality");
    assert_eq!(cases[1].problems[0].text, "t.cc:21\nExpected ]]> equality");
    assert_eq!(cases[1].properties, [("key".to_owned(), "a & b".to_owned())]);
    assert_eq!(cases[2].skip_message, "no network");
    assert_eq!(cases[3].properties, [("recorded".to_owned(), "7".to_owned())]);
}

#[test]
fn a_shard_without_tests_has_a_report_without_cases() {
    assert_eq!(cases(r#"<testsuites tests="0" failures="0" time="0" name="AllTests"></testsuites>"#), []);
}

#[test]
fn suites_may_lack_a_root_be_several_or_be_nested() {
    let names = |xml| cases(xml).iter().map(TestCase::full_name).collect::<Vec<_>>();
    assert_eq!(names(r#"<testsuite name="a"><testcase name="x"/></testsuite>"#), ["a.x"]);
    assert_eq!(
        names(
            r#"<testsuite name="a"><testcase name="x"/></testsuite><testsuite name="b"><testcase name="y"/></testsuite>"#
        ),
        ["a.x", "b.y"]
    );
    assert_eq!(
        names(
            r#"<testsuites><testsuite name="a"><testsuite name="b"><testcase name="x"/></testsuite><testcase classname="c" name="y"/><testcase name="z"/></testsuite></testsuites>"#
        ),
        ["b.x", "c.y", "a.z"]
    );
}

#[test]
fn surefire_reruns_do_not_make_a_passed_test_red() {
    let cases = cases(
        r#"<testsuite name="s"><testcase name="flaky" time="1,234.5">
            <flakyFailure message="m" type="T"><stackTrace>at line 1</stackTrace><system-out>noise</system-out></flakyFailure>
            <system-out>out</system-out><system-err>&#27;err &unknown; &lt;</system-err></testcase>
            <testcase name="bad"><error type="E">boom &amp; gone</error><rerunFailure message="again"/></testcase></testsuite>"#,
    );
    assert_eq!(cases[0].status, Status::Passed);
    assert_eq!(cases[0].time, Some(Duration::from_millis(1_234_500)));
    assert_eq!(cases[0].problems[0].kind, ProblemKind::FlakyFailure);
    assert_eq!(cases[0].problems[0].text, "at line 1noise");
    assert_eq!(cases[0].system_out, "out");
    assert_eq!(cases[0].system_err, "\u{1b}err &unknown; <");
    assert_eq!(cases[1].status, Status::Errored);
    assert_eq!(cases[1].problems[0].text, "boom & gone");
    assert_eq!(cases[1].problems[1].kind, ProblemKind::RerunFailure);
}

#[test]
fn times_are_read_as_people_and_frameworks_write_them() {
    let millis = |text| seconds(text).map(|time| time.as_millis());
    let texts =
        ["0.", "0", ".5", "1.25", "1,234.5", "1,234", "12,345,678", "0,35", "0,035", "1,5", "0.035s", "1e-3"];
    let expected = [0, 0, 500, 1250, 1_234_500, 1_234_000, 12_345_678_000, 350, 35, 1500, 35, 1];
    assert_eq!(texts.map(|text| millis(text).unwrap()), expected);
    for bad in ["", "-1", "NaN", "inf", "soon", "1e400", "1:30"] {
        assert_eq!(seconds(bad), None, "{bad}");
    }
}

#[test]
fn what_is_no_report_is_told_from_a_damaged_one() {
    for other in
        ["", "plain text", "<html><testsuite/></html>", "<coverage/>", "{\"a\": 1}", "<?xml version='1.0'?>"]
    {
        assert_eq!(parse(other.as_bytes()), None, "{other}");
    }
    let parsed = parse(&GTEST.as_bytes()[..GTEST.find("Skips").unwrap()]).unwrap();
    assert_eq!(parsed.cases.len(), 2, "whole tests are kept");
    assert!(parsed.damage.is_some());
    let parsed = parse(b"<testsuite><testcase name='a'/></wrong></testsuite>").unwrap();
    assert_eq!(parsed.cases.len(), 1);
    assert!(parsed.damage.unwrap().starts_with("at byte 31: "));
    let parsed = parse(b"<testsuite><testcase name='a'/>").unwrap();
    assert_eq!(parsed.damage.as_deref(), Some("it ends inside of <testsuite>"));
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let parsed = parse(b"\xef\xbb\xbf<testsuite name='\xff'><testcase name='a\x01b'/></testsuite>").unwrap();
    assert_eq!(parsed.cases[0].class_name, "\u{fffd}");
}

#[test]
fn endless_output_is_cut() {
    let noise = "0123456789".repeat(300_000);
    let xml = format!(
        "<testsuite><testcase name='a'><system-out>{noise}&amp;{noise}</system-out></testcase></testsuite>"
    );
    let out = &cases(&xml)[0].system_out;
    assert!(out.len() < MAX_TEXT + 100);
    assert!(out.ends_with("[cut: longer than 1 MiB]"));
}

#[test]
fn deep_nesting_needs_no_stack() {
    let xml = format!("<testsuite>{}{}</testsuite>", "<a>".repeat(200_000), "</a>".repeat(200_000));
    assert_eq!(cases(&xml), []);
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(text in "(<(/)?(testsuites?|testcase|failure|skipped|a)( name=\"[a&;]{0,3}\")?(/)?>|\\PC{0,4}|<!\\[CDATA\\[|\\]\\]>|&#?[a-z0-9]{0,3};?){0,20}") {
        let _ = parse(text.as_bytes());
        let _ = parse(format!("<testsuite>{text}").as_bytes());
    }
}
