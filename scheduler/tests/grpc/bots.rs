//! Bots that fall silent, restart, or come twice.

use crate::support::{Bench, eventually};
use proto::v1::{BotOrder, BotState, ExplainRequest, ListBotsRequest, OrderBotRequest, RunState, ShardState};
use std::time::Duration;
use tonic::Code;

#[tokio::test]
async fn a_scheduler_that_was_stopped_for_a_while_takes_no_lease_away_for_it() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let run = bench.trigger("r", 1).await;
    let mut bot = bench.bot("b").no_wait();
    let lease = bot.work().await.lease;
    clock.advance(Duration::from_secs(600));
    bench.bots().await;
    assert_eq!(bot.synchronize().await.unwrap()[0].lease, lease);
    bench.pass(&clock, 30).await;
    assert_eq!(bench.get(&run).await.shards[0].state(), ShardState::Pending, "a silent bot still loses it");
    bench.stop().await;
}

#[tokio::test]
async fn a_silent_bots_shard_goes_to_another_and_its_late_report_changes_nothing() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let run = bench.trigger("r", 1).await;
    let mut silent = bench.bot("b1");
    silent.work().await;
    bench.pass(&clock, 31).await;
    let mut other = bench.bot("b2");
    let taken = other.work().await;
    assert_eq!(taken.lease.as_ref().unwrap().attempt, 2);

    silent.finish(1);
    silent.print("late");
    assert_eq!(silent.clone().no_wait().synchronize().await.unwrap(), []);
    assert_eq!(bench.get(&run).await.shards[0].state(), ShardState::Running);
    assert!(bench.bots().await.iter().all(|bot| !bot.dead));

    other.finish(0);
    other.no_wait().synchronize().await.unwrap();
    let ended = bench.get(&run).await;
    assert_eq!(ended.state(), RunState::Succeeded);
    let [first, second] = &ended.shards[0].attempts[..] else { panic!() };
    assert_eq!((first.lost.as_str(), first.output_size), ("bot b1 was silent for 30s", 0));
    assert_eq!(second.bot_id, "b2");
    bench.stop().await;
}

#[tokio::test]
async fn a_bot_that_holds_its_calls_open_keeps_its_lease() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    let run = bench.trigger("r", 1).await;
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    for _ in 0..10 {
        bench.pass(&clock, 29).await;
        assert_eq!(bot.synchronize().await.unwrap().len(), 1);
    }
    assert_eq!(bench.get(&run).await.shards[0].attempts.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_restarted_bot_starts_its_shard_anew_and_its_old_process_is_refused() {
    let mut bench = Bench::start().await;
    bench.trigger("r", 1).await;
    let mut old = bench.bot("b").no_wait();
    old.work().await;
    let mut new = bench.bot("b").no_wait();
    new.request.session_id = "b-2".into();
    let again = new.work().await;
    assert_eq!(again.lease.as_ref().unwrap().attempt, 2);
    let refused = old.synchronize().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("give each bot its own"), "{}", refused.message());
    bench.stop().await;
}

async fn order(bench: &Bench, bot: &str, order: BotOrder, message: &str) -> Result<usize, tonic::Status> {
    let request = OrderBotRequest { bot_id: bot.into(), order: order.into(), message: message.into() };
    Ok(bench.client().order_bot(request).await?.into_inner().running.len())
}

#[tokio::test]
async fn a_quarantined_bot_finishes_what_it_has_and_gets_nothing_until_it_is_resumed() {
    let bench = Bench::start().await;
    let run = bench.trigger("r", 2).await;
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    assert_eq!(order(&bench, "b", BotOrder::Quarantine, "disk errors").await.unwrap(), 1);
    bot.finish(0);
    assert_eq!(bot.synchronize().await.unwrap(), []);

    let mut bench = bench.restart().await;
    let mut bot = bot.moved_to(&bench);
    assert_eq!(bot.synchronize().await.unwrap(), [], "an order survives the scheduler");
    let request = ListBotsRequest { states: vec![BotState::Quarantined.into()], ..Default::default() };
    let listed = bench.client().list_bots(request).await.unwrap().into_inner().bots;
    assert_eq!(listed[0].order_message, "disk errors");
    let explained = bench.client().explain(ExplainRequest { id: run.clone() }).await.unwrap().into_inner();
    assert_eq!(explained.steps[0].obstacles[0].criterion, "the bot was quarantined: disk errors");

    order(&bench, "b", BotOrder::Work, "").await.unwrap();
    bot.work().await;
    assert_eq!(order(&bench, "nobody", BotOrder::Drain, "").await.unwrap_err().code(), Code::NotFound);
    bench.stop().await;
}

#[tokio::test]
async fn a_bot_that_waits_is_told_to_end_and_works_again_when_it_is_started_again() {
    let mut bench = Bench::start().await;
    let mut bot = bench.bot("b").no_wait();
    assert!(!bot.say().await.unwrap().terminate);
    order(&bench, "b", BotOrder::Terminate, "").await.unwrap();
    assert!(bot.say().await.unwrap().terminate);
    bench.trigger("r", 1).await;
    assert_eq!(bot.synchronize().await.unwrap(), []);
    bot.request.session_id = "b-2".into();
    let taken = eventually(async || bot.say().await.unwrap().desired.pop()).await;
    assert_eq!(taken.lease.unwrap().attempt, 1);
    assert!(!bot.say().await.unwrap().terminate);
    bench.stop().await;
}
