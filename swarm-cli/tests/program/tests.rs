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
    assert_eq!((opaque.driver(), opaque.partitions, opaque.retries), (TestDriver::Opaque, 0, 1));
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

#[tokio::test]
async fn failures_are_told_while_the_run_goes_on() {
    let open = |index, name| test(index, name, TestOutcome::Open, &[]);
    let state = State::with_tests(TestDriver::Gtest, vec![open(0, "A.a"), open(1, "A.b"), open(2, "A.c")]);
    let scheduler = FakeScheduler::start(&state).await;
    let digest = input().to_string();
    let mut command = scheduler.swarm(&["run", &digest, "--driver", "gtest"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("a watcher", || state.watchers() == 1).await;
    state.start_all();
    let failed = test(0, "A.a", TestOutcome::Failed, &[TestVerdict::Failed]);
    state.tell_tests(vec![failed.clone(), open(1, "A.b"), open(2, "A.c")]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut stderr = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let is_failure = line.starts_with("failed A.a on bot-0 after 0.70s");
        stderr.push(line);
        if is_failure {
            // More workers, one of which finds nothing left to do.
            state.add_shard(v1::ShardState::NotNeeded);
            let passed = |index, name| test(index, name, TestOutcome::Passed, &[TestVerdict::Passed]);
            state.tell_tests(vec![failed.clone(), passed(1, "A.b"), passed(2, "A.c")]);
            state.end_worker(v1::RunState::Failed);
        }
    }
    let output = child.wait_with_output().await.unwrap();
    let has = |what: &str| stderr.iter().any(|line| line.contains(what));
    assert_eq!(output.status.code(), Some(1), "{stderr:?} {}", told(&output));
    assert!(has("tests are shared out by gtest") && has("    three"), "{stderr:?}");
    assert!(has("0 % by time, 0 of 3 tests") || has("33 % by time, 1 of 3 tests"), "{stderr:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("not needed") && stdout.contains("3 tests: 2 passed, 1 failed"), "{stdout}");
}

#[tokio::test]
async fn a_run_whose_scheduler_tells_of_more_workers_is_whole_only_with_them() {
    let passed = test(0, "A.a", TestOutcome::Passed, &[TestVerdict::Passed]);
    let state = State::with_tests(TestDriver::Gtest, vec![passed]);
    state.end_worker(v1::RunState::Succeeded);
    let counts = v1::ShardCounts { succeeded: 2, ..v1::ShardCounts::default() };
    state.change(|run| run.counts = Some(counts));
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let output = scheduler.swarm(&["collect", &id, "--timeout", "500ms"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(4), "one of two shards was told: {}", told(&output));
}

#[tokio::test]
async fn tests_of_a_run_are_listed_by_state_and_by_time() {
    let state = State::with_tests(TestDriver::Gtest, results());
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let bad =
        scheduler.swarm(&["tests", &id, "--state", "failed", "--state", "missing"]).output().await.unwrap();
    let slowest = scheduler.swarm(&["tests", &id, "--slowest", "2"]).output().await.unwrap();
    insta::assert_snapshot!("tests", format!("{}{}", told(&bad), told(&slowest)));
    let json = scheduler.swarm(&["tests", &id, "--json"]).output().await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let flaky = &json["tests"][2];
    assert_eq!((&flaky["id"], &flaky["outcome"]), (&"A.flaky".into(), &"flaky".into()));
    assert_eq!(flaky["executions"][1]["verdict"], "passed");
    let shown = scheduler.swarm(&["show", &id]).output().await.unwrap();
    let counts = "by gtest: 5 tests: 1 passed, 1 failed, 1 flaky, 1 crashed, 1 missing (see `swarm tests";
    assert!(told(&shown).contains(counts), "{}", told(&shown));
    let other = FakeScheduler::start(&State::new(1)).await;
    let none = other.swarm(&["tests", &id]).output().await.unwrap();
    assert!(none.status.code() == Some(3) && told(&none).contains("without --driver"), "{}", told(&none));
}

#[tokio::test]
async fn failed_tests_are_run_again_by_themselves() {
    let state = State::with_tests(TestDriver::Gtest, results());
    let scheduler = FakeScheduler::start(&state).await;
    let id = run_id().to_string();
    let early = scheduler.swarm(&["rerun", &id, "--failed"]).output().await.unwrap();
    assert!(early.status.code() == Some(2) && told(&early).contains("has not ended"), "{}", told(&early));
    state.end_all(&[0]);
    let trial = scheduler.swarm(&["rerun", &id, "--failed", "--dry-run"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&trial.stdout), "A.bad\nA.dies\nA.lost\n");
    assert!(state.triggers.lock().unwrap().is_empty());
    let output = scheduler.swarm(&["rerun", &id, "--failed"]).output().await.unwrap();
    insta::assert_snapshot!(told(&output), @r"
    exit 0
    --- stdout
    1hf7yat000007
    --- stderr
    3 tests of run 1hf7yat000007 again
    ");
    let spec = state.triggers.lock().unwrap()[0].run.clone().unwrap();
    assert_eq!(spec.tags, ["branch:main", "rerun-of:1hf7yat000007"]);
    let Some(v1::fan_out::Policy::Tests(policy)) = spec.steps[0].fan_out.clone().unwrap().policy else {
        panic!("shards")
    };
    assert_eq!((policy.driver(), policy.retries), (TestDriver::Gtest, 1));
    assert_eq!(policy.only, ["A.bad", "A.dies", "A.lost"]);
    let step = &spec.steps[0];
    assert_eq!((step.name.as_str(), step.input.clone()), ("suite", Some(input().into())), "the same suite");

    state.tell_tests(vec![test(0, "A.good", TestOutcome::Passed, &[TestVerdict::Passed])]);
    let nothing = scheduler.swarm(&["rerun", &id, "--failed"]).output().await.unwrap();
    assert!(nothing.status.success() && told(&nothing).contains("no failed test"), "{}", told(&nothing));
    assert_eq!(state.triggers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_history_of_a_test_tells_durations_verdicts_and_flakiness() {
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    let output = scheduler.swarm(&["history", "A.b", "--suite", "core"]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    insta::with_settings!({filters => vec![(r"\d+d ago", "[N]d ago")]}, {
        insta::assert_snapshot!(text, @r"
        A.b of core on os=linux
          passed 8, failed 1, flaky 1 (10.0 %), expected to take 1.4s
        run            when       verdict  took  bot
        1hf7yat000007  [N]d ago  failed   1.5s  bot-1
        1hf7yat000007  [N]d ago  passed   1.5s  bot-1
        ");
    });
    let json = scheduler.swarm(&["history", "A.b", "--json"]).output().await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["histories"][0]["past"][0]["verdict"], "failed");
    let unheard = scheduler.swarm(&["history", "A.unheard"]).output().await.unwrap();
    assert_eq!(unheard.status.code(), Some(3), "{}", told(&unheard));
}

#[tokio::test]
async fn a_quarantine_has_an_owner_a_reason_and_an_end() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    let add = ["quarantine", "add", "A.b", "--suite", "unit", "--owner", "ann", "--reason", "bug 17"];
    let endless = scheduler.swarm(&add).output().await.unwrap();
    assert!(endless.status.code() == Some(2) && told(&endless).contains("--expires"), "{}", told(&endless));
    let past = scheduler.swarm(&[&add[..], &["--expires", "2020-01-31"]].concat()).output().await.unwrap();
    assert!(past.status.code() == Some(2) && told(&past).contains("has passed"), "{}", told(&past));
    let added = scheduler.swarm(&[&add[..], &["--expires", "2099-01-31"]].concat()).output().await.unwrap();
    let said = "A.b of unit is quarantined until 2099-01-31T00:00:00Z\n";
    assert_eq!(String::from_utf8_lossy(&added.stdout), said, "{}", told(&added));
    let list = scheduler.swarm(&["quarantine", "list"]).output().await.unwrap();
    insta::assert_snapshot!(told(&list), @r"
    exit 0
    --- stdout
    suite  test  owner  expires               reason
    unit   A.b   ann    2099-01-31T00:00:00Z  bug 17
    --- stderr
    ");
    let other = scheduler.swarm(&["quarantine", "remove", "A.b", "--suite", "core"]).output().await.unwrap();
    assert_eq!(other.status.code(), Some(3), "{}", told(&other));
    let removed = scheduler
        .swarm(&["quarantine", "remove", "A.b", "--suite", "unit", "--json"])
        .output()
        .await
        .unwrap();
    assert!(removed.status.success(), "{}", told(&removed));
    let json: serde_json::Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!((&json["quarantine"]["id"], &json["quarantine"]["owner"]), (&"A.b".into(), &"ann".into()));
    let told = state.quarantines.lock().unwrap();
    assert_eq!((told.len(), told[1].owner.as_str()), (2, "ann"));
    let end = |one: &v1::TestQuarantine| one.expires.unwrap().seconds;
    assert!(end(&told[1]) < end(&told[0]), "it ends by an expiry that has passed");
}

#[tokio::test]
async fn all_quarantines_are_listed_however_many_pages_they_are() {
    let state = State::new(1);
    let scheduler = FakeScheduler::start(&state).await;
    for test in ["a", "b", "c", "d", "e"] {
        let quarantine = v1::TestQuarantine {
            suite: "unit".into(),
            test: test.into(),
            expires: Some(proto::Timestamp::from_micros(4_000_000_000_000_000).into()),
            ..Default::default()
        };
        state.quarantines.lock().unwrap().push(quarantine);
    }
    let list = scheduler.swarm(&["quarantine", "list", "--json"]).output().await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let told = json["quarantines"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn one_test_can_only_be_reproduced_where_tests_are_shared_out() {
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    let output =
        scheduler.swarm(&["reproduce", "1hf7yat000007/0/0", "--test", "A.b"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("--driver"), "{}", told(&output));
}
