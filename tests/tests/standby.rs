//! Two schedulers on one PostgreSQL database: one may die or be stopped at any instruction, the other goes on.

use proto::v1::{self, RunState, ShardState, swarm_client::SwarmClient};
use std::time::Duration;
use tests::{Finished, Suite, System, soon};
use tokio::task::JoinSet;
use tonic::{Code, Status};

/// The lease of a silent owner, a look at it each second, and what a busy machine adds.
const SECONDS: Duration = Duration::from_secs(20);

fn running(run: &v1::Run) -> usize {
    run.shards.iter().filter(|shard| shard.state() == ShardState::Running).count()
}

/// `swarm collect` in the background.
fn collect(system: &System, run: &str) -> JoinSet<Finished> {
    let mut command = system.command("swarm");
    command.args(["collect", run]);
    let mut collecting = JoinSet::new();
    collecting.spawn(async move { Finished::of(&mut command).await });
    collecting
}

async fn assert_complete(system: &System, id: &str, suite: &Suite) {
    let run = system.wait_for(id, |run| run.ended.is_some()).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:#?}");
    for shard in &run.shards {
        assert_eq!(shard.attempts.len(), 1, "bots kept their tasks: {shard:#?}");
    }
    system.assert_whole(&run, suite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standby_of_a_killed_scheduler_goes_on_with_its_run() {
    let mut system = System::with_standby(2).await;
    let suite = Suite::new(60, "0.05");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 4).await;
    let mut collecting = collect(&system, &id);
    system.wait_for(&id, |run| running(run) == 2).await;
    system.kill_scheduler().await;
    let (_, took) = system.wait_for_takeover().await;
    assert!(took < SECONDS, "{took:?}");
    assert_complete(&system, &id, &suite).await;
    collecting.join_next().await.unwrap().unwrap().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_stopped_scheduler_does_when_it_goes_on_counts() {
    let mut system = System::with_standby(2).await;
    let suite = Suite::new(60, "0.05");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 4).await;
    let mut collecting = collect(&system, &id);
    system.wait_for(&id, |run| running(run) == 2).await;
    system.scheduler.as_ref().unwrap().pause();
    let (former, took) = system.wait_for_takeover().await;
    assert!(took < SECONDS, "{took:?}");

    // Calls that reach the former owner before it knows.
    let former = former.unwrap();
    let mut late = JoinSet::new();
    let input: proto::Digest = digest.parse().unwrap();
    for number in 0..20 {
        let mut client = SwarmClient::new(runtime::connect::channel(former.url(), None).unwrap());
        let id = id.clone();
        late.spawn(async move {
            let answer = match number % 2 {
                0 => client.trigger(request(number, input)).await.map(drop),
                _ => client.get(v1::GetRequest { run_id: id }).await.map(drop),
            };
            answer.expect_err("the former owner gives no answer")
        });
    }
    former.resume();
    let refusals: Vec<Status> = soon("late answers", late.join_all()).await;
    for refused in refusals {
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    }
    let owner = system.scheduler.as_ref().unwrap().url().to_owned();
    let mut client = SwarmClient::new(runtime::connect::channel(former.url(), None).unwrap());
    tests::eventually("the former owner to name the owner", || {
        let (mut client, owner) = (client.clone(), owner.clone());
        async move {
            let refused = client.list(v1::ListRequest::default()).await.unwrap_err();
            refused.message().contains(&format!("the one at {owner} has the journal")).then_some(())
        }
    })
    .await;
    let (status, health) = tests::http(former.address(), "GET", "/healthz", b"").await;
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&health));

    assert_complete(&system, &id, &suite).await;
    collecting.join_next().await.unwrap().unwrap().expect(0);
    for number in (0..20).step_by(2) {
        let made = system.client().trigger(request(number, input)).await.unwrap().into_inner();
        assert!(made.created, "the former owner has made nothing");
    }

    // And back again.
    system.standby = Some(former);
    assert!(system.scheduler.take().unwrap().terminate().await.success());
    system.wait_for_takeover().await;
    client = system.client();
    let runs = client.list(v1::ListRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(runs.len(), 11);
}

fn request(number: u32, input: proto::Digest) -> v1::TriggerRequest {
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: 1 });
    // No bot has it: the ledger of the run under test stays what it is.
    let requirement = v1::Requirement { key: "nobody".into(), any_of: vec!["has".into()] };
    let step = v1::StepSpec {
        input: Some(input.into()),
        requirements: vec![requirement],
        fan_out: Some(v1::FanOut { policy: Some(policy) }),
        ..Default::default()
    };
    let run = v1::RunSpec { steps: vec![step], ..Default::default() };
    v1::TriggerRequest { request_id: format!("late-{number}"), run: Some(run), ..Default::default() }
}
