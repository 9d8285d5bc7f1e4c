//! CTest, with a project of CMake.

use super::{Bench, PATIENCE, SHORT, Told, assert_verdicts, crashed, fixture};
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
    let gtest = format!("-DGTEST={}", fixture::small_gtest().display());
    let arguments = ["-S", ".", "-B", "build", &gtest];
    let output = Command::new("cmake").args(arguments).current_dir(bench.path("in")).output();
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
        ("says_it_well_in_the_middle", Passed),
        ("says_it_badly_in_the_middle", Failed),
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
        ("uses_the_workshop", Passed),
        ("workshop_up", Passed),
        ("uses_the_hall", Failed),
        ("hall_up", TimedOut),
        ("garden_up", Passed),
        ("uses_the_garden", Passed),
        ("garden_down", Failed),
        ("runs_the_program", Passed),
        ("builds_the_program", Passed),
        ("comes_after_what_fails", Failed),
        ("ends_its_gtest", Passed),
        ("exits_in_its_gtest", crashed("exit code 0")),
        ("exits_in_its_gtest_and_was_to_fail", Failed),
        ("exits_in_its_gtest_and_may", Passed),
    ];
    assert_verdicts(&told, &expected);
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
    let listed = |name: &str| told.listed.iter().find(|test| test.name == name).unwrap();
    assert!(listed("is_disabled").disabled && listed("is_alone").exclusive && !listed("passes").exclusive);
    assert_eq!(listed("asks_again").group.as_deref(), Some("fixture database"));
    let own = report(&told, "hangs_by_its_own_timeout").duration;
    assert!(own < PATIENCE && report(&told, "hangs").duration >= SHORT, "{own:?}");
    let message = &report(&told, "asks_the_network").message;
    assert!(
        message.contains("network_up: it ended with exit code 1; its output ends with: no route"),
        "{message}"
    );
    let message = &report(&told, "comes_after_what_fails").message;
    assert!(message.contains("depends on what failed here: fails: it ended with exit code 3"), "{message}");
    assert_eq!(listed("runs_the_program").group, listed("builds_the_program").group);
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
async fn a_fixture_that_was_set_up_for_another_test_has_its_verdict_by_that() {
    let bench = bench();
    let told = bench.run(&[&[(0, "uses_the_workshop"), (1, "workshop_up")]]).await;
    assert_eq!([0, 1].map(|index| told.report(index).verdict.clone()), [Passed, Passed]);
    assert_eq!((told.started, bench.log("workshop_up.log").as_str()), (vec![0], "made\n"));
    // It is there. Once the verdict is told, who asks again wants it to run again.
    let told = bench.run(&[&[(0, "uses_the_workshop"), (1, "workshop_up")], &[(2, "workshop_up")]]).await;
    assert_eq!([0, 1, 2].map(|index| told.report(index).verdict.clone()), [Failed, Failed, Failed]);
    assert_eq!(told.started, [2]);
}

#[tokio::test]
async fn a_fixture_that_hangs_has_its_timeout_and_one_that_is_not_cleared_away_is_told_of() {
    let bench = bench();
    let told = bench.run(&[&[(0, "uses_the_hall"), (1, "hall_up"), (2, "uses_the_garden")]]).await;
    let verdicts = [0, 1, 2].map(|index| told.report(index).verdict.clone());
    assert_eq!(verdicts, [Failed, TimedOut, Passed]);
    let message = &told.report(0).message;
    for part in
        ["its fixture is not set up: hall_up: the test took longer", "ends with: waiting for the hall"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(told.report(1).tail, b"waiting for the hall\n");
    let message =
        "not all is cleared away: garden_down: it ended with exit code 1; its output ends with: weeds";
    assert!(told.end.message.contains(message), "{}", told.end.message);
}

#[tokio::test]
async fn what_a_test_depends_on_runs_before_it_on_the_same_bot_and_once() {
    let log = |bench: &Bench| fs::read_to_string(bench.path("tmp/suite.log")).unwrap();
    let both = bench();
    let told = both.run(&[&[(0, "runs_the_program"), (1, "builds_the_program")]]).await;
    assert_eq!([0, 1].map(|index| told.report(index).verdict.clone()), [Passed, Passed]);
    assert_eq!(log(&both), "built\nran\n");
    // As where it is run again.
    let elsewhere = bench();
    let told = elsewhere.run(&[&[(0, "runs_the_program")]]).await;
    assert_eq!((told.report(0).verdict.clone(), told.reports.len()), (Passed, 1));
    assert_eq!(log(&elsewhere), "built\nran\n");
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
