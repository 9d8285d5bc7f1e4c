//! Where the kernel kills for lack of memory, the one test that was open has crashed, and the rest moves on. One test of each
//! suite kills itself, and the executor is told to take that for the kernel's doing.

use super::{Bench, crashed, ctest, gtest, libtest, partitions, pytest};
use crate::{
    attempt::{CommandExit, Ending},
    suite::TestVerdict::{Failed, Passed},
};

const KILLED: CommandExit = CommandExit::Signal(9);

async fn assert_crash_of_one(bench: Bench, [before, killed, after]: [&str; 3]) {
    let bench = Bench { starved: Some(KILLED), ..bench };
    let told = bench.run(&[&[(0, before), (1, killed), (2, after)]]).await;
    let verdicts = [0, 1, 2].map(|index| told.report(index).verdict.clone());
    assert_eq!(verdicts, [Passed, crashed("out of memory"), Passed], "{told:#?}");
    let message = &told.report(1).message;
    assert!(message.contains("out of memory: the kernel killed the process"), "{message}");
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
    assert!(told.end.out_of_memory && told.end.message.is_empty(), "{told:#?}");
}

#[tokio::test]
async fn one_test_of_googletest_has_crashed() {
    let names = ["Plain.Passes", "Crash.IsKilled", "Crash.PassesAfterwards"];
    assert_crash_of_one(gtest::bench(&[]), names).await;
}

#[tokio::test]
async fn one_test_of_libtest_has_crashed() {
    assert_crash_of_one(libtest::bench(&[]), ["inner::passes", "is_killed", "panics_as_it_should"]).await;
}

#[tokio::test]
async fn one_test_of_pytest_has_crashed() {
    let names = ["passes", "is_killed", "passes_last"].map(|name| format!("test_suite.py::test_{name}"));
    assert_crash_of_one(pytest::bench(&[]), names.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn one_test_of_ctest_has_crashed() {
    assert_crash_of_one(ctest::bench(), ["passes", "is_killed", "says_it_well"]).await;
}

#[tokio::test]
async fn one_part_of_a_command_has_crashed() {
    let parts = ["0/6", "3/6", "5/6"];
    assert_crash_of_one(partitions::sh(partitions::opaque, 6, partitions::SCRIPT), parts).await;
    let script = format!("touch $TEST_SHARD_STATUS_FILE; {}", partitions::SCRIPT);
    assert_crash_of_one(partitions::sh(partitions::bazel, 6, &script), parts).await;
}

#[tokio::test]
async fn a_runner_that_has_lost_a_child_and_comes_to_its_end_has_told_whose_it_was() {
    let suite = |name: &str| format!("test_suite.py::test_{name}");
    for (bench, [fails, passes]) in [
        (gtest::bench(&[]), ["Plain.Fails".to_owned(), "Plain.PassesLast".to_owned()]),
        (pytest::bench(&[]), [suite("fails"), suite("passes_last")]),
    ] {
        let bench = Bench { starved: Some(CommandExit::Code(1)), ..bench };
        let told = bench.run(&[&[(0, &fails), (1, &passes)]]).await;
        assert_eq!([0, 1].map(|index| told.report(index).verdict.clone()), [Failed, Passed], "{told:#?}");
        assert_eq!((told.end.exit, told.end.message.as_str()), (Some(CommandExit::Code(1)), ""));
        assert!(told.end.out_of_memory);
    }
}
