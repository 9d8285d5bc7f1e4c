//! Work that was done before is not done again, through real processes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proto::v1::RunState;
use std::fs;
use tests::System;

/// Archives the same input again and again.
async fn archive(system: &System) -> String {
    fs::write(system.path().join("input"), "x").unwrap();
    let script = "echo ran; cp input ${ISOLATED_OUTDIR}/copy";
    let archived = system.run("isolate", ["archive", "input", "--", "sh", "-c", script]).await.expect(0);
    archived.stdout.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_success_is_reused_until_its_outputs_are_gone() {
    let mut system = System::start_patient(1).await;
    let digest = archive(&system).await;
    let run = ["run", &digest, "--idempotent", "--shards", "2", "--output-dir"];
    system.run("swarm", run.iter().chain(&["first"])).await.expect(0);

    // Nobody is there to run it.
    system.kill_bot(0).await;
    system.run("swarm", run.iter().chain(&["second"])).await.expect(0);
    let copies = |dir: &str| {
        let copies = walk(&system.path().join(dir));
        assert_eq!(copies, ["x", "x"], "{dir}: one of each shard");
    };
    copies("first");
    copies("second");
    let other = system.run("swarm", ["trigger", &digest, "--idempotent", "--shards", "3"]).await.expect(0);
    assert_eq!(system.get(other.stdout.trim()).await.state(), RunState::Pending, "another cut, other work");
    system.run("swarm", ["cancel", other.stdout.trim()]).await.expect(0);

    system.kill_cas().await;
    fs::remove_dir_all(system.path().join("cas")).unwrap();
    system.restart_cas().await;
    assert_eq!(archive(&system).await, digest);
    let third = system.run("swarm", ["trigger", &digest, "--idempotent", "--shards", "2"]).await.expect(0);
    assert_eq!(system.get(third.stdout.trim()).await.state(), RunState::Pending, "the outputs are gone");
    system.restart_bot(0).await;
    let third = system.wait_for(third.stdout.trim(), |run| run.ended.is_some()).await;
    assert_eq!(third.state(), RunState::Succeeded);
    assert_eq!(third.shards[0].attempts.len(), 1);
}

/// What is in the files below a directory.
fn walk(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        if path.is_dir() { walk(&path) } else { vec![fs::read_to_string(&path).unwrap()] }
    };
    entries.flat_map(read).collect()
}
