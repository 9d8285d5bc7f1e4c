//! Calls that come together, and what of them is written together.

use super::{engine::Engine, handle::channel, *};
use crate::{
    journal::{Location, Opening},
    metrics::Metrics,
    pools::Pools,
    queue::{RunSpec, Tuning},
    vault::Vault,
    wire::spec::{Defaults, parse_run},
};
use prometheus_client::{encoding::text, registry::Registry};
use proto::{DigestFunction, Timestamp, v1};
use runtime::{Clock, ManualClock, Shutdown, SystemEntropy};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

const CALLS: usize = 50;

/// A shell that does not run yet, over a clock that stands still.
struct Bench {
    shell: Shell,
    handle: Handle,
    registry: Registry,
    _dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let opened = Shell::open(settings(&dir), Arc::new(clock()), SystemEntropy::shared(), metrics).await;
        let (shell, handle) = opened.unwrap();
        Self { shell, handle, registry, _dir: dir }
    }

    /// Lets the shell run until these calls are answered. How often the journal was synced.
    async fn syncs_of(self, calls: JoinSet<()>) -> u64 {
        let mut serving = JoinSet::new();
        serving.spawn(self.shell.run(Shutdown::new()));
        assert_eq!(calls.join_all().await.len(), CALLS);
        drop(self.handle);
        serving.join_all().await;
        let mut metrics = String::new();
        text::encode(&mut metrics, &self.registry).unwrap();
        let syncs = metrics.lines().find_map(|line| line.strip_prefix("journal_sync_seconds_count "));
        syncs.unwrap().parse().unwrap()
    }
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(1_000_000))
}

fn settings(dir: &TempDir) -> Settings {
    let tuning = Tuning {
        lease_ttl: HOUR,
        most_pending: CALLS,
        reuse_for: HOUR,
        no_resource_after: HOUR,
        retain_for: None,
    };
    let vault = Arc::new(Vault::new(&dir.path().join("key"), SystemEntropy::shared()).unwrap());
    let journal = Location::Directory(dir.path().join("journal"));
    Settings { journal, tuning, vault, pools: Pools::default() }
}

fn spec() -> Arc<RunSpec> {
    let input = DigestFunction::Blake3.digest(b"x");
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: 1 });
    let fan_out = Some(v1::FanOut { policy: Some(policy) });
    let step = v1::StepSpec { input: Some(input.into()), fan_out, ..Default::default() };
    let defaults = Defaults { expiration: HOUR, hard: HOUR, grace: HOUR, max_attempts: NonZeroU32::MIN };
    Arc::new(parse_run(&v1::RunSpec { steps: vec![step], ..Default::default() }, &defaults).unwrap())
}

async fn trigger(handle: Handle, number: usize) {
    let request = format!("r{number}").parse().unwrap();
    assert!(handle.trigger(request, spec(), vec![]).await.unwrap().created);
}

#[tokio::test]
async fn calls_that_come_while_others_are_decided_are_synced_with_them() {
    let bench = Bench::new().await;
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let handle = bench.handle.clone();
        calls.spawn(async move {
            // One after the other, each when the shell has nothing to do but this.
            for _ in 0..number {
                tokio::task::yield_now().await;
            }
            trigger(handle, number).await;
        });
    }
    // One, but for calls that the runtime puts off while it looks at other things.
    let syncs = bench.syncs_of(calls).await;
    assert!(syncs <= CALLS as u64 / 5, "{syncs}");
}

#[tokio::test]
async fn what_comes_late_is_left_for_the_next_batch() {
    let dir = TempDir::new().unwrap();
    let (clock, metrics) = (clock(), Metrics::new(&mut Registry::default()));
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let engine = Engine::open(&settings(&dir), Opening::AtStart, shared, SystemEntropy::shared(), metrics);
    let (mut engine, (handle, mut commands)) = (engine.unwrap(), channel());
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (handle, clock) = (handle.clone(), clock.clone());
        calls.spawn(async move {
            if number % 10 == 4 {
                handle.read(move |_, _| clock.advance(Duration::from_millis(2))).await.unwrap();
            } else {
                trigger(handle, number).await;
            }
        });
    }
    while commands.len() < CALLS {
        tokio::task::yield_now().await;
    }
    for served in [5, 15, 25, 35, 45, 50] {
        let first = commands.recv().await.unwrap();
        engine.handle(first, &mut commands).await;
        assert_eq!(commands.len(), CALLS - served);
    }
    assert_eq!(calls.join_all().await.len(), CALLS);
}
