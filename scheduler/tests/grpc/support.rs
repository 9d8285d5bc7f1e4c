//! A scheduler in the test's own process, and a bot written by hand.

use proto::v1::{
    self, AttemptResult, DesiredAttempt, HeldAttempt, LeaseRef, ShardState, bots_client::BotsClient,
    swarm_client::SwarmClient,
};
use runtime::{Clock, SeededEntropy, Shutdown, SystemClock};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};

/// Nothing in a test takes longer, or it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running scheduler with a directory of its own.
pub(crate) struct Bench {
    pub(crate) config: scheduler::Config,
    pub(crate) url: String,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
    _dir: Arc<TempDir>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with_clock(SystemClock::shared()).await
    }

    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let config = scheduler::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: dir.path().join("journal"),
            ..scheduler::Config::default()
        };
        Self::run(config, clock, dir).await
    }

    async fn run(config: scheduler::Config, clock: Arc<dyn Clock>, dir: Arc<TempDir>) -> Self {
        let entropy = Arc::new(SeededEntropy::new(1));
        let running = scheduler::start(config.clone(), Arc::clone(&clock), entropy).await.unwrap();
        let url = running.url();
        let shutdown = Shutdown::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(running.run_until(shutdown.clone()));
        Self { config, url, clock, shutdown, tasks, _dir: dir }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.config.data
    }

    pub(crate) fn channel(&self) -> Channel {
        runtime::connect::channel(&self.url, None).unwrap()
    }

    pub(crate) fn client(&self) -> SwarmClient<Channel> {
        SwarmClient::new(self.channel())
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

    /// Stops it and starts another over the same journal, at another address.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        Self::run(self.config, self.clock, self._dir).await
    }

    pub(crate) async fn trigger(&self, request: &str, shards: u32) -> String {
        self.trigger_spec(request, run_spec(shards)).await.unwrap().run_id
    }

    pub(crate) async fn trigger_spec(
        &self,
        request: &str,
        run: v1::RunSpec,
    ) -> Result<v1::TriggerResponse, Status> {
        let request = v1::TriggerRequest { request_id: request.into(), run: Some(run) };
        Ok(self.client().trigger(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, run: &str) -> v1::Run {
        let request = v1::GetRequest { run_id: run.into() };
        self.client().get(request).await.unwrap().into_inner().run.unwrap()
    }
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
    pub(crate) fn slots(mut self, slots: u32) -> Self {
        self.request.slots = slots;
        self
    }

    pub(crate) fn dimension(mut self, key: &str, value: &str) -> Self {
        self.request.dimensions.push(v1::Dimension { key: key.into(), values: vec![value.into()] });
        self
    }

    pub(crate) fn no_wait(mut self) -> Self {
        self.wait = Duration::ZERO;
        self
    }

    /// Says what it holds, takes in what it should hold.
    pub(crate) async fn synchronize(&mut self) -> Result<Vec<DesiredAttempt>, Status> {
        let mut request = self.request.clone();
        request.wait = Some(prost_types::Duration::try_from(self.wait).unwrap());
        let response = tokio::time::timeout(DEADLINE, self.client.synchronize(request)).await.unwrap()?;
        let desired = response.into_inner().desired;
        let mut held = Vec::new();
        for one in &desired {
            let known = self.request.held.iter().find(|held| held.lease == one.lease);
            let output_offset = one.output_received;
            let result = known.and_then(|known| known.result.clone());
            held.push(HeldAttempt { lease: one.lease.clone(), output_offset, result, ..Default::default() });
        }
        self.request.held = held;
        Ok(desired)
    }

    /// Calls until it holds something that still runs, and says what.
    pub(crate) async fn work(&mut self) -> DesiredAttempt {
        let work = async {
            loop {
                if let Some(desired) = self.synchronize().await.unwrap().pop() {
                    return desired;
                }
            }
        };
        tokio::time::timeout(DEADLINE, work).await.unwrap()
    }

    pub(crate) fn holds(&self) -> Vec<LeaseRef> {
        self.request.held.iter().filter_map(|held| held.lease.clone()).collect()
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
