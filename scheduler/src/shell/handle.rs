//! The way to the shell, for the services.

use super::{synchronize::Orders, tails::Tail, watchers::Update};
use crate::{
    journal::{AttemptKey, Release},
    queue::{CancelMode, Quarantined, Queue, Refusal, Reuse, Run, RunFilter, RunSpec, Wanted},
    wire::report::Report,
};
use proto::{BotId, RequestId, RunId, ShardId, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::timeout,
};

/// A call gets this long to reach the shell, and its answer this long to become durable.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// It was understood and changes nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Not now. Whether it took effect is open: it may be repeated.
    #[error("the scheduler cannot answer now: {reason}; try again")]
    Unavailable { reason: String },
}

impl CallError {
    fn unavailable(reason: &str) -> Self {
        Self::Unavailable { reason: reason.to_owned() }
    }
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, CallError>>;

/// What the queue says of a state that is durable when it is told, or why it says nothing.
pub(super) type Reading = Box<dyn FnOnce(Result<(&Queue, Timestamp), CallError>) -> Release + Send>;

/// The changes of a run after its snapshot.
pub(crate) type Updates = broadcast::Receiver<Arc<Update>>;

/// What a run is, and what changes from the time on when that is told.
pub(super) type Snapshot = Box<dyn FnOnce(Result<(&Queue, &Run, Updates), CallError>) -> Release + Send>;

/// What the shell is asked to do.
pub(super) enum Command {
    Trigger { request: RequestId, spec: Arc<RunSpec>, reuses: Vec<Reuse>, reply: Reply<Triggered> },
    Synchronize { report: Report, reply: Reply<Orders> },
    Cancel { run: RunId, mode: CancelMode, reply: Reply<Canceled> },
    CancelRuns { filter: RunFilter, before: Option<RunId>, mode: CancelMode, reply: Reply<CanceledRuns> },
    Delete { run: RunId, reply: Reply<()> },
    Order { bot: BotId, wanted: Wanted, message: String, reply: Reply<Vec<ShardId>> },
    Quarantine { quarantined: Quarantined, reply: Reply<()> },
    Read(Reading),
    Watch { run: RunId, look: Snapshot },
    Tail { attempt: AttemptKey, reply: Reply<Option<Tail>> },
}

/// The run that a request has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Triggered {
    pub(crate) run: RunId,
    pub(crate) created: bool,
    pub(crate) shards: u64,
    /// Those that have ended with an earlier success.
    pub(crate) deduped: usize,
}

/// What a cancellation has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Canceled {
    pub(crate) canceled: u32,
    pub(crate) killing: u32,
}

/// What a cancellation of many runs has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanceledRuns {
    pub(crate) runs: Vec<RunId>,
    /// Of all of them.
    pub(crate) shards: Canceled,
    /// Where to go on.
    pub(crate) next: Option<RunId>,
}

/// Cloned into every service. The shell ends when the last one is gone.
#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(super) mpsc::Sender<Command>);

impl Handle {
    /// Creates a run, or finds the one that the request has made.
    pub(crate) async fn trigger(
        &self,
        request: RequestId,
        spec: Arc<RunSpec>,
        reuses: Vec<Reuse>,
    ) -> Result<Triggered, CallError> {
        self.call(Duration::ZERO, |reply| Command::Trigger { request, spec, reuses, reply }).await
    }

    /// Takes in a bot's report and answers when there is news for it, or when its wait is over.
    pub(crate) async fn synchronize(&self, report: Report) -> Result<Orders, CallError> {
        self.call(report.wait, |reply| Command::Synchronize { report, reply }).await
    }

    /// Cancels a run.
    pub(crate) async fn cancel(&self, run: RunId, mode: CancelMode) -> Result<Canceled, CallError> {
        self.call(Duration::ZERO, |reply| Command::Cancel { run, mode, reply }).await
    }

    /// Cancels runs that have not ended, so many in one call.
    pub(crate) async fn cancel_runs(
        &self,
        filter: RunFilter,
        before: Option<RunId>,
        mode: CancelMode,
    ) -> Result<CanceledRuns, CallError> {
        self.call(Duration::ZERO, |reply| Command::CancelRuns { filter, before, mode, reply }).await
    }

    /// Takes a run out of history.
    pub(crate) async fn delete(&self, run: RunId) -> Result<(), CallError> {
        self.call(Duration::ZERO, |reply| Command::Delete { run, reply }).await
    }

    /// Makes it known that failures of a test are known.
    pub(crate) async fn quarantine(&self, quarantined: Quarantined) -> Result<(), CallError> {
        self.call(Duration::ZERO, |reply| Command::Quarantine { quarantined, reply }).await
    }

    /// Gives a bot an order. The answer is what it has and will finish.
    pub(crate) async fn order(
        &self,
        bot: BotId,
        wanted: Wanted,
        message: String,
    ) -> Result<Vec<ShardId>, CallError> {
        self.call(Duration::ZERO, |reply| Command::Order { bot, wanted, message, reply }).await
    }

    /// Looks at a run and follows what changes from then on.
    pub(crate) async fn watch<T: Send + 'static>(
        &self,
        run: RunId,
        look: impl FnOnce(&Queue, &Run) -> T + Send + 'static,
    ) -> Result<(T, Updates), CallError> {
        let command = |reply: Reply<(T, Updates)>| {
            let look: Snapshot = Box::new(move |found| {
                let seen = found.map(|(queue, run, updates)| (look(queue, run), updates));
                Box::new(move || {
                    // Changes that are told before the snapshot is are in it already.
                    let seen = seen.map(|(seen, updates)| (seen, updates.resubscribe()));
                    // An error means that the caller is gone.
                    drop(reply.send(seen));
                })
            });
            Command::Watch { run, look }
        };
        self.call(Duration::ZERO, command).await
    }

    /// Follows the output of an attempt, if there is such an attempt.
    pub(crate) async fn tail(&self, attempt: AttemptKey) -> Result<Option<Tail>, CallError> {
        self.call(Duration::ZERO, |reply| Command::Tail { attempt, reply }).await
    }

    /// Looks at the queue. `look` runs on the shell's task and should be short.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Queue, Timestamp) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let command = |reply: Reply<T>| {
            Command::Read(Box::new(move |found| {
                let seen = found.map(|(queue, now)| look(queue, now));
                // An error means that the caller is gone.
                Box::new(move || drop(reply.send(seen)))
            }))
        };
        self.call(Duration::ZERO, command).await
    }

    async fn call<T>(
        &self,
        wait: Duration,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, CallError> {
        let (reply, answer) = oneshot::channel();
        match timeout(PATIENCE, self.0.send(command(reply))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(CallError::unavailable("it is stopping")),
            Err(_) => return Err(CallError::unavailable("it is overloaded")),
        }
        match timeout(wait + PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::unavailable("its journal cannot be written")),
            Err(_) => Err(CallError::unavailable("its disk is too slow")),
        }
    }
}

/// A channel that is short enough that the time in it stays far below anybody's patience.
pub(super) fn channel() -> (Handle, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(1024);
    (Handle(sender), receiver)
}

/// An error that says why there is no engine.
pub(super) fn refuse(command: Command, reason: &Arc<str>) {
    let error = CallError::unavailable(reason);
    // Errors mean that the caller is gone.
    match command {
        Command::Trigger { reply, .. } => drop(reply.send(Err(error))),
        Command::Synchronize { reply, .. } => drop(reply.send(Err(error))),
        Command::Cancel { reply, .. } => drop(reply.send(Err(error))),
        Command::CancelRuns { reply, .. } => drop(reply.send(Err(error))),
        Command::Delete { reply, .. } => drop(reply.send(Err(error))),
        Command::Quarantine { reply, .. } => drop(reply.send(Err(error))),
        Command::Order { reply, .. } => drop(reply.send(Err(error))),
        Command::Read(reading) => reading(Err(error))(),
        Command::Watch { look, .. } => look(Err(error))(),
        Command::Tail { reply, .. } => drop(reply.send(Err(error))),
    }
}
