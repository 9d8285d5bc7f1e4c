//! Bytes of programs, without the programs.

use super::*;
use crate::{
    drivers::{Event, Left, Reader as _},
    suite::TestVerdict,
};

const TEXT: &str = "\
Running main() from gtest_main.cc
Plain.
  Passes
  DISABLED_Never
noise of a static initializer
Ty/1.  # TypeParam = std::pair<int,long>
  X/1  # GetParam() = \"# c = d.\"
Inst/DISABLED_P.
  V/0  # GetParam() = 1
";

#[test]
fn the_text_list_is_understood_with_noise_and_parameters() {
    let names = |also_disabled| {
        let tests = list::text(TEXT, also_disabled);
        tests.into_iter().map(|test| (test.name, test.disabled)).collect::<Vec<_>>()
    };
    let expected = [
        ("Plain.Passes", false),
        ("Plain.DISABLED_Never", true),
        ("Ty/1.X/1", false),
        ("Inst/DISABLED_P.V/0", true),
    ];
    assert_eq!(names(false), expected.map(|(name, disabled)| (name.to_owned(), disabled)));
    assert!(names(true).iter().all(|(_, disabled)| !disabled));
}

#[test]
fn flags_that_would_spoil_it_are_overruled_and_others_stay() {
    for flag in [
        "--gtest_output=xml:x",
        "--gtest_shard_index=1",
        "--gtest_repeat=2",
        "-gtest_fail_fast",
        "--gtest_noprint_time",
    ] {
        assert!(is_overruled(flag), "{flag}");
    }
    for flag in
        ["--gtest_filter=A.*", "--gtest_random_seed=3", "--output=x", "--gtest_death_test_style=threadsafe"]
    {
        assert!(!is_overruled(flag), "{flag}");
    }
}

fn read(steps: &[Step], results: Vec<Option<Vec<u8>>>) -> Vec<Event> {
    let mut reader = GtestReader::new(["A.a", "A.b"].map(str::to_owned).into_iter());
    let mut events = Vec::new();
    for step in steps {
        match step {
            Step::Socket(lines) => lines.lines().for_each(|line| reader.line(line.as_bytes(), &mut events)),
            Step::Stdout(text) => reader.output(text.as_bytes(), true, &mut events),
        }
    }
    reader.ended(&Left { exit: CommandExit::Code(0), stopped: false, results }, &mut events);
    events
}

#[derive(Clone, Copy)]
enum Step {
    Socket(&'static str),
    Stdout(&'static str),
}
use Step::{Socket, Stdout};

fn verdicts(events: &[Event]) -> Vec<(&str, TestVerdict)> {
    let finished = events.iter().filter_map(|event| match event {
        Event::Finished(finished) => Some((finished.name.as_str(), finished.verdict.clone())),
        _ => None,
    });
    finished.collect()
}

#[test]
fn an_end_counts_when_both_sides_have_it_in_whatever_order() {
    let begin = "event=TestCaseStart&name=A\nevent=TestStart&name=a\n";
    let skipped = "event=TestEnd&passed=0&elapsed_time=7ms\n";
    for steps in [
        [Socket(begin), Socket(skipped), Stdout("[ RUN      ] A.a\nx\n[  SKIPPED ] A.a (7 ms)\n")],
        [Stdout("[ RUN      ] A.a\nx\n[  SKIPPED ] A.a (7 ms)\n"), Socket(begin), Socket(skipped)],
        [Socket(begin), Stdout("[ RUN      ] A.a\nx\n[  SKIPPED ] A.a (7 ms)\n"), Socket(skipped)],
    ] {
        let events = read(&steps, vec![None, None]);
        assert_eq!(verdicts(&events), [("A.a", TestVerdict::Skipped)]);
        assert!(events.contains(&Event::Output(Some("A.a".into()), b"x\n".to_vec())));
        assert!(!events.contains(&Event::Done));
    }
}

#[test]
fn without_marks_on_stdout_the_results_tell_skipped_from_failed() {
    let socket = "event=TestCaseStart&name=A\nevent=TestStart&name=a\nevent=TestEnd&passed=0&elapsed_time=0ms\n\
        event=TestStart&name=b\nevent=TestPartResult&file=f%2Ec&line=3&message=a%20%26b\n\
        event=TestEnd&passed=0&elapsed_time=0ms\nevent=TestProgramEnd&passed=0\n";
    let results = br#"{"testsuites":[{"name":"A","testsuite":[{"name":"a","result":"SKIPPED"},{"name":"b","result":"COMPLETED"}]}]}"#;
    let events = read(&[Socket(socket)], vec![None, Some(results.to_vec())]);
    assert_eq!(verdicts(&events), [("A.a", TestVerdict::Skipped), ("A.b", TestVerdict::Failed)]);
    assert_eq!(events.last(), Some(&Event::Done));
    let messages: Vec<_> = events
        .iter()
        .filter_map(
            |event| if let Event::Finished(finished) = event { Some(&*finished.message) } else { None },
        )
        .collect();
    assert_eq!(messages, ["", "f.c:3\na &b\n"]);
}

#[test]
fn what_fails_around_tests_is_blamed_on_the_last_one_in_whatever_order_both_sides_come() {
    const BEGIN: &str = "event=TestCaseStart&name=A\n";
    const END: &str = "event=TestStart&name=a\nevent=TestEnd&passed=1&elapsed_time=0ms\nevent=TestCaseEnd&passed=0&elapsed_time=0ms\n";
    const FAILED: &str = "[----------] 1 test from A\nf:1: Failure\nno database\n[ RUN      ] A.a\n[       OK ] A.a (0 ms)\n\
        [----------] 1 test from A (0 ms total)\n";
    const WELL: &str = "[----------] 1 test from A\n[ RUN      ] A.a\n[       OK ] A.a (0 ms)\n[----------] 1 test from A (0 ms total)\n";
    let told = Socket("event=TestPartResult&file=f&line=1&message=no%20database\n");
    let blamed = |steps: &[Step]| {
        let events = read(steps, vec![None, None]);
        let place = |event: &Event| events.iter().position(|one| one == event);
        let why = "the suite A failed, outside of its tests:\nf:1: Failure\nno database\n";
        let settled = place(&Event::Settled { group: None }).unwrap();
        place(&Event::Blamed(why.into())).is_some_and(|place| place < settled)
    };
    let [begin, end] = [BEGIN, END].map(Socket);
    assert!(blamed(&[begin, told, end, Stdout(FAILED)]));
    assert!(blamed(&[Stdout(FAILED), begin, told, end]));
    let much =
        Socket("event=TestCaseStart&name=B\nevent=TestCaseEnd&passed=1&elapsed_time=0ms\n".repeat(20).leak());
    assert!(blamed(&[begin, told, end, much, Stdout(FAILED)]), "stdout is late");
    assert!(!blamed(&[begin, told, end, Stdout(WELL)]), "what it told was no failure");
    assert!(!blamed(&[begin, end, Stdout(FAILED)]), "somebody has imitated one");
}

#[test]
fn tests_that_were_skipped_for_a_failure_around_them_were_not_skipped() {
    for (suite, environment, expected) in
        [("", "", 2), ("{\"name\":\"\"},", "", 1), ("", "{\"name\":\"\"}", 0)]
    {
        let skipped = r#"{"name":"a","result":"SKIPPED"}"#;
        let results = format!(
            r#"{{"testsuites":[{{"name":"A","testsuite":[{suite}{skipped}]}},{{"name":"B","testsuite":[{skipped}]}},
            {{"name":"NonTestSuiteFailure","testsuite":[{environment}]}}]}}"#
        );
        assert_eq!(list::skipped(results.as_bytes()).len(), expected, "{results}");
    }
}
