//! Watchers that are slow, and how they catch up.

use super::*;
use crate::{
    journal::Location,
    metrics::Metrics,
    pools::Pools,
    queue::Tuning,
    shell::{Settings, Shell},
    wire::{report::parse_report, spec::parse_run},
};
use prometheus_client::registry::Registry;
use proto::{DigestFunction, Timestamp};
use runtime::{SeededEntropy, Shutdown, SystemClock};
use std::{num::NonZeroU32, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

fn spec(shards: u32) -> crate::queue::RunSpec {
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: shards });
    let step = v1::StepSpec {
        input: Some(DigestFunction::Blake3.digest(b"x").into()),
        fan_out: Some(v1::FanOut { policy: Some(policy) }),
        ..Default::default()
    };
    let max_attempts = NonZeroU32::MIN;
    let defaults = crate::wire::spec::Defaults { expiration: HOUR, hard: HOUR, grace: HOUR, max_attempts };
    parse_run(&v1::RunSpec { steps: vec![step], ..Default::default() }, &defaults).unwrap()
}

/// One bot that finishes shards as fast as it gets them.
async fn finish(shell: &Handle, shards: u32) {
    let mut held = vec![];
    for _ in 0..=shards {
        let request = v1::SynchronizeRequest {
            bot_id: "b".into(),
            session_id: "s".into(),
            slots: 1,
            held: std::mem::take(&mut held),
            ..Default::default()
        };
        let orders = shell.synchronize(parse_report(request).unwrap()).await.unwrap();
        let greeting = crate::wire::report::Greeting { now: Timestamp::default(), program: None };
        let answer = crate::wire::report::answer_to_wire(&orders.desired, orders.call_again, false, greeting);
        let result = v1::AttemptResult {
            state: v1::ShardState::Completed.into(),
            exit_code: Some(0),
            ..Default::default()
        };
        held.extend(answer.desired.into_iter().map(|desired| v1::HeldAttempt {
            lease: desired.lease,
            result: Some(result.clone()),
            ..Default::default()
        }));
    }
}

async fn next(watcher: &mut Watcher) -> Option<Wire> {
    watcher.next().await.transpose().unwrap().map(|message| message.update.unwrap())
}

#[tokio::test]
async fn changes_are_merged_for_a_watcher_that_is_behind_and_too_far_behind_it_starts_over() {
    let dir = TempDir::new().unwrap();
    let tuning = Tuning {
        lease_ttl: HOUR,
        most_pending: 10_000,
        reuse_for: HOUR,
        no_resource_after: HOUR,
        retain_for: None,
    };
    let entropy = runtime::SystemEntropy::shared();
    let vault = Arc::new(crate::vault::Vault::new(&dir.path().join("key"), entropy).unwrap());
    let journal = Location::Directory(dir.path().join("journal"));
    let settings = Settings { journal, tuning, vault, pools: Pools::default() };
    let entropy = Arc::new(SeededEntropy::new(1));
    let metrics = Metrics::new(&mut Registry::default());
    let (shell, handle) = Shell::open(settings, SystemClock::shared(), entropy, metrics).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(shell.run(Shutdown::new()));

    let run = handle.trigger("r".parse().unwrap(), Arc::new(spec(400)), vec![]).await.unwrap().run;
    let mut watcher = Watcher::open(handle.clone(), run).await.unwrap();
    let Some(Wire::Run(snapshot)) = next(&mut watcher).await else { panic!() };
    assert_eq!(snapshot.counts.unwrap().pending, 400);

    finish(&handle, 100).await;
    let Some(Wire::Changes(changes)) = next(&mut watcher).await else { panic!() };
    assert_eq!(changes.shards.len(), 101, "one message, and in it each shard once");

    finish(&handle, 298).await;
    let Some(Wire::Run(snapshot)) = next(&mut watcher).await else { panic!() };
    assert_eq!(snapshot.counts.unwrap().succeeded, 398);

    finish(&handle, 2).await;
    let Some(Wire::Changes(changes)) = next(&mut watcher).await else { panic!() };
    assert!(changes.ended.is_some());
    assert!(next(&mut watcher).await.is_none());
    drop((watcher, handle));
    tasks.join_all().await;
}
