//! A run as it is, then what changes, until it has ended.

use super::Service;
use crate::{
    queue::{Queue, Run},
    shell::{CallError, Handle, Update, Updates},
    wire::{field::InField, run, suite},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use prost::Message as _;
use proto::{RunId, ShardId, v1};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tonic::Status;
use v1::watch_response::{Changes, Update as Wire};

/// More than these bytes of shards go out in several messages. Clients accept 4 MiB by default.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Decisions that are told in one message when the watcher is behind.
const MOST_MERGED: usize = 1000;

pub(super) async fn watch(
    service: &Service,
    request: &v1::WatchRequest,
) -> Result<BoxStream<'static, Result<v1::WatchResponse, Status>>, Status> {
    let run: RunId = request.run_id.parse().in_field("run_id")?;
    let watcher = Watcher::open(service.shell.clone(), run).await?;
    let next = async |mut watcher: Watcher| {
        let message = watcher.next().await?;
        Some((message, watcher))
    };
    Ok(stream::unfold(watcher, next).boxed())
}

struct Watcher {
    shell: Handle,
    run: RunId,
    updates: Updates,
    /// To be sent before anything else.
    ready: VecDeque<Wire>,
    ended: bool,
}

impl Watcher {
    async fn open(shell: Handle, run: RunId) -> Result<Self, CallError> {
        let (snapshot, updates) = shell.watch(run, look).await?;
        let ended = snapshot.ended.is_some();
        Ok(Self { shell, run, updates, ready: messages(snapshot), ended })
    }

    async fn next(&mut self) -> Option<Result<v1::WatchResponse, Status>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(Ok(v1::WatchResponse { update: Some(update) }));
            }
            if self.ended {
                return None;
            }
            if let Err(status) = self.wait().await {
                self.ended = true;
                return Some(Err(status));
            }
        }
    }

    /// Waits for something to be ready.
    async fn wait(&mut self) -> Result<(), Status> {
        let mut merged = match self.updates.recv().await {
            Ok(update) => Merged::new(&update),
            Err(RecvError::Lagged(_)) => return self.start_over().await,
            Err(RecvError::Closed) => {
                return Err(Status::unavailable("the scheduler is stopping: watch again"));
            }
        };
        for _ in 0..MOST_MERGED {
            match self.updates.try_recv() {
                Ok(update) => merged.add(&update),
                Err(TryRecvError::Lagged(_)) => return self.start_over().await,
                // Should it be closed, the next wait says so, unless the run has ended.
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.ended = merged.changes.ended.is_some();
        self.ready = merged.messages();
        Ok(())
    }

    /// Too far behind to be told each change: everything, once more.
    async fn start_over(&mut self) -> Result<(), Status> {
        *self = Self::open(self.shell.clone(), self.run).await?;
        Ok(())
    }
}

fn look(queue: &Queue, run: &Run) -> v1::Run {
    run::run(queue, run)
}

/// The whole run: what does not fit into the first message comes as changes.
fn messages(mut run: v1::Run) -> VecDeque<Wire> {
    let (state, ended) = (run.state, run.ended);
    let mut parts = parts(std::mem::take(&mut run.shards));
    run.shards = parts.pop_front().unwrap_or_default();
    let later =
        parts.into_iter().map(|shards| Wire::Changes(Changes { state, ended, shards, tests: Vec::new() }));
    std::iter::once(Wire::Run(run)).chain(later).collect()
}

/// Shards in as many parts as messages are needed for them.
fn parts(shards: impl IntoIterator<Item = v1::Shard>) -> VecDeque<Vec<v1::Shard>> {
    let mut parts: VecDeque<Vec<v1::Shard>> = VecDeque::new();
    let mut bytes = 0;
    for shard in shards {
        let len = shard.encoded_len();
        bytes += len;
        match parts.back_mut().filter(|_| bytes <= MESSAGE_BYTES) {
            Some(part) => part.push(shard),
            None => {
                parts.push_back(vec![shard]);
                bytes = len;
            }
        }
    }
    parts
}

/// Several updates as one: the last word on each shard.
struct Merged {
    changes: Changes,
    shards: BTreeMap<ShardId, v1::Shard>,
    tests: BTreeMap<u32, v1::StepTests>,
}

impl Merged {
    fn new(update: &Arc<Update>) -> Self {
        let mut merged =
            Self { changes: Changes::default(), shards: BTreeMap::new(), tests: BTreeMap::new() };
        merged.add(update);
        merged
    }

    fn add(&mut self, update: &Arc<Update>) {
        self.changes.state = run::run_state(update.state).into();
        self.changes.ended = update.ended.map(Into::into);
        for view in &update.shards {
            self.shards
                .insert(view.id, run::shard(view.id, &view.shard, view.live_output, view.bot.as_ref()));
        }
        for view in &update.tests {
            self.tests.insert(view.step, suite::tests_to_wire(view));
        }
    }

    /// Only the last one says that the run has ended.
    fn messages(self) -> VecDeque<Wire> {
        let mut parts = parts(self.shards.into_values());
        let tests = self.tests.into_values().collect();
        let last = Changes { shards: parts.pop_back().unwrap_or_default(), tests, ..self.changes };
        let state = v1::RunState::Running.into();
        let sooner =
            parts.into_iter().map(|shards| Changes { state, ended: None, shards, tests: Vec::new() });
        sooner.chain([last]).map(Wire::Changes).collect()
    }
}

#[cfg(test)]
mod tests;
