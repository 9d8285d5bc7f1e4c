//! Bots become the program that the scheduler names, or go on as they are; a host without one gets it by a shell line.
#![expect(clippy::unwrap_used, reason = "tests may, also in their helpers")]

use proto::{DigestFunction, v1, v1::swarm_client::SwarmClient};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tests::{Program, binary, eventually, http, soon};
use tokio::process::Command;

struct Fleet {
    dir: TempDir,
    cas: Program,
    scheduler: Program,
    /// Of the program that the scheduler names.
    hex: String,
}

impl Fleet {
    /// A scheduler that names this program.
    async fn naming(program: &[u8]) -> Self {
        let dir = TempDir::with_prefix("isoswarm-test-").unwrap();
        let start = async |name: &str, more: &[&str]| {
            let data = dir.path().join(name);
            let flags = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
            Program::start(name, flags.iter().chain(more)).await
        };
        let cas = start("cas-server", &[]).await;
        let digest = DigestFunction::Sha256.digest(program);
        let hex = digest.hex();
        let (status, _) = http(cas.address(), "PUT", &format!("/cas/sha256/{hex}"), program).await;
        assert!((200..300).contains(&status), "{status}");
        let named = format!("linux-{}={digest}", std::env::consts::ARCH);
        let scheduler = start("scheduler", &["--cas", cas.url(), "--bot-program", &named]).await;
        Self { dir, cas, scheduler, hex }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("bot")
    }

    async fn bot(&self) -> Program {
        let data = self.data();
        let flags = ["--scheduler", self.scheduler.url(), "--cas", self.cas.url(), "--id", "b", "--data"];
        Program::start("bot", flags.map(OsStr::new).into_iter().chain([data.as_os_str()])).await
    }

    /// What the scheduler knows of bot `id`, once it is as it should be.
    async fn known(&self, id: &str, condition: impl Fn(&v1::Bot) -> bool) -> v1::Bot {
        let client = SwarmClient::new(runtime::connect::channel(self.scheduler.url(), None).unwrap());
        eventually("the bot to be known so", || {
            let (mut client, condition) = (client.clone(), &condition);
            async move {
                let bots = client.list_bots(v1::ListBotsRequest::default()).await.ok()?.into_inner().bots;
                bots.into_iter().find(|bot| bot.id == id && condition(bot))
            }
        })
        .await
    }
}

/// The bot as it was built, with something behind its end that nobody reads.
fn another_build() -> Vec<u8> {
    let mut program = fs::read(binary("bot")).unwrap();
    program.extend_from_slice(b"another build");
    program
}

/// What a process runs.
fn program_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

async fn until_it_runs(pid: u32, program: &Path) {
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    eventually("the program to run", || async { (program_of(pid)? == program).then_some(()) }).await;
}

#[tokio::test]
async fn a_bot_becomes_the_program_that_the_scheduler_names() {
    let fleet = Fleet::naming(&another_build()).await;
    let bot = fleet.bot().await;
    let pid = u32::try_from(bot.pid().as_raw_nonzero().get()).unwrap();
    let new = fleet.data().join("program").join(&fleet.hex);
    eventually("the program to be there", || async { new.exists().then_some(()) }).await;
    until_it_runs(pid, &new).await;
    let works = |bot: &v1::Bot| !bot.draining && !bot.dead && bot.notice.is_empty();
    fleet.known("b", works).await;
    // It is what was named, so that it stays.
    fleet.known("b", works).await;
    assert_eq!(program_of(pid).unwrap(), new.canonicalize().unwrap());
    assert!(bot.terminate().await.success());
}

#[tokio::test]
async fn a_bot_goes_on_as_it_is_when_the_program_is_of_no_use_and_says_so() {
    let fleet = Fleet::naming(b"#!/bin/sh\nexit 3\n").await;
    let bot = fleet.bot().await;
    let pid = u32::try_from(bot.pid().as_raw_nonzero().get()).unwrap();
    let failed = |bot: &v1::Bot| bot.notice.contains("this one goes on: it ended with exit status: 3");
    let known = fleet.known("b", |bot| failed(bot) && !bot.draining).await;
    assert!(known.notice.contains(&fleet.hex) && known.quarantined.is_empty(), "{}", known.notice);
    assert_eq!(program_of(pid).unwrap(), binary("bot").canonicalize().unwrap());
    assert!(bot.terminate().await.success());
}

#[tokio::test]
async fn one_shell_line_starts_a_bot_on_a_host_that_has_none() {
    let fleet = Fleet::naming(&another_build()).await;
    let home = fleet.dir.path().join("home");
    let data = fleet.data();
    let shell = async |line: String| {
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env("ISOSWARM_HOME", &home).stdout(Stdio::null()).kill_on_drop(true);
        command.spawn().unwrap()
    };
    let url = fleet.scheduler.url();
    let line = format!("curl -fsS {url}/bootstrap | exec sh -s -- --id b --data {}", data.display());
    let mut started = shell(line).await;
    let known = fleet.known("b", |bot| !bot.draining).await;
    let state: serde_json::Value = serde_json::from_str(&known.state).unwrap();
    let pid = u32::try_from(state["pid"].as_u64().unwrap()).unwrap();
    let program = home.join(format!("bot-{}", fleet.hex));
    until_it_runs(pid, &program).await;
    let bot = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(bot, rustix::process::Signal::TERM).unwrap();
    assert!(soon("the bot to end", started.wait()).await.unwrap().success());

    // What is damaged on the disk is fetched again, what the CAS does not have is told.
    fs::write(&program, "damaged").unwrap();
    let (_, script) = http(fleet.scheduler.address(), "GET", "/bootstrap", b"").await;
    let script = String::from_utf8(script).unwrap();
    let run = async |script: String| {
        let mut command = Command::new("sh");
        command.args(["-c", &script, "bootstrap", "--version"]).env("ISOSWARM_HOME", &home);
        soon("the script to end", command.output()).await.unwrap()
    };
    let version = run(script.clone()).await;
    assert!(version.status.success() && String::from_utf8_lossy(&version.stdout).starts_with("bot "));
    let absent = run(script.replace(&fleet.hex, &"0".repeat(64))).await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("bootstrap: cannot fetch"), "{absent:?}");
    let nowhere = run(script.replace(&format!("linux-{}", std::env::consts::ARCH), "plan9-mips")).await;
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("add it to bot_program"), "{nowhere:?}");
}
