//! Cancelling pending and running shards.

use crate::support::{Bench, eventually, soon};
use proto::v1::{AttemptResult, RunState, ShardState};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_running_shard_is_stopped_by_its_bot_which_is_told_at_once() {
    let (mut bench, _clock) = Bench::with_manual_clock().await;
    let run = bench.trigger("r", 2).await;
    let mut bot = bench.bot("b");
    bot.work().await;
    let mut waiting = JoinSet::new();
    let mut parked = bot.clone();
    waiting.spawn(async move { parked.synchronize().await.unwrap() });
    // Its lease is renewed when the scheduler has heard it; nothing else tells that the call is there.
    eventually(async || bench.bots().await.pop().filter(|bot| bot.running.len() == 1)).await;

    let canceled = bench.cancel(&run, true).await;
    assert_eq!((canceled.canceled, canceled.killing), (1, 1));
    let desired = match soon(waiting.join_next()).await.unwrap().unwrap() {
        told if told[0].kill => told,
        _ => bot.clone().no_wait().synchronize().await.unwrap(),
    };
    assert!(desired[0].kill);
    let shards = bench.get(&run).await.shards;
    assert!(shards[0].killing);
    assert_eq!(shards[1].state(), ShardState::Canceled);

    let again = bench.cancel(&run, true).await;
    assert_eq!((again.canceled, again.killing), (0, 0));
    let killed = AttemptResult { state: ShardState::Killed.into(), ..Default::default() };
    bot.request.held[0].result = Some(killed);
    assert_eq!(bot.no_wait().synchronize().await.unwrap(), []);
    let ended = bench.get(&run).await;
    assert_eq!((ended.state(), ended.shards[0].state()), (RunState::Canceled, ShardState::Killed));
    bench.stop().await;
}

#[tokio::test]
async fn without_killing_a_running_shard_ends_by_itself() {
    let mut bench = Bench::start().await;
    let run = bench.trigger("r", 2).await;
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    let canceled = bench.cancel(&run, false).await;
    assert_eq!((canceled.canceled, canceled.killing), (1, 0));
    assert!(!bot.synchronize().await.unwrap()[0].kill);
    bot.finish(0);
    bot.synchronize().await.unwrap();
    let ended = bench.get(&run).await;
    assert_eq!((ended.state(), ended.shards[0].state()), (RunState::Canceled, ShardState::Completed));
    bench.stop().await;
}
