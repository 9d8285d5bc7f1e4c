//! A whole Isoswarm as real processes on loopback, with a proxy before each server.

use crate::{Finished, Program, Proxy, Suite, binary, eventually, http, soon};
use proto::v1::{self, ShardState, swarm_client::SwarmClient};
use runtime::{Clock as _, SystemClock, testing::Postgres};
use std::{collections::BTreeMap, ffi::OsStr, net::SocketAddr, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::Channel;

/// CAS, scheduler and bots. Everything below one temporary directory; stopped and removed when dropped.
#[derive(Debug)]
pub struct System {
    /// `None` while it is killed.
    pub cas: Option<Program>,
    /// `None` while it is killed.
    pub scheduler: Option<Program>,
    /// By number.
    pub bots: Vec<Option<Program>>,
    /// Before the CAS: what bots and clients connect to.
    pub cas_proxy: Proxy,
    /// Before the scheduler.
    pub scheduler_proxy: Proxy,
    /// What the scheduler is told beside what it always is.
    scheduler_flags: Vec<String>,
    /// Stands by for the scheduler, where there is a database.
    pub standby: Option<Program>,
    /// What bots and clients take for the scheduler.
    addresses: String,
    /// The journal of both schedulers. Stopped after those who use it.
    _database: Option<Postgres>,
    dir: TempDir,
}

impl System {
    /// Brings up everything and waits until the scheduler knows every bot. A bot that is dead, or silent for 3 s, loses
    /// what it has.
    pub async fn start(bots: usize) -> Self {
        Self::assemble(bots, None, &["--lease-ttl=3s"]).await
    }

    /// The same, and no bot of a slow machine is taken for dead.
    pub async fn start_patient(bots: usize) -> Self {
        Self::assemble(bots, None, &["--lease-ttl=30s"]).await
    }

    /// The same with other flags for the scheduler.
    pub async fn start_with(bots: usize, scheduler_flags: &[&str]) -> Self {
        Self::assemble(bots, None, scheduler_flags).await
    }

    /// The same with two schedulers on one PostgreSQL database. Bots and clients know both, the standby first, and go
    /// there without a proxy.
    pub async fn with_standby(bots: usize) -> Self {
        // Bots wait longer and longer for a new owner: none of them is to be taken for dead meanwhile.
        Self::assemble(bots, Some(Postgres::start()), &["--lease-ttl=30s"]).await
    }

    async fn assemble(bots: usize, database: Option<Postgres>, flags: &[&str]) -> Self {
        let journal = database.iter().flat_map(|database| ["--journal".to_owned(), database.url()]);
        let scheduler_flags: Vec<String> =
            flags.iter().map(|flag| (*flag).to_owned()).chain(journal).collect();
        let dir = TempDir::with_prefix("isoswarm-test-").unwrap();
        let cas = Self::cas_program(dir.path()).await;
        let cas_proxy = Proxy::start(cas.address()).await;
        let scheduler = Self::scheduler_program(dir.path(), &cas_proxy, &scheduler_flags).await;
        let scheduler_proxy = Proxy::start(scheduler.address()).await;
        let (standby, addresses) = match &database {
            None => (None, scheduler_proxy.url()),
            Some(_) => {
                let standby = Self::scheduler_program(dir.path(), &cas_proxy, &scheduler_flags).await;
                let addresses = format!("{},{}", standby.url(), scheduler.url());
                (Some(standby), addresses)
            }
        };
        let (cas, scheduler, bots_yet) = (Some(cas), Some(scheduler), Vec::new());
        let mut system = Self {
            cas,
            scheduler,
            bots: bots_yet,
            cas_proxy,
            scheduler_proxy,
            scheduler_flags,
            standby,
            addresses,
            _database: database,
            dir,
        };
        for number in 0..bots {
            let bot = system.bot_program(number).await;
            system.bots.push(Some(bot));
        }
        system.wait_for_bots(bots).await;
        system
    }

    async fn cas_program(dir: &Path) -> Program {
        let data = dir.join("cas");
        Program::start(
            "cas-server",
            [OsStr::new("--listen"), "127.0.0.1:0".as_ref(), "--data".as_ref(), data.as_ref()],
        )
        .await
    }

    async fn scheduler_program(dir: &Path, cas: &Proxy, flags: &[String]) -> Program {
        let (data, cas) = (dir.join("scheduler"), cas.url());
        let listen = ["--listen", "127.0.0.1:0", "--cas", &cas, "--data"].map(OsStr::new);
        let flags = flags.iter().map(OsStr::new);
        Program::start("scheduler", listen.into_iter().chain([data.as_os_str()]).chain(flags)).await
    }

    async fn bot_program(&self, number: usize) -> Program {
        let data = self.dir.path().join(format!("bot-{number}"));
        let (scheduler, cas) = (&self.addresses, self.cas_proxy.url());
        let id = format!("bot-{number}");
        let flags = ["--scheduler", scheduler, "--cas", &cas, "--id", &id, "--data"].map(OsStr::new);
        Program::start("bot", flags.into_iter().chain([data.as_os_str()])).await
    }

    /// `kill -9` of the CAS.
    pub async fn kill_cas(&mut self) {
        self.cas.take().unwrap().kill().await;
    }

    /// Starts the CAS again on what it had.
    pub async fn restart_cas(&mut self) {
        let cas = Self::cas_program(self.dir.path()).await;
        self.cas_proxy.retarget(cas.address());
        self.cas = Some(cas);
    }

    /// `kill -9` of the scheduler.
    pub async fn kill_scheduler(&mut self) {
        self.scheduler.take().unwrap().kill().await;
    }

    /// Starts the scheduler again on what it had.
    pub async fn restart_scheduler(&mut self) {
        let scheduler =
            Self::scheduler_program(self.dir.path(), &self.cas_proxy, &self.scheduler_flags).await;
        self.scheduler_proxy.retarget(scheduler.address());
        self.scheduler = Some(scheduler);
    }

    /// Waits until the standby serves; what was the scheduler, if it is still there, and how long that took.
    pub async fn wait_for_takeover(&mut self) -> (Option<Program>, Duration) {
        let (clock, standby) = (SystemClock::new(), self.standby.take().unwrap());
        let start = clock.elapsed();
        let former = self.scheduler.replace(standby);
        let client = self.client();
        eventually("the standby to take over", || {
            let mut client = client.clone();
            async move { client.list(v1::ListRequest::default()).await.ok() }
        })
        .await;
        (former, clock.elapsed() - start)
    }

    /// `kill -9` of a bot.
    pub async fn kill_bot(&mut self, number: usize) {
        self.bots[number].take().unwrap().kill().await;
    }

    /// Starts a bot again on what it had.
    pub async fn restart_bot(&mut self, number: usize) {
        self.bots[number] = Some(self.bot_program(number).await);
    }

    async fn wait_for_bots(&self, bots: usize) {
        let client = self.client();
        eventually("all bots to be known", || {
            let mut client = client.clone();
            async move {
                let answer = client.list_bots(v1::ListBotsRequest::default()).await.ok()?;
                (answer.into_inner().bots.len() >= bots).then_some(())
            }
        })
        .await;
    }

    /// A gRPC client of the scheduler itself, past the proxy.
    pub fn client(&self) -> SwarmClient<Channel> {
        let url = self.scheduler.as_ref().unwrap().url();
        SwarmClient::new(runtime::connect::channel(url, None).unwrap())
    }

    /// One of our command-line programs, pointed at this system, in a directory of its own.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command
            .env("ISOSWARM_CAS", self.cas_proxy.url())
            .env("ISOSWARM_SCHEDULER", &self.addresses)
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("XDG_DATA_HOME", self.dir.path().join("share"))
            .current_dir(self.dir.path());
        command
    }

    /// Runs one of our command-line programs to its end.
    pub async fn run<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> Finished {
        Finished::of(self.command(name).args(args)).await
    }

    /// Where tests put files of their own.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// How often each method of the CAS was called so far, as the CAS counts them.
    pub async fn cas_calls(&self) -> BTreeMap<String, u64> {
        calls(self.cas.as_ref().unwrap().address(), "cas_request_seconds_count").await
    }

    /// A number that the CAS exports.
    pub async fn cas_metric(&self, name: &str) -> u64 {
        let (_, text) = http(self.cas.as_ref().unwrap().address(), "GET", "/metrics", b"").await;
        let text = String::from_utf8(text).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("the CAS exports no {name}"))
    }

    /// How often each method of the scheduler was called so far, as the scheduler counts them.
    pub async fn scheduler_calls(&self) -> BTreeMap<String, u64> {
        calls(self.scheduler.as_ref().unwrap().address(), "scheduler_request_seconds_count").await
    }

    /// Archives a suite; its digest.
    pub async fn archive(&self, suite: &Suite) -> String {
        let root = suite.path().to_str().unwrap();
        let args = ["archive", "--root", root, "suite.sh", "data/", "--", "./suite.sh"];
        let archived = self.run("isolate", args).await.expect(0);
        archived.stdout.split_whitespace().next().unwrap().to_owned()
    }

    /// Triggers a run of `shards` shards; its id.
    pub async fn trigger(&self, digest: &str, shards: u32) -> String {
        let args = ["trigger", digest, "--shards", &shards.to_string()];
        let triggered = self.run("swarm", args).await.expect(0);
        triggered.stdout.split_whitespace().next().unwrap().to_owned()
    }

    /// The run as the scheduler knows it.
    pub async fn get(&self, run_id: &str) -> v1::Run {
        let request = v1::GetRequest { run_id: run_id.to_owned() };
        soon("the run", self.client().get(request)).await.unwrap().into_inner().run.unwrap()
    }

    /// The run, as soon as it is as `condition` wants it.
    pub async fn wait_for(&self, run_id: &str, condition: impl Fn(&v1::Run) -> bool) -> v1::Run {
        let client = self.client();
        let condition = &condition;
        eventually("the run to get there", || {
            let mut client = client.clone();
            let request = v1::GetRequest { run_id: run_id.to_owned() };
            async move {
                let run = client.get(request).await.ok()?.into_inner().run?;
                condition(&run).then_some(run)
            }
        })
        .await
    }

    /// The output of a shard's newest attempt, as the scheduler has it.
    pub async fn output(&self, shard_id: &str) -> String {
        let request = v1::ReadOutputRequest { shard_id: shard_id.to_owned(), ..Default::default() };
        let read = async {
            let mut stream = self.client().read_output(request).await.unwrap().into_inner();
            let mut whole = Vec::new();
            while let Some(part) = stream.message().await.unwrap() {
                assert_eq!(part.offset, whole.len() as u64, "output has a hole or is doubled");
                whole.extend_from_slice(&part.data);
            }
            String::from_utf8(whole).unwrap()
        };
        soon("output", read).await
    }

    /// Checks what must hold of a run of `suite` whatever was killed and cut: every shard completed once, its output
    /// is whole and not doubled, and its output files are in the CAS, as they were written.
    pub async fn assert_whole(&self, run: &v1::Run, suite: &Suite) {
        let total = u32::try_from(run.shards.len()).unwrap();
        for shard in &run.shards {
            assert_eq!(shard.state(), ShardState::Completed, "{shard:#?}");
            let results: Vec<_> = shard.attempts.iter().filter_map(|a| a.result.as_ref()).collect();
            assert_eq!(results.len(), 1, "one attempt has the result: {shard:#?}");
            assert_eq!(results[0].exit_code, Some(0), "{shard:#?}");
            assert_eq!(self.output(&shard.id).await, suite.output(shard.index, total), "{}", shard.id);
            let outputs = results[0].outputs.as_ref().unwrap();
            let digest = proto::Digest::try_from(outputs).unwrap().to_string();
            let dir = self.dir.path().join(format!("outputs-{}", shard.id.replace('/', "-")));
            let dir = dir.to_str().unwrap();
            self.run("isolate", ["download", &digest, "-o", dir]).await.expect(0);
            let file = format!("{dir}/results/shard-{}.txt", shard.index);
            assert_eq!(std::fs::read_to_string(file).unwrap(), Suite::INPUT);
        }
    }
}

/// Reads a counter by method from a server's metrics. The look itself does not count.
async fn calls(server: SocketAddr, counter: &str) -> BTreeMap<String, u64> {
    let (status, text) = http(server, "GET", "/metrics", b"").await;
    assert_eq!(status, 200);
    let text = String::from_utf8(text).unwrap();
    let prefix = format!("{counter}{{method=\"");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
    let calls = lines.map(|(method, count)| (method.to_owned(), count.parse().unwrap()));
    calls.filter(|(method, _)| !method.starts_with("GET /")).collect()
}

/// What was called between two looks.
pub fn calls_since(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(method, count): (&String, &u64)| (method.clone(), count - before.get(method).unwrap_or(&0));
    after.iter().map(more).filter(|(_, count)| *count > 0).collect()
}
