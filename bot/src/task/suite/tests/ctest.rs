//! CTest, with a project of CMake.

use super::{Bench, PATIENCE, SHORT, Told, assert_verdicts, crashed};
use crate::{
    attempt::{CommandExit, Ending},
    suite::{Driver, TestVerdict},
};
use TestVerdict::{Failed, Passed, Skipped, TimedOut, Unknown};
use std::{fs, process::Command};

pub(super) fn bench() -> Bench {
    let mut bench = Bench::new(Driver::Ctest, "ctest", &["--test-dir", "build", "-j", "8"]);
    bench.hang = &["hangs"];
    fs::write(bench.path("in/CMakeLists.txt"), include_str!("CMakeLists.txt")).unwrap();
    fs::write(bench.path("in/not-executable"), "x").unwrap();
    let output =
        Command::new("cmake").args(["-S", ".", "-B", "build"]).current_dir(bench.path("in")).output();
    let remedy = "install CMake, on Debian and Ubuntu with: sudo apt-get install cmake";
    let output = output.unwrap_or_else(|error| panic!("cannot start cmake: {error}; {remedy}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = bench.path("tmp/suite.log").display().to_string();
    bench.command.environment.insert("SUITE_LOG".into(), log);
    bench
}

fn report<'a>(told: &'a Told, name: &str) -> &'a crate::suite::TestReport {
    told.report(told.listed.iter().position(|test| test.name == name).unwrap())
}

#[tokio::test]
async fn every_test_has_the_verdict_that_ctest_gives_it() {
    let bench = bench();
    let told = bench.run_all().await;
    let expected = [
        ("passes", Passed),
        ("fails", Failed),
        ("was_to_fail", Passed),
        ("was_to_fail_and_has_not", Failed),
        ("skips", Skipped),
        ("says_it_well", Passed),
        ("says_it_badly", Failed),
        ("is_elsewhere", Passed),
        ("aborts", crashed("signal 6 (SIGABRT)")),
        ("is_killed", crashed("signal 9 (SIGKILL)")),
        ("hangs", TimedOut),
        ("hangs_by_its_own_timeout", TimedOut),
        ("is_alone", Passed),
        ("has_no_program", Failed),
        ("cannot_be_started", Failed),
        ("database_up", Passed),
        ("database_filled", Passed),
        ("database_down", Passed),
        ("asks_the_database", Passed),
        ("asks_again", Passed),
        ("network_up", Failed),
        ("asks_the_network", Failed),
    ];
    assert_verdicts(&told, &expected);
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
    let listed = |name: &str| told.listed.iter().find(|test| test.name == name).unwrap();
    assert!(listed("is_disabled").disabled && listed("is_alone").exclusive && !listed("passes").exclusive);
    assert_eq!(listed("asks_again").group.as_deref(), Some("fixture database"));
    let own = report(&told, "hangs_by_its_own_timeout").duration;
    assert!(own < PATIENCE && report(&told, "hangs").duration >= SHORT, "{own:?}");
    assert!(report(&told, "asks_the_network").message.contains("network_up ended with exit code 1"));
    assert!(report(&told, "has_no_program").message.contains("its program does not exist"));
    assert_eq!(report(&told, "aborts").tail, b"last words\n");
    assert_eq!(bench.log("passes.log"), "said by passes\n");
}

#[tokio::test]
async fn a_fixture_is_set_up_where_it_is_needed_and_cleared_away_at_the_end() {
    let bench = bench();
    let told = bench.run(&[&[(0, "asks_the_database"), (1, "gone")], &[], &[(2, "asks_again")]]).await;
    assert_eq!((&told.report(0).verdict, &told.report(2).verdict), (&Passed, &Passed));
    assert_eq!((&told.report(1).verdict, told.end.message.as_str()), (&Unknown, ""));
    let log = fs::read_to_string(bench.path("tmp/suite.log")).unwrap();
    assert_eq!(log, "up\nfilled\nasked\nasked again\ndown\n");
}

#[tokio::test]
async fn ctest_that_does_not_list_fails_the_attempt_and_says_why() {
    let mut bench = bench();
    bench.command.program = "/bin/false".into();
    let told = bench.run(&[&[(0, "passes")]]).await;
    assert_eq!((told.end.ending, told.reports.len()), (Ending::ClientError, 0));
    assert!(
        told.end.message.contains("cannot list the tests: ctest ended with exit code 1"),
        "{}",
        told.end.message
    );
}
