//! Runs that end with the shard that triggered them, and what a trigger is refused for or would come to.

use crate::support::{Bench, run_spec};
use proto::v1::{self, RunState};
use tonic::Code;

#[tokio::test]
async fn the_end_of_a_parent_ends_its_children() {
    let bench = Bench::start().await;
    let run = bench.trigger("r1", 1).await;
    let mut bot = bench.bot("b1");
    let parent = bot.work().await.lease.unwrap().shard_id;
    let spec = v1::RunSpec { parent: parent.clone(), ..run_spec(2) };
    let child = bench.trigger_spec("r2", spec.clone()).await.unwrap().run_id;
    let of_parent = v1::ListRequest { parent: parent.clone(), ..Default::default() };
    let listed = bench.client().list(of_parent).await.unwrap().into_inner().runs;
    assert_eq!(listed.iter().map(|run| &run.id).collect::<Vec<_>>(), [&child]);

    let bench = bench.restart().await;
    let mut bot = bot.moved_to(&bench);
    bot.finish(0);
    bot.no_wait().synchronize().await.unwrap();
    assert_eq!(bench.get(&run).await.state(), RunState::Succeeded);
    assert_eq!(bench.get(&child).await.state(), RunState::Canceled);
    let late = bench.trigger_spec("r3", spec).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    assert!(late.message().contains(&format!("shard {parent} is not running")), "{}", late.message());
}

#[tokio::test]
async fn an_evaluation_creates_nothing() {
    let bench = Bench::start().await;
    let mut bot = bench.bot("b1").no_wait();
    bot.synchronize().await.unwrap();
    let evaluate = |request_id: &str| v1::TriggerRequest {
        request_id: request_id.into(),
        run: Some(run_spec(3)),
        evaluate_only: true,
        ..Default::default()
    };
    let answer = bench.client().trigger(evaluate("r1")).await.unwrap().into_inner();
    assert_eq!((answer.run_id.as_str(), answer.created, answer.shards), ("", false, 3));
    assert_eq!(answer.slices.len(), 1);
    assert_eq!(answer.slices[0].free_bots, ["b1"]);
    assert_eq!(bot.synchronize().await.unwrap(), []);
    let run = bench.trigger("r1", 3).await;
    let answer = bench.client().trigger(evaluate("r1")).await.unwrap().into_inner();
    assert_eq!(answer.run_id, run);
}

#[tokio::test]
async fn a_priority_beyond_the_bound_is_refused() {
    let bench = Bench::with_soonest_priority(20).await;
    let with = |priority| v1::RunSpec { priority, ..run_spec(1) };
    let refused = bench.trigger_spec("r1", with(19)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("run.priority: 19 is sooner"), "{}", refused.message());
    bench.trigger_spec("r1", with(20)).await.unwrap();
}
