//! Steps that wait for earlier ones, as clients and bots see them.

use crate::support::{Bench, FakeBot, completed, run_spec};
use proto::{
    DigestFunction,
    v1::{self, RunState, ShardState},
};
use tonic::Code;

/// A build, then two shards that are given what it has left, then a merge of what they have left.
fn chain() -> v1::RunSpec {
    let mut spec = run_spec(1);
    let include = |step, into: &str| v1::OutputOf { step, into: into.into() };
    let shards = v1::StepSpec { includes: vec![include(0, "built")], ..run_spec(2).steps.remove(0) };
    let merge = v1::StepSpec {
        input: None,
        command: vec!["merge".into()],
        after: vec![v1::After { step: 1, condition: v1::after::Condition::Ended.into() }],
        includes: vec![include(1, "parts/{index}")],
        ..run_spec(1).steps.remove(0)
    };
    spec.steps.extend([shards, merge]);
    spec
}

fn states(run: &v1::Run) -> Vec<ShardState> {
    run.shards.iter().map(v1::Shard::state).collect()
}

/// The bot ends what it has, having left outputs, and is told what comes next.
async fn finish(bot: &mut FakeBot, exit_code: i32, outputs: &str) -> Vec<v1::DesiredAttempt> {
    bot.finish(exit_code);
    let outputs = Some(DigestFunction::Blake3.digest(outputs.as_bytes()).into());
    bot.request.held[0].result = Some(v1::AttemptResult { outputs, ..completed(exit_code) });
    bot.synchronize().await.unwrap()
}

#[tokio::test]
async fn outputs_go_from_step_to_step_also_over_a_restart() {
    let bench = Bench::start().await;
    let run = bench.trigger_spec("r1", chain()).await.unwrap().run_id;
    let mut bot = bench.bot("b1").no_wait();
    assert_eq!(bot.work().await.assignment.unwrap().includes, []);
    let seen = bench.get(&run).await;
    assert_eq!(states(&seen)[..2], [ShardState::Running, ShardState::Waiting]);
    let counts = seen.counts.unwrap();
    assert_eq!((counts.running, counts.waiting), (1, 3));
    let early = v1::GetAssignmentRequest { shard_id: format!("{run}/2/0") };
    let refused = bench.client().get_assignment(early.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{}", refused.message());

    let next = finish(&mut bot, 0, "build").await;
    let includes = &next[0].assignment.as_ref().unwrap().includes;
    assert_eq!(includes.len(), 1);
    assert_eq!(includes[0].into, "built");
    assert_eq!(includes[0].outputs, Some(DigestFunction::Blake3.digest(b"build").into()));
    let bench = bench.restart().await;
    let mut bot = bot.moved_to(&bench).no_wait();
    bot.synchronize().await.unwrap();
    finish(&mut bot, 0, "first").await;
    let merge = finish(&mut bot, 1, "second").await.remove(0).assignment.unwrap();
    assert_eq!(merge.input, None);
    let into: Vec<&str> = merge.includes.iter().map(|included| included.into.as_str()).collect();
    assert_eq!(into, ["parts/0", "parts/1"]);
    let elsewhere = bench.client().get_assignment(early).await.unwrap().into_inner().assignment.unwrap();
    assert_eq!(elsewhere.includes, merge.includes);
    finish(&mut bot, 0, "merged").await;
    assert_eq!(bench.get(&run).await.state(), RunState::Failed);
}

#[tokio::test]
async fn who_watches_hears_of_what_becomes_ready_and_of_what_is_skipped() {
    let bench = Bench::start().await;
    let run = bench.trigger_spec("r1", chain()).await.unwrap().run_id;
    let request = v1::WatchRequest { run_id: run.clone() };
    let mut updates = bench.client().watch(request).await.unwrap().into_inner();
    assert!(matches!(
        updates.message().await.unwrap().unwrap().update,
        Some(v1::watch_response::Update::Run(_))
    ));
    let explain = v1::ExplainRequest { id: run.clone() };
    let told = bench.client().explain(explain).await.unwrap().into_inner().waiting;
    assert_eq!(told.iter().map(|step| step.for_steps.clone()).collect::<Vec<_>>(), [[0], [1]]);

    let mut bot = bench.bot("b1").no_wait();
    bot.work().await;
    finish(&mut bot, 0, "build").await;
    let mut seen = std::collections::BTreeMap::new();
    while seen.get(&format!("{run}/1/1")) != Some(&ShardState::Pending) {
        take(updates.message().await.unwrap().unwrap(), &mut seen);
    }
    bench.cancel(&run, true).await;
    while seen.get(&format!("{run}/2/0")) != Some(&ShardState::Canceled) {
        take(updates.message().await.unwrap().unwrap(), &mut seen);
    }

    let run = bench.trigger_spec("r2", chain()).await.unwrap().run_id;
    let mut bot = bench.bot("b2").no_wait();
    bot.work().await;
    finish(&mut bot, 7, "no build").await;
    let ended = bench.get(&run).await;
    let skipped = [ShardState::Skipped; 3];
    assert_eq!((ended.state(), &states(&ended)[1..]), (RunState::Failed, &skipped[..]));
    let counts = ended.counts.unwrap();
    assert_eq!((counts.failed, counts.skipped), (1, 3));
    assert!(bench.http("/metrics").await.contains("shards_ended_total{state=\"skipped\"} 3"));
}

/// Takes in what a message tells of shards.
fn take(message: v1::WatchResponse, seen: &mut std::collections::BTreeMap<String, ShardState>) {
    let shards = match message.update.unwrap() {
        v1::watch_response::Update::Run(run) => run.shards,
        v1::watch_response::Update::Changes(changes) => changes.shards,
    };
    seen.extend(shards.into_iter().map(|shard| (shard.id.clone(), shard.state())));
}
