//! Cancelling pending and running shards.

use crate::support::{Bench, eventually, run_spec, soon};
use proto::v1::{AttemptResult, CancelRunsRequest, RunState, ShardState};
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

#[tokio::test]
async fn runs_are_cancelled_by_their_tags_once_and_for_good() {
    let (bench, clock) = Bench::with_manual_clock().await;
    let trigger = async |request: &str, tag: &str, user: &str| {
        let mut spec = run_spec(2);
        spec.tags.push(tag.into());
        spec.user = user.into();
        clock.advance(std::time::Duration::from_millis(1));
        bench.trigger_spec(request, spec).await.unwrap().run_id
    };
    let first = trigger("1", "branch:main", "ann").await;
    let other = trigger("2", "branch:old", "ann").await;
    let second = trigger("3", "branch:main", "bob").await;
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    let wanted = CancelRunsRequest {
        tags: vec!["branch:main".into(), "suite:unit".into()],
        kill_running: true,
        ..Default::default()
    };
    let cancel = async |request: &CancelRunsRequest| {
        bench.client().cancel_runs(request.clone()).await.unwrap().into_inner()
    };
    let of_bob = cancel(&CancelRunsRequest { user: "bob".into(), dry_run: true, ..wanted.clone() }).await;
    assert_eq!((of_bob.run_ids, of_bob.canceled, of_bob.killing), (vec![second.clone()], 2, 0));
    let told = cancel(&CancelRunsRequest { dry_run: true, ..wanted.clone() }).await;
    assert_eq!(
        (told.run_ids.as_slice(), told.canceled, told.killing),
        (&[second.clone(), first.clone()][..], 3, 1)
    );
    assert_eq!(bench.get(&first).await.state(), RunState::Running, "a dry run changes nothing");

    assert_eq!(cancel(&wanted).await, told, "what was told is what is done");
    let again = cancel(&wanted).await;
    assert_eq!((again.run_ids.as_slice(), again.canceled, again.killing), (&[first.clone()][..], 0, 0));
    let bench = bench.restart().await;
    assert_eq!(bench.get(&second).await.state(), RunState::Canceled);
    assert!(bench.get(&first).await.shards[0].killing);
    assert_eq!(bench.get(&other).await.state(), RunState::Pending);
    let refused = bench.client().cancel_runs(CancelRunsRequest::default()).await.unwrap_err();
    assert!(refused.message().contains("name at least one"), "{refused}");
    let mut bench = bench;
    bench.stop().await;
}

#[tokio::test]
async fn one_call_cancels_so_many_shards_and_says_where_to_go_on() {
    let (mut bench, clock) = Bench::with_manual_clock().await;
    for request in ["1", "2", "3"] {
        bench.trigger(request, 6000).await;
        clock.advance(std::time::Duration::from_millis(1));
    }
    let mut request = CancelRunsRequest { tags: vec!["suite:unit".into()], ..Default::default() };
    let mut canceled = vec![];
    loop {
        let answer = bench.client().cancel_runs(request.clone()).await.unwrap().into_inner();
        canceled.push(answer.canceled);
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(canceled, [12_000, 6000]);
    bench.stop().await;
}
