//! The scheduler stops and starts over the same journal.

use crate::support::{Bench, run_spec};
use proto::v1::{ReadOutputRequest, RunState, ShardState};
use tonic::Code;

#[tokio::test]
async fn a_bot_goes_on_under_its_token_through_a_restart() {
    let bench = Bench::start().await;
    let run = bench.trigger("r", 2).await;
    let mut bot = bench.bot("b");
    let before = bot.work().await;
    bot.print("half of ");
    bot.synchronize().await.unwrap();

    let mut bench = bench.restart().await;
    let mut bot = bot.moved_to(&bench).no_wait();
    let shard = &bench.get(&run).await.shards[0];
    assert_eq!(shard.state(), ShardState::Running);
    assert_eq!(shard.attempts[0].output_size, 8, "what was received is known without asking the bot");
    let [after] = &bot.synchronize().await.unwrap()[..] else { panic!() };
    assert_eq!(after.lease, before.lease);
    assert_eq!(after.output_received, 8);
    bot.print("it");
    bot.finish(0);
    let [next] = &bot.synchronize().await.unwrap()[..] else { panic!() };
    assert!(next.lease.as_ref().unwrap().token > before.lease.as_ref().unwrap().token);
    bot.finish(0);
    bot.synchronize().await.unwrap();

    let ended = bench.get(&run).await;
    assert_eq!(ended.state(), RunState::Succeeded);
    assert!(ended.shards.iter().all(|shard| shard.attempts.len() == 1));
    let request = ReadOutputRequest { shard_id: ended.shards[0].id.clone(), ..Default::default() };
    assert_eq!(bench.output(request).await.unwrap(), "half of it");
    bench.stop().await;
}

#[tokio::test]
async fn a_trigger_is_repeated_safely_also_after_a_restart() {
    let bench = Bench::start().await;
    let first = bench.trigger_spec("r", run_spec(3)).await.unwrap();
    assert!(first.created);
    let again = bench.trigger_spec("r", run_spec(3)).await.unwrap();
    assert_eq!((again.run_id.as_str(), again.created, again.shards), (first.run_id.as_str(), false, 3));

    let mut bench = bench.restart().await;
    let after = bench.trigger_spec("r", run_spec(3)).await.unwrap();
    assert_eq!((after.run_id, after.created), (first.run_id, false));
    let other = bench.trigger_spec("r", run_spec(4)).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    assert!(other.message().contains("choose a new request id"), "{}", other.message());
    bench.stop().await;
}

#[tokio::test]
async fn two_schedulers_do_not_share_a_journal() {
    let mut bench = Bench::start().await;
    let clock = runtime::SystemClock::shared();
    let second = scheduler::start(bench.config.clone(), clock, runtime::SystemEntropy::shared()).await;
    let error = second.unwrap_err();
    assert!(error.to_string().contains("is in use: one scheduler at a time"), "{error}");
    assert_eq!(error.exit(), runtime::Exit::Usage);
    bench.stop().await;
}
