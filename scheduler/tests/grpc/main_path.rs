//! Trigger, lease, report, result.

use crate::support::Bench;
use proto::v1::{RunState, ShardState};

#[tokio::test]
async fn a_run_goes_to_a_bot_and_ends_with_its_verdict() {
    let mut bench = Bench::start().await;
    let mut bot = bench.bot("b1");
    let run = bench.trigger("r1", 2).await;
    let first = bot.work().await;
    assert_eq!(first.lease.as_ref().unwrap().shard_id, format!("{run}/0/0"));
    let environment = first.assignment.unwrap().environment;
    assert!(environment.iter().any(|v| v.name == "GTEST_TOTAL_SHARDS" && v.value == "2"), "{environment:?}");
    assert_eq!(bench.get(&run).await.state(), RunState::Running);

    bot.finish(0);
    let second = bot.synchronize().await.unwrap();
    assert_eq!(second.len(), 1, "the report brings the next lease");
    assert_eq!(second[0].lease.as_ref().unwrap().shard_id, format!("{run}/0/1"));
    bot.finish(1);
    assert_eq!(bot.clone().no_wait().synchronize().await.unwrap(), []);

    let ended = bench.get(&run).await;
    assert_eq!(ended.state(), RunState::Failed);
    assert_eq!(ended.shards[1].state(), ShardState::Completed);
    assert!(ended.ended.is_some());
    bench.stop().await;
}
