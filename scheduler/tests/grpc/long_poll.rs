//! Calls that are held back, and what ends their wait. The clock stands still: nothing here waited for a time-out.

use crate::support::{Bench, eventually, soon};
use std::time::Duration;
use tokio::task::JoinSet;

/// Ends when the scheduler has heard the bot.
async fn heard(bench: &Bench, bot: &str) {
    eventually(async || bench.bots().await.into_iter().find(|known| known.id == bot)).await;
}

#[tokio::test]
async fn a_waiting_bot_is_woken_by_a_trigger() {
    let (mut bench, _clock) = Bench::with_manual_clock().await;
    let mut bot = bench.bot("b");
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { bot.synchronize().await.unwrap() });
    heard(&bench, "b").await;
    let run = bench.trigger("r", 1).await;
    let desired = soon(waiting.join_next()).await.unwrap().unwrap();
    assert_eq!(desired[0].lease.as_ref().unwrap().shard_id, format!("{run}/0/0"));
    bench.stop().await;
}

#[tokio::test]
async fn shards_spread_over_the_bots_that_wait() {
    let (mut bench, _clock) = Bench::with_manual_clock().await;
    let mut waiting = JoinSet::new();
    for id in ["b1", "b2", "b3"] {
        let mut bot = bench.bot(id);
        bot.request.slots = 4;
        waiting.spawn(async move { bot.synchronize().await.unwrap() });
        heard(&bench, id).await;
    }
    bench.trigger("r", 3).await;
    while let Some(desired) = soon(waiting.join_next()).await {
        assert_eq!(desired.unwrap().len(), 1);
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_wait_ends_after_its_time_and_says_when_to_call_again() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let mut bot = bench.bot("b");
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { bot.say().await.unwrap() });
    heard(&bench, "b").await;
    clock.advance(Duration::from_secs(7));
    assert!(waiting.try_join_next().is_none());
    clock.advance(Duration::from_secs(1));
    let answer = soon(waiting.join_next()).await.unwrap().unwrap();
    assert_eq!(answer.desired, []);
    assert_eq!(answer.call_again.unwrap().seconds, 10, "a third of a lease's life");
    bench.stop().await;
}

#[tokio::test]
async fn no_wait_is_longer_than_a_lease_can_bear() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let mut bot = bench.bot("b");
    bot.wait = Duration::from_secs(3600);
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { bot.say().await.unwrap() });
    heard(&bench, "b").await;
    clock.advance(Duration::from_secs(10));
    soon(waiting.join_next()).await.unwrap().unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn a_later_call_ends_an_earlier_one_of_the_same_bot() {
    let (mut bench, _clock) = Bench::with_manual_clock().await;
    let mut bot = bench.bot("b");
    let mut waiting = JoinSet::new();
    let mut earlier = bot.clone();
    waiting.spawn(async move { earlier.synchronize().await.unwrap() });
    heard(&bench, "b").await;
    bot.wait = Duration::ZERO;
    assert_eq!(bot.synchronize().await.unwrap(), []);
    assert_eq!(soon(waiting.join_next()).await.unwrap().unwrap(), []);
    bench.stop().await;
}

#[tokio::test]
async fn an_answer_that_nobody_heard_is_said_again() {
    let (mut bench, _clock) = Bench::with_manual_clock().await;
    let mut bot = bench.bot("b");
    let mut waiting = JoinSet::new();
    let mut cut = bot.clone();
    waiting.spawn(async move { cut.synchronize().await });
    heard(&bench, "b").await;
    waiting.shutdown().await;
    let run = bench.trigger("r", 1).await;
    let desired = bot.synchronize().await.unwrap();
    assert_eq!(desired[0].lease.as_ref().unwrap().shard_id, format!("{run}/0/0"));
    bench.stop().await;
}

#[tokio::test]
async fn the_end_of_the_scheduler_ends_every_wait() {
    let (mut bench, _clock) = Bench::with_manual_clock().await;
    let run = bench.trigger("r", 2).await;
    let mut idle = bench.bot("idle");
    idle.request.slots = 0;
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { drop(idle.say().await) });
    heard(&bench, "idle").await;
    let request = proto::v1::WatchRequest { run_id: run };
    let mut watch = bench.client().watch(request).await.unwrap().into_inner();
    waiting.spawn(async move { while let Ok(Some(_)) = watch.message().await {} });
    bench.stop().await;
    soon(waiting.join_all()).await;
}
