//! What a shard asks for when nobody takes it.

use crate::support::{Bench, run_spec};
use proto::v1::{self, RunState, ShardState};

fn asking(slices: &[&str], seconds: i64) -> v1::RunSpec {
    let asked = |value: &str| vec![v1::Requirement { key: "gpu".into(), any_of: vec![value.into()] }];
    let expiration = Some(prost_types::Duration { seconds, nanos: 0 });
    let fallback = |value: &&str| v1::Slice { requirements: asked(value), expiration, ..Default::default() };
    let mut spec = run_spec(1);
    spec.steps[0].requirements = asked(slices[0]);
    spec.steps[0].expiration = expiration;
    spec.steps[0].fallbacks = slices[1..].iter().map(fallback).collect();
    spec
}

#[tokio::test]
async fn a_bot_that_fits_the_fallback_gets_the_shard_when_the_slice_has_expired() {
    let (bench, clock) = Bench::with_manual_clock().await;
    let mut bot = bench.bot("b1").no_wait();
    let none = v1::Dimension { key: "gpu".into(), values: vec!["none".into()] };
    bot.request.dimensions = vec![none];
    assert_eq!(bot.synchronize().await.unwrap(), []);
    let run = bench.trigger_spec("r1", asking(&["big", "none"], 40)).await.unwrap().run_id;
    assert_eq!(bot.synchronize().await.unwrap(), []);
    let explain = v1::ExplainRequest { id: run.clone() };
    let steps = bench.client().explain(explain).await.unwrap().into_inner().steps;
    assert_eq!((steps[0].slice, steps[0].slices), (0, 2));
    assert_eq!(steps[0].obstacles[0].criterion, "gpu=big");
    assert!(steps[0].no_resource.is_some());
    bench.pass(&clock, 41).await;
    assert_eq!(bot.synchronize().await.unwrap().len(), 1);
    assert_eq!(bench.get(&run).await.shards[0].slice, 1);
}

#[tokio::test]
async fn a_shard_that_no_bot_fits_ends_without_waiting_for_its_expiration() {
    let (bench, clock) = Bench::with_manual_clock().await;
    let run = bench.trigger_spec("r1", asking(&["big"], 3600)).await.unwrap().run_id;
    let grace = bench.config.no_resource_after.as_secs();
    bench.pass(&clock, grace - 1).await;
    assert_eq!(bench.get(&run).await.state(), RunState::Pending);
    bench.pass(&clock, 2).await;
    let ended = bench.get(&run).await;
    assert_eq!((ended.state(), ended.shards[0].state()), (RunState::Incomplete, ShardState::NoResource));
    assert!(ended.shards[0].message.contains("no bot that fits"), "{}", ended.shards[0].message);
}
