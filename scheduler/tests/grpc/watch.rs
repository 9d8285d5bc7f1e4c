//! Following a run.

use crate::support::{Bench, soon};
use proto::v1::{RunState, ShardState, WatchRequest, watch_response::Update};
use tonic::Code;

#[tokio::test]
async fn a_watch_tells_what_is_then_what_changes_until_the_end() {
    let mut bench = Bench::start().await;
    let run = bench.trigger("r", 2).await;
    let request = WatchRequest { run_id: run };
    let mut watch = bench.client().watch(request.clone()).await.unwrap().into_inner();
    let Some(Update::Run(snapshot)) = soon(watch.message()).await.unwrap().unwrap().update else { panic!() };
    assert_eq!((snapshot.state(), snapshot.shards.len()), (RunState::Pending, 2));

    let mut bot = bench.bot("b").no_wait();
    let mut shards = snapshot.shards;
    let mut told = async |until: RunState| loop {
        let message = soon(watch.message()).await.unwrap().unwrap();
        let Some(Update::Changes(changes)) = message.update else { panic!() };
        for shard in &changes.shards {
            shards[shard.index as usize] = shard.clone();
        }
        if changes.state() == until {
            return shards.iter().map(|shard| shard.state()).collect::<Vec<_>>();
        }
    };
    bot.work().await;
    assert_eq!(told(RunState::Running).await, [ShardState::Running, ShardState::Pending]);
    bot.finish(0);
    bot.synchronize().await.unwrap();
    bot.finish(3);
    bot.synchronize().await.unwrap();
    assert_eq!(told(RunState::Failed).await, [ShardState::Completed, ShardState::Completed]);
    assert!(soon(watch.message()).await.unwrap().is_none(), "it ends with the run");

    let mut late = bench.client().watch(request).await.unwrap().into_inner();
    let Some(Update::Run(ended)) = soon(late.message()).await.unwrap().unwrap().update else { panic!() };
    assert_eq!(ended.state(), RunState::Failed);
    assert!(soon(late.message()).await.unwrap().is_none());
    bench.stop().await;
}

#[tokio::test]
async fn a_large_run_comes_in_several_messages_and_so_do_its_changes() {
    const SHARDS: u32 = 100_000;
    let mut bench = Bench::start().await;
    let run = bench.trigger("r", SHARDS).await;
    // As any client: it accepts 4 MiB.
    let mut client = proto::v1::swarm_client::SwarmClient::new(bench.channel());
    let mut watch = client.watch(WatchRequest { run_id: run.clone() }).await.unwrap().into_inner();
    let Some(Update::Run(snapshot)) = soon(watch.message()).await.unwrap().unwrap().update else { panic!() };
    let mut shards = snapshot.shards.len() as u32;
    while shards < SHARDS {
        let message = soon(watch.message()).await.unwrap().unwrap();
        let Some(Update::Changes(changes)) = message.update else { panic!() };
        assert_eq!(changes.shards[0].index, shards);
        shards += changes.shards.len() as u32;
    }
    bench.cancel(&run, true).await;
    let mut canceled = 0;
    while let Some(message) = soon(watch.message()).await.unwrap() {
        let Some(Update::Changes(changes)) = message.update else { panic!() };
        canceled += changes.shards.len() as u32;
        assert_eq!(changes.ended.is_some(), canceled == SHARDS, "the end is told last");
        assert_eq!(changes.state() == RunState::Canceled, canceled == SHARDS);
    }
    assert_eq!(canceled, SHARDS);
    bench.stop().await;
}

#[tokio::test]
async fn an_unknown_run_cannot_be_watched() {
    let mut bench = Bench::start().await;
    let unknown = WatchRequest { run_id: "0000000000000".into() };
    assert_eq!(bench.client().watch(unknown).await.unwrap_err().code(), Code::NotFound);
    bench.stop().await;
}
