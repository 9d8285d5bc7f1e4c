//! The scheduler behind a channel: one method for each call, with deadlines and bounded retries.
//!
//! The only module (with its children) that knows wire messages.

mod assignment;
mod decode;
mod encode;
mod error;
mod ledger;
mod output;
mod terms;

pub use assignment::Assignment;
pub use error::CallError;
pub use output::{OutputChunk, OutputEnd, OutputStart};
pub use terms::{
    BotFilter, CancelScope, Canceled, CanceledRuns, Novelty, RunFilter, TestsOrder, Trial, Triggered, Update,
};

use crate::model::{Bot, BotOrder, Evaluation, Explanation, Run, RunSpec};
use futures::{Stream, StreamExt as _};
use proto::{BotId, RequestId, RunId, Secret, ShardId, v1, v1::swarm_client::SwarmClient};
use runtime::{Clock, Entropy, connect::Failover};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tonic::{Response, Status};

/// The scheduler answers any unary call within this time, or the call is made again.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// A scheduler that cannot be reached is tried for this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where others stand by for it, so much longer: one of them takes over meanwhile.
const TAKEOVER: Duration = Duration::from_secs(15);

/// Most time between two tries.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A run with a hundred thousand shards fits.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// A scheduler.
#[derive(Clone, Debug)]
pub struct Scheduler {
    client: SwarmClient<Failover>,
    address: Arc<str>,
    patience: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Scheduler {
    /// The scheduler at `address`, connected to when it is first called; with commas between addresses, the one of these
    /// that serves.
    pub fn new(
        address: &str,
        ca_cert: Option<&Path>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, runtime::connect::ConnectError> {
        let channel = Failover::new(address, ca_cert)?;
        let patience = if channel.servers() > 1 { PATIENCE + TAKEOVER } else { PATIENCE };
        let client = SwarmClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Self { client, address: address.into(), patience, clock, entropy })
    }

    /// As the user wrote it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Creates a run, once for each request id.
    pub async fn trigger(
        &self,
        request: &RequestId,
        spec: &RunSpec,
        secret: Option<&Secret>,
    ) -> Result<Triggered, CallError> {
        let request = encode::trigger(request, spec, secret);
        let answer = self.call(async |mut client| client.trigger(request.clone()).await).await?;
        decode::triggered(&answer).map_err(CallError::from)
    }

    /// Says what [`Self::trigger`] would come to.
    pub async fn evaluate(
        &self,
        request: &RequestId,
        spec: &RunSpec,
        secret: Option<&Secret>,
    ) -> Result<Evaluation, CallError> {
        let request = v1::TriggerRequest { evaluate_only: true, ..encode::trigger(request, spec, secret) };
        let answer = self.call(async |mut client| client.trigger(request.clone()).await).await?;
        decode::evaluation(answer).map_err(CallError::from)
    }

    /// One run with its shards.
    pub async fn get(&self, run: RunId) -> Result<Run, CallError> {
        let request = v1::GetRequest { run_id: run.to_string() };
        let answer = self.call(async |mut client| client.get(request.clone()).await).await?;
        decode::run(answer.run.as_ref()).map_err(CallError::from)
    }

    /// Runs, newest first, without their shards, and where the next page starts.
    pub async fn list(
        &self,
        filter: &RunFilter,
        page_size: u32,
        page_token: &str,
    ) -> Result<(Vec<Run>, Option<String>), CallError> {
        let request = encode::list(filter, page_size, page_token);
        let answer = self.call(async |mut client| client.list(request.clone()).await).await?;
        let runs = answer.runs.iter().map(|run| decode::run(Some(run))).collect::<Result<_, _>>()?;
        Ok((runs, Some(answer.next_page_token).filter(|token| !token.is_empty())))
    }

    /// Ends what is pending, and what is running when that is in scope.
    pub async fn cancel(&self, run: RunId, scope: CancelScope) -> Result<Canceled, CallError> {
        let kill_running = scope == CancelScope::PendingAndRunning;
        let request = v1::CancelRequest { run_id: run.to_string(), kill_running };
        let answer = self.call(async |mut client| client.cancel(request.clone()).await).await?;
        Ok(Canceled { canceled: answer.canceled, killing: answer.killing })
    }

    /// Cancels every run that has these tags and has not ended. Goes on until all are taken: repeated from any point, it
    /// does what is left.
    pub async fn cancel_runs(
        &self,
        filter: &RunFilter,
        scope: CancelScope,
        trial: Trial,
    ) -> Result<CanceledRuns, CallError> {
        let mut all = CanceledRuns::default();
        let mut page_token = String::new();
        loop {
            let request = v1::CancelRunsRequest {
                tags: filter.tags.clone(),
                user: filter.user.clone(),
                kill_running: scope == CancelScope::PendingAndRunning,
                dry_run: trial == Trial::Yes,
                page_token,
            };
            let answer = self.call(async |mut client| client.cancel_runs(request.clone()).await).await?;
            all.runs.extend(decode::run_ids(&answer.run_ids)?);
            all.canceled = all.canceled.saturating_add(answer.canceled);
            all.killing = all.killing.saturating_add(answer.killing);
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Takes a run that has ended out of history. One that is gone when the call is made again went with the call whose
    /// answer was lost.
    pub async fn delete(&self, run: RunId) -> Result<(), CallError> {
        let request = v1::DeleteRunRequest { run_id: run.to_string() };
        let tries = AtomicU32::new(0);
        let attempt = async |mut client: SwarmClient<Failover>| {
            tries.fetch_add(1, Ordering::Relaxed);
            client.delete_run(request.clone()).await
        };
        match self.call(attempt).await {
            Err(CallError::NotFound { .. }) if tries.load(Ordering::Relaxed) > 1 => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Why pending shards of a run, or one shard, have no bot.
    pub async fn explain(&self, id: &str) -> Result<Vec<Explanation>, CallError> {
        let request = v1::ExplainRequest { id: id.to_owned() };
        let answer = self.call(async |mut client| client.explain(request.clone()).await).await?;
        let pending = answer.steps.into_iter().map(decode::explanation);
        let waiting = answer.waiting.into_iter().map(decode::waiting);
        Ok(pending.chain(waiting).chain(answer.notes.into_iter().map(decode::note)).collect())
    }

    /// What a bot is told to do for a shard.
    pub async fn assignment(&self, shard: ShardId) -> Result<Assignment, CallError> {
        let request = v1::GetAssignmentRequest { shard_id: shard.to_string() };
        let answer = self.call(async |mut client| client.get_assignment(request.clone()).await).await?;
        Assignment::new(answer)
    }

    /// Bots by id, and where the next page starts.
    pub async fn bots(
        &self,
        filter: &BotFilter,
        page_size: u32,
        page_token: &str,
    ) -> Result<(Vec<Bot>, Option<String>), CallError> {
        let request = encode::list_bots(filter, page_size, page_token);
        let answer = self.call(async |mut client| client.list_bots(request.clone()).await).await?;
        let bots = answer.bots.iter().map(decode::bot).collect::<Result<_, _>>()?;
        Ok((bots, Some(answer.next_page_token).filter(|token| !token.is_empty())))
    }

    /// Gives a bot an order. The answer is what it has and will finish.
    pub async fn order_bot(
        &self,
        bot: &BotId,
        order: BotOrder,
        message: &str,
    ) -> Result<Vec<ShardId>, CallError> {
        let request = v1::OrderBotRequest {
            bot_id: bot.to_string(),
            order: encode::bot_order(order).into(),
            message: message.to_owned(),
        };
        let answer = self.call(async |mut client| client.order_bot(request.clone()).await).await?;
        Ok(decode::shard_ids(&answer.running)?)
    }

    /// The run as it is, then what changes. One try: whoever follows knows how long to go on.
    pub async fn watch(
        &self,
        run: RunId,
    ) -> Result<impl Stream<Item = Result<Update, CallError>> + use<>, CallError> {
        let mut client = self.client.clone();
        let address = self.address.clone();
        let request = v1::WatchRequest { run_id: run.to_string() };
        let opened = self.within_deadline(client.watch(request)).await?;
        Ok(opened.into_inner().map(move |message| match message {
            Ok(message) => decode::update(message).map_err(CallError::from),
            Err(status) => Err(CallError::from_status(&status, &address)),
        }))
    }

    /// The output of an attempt from `offset` on. One try: whoever reads knows where to go on.
    pub async fn read_output(
        &self,
        shard: ShardId,
        from: OutputStart,
    ) -> Result<impl Stream<Item = Result<OutputChunk, CallError>> + use<>, CallError> {
        let mut client = self.client.clone();
        let address = self.address.clone();
        let opening = client.read_output(encode::read_output(shard, from));
        let opened = match from.until {
            OutputEnd::Present => self.within_deadline(opening).await?,
            // A shard that waits for a bot has an attempt to follow only when one has taken it. Keep-alive tells
            // a scheduler that has gone.
            OutputEnd::Attempt => {
                opening.await.map_err(|status| CallError::from_status(&status, &address))?
            }
        };
        Ok(opened.into_inner().map(move |message| match message {
            Ok(message) => {
                Ok(OutputChunk { attempt: message.attempt, offset: message.offset, data: message.data })
            }
            Err(status) => Err(CallError::from_status(&status, &address)),
        }))
    }

    /// Waits between two tries, longer with each.
    pub async fn back_off(&self, tries: u32) {
        let most = BACK_OFF.min(Duration::from_millis(50) * 2u32.saturating_pow(tries.min(10)));
        self.clock.sleep(most / 2 + self.entropy.jitter(most / 2)).await;
    }

    /// For how long one that was never heard is tried.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// The clock that deadlines are measured on.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Makes an idempotent call until it is answered, for as long as patience lasts.
    async fn call<T>(
        &self,
        attempt: impl AsyncFn(SwarmClient<Failover>) -> Result<Response<T>, Status>,
    ) -> Result<T, CallError> {
        let start = self.clock.elapsed();
        let mut tries = 0;
        loop {
            let error = match self.within_deadline(attempt(self.client.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(error) => error,
            };
            let waited = self.clock.elapsed().saturating_sub(start);
            if !error.is_transient() || waited >= self.patience {
                return Err(error);
            }
            tracing::debug!(%error, tries, "calling the scheduler again");
            self.back_off(tries).await;
            tries += 1;
        }
    }

    async fn within_deadline<T>(
        &self,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(CALL_DEADLINE, answer).await {
            Ok(answer) => answer.map_err(|status| CallError::from_status(&status, &self.address)),
            Err(_) => Err(self.unavailable(&format!("no answer within {} s", CALL_DEADLINE.as_secs()))),
        }
    }

    /// What to make of a scheduler that does not do as it should, and may the next time.
    pub(crate) fn unavailable(&self, reason: &str) -> CallError {
        CallError::Unavailable { address: self.address.to_string(), reason: reason.to_owned() }
    }
}
