//! A scheduler in the test's own process, and a bot written by hand.

use proto::{
    Timestamp,
    v1::{
        self, AttemptResult, DesiredAttempt, HeldAttempt, ShardState, bots_client::BotsClient,
        swarm_client::SwarmClient,
    },
};
use runtime::{Clock, ManualClock, SeededEntropy, Shutdown, SystemClock};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Nothing in a test takes longer, or it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running scheduler with a directory of its own.
pub(crate) struct Bench {
    pub(crate) config: scheduler::Config,
    pub(crate) url: String,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
    dir: Arc<TempDir>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with_clock(SystemClock::shared()).await
    }

    /// Time passes only when the test says so: what happens has not waited for anything.
    pub(crate) async fn with_manual_clock() -> (Self, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        (Self::with_clock(Arc::new(clock.clone())).await, clock)
    }

    async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        Self::run(config(dir.path()), clock, dir).await
    }

    /// It asks this CAS about outputs.
    pub(crate) async fn with_cas(url: &str) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let config = scheduler::Config { cas: Some(url.into()), ..config(dir.path()) };
        Self::run(config, SystemClock::shared(), dir).await
    }

    /// It refuses sooner priorities.
    pub(crate) async fn with_soonest_priority(soonest_priority: u8) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let config = scheduler::Config { soonest_priority, ..config(dir.path()) };
        Self::run(config, SystemClock::shared(), dir).await
    }

    /// Its journal is below a directory of the test's.
    pub(crate) async fn in_directory(dir: &Path) -> Self {
        Self::run(config(dir), SystemClock::shared(), Arc::new(TempDir::new().unwrap())).await
    }

    /// Its journal is in a PostgreSQL database, perhaps with others.
    pub(crate) async fn on_postgres(url: &str) -> Self {
        Self::on_postgres_at(url, SystemClock::shared()).await
    }

    /// The same on a host with this clock.
    pub(crate) async fn on_postgres_at(url: &str, clock: Arc<dyn Clock>) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let journal = Some(url.parse().unwrap());
        let config = scheduler::Config { journal, ..config(dir.path()) };
        Self::run(config, clock, dir).await
    }

    async fn run(config: scheduler::Config, clock: Arc<dyn Clock>, dir: Arc<TempDir>) -> Self {
        static STARTS: AtomicU64 = AtomicU64::new(1);
        let seed = STARTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entropy = Arc::new(SeededEntropy::new(seed));
        let running = scheduler::start(config.clone(), Arc::clone(&clock), entropy).await.unwrap();
        let url = running.url();
        let shutdown = Shutdown::new();
        let mut tasks = JoinSet::new();
        let serving = running.run_until(shutdown.clone());
        tasks.spawn(async { serving.await.unwrap() });
        Self { config, url, clock, shutdown, tasks, dir }
    }

    /// Time passes in steps that the scheduler keeps up with. A jump looks to it as if it had been stopped.
    pub(crate) async fn pass(&self, clock: &ManualClock, seconds: u64) {
        for _ in 0..seconds {
            clock.advance(Duration::from_secs(1));
            // What is due is done before anybody is answered.
            self.bots().await;
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn channel(&self) -> Channel {
        runtime::connect::channel(&self.url, None).unwrap()
    }

    pub(crate) fn client(&self) -> SwarmClient<Channel> {
        SwarmClient::new(self.channel()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn bot(&self, id: &str) -> FakeBot {
        FakeBot {
            client: BotsClient::new(self.channel()),
            request: v1::SynchronizeRequest {
                bot_id: id.into(),
                session_id: format!("{id}-1"),
                version: "test".into(),
                slots: 1,
                ..Default::default()
            },
            wait: Duration::from_secs(8),
        }
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.request();
        let ended = async { while self.tasks.join_next().await.transpose().unwrap().is_some() {} };
        tokio::time::timeout(DEADLINE, ended).await.unwrap();
    }

    /// Why it cannot start again. It is to be stopped.
    pub(crate) async fn start_error(&self) -> scheduler::StartError {
        let entropy = Arc::new(SeededEntropy::new(99));
        scheduler::start(self.config.clone(), Arc::clone(&self.clock), entropy).await.unwrap_err()
    }

    /// Stops it and starts another over the same journal, at another address.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        Self::run(self.config, self.clock, self.dir).await
    }

    pub(crate) async fn trigger(&self, request: &str, shards: u32) -> String {
        self.trigger_spec(request, run_spec(shards)).await.unwrap().run_id
    }

    pub(crate) async fn trigger_spec(
        &self,
        request: &str,
        run: v1::RunSpec,
    ) -> Result<v1::TriggerResponse, Status> {
        let request = v1::TriggerRequest { request_id: request.into(), run: Some(run), ..Default::default() };
        Ok(self.client().trigger(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, run: &str) -> v1::Run {
        let request = v1::GetRequest { run_id: run.into() };
        self.client().get(request).await.unwrap().into_inner().run.unwrap()
    }

    pub(crate) async fn cancel(&self, run: &str, kill_running: bool) -> v1::CancelResponse {
        let request = v1::CancelRequest { run_id: run.into(), kill_running };
        self.client().cancel(request).await.unwrap().into_inner()
    }

    pub(crate) async fn bots(&self) -> Vec<v1::Bot> {
        self.client().list_bots(v1::ListBotsRequest::default()).await.unwrap().into_inner().bots
    }

    /// The answer to a plain GET, with its head.
    pub(crate) async fn http(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Of the server, of `Swarm` and of `Bots`.
    pub(crate) async fn grpc_health(&self) -> Vec<&'static str> {
        let mut told = vec![];
        for service in ["", "isoswarm.v1.Swarm", "isoswarm.v1.Bots"] {
            let request = HealthCheckRequest { service: service.into() };
            let answer = HealthClient::new(self.channel()).check(request).await;
            told.push(answer.map_or("UNKNOWN", |answer| answer.into_inner().status().as_str_name()));
        }
        told
    }

    /// What an attempt has printed, from an offset.
    pub(crate) async fn output(&self, request: v1::ReadOutputRequest) -> Result<String, Status> {
        let mut stream = self.client().read_output(request).await?.into_inner();
        let mut output = Vec::new();
        while let Some(message) = soon(stream.message()).await? {
            output.extend_from_slice(&message.data);
        }
        Ok(String::from_utf8(output).unwrap())
    }
}

fn config(dir: &Path) -> scheduler::Config {
    scheduler::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: dir.join("journal"),
        ..scheduler::Config::default()
    }
}

/// Within the deadline.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap()
}

/// Looks again and again until there is something, and leaves those the processor who make it.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = SystemClock::new();
    soon(async {
        loop {
            match look().await {
                Some(found) => return found,
                None => clock.sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
}

/// One step over some input.
pub(crate) fn run_spec(shards: u32) -> v1::RunSpec {
    let input = proto::DigestFunction::Blake3.digest(b"manifest");
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: shards });
    v1::RunSpec {
        name: "suite".into(),
        user: "tester".into(),
        tags: vec!["suite:unit".into()],
        priority: 100,
        steps: vec![v1::StepSpec {
            name: "step".into(),
            input: Some(input.into()),
            command: vec!["./test".into()],
            fan_out: Some(v1::FanOut { policy: Some(policy) }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Does what a bot does, but for running anything.
#[derive(Clone)]
pub(crate) struct FakeBot {
    pub(crate) client: BotsClient<Channel>,
    /// What it says of itself, with all that it holds.
    pub(crate) request: v1::SynchronizeRequest,
    pub(crate) wait: Duration,
}

impl FakeBot {
    pub(crate) fn no_wait(mut self) -> Self {
        self.wait = Duration::ZERO;
        self
    }

    /// The same bot at another address.
    pub(crate) fn moved_to(self, bench: &Bench) -> Self {
        Self { client: BotsClient::new(bench.channel()), ..self }
    }

    /// Says what it holds, and hears what it should hold without taking it in.
    pub(crate) async fn say(&mut self) -> Result<v1::SynchronizeResponse, Status> {
        let mut request = self.request.clone();
        request.wait = Some(prost_types::Duration::try_from(self.wait).unwrap());
        Ok(soon(self.client.synchronize(request)).await?.into_inner())
    }

    /// Says what it holds, takes in what it should hold.
    pub(crate) async fn synchronize(&mut self) -> Result<Vec<DesiredAttempt>, Status> {
        let desired = self.say().await?.desired;
        let hold = |one: &DesiredAttempt| {
            let known = self.request.held.iter().find(|held| held.lease == one.lease);
            let result = known.and_then(|known| known.result.clone());
            let output_offset = one.output_received;
            HeldAttempt { lease: one.lease.clone(), output_offset, result, ..Default::default() }
        };
        self.request.held = desired.iter().map(hold).collect();
        Ok(desired)
    }

    /// Calls until it holds something, and says what.
    pub(crate) async fn work(&mut self) -> DesiredAttempt {
        eventually(async || self.synchronize().await.unwrap().pop()).await
    }

    /// The command of the first attempt that it holds has printed something.
    pub(crate) fn print(&mut self, output: &str) {
        self.request.held[0].output = output.as_bytes().to_vec().into();
    }

    /// The command of every attempt that it holds has ended.
    pub(crate) fn finish(&mut self, exit_code: i32) {
        for held in &mut self.request.held {
            held.result = Some(completed(exit_code));
        }
    }
}

pub(crate) fn completed(exit_code: i32) -> AttemptResult {
    AttemptResult { state: ShardState::Completed.into(), exit_code: Some(exit_code), ..Default::default() }
}
