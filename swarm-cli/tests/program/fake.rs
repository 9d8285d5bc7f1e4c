//! A scheduler that says what a test tells it to, on a real port.

use proto::{RunId, ShardId, Timestamp, v1};
use std::{
    net::SocketAddr,
    pin::Pin,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    process::Command,
    runtime::{Builder, Runtime},
    sync::watch,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status};
use v1::swarm_server::{Swarm, SwarmServer};

/// When the run of the fake is triggered.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// What it knows. Outlives its servers, as a journal does.
#[derive(Clone)]
pub(crate) struct State {
    run: watch::Sender<v1::Run>,
    pub(crate) triggers: Arc<Mutex<Vec<v1::TriggerRequest>>>,
    pub(crate) cancels: Arc<Mutex<Vec<v1::CancelRequest>>>,
    pub(crate) bulk_cancels: Arc<Mutex<Vec<v1::CancelRunsRequest>>>,
    pub(crate) orders: Arc<Mutex<Vec<v1::OrderBotRequest>>>,
    pub(crate) lists: Arc<Mutex<Vec<v1::ListRequest>>>,
    pub(crate) quarantines: Arc<Mutex<Vec<v1::TestQuarantine>>>,
    /// In the order of the listing, which is also that in which they change.
    pub(crate) tests: Arc<Mutex<Vec<v1::TestResult>>>,
    pub(crate) bot_lists: Arc<Mutex<Vec<v1::ListBotsRequest>>>,
    output: Arc<Mutex<Vec<u8>>>,
    /// A reader of output is cut off after so many bytes, once each.
    cuts: Arc<Mutex<Vec<usize>>>,
    /// So many watches end after the run as it is.
    short_watches: Arc<AtomicUsize>,
    /// So many runs are deleted and the answer is lost.
    pub(crate) lost_deletions: Arc<AtomicUsize>,
    deleted: Arc<Mutex<Vec<String>>>,
}

impl State {
    /// A run of one step with pending shards.
    pub(crate) fn new(shards: u32) -> Self {
        let run = v1::Run {
            id: run_id().to_string(),
            spec: Some(v1::RunSpec {
                name: "nightly".into(),
                user: "ann".into(),
                tags: vec!["branch:main".into()],
                priority: 100,
                steps: vec![step(shards)],
                ..Default::default()
            }),
            state: v1::RunState::Pending.into(),
            created: Some(START.into()),
            ended: None,
            shards: (0..shards).map(shard).collect(),
            counts: None,
            has_secret: false,
            tests: vec![],
        };
        Self {
            run: watch::Sender::new(run),
            triggers: Arc::default(),
            cancels: Arc::default(),
            bulk_cancels: Arc::default(),
            orders: Arc::default(),
            lists: Arc::default(),
            quarantines: Arc::default(),
            tests: Arc::default(),
            bot_lists: Arc::default(),
            output: Arc::default(),
            cuts: Arc::default(),
            short_watches: Arc::default(),
            lost_deletions: Arc::default(),
            deleted: Arc::default(),
        }
    }

    /// Changes the run, and tells those who watch.
    pub(crate) fn change(&self, change: impl FnOnce(&mut v1::Run)) {
        self.run.send_modify(change);
    }

    /// Every shard runs on a bot.
    pub(crate) fn start_all(&self) {
        self.change(|run| {
            run.state = v1::RunState::Running.into();
            for shard in &mut run.shards {
                shard.state = v1::ShardState::Running.into();
                let number = u32::try_from(shard.attempts.len()).unwrap() + 1;
                shard.attempts.push(v1::Attempt { number, ..attempt(shard.index) });
            }
        });
    }

    /// Every shard has ended with one of these codes.
    pub(crate) fn end_all(&self, codes: &[i32]) {
        if self.run.borrow().shards.iter().any(|shard| shard.state() == v1::ShardState::Pending) {
            self.start_all();
        }
        self.change(|run| {
            let bad = codes.iter().any(|&code| code != 0);
            run.state = if bad { v1::RunState::Failed } else { v1::RunState::Succeeded }.into();
            run.ended = Some((START + Duration::from_secs(65)).into());
            for (shard, code) in run.shards.iter_mut().zip(codes) {
                shard.state = v1::ShardState::Completed.into();
                shard.ended = Some((START + Duration::from_secs(60)).into());
                let attempt = shard.attempts.last_mut().unwrap();
                attempt.ended = shard.ended;
                attempt.result = Some(result(*code));
            }
        });
    }

    /// What every attempt has printed.
    pub(crate) fn print(&self, text: &str) {
        self.output.lock().unwrap().extend_from_slice(text.as_bytes());
        let size = self.output.lock().unwrap().len() as u64;
        self.change(|run| {
            run.shards.iter_mut().flat_map(|s| &mut s.attempts).for_each(|a| a.output_size = size)
        });
    }

    /// Cuts a reader off after so many bytes, once.
    pub(crate) fn cut_output_after(&self, bytes: usize) {
        self.cuts.lock().unwrap().push(bytes);
    }

    /// The bots of all shards are lost; the shards wait for others.
    pub(crate) fn lose_all(&self) {
        self.change(|run| {
            for shard in &mut run.shards {
                shard.state = v1::ShardState::Pending.into();
                shard.attempts.iter_mut().for_each(|attempt| {
                    attempt.ended = Some((START + Duration::from_secs(9)).into());
                    attempt.lost = "its lease has expired".into();
                });
            }
        });
    }

    /// Ends so many watches early.
    pub(crate) fn end_watches(&self, watches: usize) {
        self.short_watches.store(watches, Ordering::Relaxed);
    }

    /// How many watches are still to be ended early.
    pub(crate) fn watches_to_end(&self) -> usize {
        self.short_watches.load(Ordering::Relaxed)
    }

    /// Whether the run has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.run.borrow().ended.is_some()
    }

    /// How many watch the run.
    pub(crate) fn watchers(&self) -> usize {
        self.run.receiver_count()
    }
}

pub(crate) fn run_id() -> RunId {
    RunId::new(START, 7)
}

pub(crate) fn shard_id(index: u32) -> ShardId {
    ShardId { run: run_id(), step: 0, index }
}

/// The digest of an input.
pub(crate) fn input() -> proto::Digest {
    proto::DigestFunction::Blake3.digest(b"input")
}

fn step(shards: u32) -> v1::StepSpec {
    let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: shards });
    v1::StepSpec {
        name: "suite".into(),
        input: Some(input().into()),
        fan_out: Some(v1::FanOut { policy: Some(policy) }),
        ..v1::StepSpec::default()
    }
}

fn shard(index: u32) -> v1::Shard {
    let state = v1::ShardState::Pending.into();
    v1::Shard { id: shard_id(index).to_string(), index, state, ..v1::Shard::default() }
}

fn attempt(index: u32) -> v1::Attempt {
    v1::Attempt {
        number: 1,
        bot_id: format!("bot-{index}"),
        started: Some((START + Duration::from_secs(1)).into()),
        ..v1::Attempt::default()
    }
}

fn result(code: i32) -> v1::AttemptResult {
    v1::AttemptResult {
        state: v1::ShardState::Completed.into(),
        exit_code: Some(code),
        stats: Some(v1::AttemptStats {
            run: Duration::from_millis(3200).try_into().ok(),
            cold_bytes: 24_222_105,
            ..v1::AttemptStats::default()
        }),
        ..v1::AttemptResult::default()
    }
}

/// A server of the state. Its connections are cut when it is dropped.
pub(crate) struct FakeScheduler {
    address: SocketAddr,
    /// Its own, as connections are tasks that nobody else can end.
    runtime: Option<Runtime>,
}

impl Drop for FakeScheduler {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl FakeScheduler {
    /// On a free port.
    pub(crate) async fn start(state: &State) -> Self {
        Self::start_at(state, "127.0.0.1:0".parse().unwrap()).await
    }

    /// On the port of one that was there before.
    pub(crate) async fn start_at(state: &State, address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = SwarmServer::new(state.clone());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { address, runtime: Some(runtime) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `swarm` with these arguments, at this scheduler, with an environment of its own.
    pub(crate) fn swarm(&self, args: &[&str]) -> Command {
        let mut command = swarm(args);
        command.env("ISOSWARM_SCHEDULER", self.url());
        command
    }
}

/// `swarm` with these arguments and no server anywhere.
pub(crate) fn swarm(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
    command.args(args).env_clear().env("USER", "ann").kill_on_drop(true);
    command.env("ISOSWARM_SCHEDULER", "http://127.0.0.1:1").env("ISOSWARM_CAS", "http://127.0.0.1:1");
    command
}

/// What a command printed, with its exit code in front.
pub(crate) fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
    format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
            let (_keep, mut never) = watch::channel(());
            let _ = tokio::time::timeout(Duration::from_millis(5), never.changed()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"));
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Swarm for State {
    type WatchStream = Answers<v1::WatchResponse>;
    type ReadOutputStream = Answers<v1::ReadOutputResponse>;

    async fn trigger(
        &self,
        request: Request<v1::TriggerRequest>,
    ) -> Result<Response<v1::TriggerResponse>, Status> {
        let request = request.into_inner();
        let mut triggers = self.triggers.lock().unwrap();
        let created = triggers.iter().all(|earlier| earlier.request_id != request.request_id);
        triggers.push(request);
        let shards = u32::try_from(self.run.borrow().shards.len()).unwrap();
        Ok(Response::new(v1::TriggerResponse {
            run_id: run_id().to_string(),
            created,
            shards,
            ..Default::default()
        }))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut changes = self.run.subscribe();
        let first = changes.borrow_and_update().clone();
        let less = |left: usize| left.checked_sub(1);
        let short = self.short_watches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        let ended = short || first.ended.is_some();
        let whole = v1::WatchResponse { update: Some(v1::watch_response::Update::Run(first)) };
        let later = futures::stream::unfold((changes, ended), async |(mut changes, ended)| {
            if ended || changes.changed().await.is_err() {
                return None;
            }
            let run = changes.borrow_and_update().clone();
            let update = v1::watch_response::Changes {
                state: run.state,
                ended: run.ended,
                shards: run.shards,
                tests: run.tests,
            };
            let update = Some(v1::watch_response::Update::Changes(update));
            Some((Ok(v1::WatchResponse { update }), (changes, run.ended.is_some())))
        });
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(whole)).chain(later))))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        if request.into_inner().run_id != run_id().to_string() {
            return Err(Status::not_found("there is no such run"));
        }
        Ok(Response::new(v1::GetResponse { run: Some(self.run.borrow().clone()) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let request = request.into_inner();
        let page = request.page_token.clone();
        self.lists.lock().unwrap().push(request);
        let mut run = self.run.borrow().clone();
        run.shards.clear();
        run.counts = Some(v1::ShardCounts { succeeded: 2, failed: 1, ..v1::ShardCounts::default() });
        let next_page_token = if page.is_empty() { "second".into() } else { String::new() };
        Ok(Response::new(v1::ListResponse { runs: vec![run], next_page_token }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        self.cancels.lock().unwrap().push(request.into_inner());
        self.change(|run| {
            run.state = v1::RunState::Canceled.into();
            run.ended = Some(START.into());
            run.shards.iter_mut().for_each(|shard| shard.state = v1::ShardState::Killed.into());
        });
        Ok(Response::new(v1::CancelResponse { canceled: 2, killing: 1 }))
    }

    async fn cancel_runs(
        &self,
        request: Request<v1::CancelRunsRequest>,
    ) -> Result<Response<v1::CancelRunsResponse>, Status> {
        let request = request.into_inner();
        let next_page_token = if request.page_token.is_empty() { "second".into() } else { String::new() };
        self.bulk_cancels.lock().unwrap().push(request);
        let run_ids = vec![run_id().to_string()];
        Ok(Response::new(v1::CancelRunsResponse { run_ids, canceled: 2, killing: 1, next_page_token }))
    }

    async fn delete_run(
        &self,
        request: Request<v1::DeleteRunRequest>,
    ) -> Result<Response<v1::DeleteRunResponse>, Status> {
        let run = request.into_inner().run_id;
        if run == run_id().to_string() {
            return Err(Status::failed_precondition(format!("run {run} has not ended: cancel it first")));
        }
        if self.deleted.lock().unwrap().contains(&run) {
            return Err(Status::not_found(format!("there is no run {run}")));
        }
        let less = |left: usize| left.checked_sub(1);
        if self.lost_deletions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            self.deleted.lock().unwrap().push(run);
            return Err(Status::unavailable("the scheduler is stopping"));
        }
        Ok(Response::new(v1::DeleteRunResponse {}))
    }

    async fn get_assignment(
        &self,
        _: Request<v1::GetAssignmentRequest>,
    ) -> Result<Response<v1::GetAssignmentResponse>, Status> {
        Ok(Response::new(v1::GetAssignmentResponse::default()))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let obstacle = v1::Obstacle { criterion: "os=plan9".into(), bots: vec!["bot-1".into()] };
        let summary = "no bot fits".into();
        let step = v1::StepExplanation {
            pending_shards: vec![0, 1],
            obstacles: vec![obstacle],
            summary,
            ..v1::StepExplanation::default()
        };
        Ok(Response::new(v1::ExplainResponse { steps: vec![step], ..Default::default() }))
    }

    async fn read_output(
        &self,
        request: Request<v1::ReadOutputRequest>,
    ) -> Result<Response<Self::ReadOutputStream>, Status> {
        let v1::ReadOutputRequest { shard_id, offset, attempt, .. } = request.into_inner();
        let deduped = |shard: &v1::Shard| shard.id == shard_id && !shard.deduped_from.is_empty();
        if self.run.borrow().shards.iter().any(deduped) {
            return Err(Status::not_found(format!("the output of {shard_id} is gone")));
        }
        let newest = self.run.borrow().shards[0].attempts.len();
        let attempt = if attempt == 0 { u32::try_from(newest).unwrap() } else { attempt };
        let output = self.output.lock().unwrap();
        let rest = &output[usize::try_from(offset).unwrap().min(output.len())..];
        let cut = self.cuts.lock().unwrap().pop();
        let data = &rest[..cut.unwrap_or(rest.len()).min(rest.len())];
        let answer = v1::ReadOutputResponse { attempt, offset, data: data.to_vec().into() };
        let mut answers = vec![Ok(answer)];
        answers.extend(cut.map(|_| Err(Status::unavailable("the scheduler is stopping"))));
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn list_tests(
        &self,
        request: Request<v1::ListTestsRequest>,
    ) -> Result<Response<v1::ListTestsResponse>, Status> {
        Ok(Response::new(self.tests_page(&request.into_inner())))
    }

    async fn get_test_history(
        &self,
        request: Request<v1::GetTestHistoryRequest>,
    ) -> Result<Response<v1::GetTestHistoryResponse>, Status> {
        let v1::GetTestHistoryRequest { suite, test } = request.into_inner();
        let past = |n: u64, verdict: v1::TestVerdict| v1::TestPast {
            run_id: run_id().to_string(),
            at: Some((START - Duration::from_secs(3600 * n)).into()),
            verdict: verdict.into(),
            took: Duration::from_millis(1500).try_into().ok(),
            bot_id: "bot-1".into(),
            infrastructure: false,
        };
        let history = v1::TestHistory {
            suite: if suite.is_empty() { "unit".into() } else { suite },
            platform: "os=linux".into(),
            estimate: Duration::from_millis(1400).try_into().ok(),
            past: vec![past(1, v1::TestVerdict::Failed), past(2, v1::TestVerdict::Passed)],
            passes: 8,
            failures: 1,
            flakes: 1,
            test: test.clone(),
        };
        let histories = if test == "A.unheard" { vec![] } else { vec![history] };
        Ok(Response::new(v1::GetTestHistoryResponse { histories }))
    }

    async fn quarantine_test(
        &self,
        request: Request<v1::QuarantineTestRequest>,
    ) -> Result<Response<v1::QuarantineTestResponse>, Status> {
        self.quarantines.lock().unwrap().extend(request.into_inner().quarantine);
        Ok(Response::new(v1::QuarantineTestResponse {}))
    }

    async fn list_quarantines(
        &self,
        request: Request<v1::ListQuarantinesRequest>,
    ) -> Result<Response<v1::ListQuarantinesResponse>, Status> {
        let v1::ListQuarantinesRequest { suite, page_token, .. } = request.into_inner();
        let all = self.quarantines.lock().unwrap();
        let wanted = |one: &&v1::TestQuarantine| suite.is_empty() || one.suite == suite;
        // Two a page, so that there are several.
        let from = if page_token.is_empty() { 0 } else { page_token.parse().unwrap() };
        let mut rest = all.iter().filter(wanted).skip(from).cloned();
        let quarantines = rest.by_ref().take(2).collect();
        let next_page_token = rest.next().map(|_| (from + 2).to_string()).unwrap_or_default();
        Ok(Response::new(v1::ListQuarantinesResponse { quarantines, next_page_token }))
    }

    async fn order_bot(
        &self,
        request: Request<v1::OrderBotRequest>,
    ) -> Result<Response<v1::OrderBotResponse>, Status> {
        self.orders.lock().unwrap().push(request.into_inner());
        Ok(Response::new(v1::OrderBotResponse { running: vec![shard_id(0).to_string()] }))
    }

    async fn list_bots(
        &self,
        request: Request<v1::ListBotsRequest>,
    ) -> Result<Response<v1::ListBotsResponse>, Status> {
        let request = request.into_inner();
        let first = request.page_token.is_empty();
        self.bot_lists.lock().unwrap().push(request);
        let bot = |number: u32| v1::Bot {
            id: format!("bot-{number}"),
            slots: 2,
            running: vec![shard_id(0).to_string()],
            dead: number == 2,
            ..v1::Bot::default()
        };
        Ok(Response::new(v1::ListBotsResponse {
            bots: vec![bot(if first { 1 } else { 2 })],
            next_page_token: if first { "bot-1".into() } else { String::new() },
        }))
    }
}
