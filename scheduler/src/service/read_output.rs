//! The output of one attempt, followed to its end when asked.

use super::{Service, status};
use crate::{
    journal::{AttemptKey, Journal},
    queue::{Queue, Refusal, Run, ShardState},
    shell::{CallError, Handle, Tail},
    wire::field::InField,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use proto::{ShardId, limits, v1};
use std::sync::Arc;
use tokio::task::JoinSet;
use tonic::Status;

type Responses = BoxStream<'static, Result<v1::ReadOutputResponse, Status>>;

pub(super) async fn read_output(
    service: &Service,
    request: &v1::ReadOutputRequest,
) -> Result<Responses, Status> {
    let asked: ShardId = request.shard_id.parse().in_field("shard_id")?;
    // What was deduped has printed what the other one has.
    let look = move |queue: &Queue, _| Some(queue.shard(asked)?.reused.as_ref()?.from);
    let reused = service.shell.read(look).await?;
    let shard = reused.unwrap_or(asked);
    if let Some(from) = reused
        && !service.shell.read(move |queue: &Queue, _| queue.run(from.run).is_some()).await?
    {
        return Err(Status::not_found(format!(
            "shard {asked} was not run, it ended with the success of {from}: its output went with run {}, which was \
             deleted",
            from.run
        )));
    }
    let follow = if request.follow { Follow::ToItsEnd } else { Follow::No };
    let attempt = match request.attempt {
        0 => newest(&service.shell, shard, follow).await?,
        number => Some(number),
    };
    // A shard that no bot has taken has printed nothing.
    let Some(attempt) = attempt else { return Ok(stream::empty().boxed()) };
    let key = AttemptKey { shard, attempt };
    let tail = service.shell.tail(key).await?;
    let tail = tail.ok_or_else(|| Status::not_found(format!("shard {shard} has no attempt {attempt}")))?;
    let reader = Reader { tail, key, offset: request.offset, follow, failed: false };
    let next = async |mut reader: Reader| {
        let message = reader.next().await?;
        Some((message, reader))
    };
    Ok(stream::unfold(reader, next).boxed())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    No,
    ToItsEnd,
}

/// The newest attempt of a shard. One who follows waits for the first.
async fn newest(shell: &Handle, shard: ShardId, follow: Follow) -> Result<Option<u32>, Status> {
    let missing = || status::of_refusal(&Refusal::UnknownShard { shard });
    let look = move |_: &Queue, run: &Run| {
        let found = run.shard(shard)?;
        let ended = matches!(found.state, ShardState::Ended(_));
        Some((found.attempts.last().map(|attempt| attempt.number), ended))
    };
    loop {
        let (seen, mut updates) = shell.watch(shard.run, look).await.map_err(|error| match error {
            CallError::Refused(_) => missing(),
            CallError::Unavailable { .. } => error.into(),
        })?;
        let (attempt, ended) = seen.ok_or_else(missing)?;
        if attempt.is_some() || ended || follow == Follow::No {
            return Ok(attempt);
        }
        // Whatever it is, even having missed some: look again.
        if let Err(tokio::sync::broadcast::error::RecvError::Closed) = updates.recv().await {
            return Err(Status::unavailable("the scheduler is stopping: try again"));
        }
    }
}

struct Reader {
    tail: Tail,
    key: AttemptKey,
    offset: u64,
    follow: Follow,
    failed: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<v1::ReadOutputResponse, Status>> {
        while !self.failed {
            let state = *self.tail.state.borrow_and_update();
            if self.offset < state.size {
                return Some(self.read().await);
            }
            if state.ended || self.follow == Follow::No {
                return None;
            }
            if self.tail.state.changed().await.is_err() {
                return Some(Err(self.closed()));
            }
        }
        None
    }

    async fn read(&mut self) -> Result<v1::ReadOutputResponse, Status> {
        let journal = self.tail.journal.upgrade().ok_or_else(|| self.closed())?;
        let (key, offset) = (self.key, self.offset);
        let data = read_chunk(journal, key, offset).await.inspect_err(|_| self.failed = true)?;
        if data.is_empty() {
            self.failed = true;
            return Err(Status::data_loss(format!(
                "the output of {} is not there from {offset} on",
                key.shard
            )));
        }
        self.offset += data.len() as u64;
        Ok(v1::ReadOutputResponse { attempt: key.attempt, offset, data })
    }

    fn closed(&mut self) -> Status {
        self.failed = true;
        Status::unavailable("the scheduler has closed its journal: go on from the offset reached")
    }
}

/// Off the threads that serve calls.
async fn read_chunk(journal: Arc<dyn Journal>, key: AttemptKey, offset: u64) -> Result<Bytes, Status> {
    let mut reading = JoinSet::new();
    reading.spawn_blocking(move || journal.read_output(&key, offset, limits::STREAM_CHUNK));
    match reading.join_next().await {
        Some(Ok(read)) => read.map_err(Status::from),
        other => Err(Status::internal(format!("a read has stopped: {other:?}"))),
    }
}
