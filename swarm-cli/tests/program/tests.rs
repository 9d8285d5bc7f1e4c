//! Steps whose tests are shared out, against a scheduler that says what the test tells it to.

use crate::{
    fake::{FakeScheduler, State, eventually, input, run_id, told},
    fake_tests::test,
};
use proto::v1::{self, TestDriver, TestOutcome, TestVerdict};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// One of each kind that matters most.
fn results() -> Vec<v1::TestResult> {
    use TestVerdict::{Crashed, Failed, Passed};
    vec![
        test(0, "A.good", TestOutcome::Passed, &[Passed]),
        test(1, "A.bad", TestOutcome::Failed, &[Failed, Failed]),
        test(2, "A.flaky", TestOutcome::Flaky, &[Failed, Passed]),
        test(3, "A.dies", TestOutcome::Crashed, &[Crashed]),
        test(4, "A.lost", TestOutcome::Missing, &[]),
    ]
}

#[tokio::test]
async fn how_tests_are_shared_out_reaches_the_scheduler() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let digest = input().to_string();
    let policy = async |args: &[&str]| {
        let args = [&["trigger", &digest], args].concat();
        let output = scheduler.swarm(&args).output().await.unwrap();
        assert!(output.status.success(), "{}", told(&output));
        let trigger = state.triggers.lock().unwrap().pop().unwrap();
        trigger.run.unwrap().steps[0].fan_out.clone().unwrap().policy.unwrap()
    };
    let all = [
        "--driver",
        "gtest",
        "--max-bots",
        "64",
        "--target-time",
        "5m",
        "--retries",
        "2",
        "--fail-fast",
        "--suite",
        "unit",
        "--only",
        "A.b",
        "--only",
        "A.c",
        "--test-timeout",
        "90s",
    ];
    insta::assert_debug_snapshot!("policy", policy(&all).await);
    let v1::fan_out::Policy::Tests(opaque) = policy(&["--driver", "opaque"]).await else { panic!("shards") };
    assert_eq!((opaque.driver(), opaque.partitions, opaque.retries), (TestDriver::Opaque, 64, 1));
    let v1::fan_out::Policy::Shards(shards) = policy(&["--shards", "3"]).await else { panic!("tests") };
    assert_eq!(shards.count, 3);
}

#[tokio::test]
async fn flags_that_do_not_go_together_are_refused_with_a_remedy() {
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    let digest = input().to_string();
    let wrong: [&[&str]; 6] = [
        &["trigger", &digest, "--driver", "gtest", "--shards", "6"],
        &["trigger", &digest, "--driver", "bazel", "--shards", "6"],
        &["trigger", &digest, "--driver", "pytest", "--partitions", "6"],
        &["trigger", &digest, "--driver", "junit"],
        &["trigger", &digest, "--retries", "2"],
        &["run", &digest, "--driver", "pytest", "--chromium-json", "x.json"],
    ];
    let mut all = String::new();
    for args in wrong {
        let output = scheduler.swarm(args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        all.push_str(String::from_utf8_lossy(&output.stderr).split("\n\n").next().unwrap().trim_end());
        all.push('\n');
    }
    insta::assert_snapshot!(all, @r"
    error: --shards does not go with --driver, which shares tests out as bots ask for them: bound the number of bots with --max-bots 6
    error: --shards does not go with --driver, which shares tests out as bots ask for them: cut the command into parts with --partitions 6
    error: --partitions is for the drivers bazel and opaque: pytest lists its tests, leave it out
    error: invalid value 'junit' for '--driver <DRIVER>'
      [possible values: gtest, libtest, pytest, ctest, bazel, opaque]
    error: the following required arguments were not provided:
      --driver <DRIVER>
    error: --chromium-json is for suites that are shared out with --driver gtest, and no step of the run is
    ");
}

#[tokio::test]
async fn collect_tells_what_became_of_each_test() {
    let state = State::with_tests(TestDriver::Gtest, results());
    state.end_all(&[0]);
    let scheduler = FakeScheduler::start(&state).await;
    let dir = tempfile::tempdir().unwrap();
    let [junit, json, chromium] = ["a.xml", "a.json", "c.json"].map(|name| dir.path().join(name));
    let [junit, json, chromium] = [&junit, &json, &chromium].map(|path| path.to_str().unwrap());
    let args = ["collect", &run_id().to_string(), "--tail", "2", "--junit", junit, "--json", json];
    let output =
        scheduler.swarm(&[&args[..], &["--chromium-json", chromium]].concat()).output().await.unwrap();
    insta::with_settings!({filters => vec![(dir.path().to_str().unwrap(), "[DIR]")]}, {
        insta::assert_snapshot!("collect-tests", told(&output));
    });
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains(r#"tests="5" failures="1" errors="2""#), "{xml}");
    assert!(
        xml.contains("<flakyFailure") && xml.contains(r#"type="crash""#) && xml.contains(r#"type="missing""#)
    );
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["run"]["steps"][0]["tests"]["counts"]["flaky"], 1);
    assert_eq!(report["tests"].as_array().unwrap().len(), 5, "pages are followed");
    let chromium: serde_json::Value = serde_json::from_slice(&std::fs::read(chromium).unwrap()).unwrap();
    assert_eq!(chromium["per_iteration_data"][0]["A.bad"].as_array().unwrap().len(), 2);
}
