//! Any process can be killed at any instruction: nothing that was acknowledged is lost, nothing happens twice.

use proto::v1::{RunState, ShardState};
use runtime::{Clock as _, Entropy as _, SeededEntropy, SystemClock};
use rustix::process::{Signal, kill_process};
use std::time::Duration;
use tests::{Suite, System};

fn running(run: &proto::v1::Run) -> usize {
    run.shards.iter().filter(|shard| shard.state() == ShardState::Running).count()
}

#[tokio::test]
async fn a_killed_bots_shard_goes_to_another_bot() {
    let mut system = System::start(2).await;
    let suite = Suite::new(100, "0.05");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 2).await;
    let run = system.wait_for(&id, |run| running(run) == 2).await;
    let bot: usize = run.shards[0].attempts[0].bot_id.strip_prefix("bot-").unwrap().parse().unwrap();
    system.kill_bot(bot).await;
    let run = system.wait_for(&id, |run| run.ended.is_some()).await;
    assert_eq!(run.state(), RunState::Succeeded);
    assert_eq!(run.shards[0].attempts.len(), 2, "{:#?}", run.shards[0]);
    assert!(!run.shards[0].attempts[0].lost.is_empty());
    assert_eq!(run.shards[1].attempts.len(), 1, "the other bot's shard was not touched");
    system.assert_whole(&run, &suite).await;
}

#[tokio::test]
async fn a_killed_bots_task_dies_with_it() {
    let mut system = System::start(1).await;
    let suite = Suite::new(400, "0.05");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 1).await;
    system.wait_for(&id, |run| running(run) == 1).await;
    system.kill_bot(0).await;
    let marker = system.path().to_str().unwrap().to_owned();
    tests::eventually("the killed bot's task to be gone", || {
        let gone = !tests::processes_below(&marker).iter().any(|line| line.contains("suite.sh"));
        async move { gone.then_some(()) }
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_bot_has_told_of_its_last_attempt_stays_readable() {
    let mut system = System::start(1).await;
    let digest = system.archive(&Suite::new(400, "0.05")).await;
    let id = system.trigger(&digest, 1).await;
    let shard = format!("{id}/0/0");
    tests::eventually("some output to be told", || async {
        system.run("swarm", ["logs", &shard]).await.stdout.contains("line 3\n").then_some(())
    })
    .await;
    system.kill_bot(0).await;
    system.wait_for(&id, |run| !run.shards[0].attempts[0].lost.is_empty()).await;
    let logs = system.run("swarm", ["logs", &shard, "--attempt", "1"]).await;
    assert!(logs.stdout.contains("line 3\n"), "{logs:?}");
}

/// What the only attempt of a bot has printed by now, as the bot keeps it.
fn spooled(system: &System) -> Vec<u8> {
    std::fs::read(system.path().join("bot-0/work/1/output")).unwrap_or_default()
}

#[tokio::test]
async fn what_a_killed_bot_could_not_tell_of_its_last_attempt_is_told_by_its_next_process() {
    let mut system = System::start(1).await;
    let digest = system.archive(&Suite::new(400, "0.05")).await;
    let id = system.trigger(&digest, 1).await;
    tests::eventually("some output", || async { (!spooled(&system).is_empty()).then_some(()) }).await;
    system.kill_scheduler().await;
    let had = spooled(&system).len();
    tests::eventually("more output", || async { (spooled(&system).len() > had + 200).then_some(()) }).await;
    system.kill_bot(0).await;
    let output = String::from_utf8(spooled(&system)).unwrap();
    system.restart_bot(0).await;
    system.restart_scheduler().await;
    let run = system.wait_for(&id, |run| !run.shards[0].attempts[0].lost.is_empty()).await;
    assert!(run.shards[0].attempts[0].result.is_none(), "{run:#?}");
    let logs = system.run("swarm", ["logs", &format!("{id}/0/0"), "--attempt", "1"]).await;
    assert_eq!(logs.stdout, output);
}

#[tokio::test]
async fn a_result_outlasts_the_scheduler_and_then_the_bots_process() {
    for is_killed in [true, false] {
        let mut system = System::start(1).await;
        let suite = Suite::new(100, "0.05");
        let digest = system.archive(&suite).await;
        let id = system.trigger(&digest, 1).await;
        let record = system.path().join("bot-0/work/1/attempt");
        tests::eventually("the bot to have it", || async { record.exists().then_some(()) }).await;
        system.kill_scheduler().await;
        tests::eventually("the result to be on the disk", || async {
            std::fs::read_to_string(&record).unwrap().contains("completed").then_some(())
        })
        .await;
        if is_killed {
            system.kill_bot(0).await;
        } else {
            let bot = system.bots[0].take().unwrap();
            // It drains, and is then told not to wait for the scheduler.
            let pid = bot.pid();
            let urge = async {
                loop {
                    kill_process(pid, Signal::TERM).unwrap();
                    SystemClock::new().sleep(Duration::from_millis(100)).await;
                }
            };
            let ended = tokio::select! {
                biased;
                ended = bot.terminate() => ended,
                () = urge => unreachable!("it goes on"),
            };
            assert!(ended.success());
        }
        system.restart_bot(0).await;
        system.restart_scheduler().await;
        let run = system.wait_for(&id, |run| run.ended.is_some()).await;
        assert_eq!(run.shards[0].attempts.len(), 1, "{run:#?}");
        system.assert_whole(&run, &suite).await;
        tests::eventually("nothing of it to be left", || async { (!record.exists()).then_some(()) }).await;
        // And the bot goes on.
        let next = system.trigger(&digest, 1).await;
        let next = system.wait_for(&next, |run| run.ended.is_some()).await;
        assert_eq!(next.state(), RunState::Succeeded);
    }
}

#[tokio::test]
async fn a_killed_scheduler_goes_on_with_the_shards_that_were_running() {
    let mut system = System::start_patient(2).await;
    let suite = Suite::new(30, "0.05");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 4).await;
    for _ in 0..3 {
        system.wait_for(&id, |run| running(run) > 0 || run.ended.is_some()).await;
        system.kill_scheduler().await;
        system.restart_scheduler().await;
    }
    let run = system.wait_for(&id, |run| run.ended.is_some()).await;
    assert_eq!(run.state(), RunState::Succeeded);
    for shard in &run.shards {
        assert_eq!(shard.attempts.len(), 1, "bots kept their tasks: {shard:#?}");
    }
    system.assert_whole(&run, &suite).await;
}

#[tokio::test]
async fn a_killed_cas_delays_shards_and_fails_none() {
    let mut system = System::start_patient(2).await;
    let suite = Suite::new(10, "0.05");
    let digest = system.archive(&suite).await;
    let id = system.trigger(&digest, 8).await;
    for _ in 0..3 {
        system.wait_for(&id, |run| running(run) > 0 || run.ended.is_some()).await;
        system.kill_cas().await;
        system.restart_cas().await;
    }
    let run = system.wait_for(&id, |run| run.ended.is_some()).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:#?}");
    for shard in &run.shards {
        assert_eq!(shard.attempts.len(), 1, "bots waited for the CAS: {shard:#?}");
    }
    system.assert_whole(&run, &suite).await;
}

#[tokio::test]
async fn a_killed_cas_has_every_blob_that_it_acknowledged() {
    let mut system = System::start(0).await;
    let clock = SystemClock::new();
    let entropy = SeededEntropy::new(7);
    let mut acknowledged = Vec::new();
    for round in 0..12u32 {
        let files = system.path().join(format!("round-{round}"));
        std::fs::create_dir(&files).unwrap();
        for file in 0..60u32 {
            let big = if file == 0 { 3_000_000 } else { 2_000 };
            let text = format!("{round} {file} ").repeat(big / 6);
            std::fs::write(files.join(file.to_string()), text).unwrap();
        }
        // Each file is an archive of its own, so that the kill falls between acknowledgements.
        let mut uploads = tokio::task::JoinSet::new();
        for part in 0..4u32 {
            let names: Vec<String> = (0..15).map(|n| (part * 15 + n).to_string()).collect();
            for name in names {
                let mut command = system.command("isolate");
                command.args(["archive", "--root", files.to_str().unwrap(), &name]).arg("-q");
                uploads.spawn(async move { tests::Finished::of(&mut command).await });
            }
        }
        clock.sleep(Duration::from_millis(50 + entropy.next() % 400)).await;
        system.kill_cas().await;
        system.restart_cas().await;
        while let Some(upload) = uploads.join_next().await {
            let upload = upload.unwrap();
            if upload.code == 0 {
                acknowledged.push(upload.stdout.split_whitespace().next().unwrap().to_owned());
            }
        }
    }
    assert!(acknowledged.len() > 12, "something was acknowledged: {}", acknowledged.len());
    for (number, digest) in acknowledged.iter().enumerate() {
        let dir = system.path().join(format!("back-{number}"));
        let args = ["download", digest, "-o", dir.to_str().unwrap()];
        system.run("isolate", args).await.expect(0);
    }
}
