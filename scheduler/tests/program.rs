//! The program as a process: what it prints, how it ends, what it says of mistakes.

#![expect(clippy::unwrap_used, reason = "tests may")]

use proto::v1::{self, swarm_client::SwarmClient};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;
use tokio::task::JoinSet;

fn scheduler() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scheduler"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("ISOSWARM_LOG");
    command
}

fn start(data: &Path) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut child = scheduler().args(["--listen", "127.0.0.1:0", "--data"]).arg(data).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (child, stdout, line)
}

fn refused(output: Output, code: i32, message: &str) {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn it_says_where_it_listens_and_ends_well_on_sigterm() {
    let dir = TempDir::new().unwrap();
    let (mut child, mut stdout, line) = start(dir.path());
    let port = line.strip_prefix("scheduler listening on http://127.0.0.1:").unwrap().trim_end();
    assert!(port.parse::<u16>().unwrap() > 0);
    let kill = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "one line and no more");
}

#[test]
fn killed_at_once_it_starts_again_over_the_same_journal() {
    let dir = TempDir::new().unwrap();
    for _ in 0..3 {
        let (mut child, _stdout, line) = start(dir.path());
        assert!(line.starts_with("scheduler listening on"), "{line}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let run = |arguments: &[&str]| scheduler().current_dir(dir.path()).args(arguments).output().unwrap();
    refused(run(&["--listen", &listen]), 2, "the port is in use, choose another one or port 0");
    refused(run(&["--listen", "0.0.0.0:0"]), 2, "give --tls-cert and --tls-key, or --insecure");
    refused(run(&["--lease-ttl", "5"]), 2, "--lease-ttl");
    refused(run(&["--lease-ttl", "1ms"]), 2, "lease_ttl is shorter than 100ms");
    let config = dir.path().join("scheduler.toml");
    std::fs::write(&config, "lease_tll = \"1s\"").unwrap();
    refused(run(&["--config", config.to_str().unwrap()]), 2, "lease_tll");
    // A file where the journal's directory should be.
    let not_a_directory = ["--listen", "127.0.0.1:0", "--data", "scheduler.toml"];
    refused(run(&not_a_directory), 7, "the journal in scheduler.toml cannot be used");
}

#[test]
fn it_prints_a_configuration_that_it_takes() {
    let printed = scheduler().arg("--print-config").output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), scheduler::config::SAMPLE);
}

/// Triggers runs one after the other until the scheduler is gone, and says which were answered.
async fn trigger_until_killed(
    url: String,
    name: String,
    answered: Arc<AtomicUsize>,
) -> Vec<(String, String)> {
    let mut client = SwarmClient::new(runtime::connect::channel(&url, None).unwrap());
    let mut made = vec![];
    for number in 0.. {
        let request_id = format!("{name}-{number}");
        let Ok(response) = client.trigger(request(&request_id)).await else { break };
        made.push((request_id, response.into_inner().run_id));
        answered.fetch_add(1, Ordering::Relaxed);
    }
    made
}

fn request(request_id: &str) -> v1::TriggerRequest {
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: 3 });
    let step = v1::StepSpec {
        input: Some(proto::DigestFunction::Blake3.digest(b"manifest").into()),
        fan_out: Some(v1::FanOut { policy: Some(policy) }),
        ..Default::default()
    };
    let run = v1::RunSpec { steps: vec![step], ..Default::default() };
    v1::TriggerRequest { request_id: request_id.into(), run: Some(run), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_survives_a_kill_at_any_instant() {
    let dir = TempDir::new().unwrap();
    let mut made: Vec<(String, String)> = vec![];
    for round in 0..6 {
        let (mut child, _stdout, line) = start(dir.path());
        let url = line.trim_end().rsplit(' ').next().unwrap().to_owned();
        let mut client = SwarmClient::new(runtime::connect::channel(&url, None).unwrap());
        for (request_id, run) in &made {
            let again = client.trigger(request(request_id)).await.unwrap().into_inner();
            assert_eq!((&again.run_id, again.created), (run, false), "{request_id} was answered");
        }
        let answered = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for number in 0..8 {
            let name = format!("{round}-{number}");
            clients.spawn(trigger_until_killed(url.clone(), name, Arc::clone(&answered)));
        }
        while answered.load(Ordering::Relaxed) < 20 + 17 * round {
            tokio::task::yield_now().await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        made.extend(clients.join_all().await.into_iter().flatten());
    }
    assert!(made.len() > 300, "{}", made.len());
}
