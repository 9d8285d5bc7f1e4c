//! Calls on the critical path are numbers that a change must not raise unseen. Servers count them, so that they are
//! those that went over the wire.

use runtime::{Clock as _, SystemClock};
use std::{collections::BTreeMap, fs};
use tests::{Suite, System, calls_since};

fn calls<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(method, count)| (method.to_owned(), count)).collect()
}

#[tokio::test]
async fn an_archive_asks_once_and_uploads_what_is_missing_in_batches() {
    let system = System::start(0).await;
    let suite = Suite::new(1, "0");
    let start = system.cas_calls().await;
    let first = system.archive(&suite).await;
    let uploaded = system.cas_calls().await;
    assert_eq!(calls_since(&start, &uploaded), calls([("BatchUpdateBlobs", 1), ("FindMissingBlobs", 1)]));

    let again = system.archive(&suite).await;
    let unchanged = system.cas_calls().await;
    assert_eq!(again, first);
    assert_eq!(calls_since(&uploaded, &unchanged), calls([("FindMissingBlobs", 1)]));

    fs::write(suite.path().join("data/input.txt"), "something else").unwrap();
    assert_ne!(system.archive(&suite).await, first);
    let changed = system.cas_calls().await;
    assert_eq!(calls_since(&unchanged, &changed), calls([("BatchUpdateBlobs", 1), ("FindMissingBlobs", 1)]));
}

#[tokio::test]
async fn of_a_large_manifest_a_change_sends_what_changed_and_an_evicted_one_sends_all() {
    const FILES: usize = 3000;
    let mut system = System::start(0).await;
    let tree = tempfile::tempdir().unwrap();
    for number in 0..FILES {
        fs::write(tree.path().join(format!("file-{number}")), number.to_string()).unwrap();
    }
    let root = tree.path().display().to_string();
    let archive = async |system: &System| {
        let (calls, bytes) = (system.cas_calls().await, system.cas_metric("cas_received_bytes_total").await);
        let archived =
            system.run("isolate", ["archive", "--root", &root, "./", "--", "true"]).await.expect(0);
        let calls = calls_since(&calls, &system.cas_calls().await);
        let bytes = system.cas_metric("cas_received_bytes_total").await - bytes;
        (archived.stdout.split_whitespace().next().unwrap().to_owned(), calls, bytes)
    };
    let (first, _, all) = archive(&system).await;
    assert!(all > 256 * 1024, "{all} bytes");
    assert_eq!(archive(&system).await, (first, calls([("FindMissingBlobs", 1)]), 0));

    fs::write(tree.path().join("file-7"), "something else").unwrap();
    let (digest, made, bytes) = archive(&system).await;
    let expected = [("BatchUpdateBlobs", 1), ("FindMissingBlobs", 1), ("WritePatch", 1)];
    assert_eq!(made, calls(expected));
    assert!(bytes < 300, "{bytes} bytes");
    let laid_out = system.path().join("out");
    system.run("isolate", ["download", &digest, "-o", laid_out.to_str().unwrap()]).await.expect(0);
    assert_eq!(fs::read_to_string(laid_out.join("file-7")).unwrap(), "something else");
    assert_eq!(fs::read_dir(&laid_out).unwrap().count(), FILES);

    // The store begins anew.
    system.kill_cas().await;
    fs::remove_dir_all(system.path().join("cas")).unwrap();
    system.restart_cas().await;
    fs::write(tree.path().join("file-8"), "something else again").unwrap();
    let (_, made, again) = archive(&system).await;
    assert!(again >= all, "{again} bytes after {all}");
    assert_eq!(made.get("WritePatch"), Some(&1));
}

#[tokio::test]
async fn a_trigger_is_one_call_and_a_report_brings_the_next_lease() {
    const SHARDS: u32 = 20;
    let system = System::start(1).await;
    let suite = Suite::new(0, "0");
    let digest = system.archive(&suite).await;
    let (before, clock) = (system.scheduler_calls().await, SystemClock::new());
    let id = system.trigger(&digest, SHARDS).await;
    let triggered = calls_since(&before, &system.scheduler_calls().await);
    assert_eq!(triggered.get("Trigger"), Some(&1), "{triggered:?}");
    let others: Vec<_> =
        triggered.keys().filter(|m| !["Trigger", "Synchronize"].contains(&m.as_str())).collect();
    assert!(others.is_empty(), "{triggered:?}");

    system.wait_for(&id, |run| run.ended.is_some()).await;
    let synchronized = calls_since(&before, &system.scheduler_calls().await)["Synchronize"];
    // One for each shard, which reports it and leases the next; one that starts the first; the call that waited for
    // work before the trigger, and room for heartbeats, one a second, on a slow machine.
    assert!(
        synchronized <= u64::from(SHARDS) + 8 + clock.elapsed().as_secs(),
        "{synchronized} calls for {SHARDS} shards"
    );
}

#[tokio::test]
async fn a_warm_bot_reads_nothing_from_the_cas() {
    let system = System::start(1).await;
    let suite = Suite::new(1, "0");
    let digest = system.archive(&suite).await;
    for round in 0..2 {
        let before = system.cas_calls().await;
        let id = system.trigger(&digest, 1).await;
        system.wait_for(&id, |run| run.ended.is_some()).await;
        let made = calls_since(&before, &system.cas_calls().await);
        let reads = made.get("BatchReadBlobs").unwrap_or(&0) + made.get("Read").unwrap_or(&0);
        match round {
            0 => assert!(reads > 0, "cold: {made:?}"),
            // The outputs are the same as before: asked about, not uploaded.
            _ => assert_eq!(made, calls([("FindMissingBlobs", 1)])),
        }
    }
}
