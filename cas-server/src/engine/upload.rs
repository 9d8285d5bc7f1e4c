//! Taking blobs in: verified while they come, then handed to the writer.

use super::{
    files::Staging,
    shared::Shared,
    writer::{Item, Request},
};
use bytes::{Bytes, BytesMut};
use cas::{ByteStream, Error, Result};
use futures::StreamExt as _;
use proto::Digest;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Bytes of a large upload that are hashed and written in one go.
const STEP: usize = 1 << 20;

/// The writer syncs a disk; this long without an answer means that the disk hangs.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);

/// The way into the store.
#[derive(Clone, Debug)]
pub(crate) struct Uploader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: mpsc::Sender<Request>,
}

impl Uploader {
    /// Whether it is there already. A use of it.
    async fn has(&self, digest: Digest) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let entries = self.shared.bounds.run(move || shared.look_up(&[digest])).await?;
        Ok(entries.iter().any(Option::is_some))
    }

    /// One blob of any size.
    pub(crate) async fn stream(&self, digest: Digest, source: ByteStream) -> Result<()> {
        if digest.is_empty() || self.has(digest).await? {
            return Ok(());
        }
        let options = &self.shared.options;
        let _room = self.shared.room.reserve(digest.size(), options.patience).await?;
        if digest.size() < options.pack_below {
            let memory = self.shared.bounds.memory(digest.size()).await?;
            let bytes = collect(digest, source).await?;
            self.commit(vec![Item::Packed { digest, bytes }], memory).await
        } else {
            // Two steps: one that comes, one that is written.
            let memory = self.shared.bounds.memory(2 * STEP as u64).await?;
            let item = self.stage(digest, source).await?;
            self.commit(vec![item], memory).await
        }
    }

    async fn stage(&self, digest: Digest, mut source: ByteStream) -> Result<Item> {
        let shared = Arc::clone(&self.shared);
        let mut staging = self.shared.bounds.run(move || shared.files.stage(digest)).await?;
        let mut ended = false;
        // The next step comes in while the one before is hashed and written.
        let mut step = next_step(&mut source, &mut ended).await?;
        while !step.is_empty() {
            let write = self.shared.bounds.run(move || append(staging, &step));
            let (written, next) = futures::join!(write, next_step(&mut source, &mut ended));
            staging = written?;
            step = next?;
        }
        self.shared.bounds.run(move || staging.finish().map(Item::File)).await
    }

    /// Several blobs, each with its own outcome.
    pub(crate) async fn batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        // Of the bytes, not of the sizes in their names: those may be anything.
        let total = blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let memory = self.shared.bounds.memory(total).await?;
        let room = self.shared.room.reserve(total, self.shared.options.patience).await;
        let full = room.as_ref().err().map(Error::to_string);
        let shared = Arc::clone(&self.shared);
        let prepared = self.shared.bounds.run(move || prepare(&shared, blobs, full.as_deref())).await?;
        let mut items = Vec::new();
        let mut outcomes = Vec::new();
        let mut pending = Vec::new();
        for (at, outcome) in prepared.into_iter().enumerate() {
            outcomes.push(outcome.map(|item| {
                if let Some(item) = item {
                    items.push(item);
                    pending.push(at);
                }
            }));
        }
        if let Err(error) = self.commit(items, memory).await {
            for at in pending {
                outcomes[at] = Err(copy(&error));
            }
        }
        Ok(outcomes)
    }

    /// Hands verified blobs to the writer and waits until they are durable.
    pub(crate) async fn commit(&self, items: Vec<Item>, memory: OwnedSemaphorePermit) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let unavailable = |reason: &str| Error::Unavailable { reason: reason.into() };
        let (answer, done) = oneshot::channel();
        let patience = self.shared.options.patience;
        match self.writer.send_timeout(Request { items, memory: Some(memory), answer }, patience).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(unavailable("the disk is busy")),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(unavailable("the store is closing")),
        }
        let answer = tokio::time::timeout(COMMIT_PATIENCE, done).await;
        answer
            .map_err(|_| unavailable("the disk does not answer"))?
            .map_err(|_| unavailable("the store is closing"))?
    }
}

/// Verifies, and finds out what is there already (`None`). Blocks.
fn prepare(
    shared: &Shared,
    blobs: Vec<(Digest, Bytes)>,
    full: Option<&str>,
) -> Result<Vec<Result<Option<Item>>>> {
    let digests: Vec<_> = blobs.iter().map(|(digest, _)| *digest).collect();
    let entries = shared.look_up(&digests)?;
    let prepare = |((digest, bytes), there): ((Digest, Bytes), bool)| {
        let actual = digest.function().digest(&bytes);
        if actual != digest {
            return Err(Error::Mismatch { expected: digest, actual });
        }
        if there || digest.is_empty() {
            return Ok(None);
        }
        if let Some(full) = full {
            return Err(Error::Exhausted { reason: full.to_owned() });
        }
        if digest.size() < shared.options.pack_below {
            return Ok(Some(Item::Packed { digest, bytes }));
        }
        let mut staging = shared.files.stage(digest)?;
        staging.append(&bytes)?;
        staging.finish().map(|staged| Some(Item::File(staged)))
    };
    Ok(blobs.into_iter().zip(entries.iter().map(Option::is_some)).map(prepare).collect())
}

/// The whole of a small blob.
async fn collect(digest: Digest, mut source: ByteStream) -> Result<Bytes> {
    let mut hasher = digest.function().hasher();
    let mut whole = BytesMut::new();
    while let Some(chunk) = source.next().await {
        let chunk = chunk?;
        hasher.update(&chunk);
        if hasher.size() > digest.size() {
            break;
        }
        whole.extend_from_slice(&chunk);
    }
    let actual = hasher.finish();
    if actual == digest { Ok(whole.freeze()) } else { Err(Error::Mismatch { expected: digest, actual }) }
}

/// At least [`STEP`] bytes of a large blob, or what is left. None: its end.
async fn next_step(source: &mut ByteStream, ended: &mut bool) -> Result<Vec<Bytes>> {
    let (mut step, mut len) = (Vec::new(), 0);
    while !*ended && len < STEP {
        match source.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                len += chunk.len();
                // An empty chunk must not look like the end.
                step.extend((!chunk.is_empty()).then_some(chunk));
            }
            None => *ended = true,
        }
    }
    Ok(step)
}

fn append(mut staging: Staging, step: &[Bytes]) -> Result<Staging> {
    step.iter().try_for_each(|chunk| staging.append(chunk))?;
    Ok(staging)
}

fn copy(error: &Error) -> Error {
    match error {
        Error::Exhausted { reason } => Error::Exhausted { reason: reason.clone() },
        Error::Unavailable { reason } => Error::Unavailable { reason: reason.clone() },
        other => Error::Internal { reason: other.to_string() },
    }
}
