//! Commands that split themselves: a program that follows Bazel's protocol, and one that reads variables. GoogleTest itself
//! follows the former.

use super::{Bench, SHORT, assert_verdicts, crashed, fixture};
use crate::{
    attempt::{CommandExit, Ending},
    suite::{Driver, TestVerdict},
};
use TestVerdict::{Failed, Infrastructure, Passed, TimedOut, Unknown};
use std::{fs, num::NonZeroU32, time::Duration};

pub(super) fn sh(driver: impl Fn(NonZeroU32) -> Driver, partitions: u32, script: &str) -> Bench {
    let driver = driver(NonZeroU32::new(partitions).unwrap());
    Bench { hang: &["4/6"], ..Bench::new(driver, "/bin/sh", &["-c", script]) }
}

pub(super) fn bazel(partitions: NonZeroU32) -> Driver {
    Driver::Bazel { partitions }
}

pub(super) fn opaque(partitions: NonZeroU32) -> Driver {
    Driver::Opaque { partitions }
}

/// Each partition does something else.
pub(super) const SCRIPT: &str = "case $TEST_SHARD_INDEX in
    0) echo out $0; exit 0;; 1) exit 1;; 2) kill -ABRT $$;; 3) kill -KILL $$;; 4) sleep 600;; 5) exit 0;; esac";

fn verdicts() -> [(&'static str, TestVerdict); 6] {
    [
        ("0/6", Passed),
        ("1/6", Failed),
        ("2/6", crashed("signal 6 (SIGABRT)")),
        ("3/6", crashed("signal 9 (SIGKILL)")),
        ("4/6", TimedOut),
        ("5/6", Passed),
    ]
}

#[tokio::test]
async fn an_opaque_command_has_a_verdict_for_each_partition() {
    let told = sh(opaque, 6, SCRIPT).run_all().await;
    assert_verdicts(&told, &verdicts());
    assert!(told.report(4).duration >= SHORT);
    assert_eq!((told.end.ending, told.end.exit), (Ending::Completed, Some(CommandExit::Code(1))));
}

#[tokio::test]
async fn partitions_may_take_longer_together_than_the_hard_timeout() {
    let mut bench = sh(opaque, 3, "sleep 0.3");
    bench.timeouts.hard = Duration::from_millis(200);
    let told = bench.run_all().await;
    assert_verdicts(&told, &[("0/3", Passed), ("1/3", Passed), ("2/3", Passed)]);
    assert_eq!(told.end.ending, Ending::Completed, "{}", told.end.message);
}

#[tokio::test]
async fn every_alias_says_which_partition_it_is() {
    let names = "SHARD_INDEX SHARD_TOTAL GTEST_SHARD_INDEX GTEST_TOTAL_SHARDS TEST_SHARD_INDEX TEST_TOTAL_SHARDS \
        CI_NODE_INDEX CI_NODE_TOTAL CIRCLE_NODE_INDEX CIRCLE_NODE_TOTAL BUILDKITE_PARALLEL_JOB \
        BUILDKITE_PARALLEL_JOB_COUNT SHARD";
    let script = format!("for name in {names}; do eval echo $name=\\$$name; done; exit 1");
    let mut bench = sh(opaque, 3, &script);
    bench.command.environment.insert("SHARD_INDEX".into(), "17".into());
    let told = bench.run(&[&[(1, "1/3")]]).await;
    let expected = "SHARD_INDEX=1\nSHARD_TOTAL=3\nGTEST_SHARD_INDEX=1\nGTEST_TOTAL_SHARDS=3\nTEST_SHARD_INDEX=1\n\
        TEST_TOTAL_SHARDS=3\nCI_NODE_INDEX=2\nCI_NODE_TOTAL=3\nCIRCLE_NODE_INDEX=1\nCIRCLE_NODE_TOTAL=3\n\
        BUILDKITE_PARALLEL_JOB=1\nBUILDKITE_PARALLEL_JOB_COUNT=3\nSHARD=2/3\n";
    assert_eq!(String::from_utf8_lossy(&told.report(1).tail), expected);
}

#[tokio::test]
async fn a_partition_that_is_none_is_unknown_and_the_rest_runs() {
    let batch: &[(usize, &str)] = &[(0, "6/6"), (1, "Suite.Test"), (2, "1/6")];
    for driver in [bazel, opaque] {
        let told =
            sh(driver, 6, "test -z \"$BAZEL_TEST\" || touch $TEST_SHARD_STATUS_FILE").run(&[batch]).await;
        let verdicts = [0, 1, 2].map(|index| told.report(index).verdict.clone());
        assert_eq!(verdicts, [Unknown, Unknown, Passed]);
        assert_eq!((told.end.ending, told.end.message.as_str()), (Ending::Completed, ""));
        assert!(told.report(0).message.contains("`6/6` is no part"), "{}", told.report(0).message);
    }
}

#[tokio::test]
async fn a_partition_that_comes_again_leaves_nothing_of_its_former_run() {
    let script = "touch $TEST_SHARD_STATUS_FILE; test ! -e $TMPDIR/again || exit 0; touch $TMPDIR/again
        echo '<testsuites/>' >$XML_OUTPUT_FILE; echo x >$TEST_UNDECLARED_OUTPUTS_DIR/x; exit 1";
    let bench = sh(bazel, 2, script);
    let told = bench.run(&[&[(0, "0/2")], &[(1, "0/2")]]).await;
    assert_eq!([0, 1].map(|index| told.report(index).verdict.clone()), [Failed, Passed]);
    let is_there = |name: &str| bench.path("out/shard_1_of_2").join(name).exists();
    assert_eq!(["outputs", "test.xml", "outputs/x"].map(is_there), [true, false, false]);
}

#[tokio::test]
async fn a_command_of_bazels_protocol_has_a_verdict_for_each_partition() {
    let script = format!(
        "touch $TEST_SHARD_STATUS_FILE; echo '<testsuites/>' >$XML_OUTPUT_FILE; echo x >$TEST_UNDECLARED_OUTPUTS_DIR/x
        test -d $TEST_TMPDIR -a $TEST_TOTAL_SHARDS = 6 -a -n \"$TEST_TIMEOUT\" -a $BAZEL_TEST = 1 || exit 9; {SCRIPT}"
    );
    let bench = sh(bazel, 6, &script);
    let told = bench.run_all().await;
    assert_verdicts(&told, &verdicts());
    for file in ["shard_1_of_6/test.xml", "shard_6_of_6/outputs/x"] {
        assert!(fs::exists(bench.path("out").join(file)).unwrap(), "{file}");
    }
}

#[tokio::test]
async fn traps_of_the_protocol_are_told() {
    let script = "case $TEST_SHARD_INDEX in
        0) exit 0;;
        1) touch $TEST_SHARD_STATUS_FILE $TEST_PREMATURE_EXIT_FILE; exit 0;;
        2) touch $TEST_SHARD_STATUS_FILE; printf 'disk\nfull' >$TEST_INFRASTRUCTURE_FAILURE_FILE; exit 0;;
        3) touch $TEST_SHARD_STATUS_FILE;; esac";
    let told = sh(bazel, 4, script).run_all().await;
    let expected =
        [("0/4", Failed), ("1/4", crashed("exit code 0")), ("2/4", Infrastructure), ("3/4", Passed)];
    assert_verdicts(&told, &expected);
    assert!(told.report(0).message.contains("has not touched TEST_SHARD_STATUS_FILE"));
    assert!(told.report(2).message.contains("infrastructure failure: disk: full"));
    let one = sh(bazel, 1, "exit 0").run_all().await;
    assert_eq!(one.report(0).verdict, Passed, "one partition needs no protocol");
}

#[tokio::test]
async fn googletest_follows_bazels_protocol_by_itself() {
    let told = Bench::new(bazel(FOUR), fixture::small_gtest(), &[]).run_all().await;
    assert_verdicts(&told, &SMALL_IN_FOUR.map(|(name, how)| (name, how.map_or(Passed, crashed))));
}

const FOUR: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// The parts of the small program, and how one of them crashes. The last one is empty.
const SMALL_IN_FOUR: [(&str, Option<&str>); 4] =
    [("0/4", None), ("1/4", None), ("2/4", Some("exit code 0")), ("3/4", None)];

#[tokio::test]
async fn an_opaque_command_that_ends_in_the_middle_of_its_tests_has_crashed() {
    let mut bench = Bench::new(opaque(FOUR), fixture::small_gtest(), &[]);
    let told = bench.run_all().await;
    assert_verdicts(&told, &SMALL_IN_FOUR.map(|(name, how)| (name, how.map_or(Passed, crashed))));
    assert!(told.report(2).message.contains("in the middle of its tests"), "{}", told.report(2).message);
    // The step may want it otherwise.
    bench.command.environment.insert("TEST_PREMATURE_EXIT_FILE".into(), String::new());
    assert_eq!(bench.run_all().await.report(2).verdict, Passed);
}
