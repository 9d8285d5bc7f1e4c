//! GoogleTest, as Debian has it.

use super::{Bench, SHORT, Told, assert_verdicts, crashed, fixture};
use crate::{
    attempt::{CommandExit, Ending},
    suite::{Driver, TestVerdict},
};
use TestVerdict::{Failed, Passed, Skipped, TimedOut, Unknown};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

/// Within this the program starts and comes to the test that hangs, however busy the host is.
const AMPLE: Duration = Duration::from_secs(10);

fn program() -> PathBuf {
    fixture::gtest("gtest.cc", include_str!("suite.cc"))
}

pub(super) fn bench(arguments: &[&str]) -> Bench {
    Bench { hang: &["Crash.Hangs"], ..Bench::new(Driver::Gtest, program(), arguments) }
}

const VERDICTS: [(&str, TestVerdict); 20] = [
    ("Plain.Passes", Passed),
    ("Plain.Fails", Failed),
    ("Plain.Skips", Skipped),
    ("Plain.PassesLast", Passed),
    ("Imitates.Fails", Failed),
    ("Crash.Hangs", TimedOut),
    ("Crash.PassesAfterwards", Passed),
    ("Closes.Stdout", Passed),
    ("Closes.After", Passed),
    ("TearDown.First", Passed),
    ("BadSetUp.First", Failed),
    ("BadSetUp.Last", Failed),
    ("BadTearDown.First", Passed),
    ("BadTearDown.Last", Failed),
    ("Inst/P.Value/0", Passed),
    ("Inst/P.Value/1", Passed),
    ("Inst/P.Value/2", Passed),
    ("Ty/0.IsSmall", Passed),
    ("Ty/1.IsSmall", Failed),
    ("Death.Dies", Passed),
];

fn verdicts() -> Vec<(&'static str, TestVerdict)> {
    let crashes = [
        ("Crash.Aborts", "signal 6 (SIGABRT)"),
        ("Crash.Exits", "exit code 0"),
        ("Crash.ExitsAsIfItHadFailed", "exit code 1"),
        ("Crash.IsKilled", "signal 9 (SIGKILL)"),
        ("TearDown.Last", "signal 6 (SIGABRT)"),
        ("SetUp.First", "exit code 0"),
    ];
    VERDICTS.iter().cloned().chain(crashes.map(|(name, how)| (name, crashed(how)))).collect()
}

fn index(told: &Told, name: &str) -> usize {
    told.listed.iter().position(|test| test.name == name).unwrap()
}

#[tokio::test]
async fn every_test_has_its_verdict_whatever_the_others_do() {
    let bench = bench(&["--gtest_filter=*", "--gtest_repeat=3", "--gtest_output=xml:only-a-part.xml"]);
    let told = bench.run_all().await;
    assert_verdicts(&told, &verdicts());
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
    assert_eq!(told.end.message, "");
    let disabled: Vec<_> = told.listed.iter().filter(|test| test.disabled).map(|test| &*test.name).collect();
    assert_eq!(disabled, ["Plain.DISABLED_Never"]);
    let listed = &told.listed[index(&told, "Inst/P.Value/1")];
    assert_eq!(listed.group.as_deref(), Some("Inst/P"));
    assert!(listed.file.as_deref().unwrap().ends_with("source.cc") && listed.line > Some(40), "{listed:?}");
    let fails = told.report(index(&told, "Plain.Fails"));
    assert!(
        fails.message.contains("source.cc:11\n") && fails.message.contains("one & two = 100%"),
        "{fails:?}"
    );
    assert!(
        fails.tail.starts_with(b"said by Fails") && fails.tail.ends_with(b"one & two = 100%\n"),
        "{fails:?}"
    );
    for (name, words) in [
        ("BadSetUp.First", "the suite BadSetUp failed, outside of its tests"),
        ("BadSetUp.Last", "no database"),
        ("BadTearDown.Last", "cannot put it away"),
    ] {
        let message = &told.report(index(&told, name)).message;
        assert!(message.contains(words), "{name}: {message}");
    }
    assert_eq!(bench.log("Plain.Passes.log"), "said by Passes\n");
    assert!(bench.log("Crash.Aborts.log").ends_with("last words\n"));
    let hangs = told.report(index(&told, "Crash.Hangs"));
    assert!(hangs.duration >= SHORT && hangs.tail == b"hanging\n", "{hangs:?}");
    assert!(told.output.contains("[       OK ] Crash.PassesAfterwards"), "{}", told.output);
    assert!(!bench.path("in/only-a-part.xml").exists());
}

#[tokio::test]
async fn without_its_socket_the_program_is_understood_by_what_it_prints() {
    let mut bench = bench(&[]);
    // The program finds the flags in a file of its own.
    let script = format!(
        "#!/bin/sh\nfor argument; do case $argument in --gtest_flagfile=*) sed -i /stream_result_to/d \"${{argument#*=}}\";; esac; done\nexec {} \"$@\"\n",
        program().display()
    );
    let wrapper = bench.path("in/wrapper");
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    bench.command.program = wrapper;
    let told = bench.run_all().await;
    // Here a test that closes stdout has closed its channel. One that imitates its end is found out by the failure after that.
    let expected: Vec<_> = verdicts()
        .into_iter()
        .map(|(name, verdict)| match name {
            "Closes.Stdout" => (name, crashed("signal 6 (SIGABRT)")),
            _ => (name, verdict),
        })
        .collect();
    assert_verdicts(&told, &expected);
}

#[tokio::test]
async fn batches_come_one_after_the_other_and_a_test_may_come_again() {
    let bench = bench(&[]);
    let again: &[(usize, &str)] = &[(4, "Plain.Passes"), (1, "Crash.Exits"), (5, "Plain.Passes")];
    let told = bench.run(&[&[(0, "Plain.Passes"), (2, "Nobody.Knows")], &[], again]).await;
    let verdict = |index| told.report(index).verdict.clone();
    assert_eq!([verdict(0), verdict(4), verdict(5)], [Passed, Passed, Passed]);
    assert_eq!((verdict(1), verdict(2)), (crashed("exit code 0"), Unknown));
    assert_eq!(told.started.len(), 4);
    assert_eq!(bench.log("Plain.Passes.run3.log"), "said by Passes\n");
}

#[tokio::test]
async fn nothing_to_run_is_no_failure() {
    let told = bench(&[]).run(&[&[], &[]]).await;
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(0))));
    assert!(told.reports.is_empty() && told.end.message.is_empty());
}

#[tokio::test]
async fn a_filter_is_the_suite_and_the_selection_is_as_long_as_it_must_be() {
    let bench = bench(&["--gtest_filter=-Crash*:TearDown*:SetUp*"]);
    let told = bench.attempt(true, |listed| {
        assert!(listed.iter().all(|test| !test.name.starts_with("Crash")));
        // Longer than an argument can be.
        let unknown = (0..12_000).map(|n| (n, format!("Nobody.KnowsTheTestWithThisNumber{n}")));
        vec![unknown.chain([(12_000, "Plain.Passes".to_owned())]).collect()]
    });
    let told = told.await;
    assert_eq!(told.report(12_000).verdict, Passed);
    assert_eq!(told.reports.iter().filter(|report| report.verdict == Unknown).count(), 12_000);
}

#[tokio::test]
async fn variables_of_the_step_choose_tests_but_no_part_of_them() {
    let names = |told: &Told| told.listed.iter().map(|test| test.name.clone()).collect::<Vec<_>>();
    let variables = [
        ("GTEST_TOTAL_SHARDS", "3"),
        ("GTEST_SHARD_INDEX", "1"),
        ("TEST_TOTAL_SHARDS", "3"),
        ("TEST_SHARD_INDEX", "1"),
        ("TESTBRIDGE_TEST_ONLY", "Ty/*"),
    ];
    let mut bench = bench(&[]);
    bench.command.environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let told = bench.run_all().await;
    assert_verdicts(&told, &[("Ty/0.IsSmall", Passed), ("Ty/1.IsSmall", Failed)]);
    // As the program has it: its flag before its variable before Bazel's.
    bench.command.environment.insert("GTEST_FILTER".into(), "Plain.Passes*".into());
    let told = bench.run_all().await;
    assert_verdicts(&told, &[("Plain.Passes", Passed), ("Plain.PassesLast", Passed)]);
    bench.command.arguments.push("--gtest_filter=Inst/*".into());
    let told = bench.run_all().await;
    assert_eq!(names(&told), ["Inst/P.Value/0", "Inst/P.Value/1", "Inst/P.Value/2"]);
    assert!(told.reports.iter().all(|report| report.verdict == Passed), "{told:#?}");
}

/// Fails where the variable says.
const ENVIRONMENT: &str = r#"#include <gtest/gtest.h>
#include <cstdlib>
#include <string>
struct Database : testing::Environment {
  static bool Is(const char* place) { return getenv("PLACE") == std::string(place); }
  void SetUp() override {
    if (Is("set-up")) ADD_FAILURE() << "no database";
    if (Is("all")) FAIL() << "no database";
  }
  void TearDown() override { if (Is("tear-down")) ADD_FAILURE() << "no database"; }
};
static testing::Environment* database = testing::AddGlobalTestEnvironment(new Database);
TEST(A, a) {}
TEST(B, b) {}
"#;

#[tokio::test]
async fn an_environment_that_fails_is_red_and_named() {
    let mut bench = Bench::new(Driver::Gtest, fixture::gtest("environment.cc", ENVIRONMENT), &[]);
    for (place, first) in [("set-up", Passed), ("tear-down", Passed), ("all", Failed)] {
        bench.command.environment.insert("PLACE".into(), place.into());
        let told = bench.run_all().await;
        assert_verdicts(&told, &[("A.a", first), ("B.b", Failed)]);
        for report in told.reports.iter().filter(|report| report.verdict == Failed) {
            for words in ["an environment failed, outside of its tests", "no database"] {
                assert!(report.message.contains(words), "{place}: {report:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_program_that_cannot_start_fails_the_attempt_and_says_why() {
    let mut bench = bench(&[]);
    bench.command.program = "/bin/sh".into();
    bench.command.arguments = vec!["-c".into(), "echo the library is missing >&2; exit 127".into()];
    let told = bench.run(&[&[(0, "Plain.Passes")]]).await;
    assert_eq!(told.end.ending, Ending::ClientError);
    assert!(told.reports.is_empty(), "{told:?}");
    for part in ["none of its 1 tests", "exit code 127", "the library is missing"] {
        assert!(told.end.message.contains(part), "{}", told.end.message);
    }
    bench.command.program = "/no/such/program".into();
    let told = bench.run_all().await;
    assert!(told.end.message.contains("cannot start `/no/such/program`"), "{}", told.end.message);
}

#[tokio::test]
async fn the_hard_timeout_bounds_one_test_and_no_worker() {
    let mut bench = bench(&[]);
    bench.timeouts.hard = SHORT / 10;
    let told = bench.run(&[&[(0, "Plain.Passes"), (1, "Crash.Hangs")], &[(2, "Death.Dies")]]).await;
    assert_eq!(told.end.ending, Ending::Completed, "{}", told.end.message);
    let verdicts = [0, 1, 2].map(|index| &told.report(index).verdict);
    assert_eq!(verdicts, [&Passed, &TimedOut, &Passed]);
    assert!(told.report(1).duration >= SHORT, "as long as the scheduler said");
}

#[tokio::test]
async fn silence_is_the_open_tests() {
    let mut bench = bench(&[]);
    bench.hang = &[];
    bench.timeouts.io = Some(AMPLE);
    let told = bench.run(&[&[(0, "Plain.Passes"), (1, "Crash.Hangs"), (2, "Crash.PassesAfterwards")]]).await;
    assert_eq!(told.end.ending, Ending::Completed);
    assert_eq!((&told.report(1).verdict, &told.report(2).verdict), (&TimedOut, &Passed));
    assert!(told.report(1).message.contains("I/O timeout"));
}
