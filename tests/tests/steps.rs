//! Runs of several steps, through real processes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proto::v1::{RunState, ShardState};
use std::fs;
use tests::System;

/// Archives an input that the steps have nothing of but one file.
async fn archive(system: &System) -> String {
    fs::write(system.path().join("source"), "source\n").unwrap();
    let archived = system.run("isolate", ["archive", "source", "--", "true"]).await.expect(0);
    archived.stdout.split_whitespace().next().unwrap().to_owned()
}

/// Writes a run of a build that runs `build`, three shards that read what it has left, and a merge of what these have left.
fn write_run(system: &System, digest: &str, build: &str) {
    let text = format!(
        r#"
        name = "nightly"
        [[step]]
        name = "build"
        input = "{digest}"
        command = ["sh", "-c", {build:?}]
        [[step]]
        name = "tests"
        input = "{digest}"
        command = ["sh", "-c", "cat source built/unit > $ISOLATED_OUTDIR/log; echo shard $SHARD_INDEX >> $ISOLATED_OUTDIR/log"]
        include = [{{ output-of = "build", into = "built" }}]
        shards = 3
        [[step]]
        name = "merge"
        command = ["sh", "-c", "cat parts/*/log | tee $ISOLATED_OUTDIR/all"]
        after-ended = ["tests"]
        include = [{{ output-of = "tests", into = "parts/{{index}}" }}]
        "#
    );
    fs::write(system.path().join("nightly.toml"), text).unwrap();
}

const MERGED: &str = "source\nunit\nshard 0\nsource\nunit\nshard 1\nsource\nunit\nshard 2\n";

#[tokio::test]
async fn what_steps_leave_goes_to_those_after_them_also_when_the_scheduler_is_killed_in_between() {
    let mut system = System::start_patient(2).await;
    let digest = archive(&system).await;
    let gate = system.path().join("gate");
    let build =
        format!("while [ ! -e {} ]; do sleep 0.05; done; echo unit > $ISOLATED_OUTDIR/unit", gate.display());
    write_run(&system, &digest, &build);
    let dry = system.run("swarm", ["trigger", "--file", "nightly.toml", "--dry-run"]).await.expect(0);
    assert!(dry.stdout.starts_with("would make 5 shards\n"), "{}", dry.stdout);
    let run = system.run("swarm", ["trigger", "--file", "nightly.toml"]).await.expect(0);
    let run = run.stdout.trim().to_owned();
    system.wait_for(&run, |run| run.shards[0].state() == ShardState::Running).await;
    let told = system.run("swarm", ["explain", &run]).await.expect(0).stdout;
    assert!(told.contains("3 shards wait for step `build` (1 of 1 shards have not ended)"), "{told}");
    assert!(told.contains("1 shard waits for step `tests` (3 of 3 shards have not ended)"), "{told}");
    let shown = system.run("swarm", ["show", &run]).await.expect(0).stdout;
    assert!(shown.contains("5 shards: 4 waiting, 1 running"), "{shown}");
    assert!(shown.contains("outputs of tests in parts/{index}"), "{shown}");

    // The build ends while nobody is there to hear of it.
    system.kill_scheduler().await;
    fs::write(&gate, "").unwrap();
    system.restart_scheduler().await;
    let collect = ["collect", &run, "--output-dir", "out", "--json", "report.json"];
    system.run("swarm", collect).await.expect(0);
    let ended = system.get(&run).await;
    assert_eq!(ended.state(), RunState::Succeeded);
    assert!(ended.shards.iter().all(|shard| shard.attempts.len() == 1), "{ended:#?}");
    assert_eq!(fs::read_to_string(system.path().join("out/merge-0/all")).unwrap(), MERGED);
    let left: Vec<_> = fs::read_dir(system.path().join("out")).unwrap().collect();
    assert_eq!(left.len(), 1, "parts of the result are not laid out beside it: {left:?}");
    let report = fs::read_to_string(system.path().join("report.json")).unwrap();
    assert!(report.contains("\"condition\": \"ended\"") && report.contains("\"into\": \"parts/{index}\""));

    let merge = format!("{run}/2/0");
    let again = system.run("swarm", ["reproduce", &merge, "--output-dir", "again"]).await.expect(0);
    assert_eq!(again.stdout, MERGED, "the same, here");
    assert_eq!(fs::read_to_string(system.path().join("again/all")).unwrap(), MERGED);
}

#[tokio::test]
async fn a_build_that_fails_skips_the_rest() {
    let system = System::start_patient(1).await;
    let digest = archive(&system).await;
    write_run(&system, &digest, "exit 3");
    let ran = system.run("swarm", ["run", "--file", "nightly.toml"]).await.expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("5 shards in 3 steps"), "{told}");
    assert!(told.contains("shard tests/1 skipped: step `build` did not succeed"), "{told}");
    assert!(told.contains("shard merge/0 skipped: step `tests` was skipped"), "{told}");
    assert!(told.contains("4 shards skipped because of an earlier step"), "{told}");
    let runs = system.run("swarm", ["runs", "--json"]).await.expect(0).stdout;
    assert!(runs.contains("\"skipped\": 4") || runs.contains("\"skipped\":4"), "{runs}");
}

#[tokio::test]
async fn a_merge_runs_over_what_all_shards_have_left_though_one_has_failed() {
    let system = System::start_patient(2).await;
    let digest = archive(&system).await;
    let script = "echo $SHARD_INDEX > $ISOLATED_OUTDIR/n; exit $SHARD_INDEX";
    let merge = "cat parts/*/n > $ISOLATED_OUTDIR/all";
    let args = ["run", &digest, "--shards", "3", "--merge", merge, "--output-dir", "out", "--command", "--"];
    let ran = system.run("swarm", args.into_iter().chain(["sh", "-c", script])).await.expect(1);
    assert_eq!(fs::read_to_string(system.path().join("out/merge-0/all")).unwrap(), "0\n1\n2\n");
    assert!(ran.stdout.contains("2 shards exited with an error"), "{}", ran.stdout);
}
