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
    let arguments = ["-O0", "-std=c++17", "-o", "OUT", "SOURCE", "-lgtest", "-lgtest_main", "-pthread"];
    let remedy = "install GoogleTest, on Debian and Ubuntu with: sudo apt-get install g++ libgtest-dev";
    fixture::built("gtest.cc", include_str!("suite.cc"), "c++", &arguments, remedy)
}

pub(super) fn bench(arguments: &[&str]) -> Bench {
    Bench { hang: &["Crash.Hangs"], ..Bench::new(Driver::Gtest, program(), arguments) }
}

const VERDICTS: [(&str, TestVerdict); 16] = [
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
    // Here a test can say what it likes of itself, and one that closes stdout has closed its channel.
    let expected: Vec<_> = verdicts()
        .into_iter()
        .map(|(name, verdict)| match name {
            "Imitates.Fails" => (name, Passed),
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
async fn the_hard_timeout_of_the_attempt_ends_it_and_the_open_test() {
    let mut bench = bench(&[]);
    bench.hang = &[];
    bench.timeouts.hard = AMPLE;
    let told = bench.run(&[&[(0, "Plain.Passes"), (1, "Crash.Hangs"), (2, "Death.Dies")]]).await;
    assert_eq!(told.end.ending, Ending::TimedOut);
    assert_eq!((&told.report(0).verdict, &told.report(1).verdict), (&Passed, &TimedOut));
    assert_eq!(told.reports.len(), 2);
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
