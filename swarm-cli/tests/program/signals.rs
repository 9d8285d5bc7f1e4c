//! Ctrl-C, and what becomes of the run.

use crate::fake::{FakeScheduler, State, eventually, input, run_id, shard_id, signal, told};
use rustix::process::Signal;
use std::{
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn interrupted(child: Child) -> Output {
    signal(child.id().unwrap(), Signal::INT);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    output
}

#[tokio::test]
async fn an_interrupt_of_run_cancels_the_run() {
    let state = State::new(1);
    state.start_all();
    let scheduler = FakeScheduler::start(&state).await;
    let child = spawn(scheduler.swarm(&["run", &input().to_string()]));
    eventually("a watcher", || state.watchers() == 1).await;
    let output = interrupted(child).await;
    assert!(told(&output).contains("run 1hf7yat000007 is canceled"), "{}", told(&output));
    assert!(state.cancels.lock().unwrap()[0].kill_running);
}

#[tokio::test]
async fn an_interrupt_of_collect_leaves_the_run_alone() {
    let state = State::new(1);
    state.start_all();
    let scheduler = FakeScheduler::start(&state).await;
    let child = spawn(scheduler.swarm(&["collect", &run_id().to_string()]));
    eventually("a watcher", || state.watchers() == 1).await;
    let output = interrupted(child).await;
    assert!(told(&output).contains("run 1hf7yat000007 goes on without us"), "{}", told(&output));
    assert!(state.cancels.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_interrupt_before_there_is_a_run_is_heeded() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let child = spawn(crate::fake::swarm(&["run", &input().to_string(), "--scheduler", &url]));
    let _connection = silent.accept().await.unwrap();
    let output = interrupted(child).await;
    assert!(told(&output).contains("it may have made the run, see `swarm runs`"), "{}", told(&output));
}

#[tokio::test]
async fn an_interrupt_is_heeded_while_results_are_collected() {
    let state = State::new(1);
    state.end_all(&[0]);
    let outputs = proto::DigestFunction::Blake3.digest(b"outputs").into();
    state.change(|run| run.shards[0].attempts[0].result.as_mut().unwrap().outputs = Some(outputs));
    let scheduler = FakeScheduler::start(&state).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let child = spawn(scheduler.swarm(&["collect", &run_id().to_string(), "--cas", &url]));
    let _connection = silent.accept().await.unwrap();
    let output = interrupted(child).await;
    let left = "interrupted before all of run 1hf7yat000007 (succeeded) was collected";
    assert!(told(&output).contains(left), "{}", told(&output));
}

/// The bot that `swarm` finds beside itself.
const BOT: &str = "#!/bin/sh
trap 'echo asked to end; exit 7' TERM
echo started
while :; do /bin/sleep 0.05; done
";

#[tokio::test]
async fn a_termination_of_reproduce_is_passed_on_to_the_bot() {
    let dir = tempfile::TempDir::new().unwrap();
    let (swarm, bot) = (dir.path().join("swarm"), dir.path().join("bot"));
    std::fs::copy(env!("CARGO_BIN_EXE_swarm"), &swarm).unwrap();
    std::fs::write(&bot, BOT).unwrap();
    std::fs::set_permissions(&bot, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scheduler = FakeScheduler::start(&State::new(1)).await;
    let mut command = Command::new(&swarm);
    command.args(["reproduce", &shard_id(0).to_string(), "--scheduler", &scheduler.url()]);
    command.args(["--cas", "http://127.0.0.1:1"]).env_clear().env("HOME", dir.path()).kill_on_drop(true);
    let mut child = spawn(command);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("started"));
    signal(child.id().unwrap(), Signal::TERM);
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("asked to end"));
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
}
