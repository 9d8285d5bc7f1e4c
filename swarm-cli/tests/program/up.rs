//! `swarm up` over programs that only say that they are ready: who is started, told and stopped when.

use crate::fake::{FakeScheduler, State, eventually, signal, told};
use rustix::process::Signal;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

const PROGRAMS: [&str; 3] = ["bot", "scheduler", "cas-server"];

/// A `swarm` with programs beside it.
struct Installed {
    dir: TempDir,
    _scheduler: FakeScheduler,
}

impl Installed {
    async fn new() -> Self {
        // Where hard links to the program can be made.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::hard_link(env!("CARGO_BIN_EXE_swarm"), dir.path().join("swarm")).unwrap();
        let scheduler = FakeScheduler::start(&State::new(1)).await;
        let installed = Self { dir, _scheduler: scheduler };
        installed.program("cas-server", "echo cas-server listening on http://127.0.0.1:1");
        let url = installed._scheduler.url();
        installed.program("scheduler", &format!("echo scheduler listening on {url}"));
        installed.program("bot", "echo bot bot-1 ready");
        installed
    }

    /// Notes its process id, says what it says, and notes that it was told to stop.
    fn program(&self, name: &str, says: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "#!/bin/sh\necho $$ > {dir}/{name}.pid\ntrap 'echo {name} >> {dir}/stopped; exit 0' TERM\n{says}\n\
             while :; do sleep 0.05; done\n"
        );
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn up(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join("swarm"));
        command.args(["up", "--data"]).arg(self.dir.path().join("data")).args(args);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("DIR", self.dir.path()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn pid(&self, name: &str) -> u32 {
        fs::read_to_string(self.dir.path().join(format!("{name}.pid"))).unwrap().trim().parse().unwrap()
    }

    fn runs(&self, name: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid(name))).unwrap_or_default();
        // What nobody waits for stays as a zombie where the first process does not reap.
        !matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z'))
    }

    fn stopped(&self) -> String {
        fs::read_to_string(self.dir.path().join("stopped")).unwrap_or_default()
    }
}

async fn started(mut command: Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    while lines.next_line().await.unwrap().unwrap() != "Ctrl-C stops it" {}
    child
}

fn assert_none_runs(installed: &Installed) {
    for name in PROGRAMS {
        assert!(!installed.runs(name), "{name} still runs");
    }
}

#[tokio::test]
async fn a_command_runs_inside_and_its_code_is_handed_on() {
    let installed = Installed::new().await;
    let script = "echo $ISOSWARM_CAS; test $ISOSWARM_SCHEDULER && exit 7";
    let output = installed.up(&["--", "sh", "-c", script]).output().await.unwrap();
    assert_eq!(told(&output), "exit 7\n--- stdout\nhttp://127.0.0.1:1\n--- stderr\n");
    assert_none_runs(&installed);
    let output = installed.up(&["--", "no-such-command"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("cannot start no-such-command: No such file"), "{}", told(&output));
}

#[tokio::test]
async fn where_everything_is_can_be_had_as_json() {
    let installed = Installed::new().await;
    let mut child = installed.up(&["--json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut document = String::new();
    while !document.ends_with("\n}\n") {
        document += &(lines.next_line().await.unwrap().unwrap() + "\n");
    }
    let told: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(told["cas"], "http://127.0.0.1:1");
    assert_eq!(told["scheduler"], installed._scheduler.url());
    assert_eq!(told["bots"], serde_json::json!(["bot-1"]));
    assert!(Path::new(told["data"].as_str().unwrap()).join("logs").is_dir());
    signal(child.id().unwrap(), Signal::TERM);
    child.wait().await.unwrap();
    assert_none_runs(&installed);
}

#[tokio::test]
async fn a_signal_stops_bots_then_scheduler_then_cas() {
    for stop in [Signal::INT, Signal::TERM] {
        let installed = Installed::new().await;
        let child = started(installed.up(&[])).await;
        assert!(PROGRAMS.iter().all(|name| installed.runs(name)));
        signal(child.id().unwrap(), stop);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        assert_eq!(installed.stopped(), "bot\nscheduler\ncas-server\n");
        assert_none_runs(&installed);
    }
}

#[tokio::test]
async fn nothing_outlives_a_swarm_that_is_killed() {
    let installed = Installed::new().await;
    let script = "echo $$ > $DIR/command.pid.new; mv $DIR/command.pid.new $DIR/command.pid; while :; do sleep 0.05; done";
    let mut child = installed.up(&["--", "sh", "-c", script]).spawn().unwrap();
    eventually("the command", || installed.dir.path().join("command.pid").exists()).await;
    child.kill().await.unwrap();
    eventually("an end of all", || PROGRAMS.iter().chain(&["command"]).all(|name| !installed.runs(name)))
        .await;
}

async fn report_of_killed(installed: &Installed, name: &str) -> Output {
    let child = started(installed.up(&[])).await;
    signal(installed.pid(name), Signal::KILL);
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn a_program_that_ends_is_reported_and_the_others_are_stopped() {
    for (program, name) in [("bot", "bot-1"), ("scheduler", "scheduler"), ("cas-server", "cas-server")] {
        let installed = Installed::new().await;
        let output = report_of_killed(&installed, program).await;
        assert_eq!(output.status.code(), Some(7), "{}", told(&output));
        let report = format!("error: {name} ended unexpectedly (signal: 9 (SIGKILL))");
        assert!(told(&output).contains(&report), "{}", told(&output));
        assert_none_runs(&installed);
    }
}

#[tokio::test]
async fn a_program_that_cannot_start_says_why() {
    let installed = Installed::new().await;
    installed.program("bot", "echo the dimension is malformed >&2; exit 2");
    let output = installed.up(&[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(
        told(&output)
            .contains("bot-1 ended unexpectedly (exit status: 2); it logged last:\n  the dimension is"),
        "{}",
        told(&output)
    );
    assert_none_runs(&installed);
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_swarm() {
    let installed = Installed::new().await;
    let _first = started(installed.up(&[])).await;
    let output = installed.up(&[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("another `swarm up` uses"), "{}", told(&output));
    assert!(Path::new(&installed.dir.path().join("data/logs/cas-server.log")).exists());
}
