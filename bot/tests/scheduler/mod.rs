//! A scheduler that does what the protocol says and nothing more. Its state outlives its server, as a journal does.

mod tests;

use proto::{Digest, RunId, ShardId, Timestamp, v1};
use runtime::{SystemClock, connect};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
pub(crate) use tests::Tests;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::Notify,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// One attempt, by its token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) assignment: v1::Assignment,
    pub(crate) session: Option<String>,
    pub(crate) kill: bool,
    /// The scheduler wants nothing of it any more.
    pub(crate) dropped: bool,
    pub(crate) output: Vec<u8>,
    pub(crate) result: Option<v1::AttemptResult>,
    pub(crate) tests: Tests,
}

impl Attempt {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.output.clone()).unwrap()
    }

    fn is_live(&self) -> bool {
        self.result.is_none() && !self.dropped
    }
}

#[derive(Default)]
struct State {
    attempts: BTreeMap<u64, Attempt>,
    sessions: Vec<String>,
    draining: bool,
    returned: Vec<u64>,
    terminate: bool,
    calls: u64,
    /// What the bot said last.
    said: v1::SynchronizeRequest,
    /// All that it has ever been quarantined for.
    quarantines: BTreeSet<String>,
    /// The last state that it told.
    told: String,
    /// How far the scheduler's clock is ahead.
    ahead: Duration,
    program: Option<v1::Digest>,
}

#[derive(Clone, Default)]
struct Service {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[tonic::async_trait]
impl v1::bots_server::Bots for Service {
    async fn synchronize(
        &self,
        request: Request<v1::SynchronizeRequest>,
    ) -> Result<Response<v1::SynchronizeResponse>, Status> {
        let request = request.into_inner();
        let wait = request.wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default();
        let held: Vec<u64> = request.held.iter().map(|held| held.lease.as_ref().unwrap().token).collect();
        let news = self.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        self.state().take_in(&request)?;
        let mut desired = self.state().desired(&request);
        let same = |desired: &[v1::DesiredAttempt]| {
            let wanted: Vec<u64> = desired.iter().map(|one| one.lease.as_ref().unwrap().token).collect();
            let tests = |grant: &v1::TestsGrant| grant.complete || !grant.batches.is_empty();
            let is_told = |one: &v1::DesiredAttempt| one.kill || one.tests.as_ref().is_some_and(tests);
            wanted == held && !desired.iter().any(is_told)
        };
        if same(&desired) && !wait.is_zero() {
            let _ = tokio::time::timeout(wait, news).await;
            desired = self.state().desired(&request);
        }
        let call_again = prost_types::Duration { seconds: 5, nanos: 0 };
        let state = self.state();
        Ok(Response::new(v1::SynchronizeResponse {
            desired,
            call_again: Some(call_again),
            terminate: state.terminate,
            now: Some((SystemClock::shared().now() + state.ahead).into()),
            program: state.program.clone(),
        }))
    }
}

impl State {
    fn take_in(&mut self, request: &v1::SynchronizeRequest) -> Result<(), Status> {
        self.calls += 1;
        self.said = request.clone();
        if !request.state.is_empty() {
            self.told.clone_from(&request.state);
        }
        self.draining = request.draining;
        self.returned.extend(request.returned.iter().map(|lease| lease.token));
        let session = &request.session_id;
        if self.sessions.last() != Some(session) {
            if self.sessions.contains(session) {
                return Err(Status::failed_precondition("the bot has a newer session"));
            }
            self.sessions.push(session.clone());
            let lost = |attempt: &&mut Attempt| attempt.session.is_some() && attempt.is_live();
            self.attempts.values_mut().filter(lost).for_each(|attempt| attempt.dropped = true);
        }
        self.quarantines.insert(request.quarantined.clone());
        for held in &request.held {
            let attempt = self.attempts.get_mut(&held.lease.as_ref().unwrap().token).unwrap();
            let (start, has) = (held.output_offset as usize, attempt.output.len());
            if !attempt.is_live() || start > has {
                continue;
            }
            held.tests.iter().for_each(|told| attempt.tests.take_in(told));
            attempt.output.extend(held.output.get(has - start..).unwrap_or_default());
            attempt.result = held.result.clone();
        }
        Ok(())
    }

    fn desired(&mut self, request: &v1::SynchronizeRequest) -> Vec<v1::DesiredAttempt> {
        let ours = |attempt: &Attempt| attempt.session.as_ref() == Some(&request.session_id);
        let mut free = request.slots as usize
            - self.attempts.values().filter(|attempt| attempt.is_live() && ours(attempt)).count();
        let mut desired = Vec::new();
        let had = |token: u64| {
            let held = request.held.iter().find(|held| held.lease.as_ref().unwrap().token == token);
            held.and_then(|held| held.tests.as_ref()).map_or(0, |tests| tests.batches)
        };
        let accepts = !request.draining && request.quarantined.is_empty() && request.maintenance.is_empty();
        for (token, attempt) in &mut self.attempts {
            if attempt.session.is_none() && attempt.is_live() && free > 0 && accepts {
                attempt.session = Some(request.session_id.clone());
                free -= 1;
            }
            if attempt.is_live() && ours(attempt) {
                desired.push(v1::DesiredAttempt {
                    lease: Some(lease(*token)),
                    assignment: Some(attempt.assignment.clone()),
                    kill: attempt.kill,
                    output_received: attempt.output.len() as u64,
                    tests: attempt.assignment.tests.map(|_| attempt.tests.answer(had(*token))),
                });
            }
        }
        desired
    }
}

fn lease(token: u64) -> v1::LeaseRef {
    let run = RunId::new(Timestamp::from_micros(1), 1);
    let shard = ShardId { run, step: 0, index: u32::try_from(token).unwrap() };
    v1::LeaseRef { shard_id: shard.to_string(), attempt: 1, token }
}

pub(crate) struct Scheduler {
    service: Service,
    address: SocketAddr,
    /// Has all tasks of the server, those of its connections too: they end together, as a process does.
    server: Option<Runtime>,
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.server.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Scheduler {
    pub(crate) async fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut scheduler = Self { service: Service::default(), address, server: None };
        scheduler.serve().await;
        scheduler
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn serve(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = self.address;
        let listener = loop {
            match runtime.spawn(TcpListener::bind(address)).await.unwrap() {
                Ok(listener) => break listener,
                // The former runtime may not have let go of it yet.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    SystemClock::shared().sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{address}: {error}"),
            }
        };
        self.address = listener.local_addr().unwrap();
        let service = v1::bots_server::BotsServer::new(self.service.clone())
            .max_decoding_message_size(proto::limits::MAX_MESSAGE_BYTES);
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(serving);
        self.server = Some(runtime);
    }

    /// Cuts every connection and is away for a while.
    pub(crate) async fn restart(&mut self, away: Duration) {
        self.server.take().into_iter().for_each(Runtime::shutdown_background);
        SystemClock::shared().sleep(away).await;
        self.serve().await;
    }

    /// Hands out an assignment to the next bot that asks.
    pub(crate) fn assign(&self, assignment: v1::Assignment) -> u64 {
        self.assign_tests(assignment, Tests::default())
    }

    /// The same, with tests to be handed out.
    pub(crate) fn assign_tests(&self, assignment: v1::Assignment, tests: Tests) -> u64 {
        let mut state = self.service.state();
        let token = state.attempts.len() as u64 + 1;
        state.attempts.insert(token, Attempt { assignment, tests, ..Attempt::default() });
        drop(state);
        self.service.news.notify_waiters();
        token
    }

    pub(crate) fn change(&self, token: u64, change: impl FnOnce(&mut Attempt)) {
        change(self.service.state().attempts.get_mut(&token).unwrap());
        self.service.news.notify_waiters();
    }

    pub(crate) fn attempt(&self, token: u64) -> Attempt {
        self.service.state().attempts[&token].clone()
    }

    pub(crate) fn knows_of_drain(&self) -> bool {
        self.service.state().draining
    }

    pub(crate) fn sessions(&self) -> usize {
        self.service.state().sessions.len()
    }

    /// Tells the bot to end, at once if it waits.
    pub(crate) fn terminate(&self) {
        self.service.state().terminate = true;
        self.service.news.notify_waiters();
    }

    /// What the bot said last.
    pub(crate) fn said(&self) -> v1::SynchronizeRequest {
        self.service.state().said.clone()
    }

    /// Whether the bot was ever quarantined for such a thing: it may be over by now.
    pub(crate) fn heard_quarantine(&self, text: &str) -> bool {
        self.service.state().quarantines.iter().any(|reason| reason.contains(text))
    }

    /// What the bot said of its host last.
    pub(crate) fn told(&self) -> serde_json::Value {
        serde_json::from_str(&self.service.state().told).unwrap()
    }

    /// Names the program that bots should be.
    pub(crate) fn name_program(&self, program: Option<Digest>) {
        self.service.state().program = program.map(Into::into);
        self.service.news.notify_waiters();
    }

    /// Sets the scheduler's clock.
    pub(crate) fn be_ahead(&self, by: Duration) {
        self.service.state().ahead = by;
        self.service.news.notify_waiters();
    }

    pub(crate) fn returned(&self) -> Vec<u64> {
        self.service.state().returned.clone()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.service.state().calls
    }

    /// Begins another session under a bot's name, as a second bot would.
    pub(crate) async fn take_over(&self, bot: &str) {
        let channel = connect::channel(&self.url(), None).unwrap();
        let request = v1::SynchronizeRequest {
            bot_id: bot.into(),
            session_id: "another".into(),
            slots: 1,
            ..Default::default()
        };
        v1::bots_client::BotsClient::new(channel).synchronize(request).await.unwrap();
        self.service.news.notify_waiters();
    }

    /// Waits until an attempt is as it should be.
    pub(crate) async fn until(&self, token: u64, condition: impl Fn(&Attempt) -> bool) -> Attempt {
        let clock = SystemClock::shared();
        for _ in 0..6000 {
            let attempt = self.attempt(token);
            if condition(&attempt) {
                return attempt;
            }
            clock.sleep(Duration::from_millis(5)).await;
        }
        let attempt = self.attempt(token);
        panic!("it does not come true: {:?} after {:?}", attempt.result, attempt.output.len());
    }

    pub(crate) async fn result(&self, token: u64) -> (Attempt, v1::AttemptResult) {
        let attempt = self.until(token, |attempt| attempt.result.is_some()).await;
        let result = attempt.result.clone().unwrap();
        (attempt, result)
    }
}
