//! What the original Swarming asserts on itself end to end, one fact each, through real processes. Those that are not here
//! are `main_path`, `idempotent` and `named_caches`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proto::v1::{self, RunState, ShardState};
use std::fs;
use tests::{System, eventually};

/// Archives a shell script and triggers it; the run's id.
async fn trigger(system: &System, script: &str, flags: &[&str]) -> String {
    fs::write(system.path().join("input"), "x").unwrap();
    let archived = system.run("isolate", ["archive", "input", "--", "sh", "-c", script]).await.expect(0);
    let digest = archived.stdout.split_whitespace().next().unwrap().to_owned();
    let triggered = system.run("swarm", ["trigger", &digest].iter().chain(flags)).await.expect(0);
    triggered.stdout.trim().to_owned()
}

async fn ended(system: &System, run: &str) -> v1::Run {
    system.wait_for(run, |run| run.ended.is_some()).await
}

async fn ran(system: &System, script: &str, flags: &[&str]) -> v1::Run {
    ended(system, &trigger(system, script, flags).await).await
}

/// Its command has said so: it runs, and what it sets up is set up.
async fn started(system: &System, run: &str) {
    eventually("the command to begin", || async {
        let running = system.get(run).await.shards[0].state() == ShardState::Running;
        (running && system.output(&format!("{run}/0/0")).await.contains("begun\n")).then_some(())
    })
    .await;
}

fn last(run: &v1::Run) -> (ShardState, Option<i32>) {
    let shard = &run.shards[0];
    let result = shard.attempts.last().and_then(|attempt| attempt.result.as_ref());
    (shard.state(), result.and_then(|result| result.exit_code))
}

/// What is in a file that the shard has left.
async fn left(system: &System, run: &v1::Run, file: &str) -> String {
    let result = run.shards[0].attempts.last().unwrap().result.as_ref().unwrap();
    let digest = proto::Digest::try_from(result.outputs.as_ref().unwrap()).unwrap().to_string();
    let dir = system.path().join(format!("left-{}", run.id));
    system.run("isolate", ["download", &digest, "-o", dir.to_str().unwrap()]).await.expect(0);
    fs::read_to_string(dir.join(file)).unwrap()
}

#[tokio::test]
async fn bytes_that_are_no_text_come_through_and_a_key_may_be_asked_for_twice() {
    let system = System::start_patient(1).await;
    let twice = ["-d", "os=Linux", "-d", "os=Mac|Linux"];
    let run = ran(&system, r"printf 'A\377\000\200B\n'", &twice).await;
    let request = v1::ReadOutputRequest { shard_id: format!("{}/0/0", run.id), ..Default::default() };
    let mut stream = system.client().read_output(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        bytes.extend_from_slice(&part.data);
    }
    assert_eq!(bytes, b"A\xff\0\x80B\n");
    let asked = &run.spec.unwrap().steps[0].requirements;
    assert_eq!(asked.iter().filter(|one| one.key == "os").count(), 2);
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_the_inputs_fault_and_named() {
    let system = System::start_patient(1).await;
    let run = ran(&system, "", &["--command", "--", "./no-such-program"]).await;
    let (state, exit_code) = last(&run);
    assert_eq!((run.state(), state, exit_code), (RunState::Incomplete, ShardState::ClientError, None));
    let result = run.shards[0].attempts[0].result.as_ref().unwrap();
    assert!(result.message.contains("no-such-program"), "{}", result.message);
    assert_eq!(run.shards[0].attempts.len(), 1, "no other bot would do better");
}

#[tokio::test]
async fn a_success_and_a_failure_are_told_by_the_exit_code() {
    let system = System::start_patient(1).await;
    let run = ran(&system, "echo good", &[]).await;
    assert_eq!((run.state(), last(&run)), (RunState::Succeeded, (ShardState::Completed, Some(0))));
    let run = ran(&system, "echo bad; exit 3", &[]).await;
    assert_eq!((run.state(), last(&run)), (RunState::Failed, (ShardState::Completed, Some(3))));
    assert_eq!(system.output(&format!("{}/0/0", run.id)).await, "bad\n");
}

#[tokio::test]
async fn words_are_appended_to_the_manifests_command_or_replace_it() {
    let system = System::start_patient(1).await;
    let script = "echo \"$0 got $*\"";
    let run = ran(&system, script, &["--", "manifest", "one", "two"]).await;
    assert_eq!(system.output(&format!("{}/0/0", run.id)).await, "manifest got one two\n");
    let run = ran(&system, script, &["--command", "--", "cat", "input"]).await;
    assert_eq!(system.output(&format!("{}/0/0", run.id)).await, "x");
}

#[tokio::test]
async fn what_takes_too_long_is_stopped_and_keeps_output_and_files() {
    let system = System::start_patient(1).await;
    let script = "echo begun; echo half > $ISOLATED_OUTDIR/file; sleep 60";
    let run = ran(&system, script, &["--hard-timeout", "5s", "--grace", "1s"]).await;
    assert_eq!((run.state(), last(&run).0), (RunState::Failed, ShardState::TimedOut));
    assert_eq!(system.output(&format!("{}/0/0", run.id)).await, "begun\n");
    assert_eq!(left(&system, &run, "file").await, "half\n");
}

#[tokio::test]
async fn what_is_silent_for_too_long_is_stopped() {
    let system = System::start_patient(1).await;
    let talks = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.8; done";
    let run = ran(&system, talks, &["--io-timeout", "5s"]).await;
    assert_eq!(
        last(&run),
        (ShardState::Completed, Some(0)),
        "it took longer, but was never silent for so long"
    );
    let run = ran(&system, "echo begun; sleep 60", &["--io-timeout", "5s", "--grace", "1s"]).await;
    assert_eq!(last(&run).0, ShardState::TimedOut);
    assert_eq!(system.output(&format!("{}/0/0", run.id)).await, "begun\n");
}

#[tokio::test]
async fn a_command_that_is_told_to_stop_may_still_leave_files() {
    let system = System::start_patient(1).await;
    let script = "trap 'echo saved > $ISOLATED_OUTDIR/late; echo asked; exit 7' TERM; echo begun; \
                  while :; do sleep 0.1; done";
    let run = ran(&system, script, &["--hard-timeout", "5s", "--grace", "20s"]).await;
    assert_eq!(last(&run), (ShardState::TimedOut, Some(7)));
    // The shell tells that its `sleep` was asked to stop, too.
    let output = system.output(&format!("{}/0/0", run.id)).await;
    assert!(output.starts_with("begun\n") && output.ends_with("asked\n"), "{output}");
    assert_eq!(left(&system, &run, "late").await, "saved\n");
}

#[tokio::test]
async fn a_secret_reaches_the_command_and_nobody_else() {
    let system = System::start_patient(1).await;
    let secret = "the password is swordfish";
    fs::write(system.path().join("secret"), secret).unwrap();
    let run = ran(&system, "wc -c < $SWARM_SECRET_FILE", &["--secret-file", "secret"]).await;
    assert_eq!(system.output(&format!("{}/0/0", run.id)).await.trim(), secret.len().to_string());
    assert!(run.has_secret);
    let shown = system.run("swarm", ["show", &run.id, "--json"]).await.expect(0).stdout;
    assert!(!shown.contains("swordfish") && !format!("{run:?}").contains("swordfish"));
    for directory in ["scheduler", "bot-0", "cas"] {
        let mut grep = std::process::Command::new("grep");
        let output = grep.args(["-rl", "swordfish", directory]).current_dir(system.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[tokio::test]
async fn a_lower_number_goes_first_and_equal_ones_in_order() {
    let system = System::start_patient(1).await;
    let hold = trigger(&system, "echo begun; while ! [ -e /nowhere ]; do sleep 0.1; done", &[]).await;
    started(&system, &hold).await;
    let mut runs = Vec::new();
    for priority in ["100", "20", "100", "20", "0"] {
        runs.push(trigger(&system, "true", &["--user", "ann", "--priority", priority]).await);
    }
    system.run("swarm", ["cancel", "--kill", &hold]).await.expect(0);
    let mut begun = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let started = ended(&system, run).await.shards[0].attempts[0].started.unwrap();
        begun.push(((started.seconds, started.nanos), number));
    }
    begun.sort_unstable();
    let order: Vec<usize> = begun.into_iter().map(|(_, number)| number).collect();
    assert_eq!(order, [4, 1, 3, 0, 2]);
}

#[tokio::test]
async fn what_waits_is_cancelled_and_never_runs() {
    let system = System::start_patient(0).await;
    let run = trigger(&system, "echo begun", &[]).await;
    system.run("swarm", ["cancel", &run]).await.expect(0);
    let run = ended(&system, &run).await;
    assert_eq!((run.state(), run.shards[0].state()), (RunState::Canceled, ShardState::Canceled));
    assert_eq!(run.shards[0].attempts, []);
}

#[tokio::test]
async fn what_runs_is_killed_when_that_is_asked_for_and_only_then() {
    let system = System::start_patient(1).await;
    let id = trigger(&system, "trap 'echo asked; exit 9' TERM; echo begun; while :; do sleep 0.1; done", &[])
        .await;
    started(&system, &id).await;
    system.run("swarm", ["cancel", &id]).await.expect(0);
    assert_eq!(system.get(&id).await.shards[0].state(), ShardState::Running, "it goes on to its end");
    system.run("swarm", ["cancel", "--kill", &id]).await.expect(0);
    let run = ended(&system, &id).await;
    assert_eq!((run.state(), last(&run)), (RunState::Canceled, (ShardState::Killed, Some(9))));
    assert!(system.output(&format!("{id}/0/0")).await.ends_with("asked\n"));
}

#[tokio::test]
async fn the_first_slice_is_taken_when_a_bot_fits_it() {
    let system = System::start_patient(1).await;
    let run = ran(&system, "true", &["-d", "os=Linux", "--fallback", "id=bot-0@60s"]).await;
    assert_eq!((run.state(), run.shards[0].slice), (RunState::Succeeded, 0));
}

#[tokio::test]
async fn the_next_slice_is_taken_when_the_first_expires() {
    let system = System::start(1).await;
    let flags = ["-d", "os=Mac", "--wait-for-capacity", "--expiration", "16s", "--fallback", "os=Linux@60s"];
    let run = ran(&system, "true", &flags).await;
    assert_eq!((run.state(), run.shards[0].slice), (RunState::Succeeded, 1));
}

#[tokio::test]
async fn a_shard_that_no_bot_fits_ends_without_waiting_for_its_expiration() {
    let system = System::start_with(1, &["--lease-ttl=3s", "--no-resource-after", "4s"]).await;
    let run = ran(&system, "true", &["-d", "os=Mac", "--expiration", "1h"]).await;
    assert_eq!((run.state(), run.shards[0].state()), (RunState::Incomplete, ShardState::NoResource));
    assert!(run.shards[0].message.contains("no bot that fits"), "{}", run.shards[0].message);
}
