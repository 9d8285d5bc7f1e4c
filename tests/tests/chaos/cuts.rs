//! Every connection is cut again and again while a run goes on.

use proto::v1::RunState;
use runtime::{Clock as _, Entropy as _, SeededEntropy, SystemClock};
use std::time::Duration;
use tests::{Suite, System};

#[tokio::test]
async fn a_run_is_whole_though_every_connection_is_cut_again_and_again() {
    let system = System::start_patient(3).await;
    let suite = Suite::new(60, "0.03");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 6).await;
    let mut collect = system.command("swarm");
    collect.args(["collect", &id]);
    let mut collecting = tokio::task::JoinSet::new();
    collecting.spawn(async move { tests::Finished::of(&mut collect).await });
    let clock = SystemClock::new();
    let entropy = SeededEntropy::new(11);
    let cutting = async {
        loop {
            clock.sleep(Duration::from_millis(50 + entropy.next() % 300)).await;
            system.scheduler_proxy.cut();
            system.cas_proxy.cut();
        }
    };
    let run = tokio::select! {
        run = system.wait_for(&id, |run| run.ended.is_some()) => run,
        () = cutting => unreachable!("cuts go on for ever"),
    };
    assert_eq!(run.state(), RunState::Succeeded, "{run:#?}");
    for shard in &run.shards {
        assert_eq!(shard.attempts.len(), 1, "a cut connection loses no attempt: {shard:#?}");
    }
    system.assert_whole(&run, &suite).await;
    collecting.join_next().await.unwrap().unwrap().expect(0);
}
