//! Taking blobs in: verified while they come, then handed to the writer.

use super::{
    ahead::Ahead,
    codec::Encoding,
    framed::FramedStaging,
    frames::Compressor,
    options::Compression,
    room::{Loan, Reservation},
    shared::Shared,
    staging::Staging,
    uploads::{Begun, Claim, UploadName},
    writer::{Item, Request},
};
use bytes::{Bytes, BytesMut};
use cas::{ByteStream, Error, Result};
use futures::StreamExt as _;
use proto::Digest;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Bytes of a large upload that are hashed and written in one go.
const STEP: usize = 1 << 20;

/// The writer syncs a disk; this long without an answer means that the disk hangs.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);

/// How often a write that goes on asks for the upload.
const CLAIMS: usize = 3;

/// The way into the store.
#[derive(Clone, Debug)]
pub(crate) struct Uploader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: mpsc::Sender<Request>,
}

impl Uploader {
    /// Whether it is there already. A use of it.
    async fn has(&self, digest: Digest) -> Result<bool> {
        if let Some(entries) = self.shared.glance(&[digest]) {
            return Ok(entries.iter().any(Option::is_some));
        }
        let shared = Arc::clone(&self.shared);
        let entries = self.shared.bounds.run(move || shared.look_up(&[digest])).await?;
        Ok(entries.iter().any(Option::is_some))
    }

    /// One blob of any size, which starts over when it breaks off.
    pub(crate) async fn stream(&self, digest: Digest, source: ByteStream) -> Result<()> {
        if digest.is_empty() || self.has(digest).await? {
            return Ok(());
        }
        self.shared.options.check_size(&digest)?;
        self.take(digest, None, source).await
    }

    /// One blob of any size. A large one may go on at `offset`.
    pub(crate) async fn resume(&self, name: UploadName, offset: u64, source: ByteStream) -> Result<()> {
        let digest = name.digest();
        if digest.is_empty() || self.has(digest).await? {
            return Ok(());
        }
        self.shared.options.check_size(&digest)?;
        if digest.size() < self.shared.options.pack_below {
            if offset > 0 {
                return Err(Error::Invalid { reason: format!("write_offset is {offset}, expected 0") });
            }
            return self.take(digest, None, source).await;
        }
        for _ in 0..CLAIMS {
            let (uploads, asked) = (Arc::clone(&self.shared.uploads), name.clone());
            match self.shared.bounds.run(move || uploads.begin(&asked, offset)).await? {
                Begun::Claimed(claim) => return self.take(digest, Some(claim), source).await,
                Begun::Private => return self.take(digest, None, source).await,
                Begun::Stopping(ended) => {
                    // If it does not end in time, nor will it next time.
                    let _ = tokio::time::timeout(self.shared.options.patience, ended.cancelled()).await;
                }
            }
            // It may have been at its end.
            if self.has(digest).await? {
                return Ok(());
            }
        }
        Err(Error::Unavailable { reason: "another write of this upload does not end".into() })
    }

    async fn take(&self, digest: Digest, claim: Option<Arc<Claim>>, source: ByteStream) -> Result<()> {
        let options = &self.shared.options;
        let _room = self.shared.room.reserve(digest.size(), options.patience).await?;
        if digest.size() < options.pack_below {
            let memory = self.shared.bounds.memory(digest.size()).await?;
            let bytes = collect(digest, source).await?;
            self.commit(vec![self.pack(digest, bytes).await?], memory).await
        } else {
            let (_beside, loan) = self.shared.room_to_compress(digest.size()).unzip();
            // Two steps: one that comes, one that is written.
            let compressing = if loan.is_some() { FramedStaging::MEMORY } else { 0 };
            let memory = self.shared.bounds.memory(2 * STEP as u64 + compressing).await?;
            // Held until the index knows the blob, so that nobody is told that nothing has come of it.
            let held = claim.clone();
            let staged = self.stage(digest, claim, source, loan).await;
            let item = staged.inspect_err(|error| self.shared.count_disk_error(error))?;
            self.commit(vec![item], memory).await?;
            if let Some(claim) = held {
                // It may have a large file to delete.
                let _ = tokio::task::spawn_blocking(move || claim.finish()).await;
            }
            Ok(())
        }
    }

    /// A small blob, compressed where that is wanted.
    async fn pack(&self, digest: Digest, bytes: Bytes) -> Result<Item> {
        if self.shared.options.compress == Compression::Off {
            return Ok(Item::Packed { digest, encoding: Encoding::Plain, bytes });
        }
        let shared = Arc::clone(&self.shared);
        self.shared.bounds.run(move || Ok(pack(shared.compressor().as_mut(), digest, bytes))).await
    }

    async fn stage(
        &self,
        digest: Digest,
        claim: Option<Arc<Claim>>,
        source: ByteStream,
        loan: Option<Loan>,
    ) -> Result<Item> {
        let mut steps = Steps::new(source, claim.as_deref());
        let shared = Arc::clone(&self.shared);
        let open = move || open(&shared, digest, claim, loan);
        let mut staging = self.shared.bounds.run(open).await?;
        // The next step comes in while the one before is hashed and written.
        let mut step = steps.next().await;
        let mut ahead = Ahead::default();
        while !step.is_empty() {
            let len = step.iter().map(|chunk| chunk.len() as u64).sum();
            let write = self.shared.bounds.run(move || append(staging, &step));
            let (written, next) = futures::join!(write, steps.next());
            staging = written?;
            step = next;
            ahead.wrote(len, &staging, &self.shared.bounds).await?;
        }
        ahead.end().await?;
        if let Some(error) = steps.failed {
            return Err(error);
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
        let (_beside, loan) = self.shared.room_to_compress(total).unzip();
        let shared = Arc::clone(&self.shared);
        let prepare = move || prepare(&shared, blobs, full.as_deref(), loan.as_ref());
        let prepared = self.shared.bounds.run(prepare).await?;
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
    loan: Option<&Loan>,
) -> Result<Vec<Result<Option<Item>>>> {
    let mut compressor = shared.compressor();
    let digests: Vec<_> = blobs.iter().map(|(digest, _)| *digest).collect();
    let entries = shared.look_up(&digests)?;
    let mut prepare = |((digest, bytes), there): ((Digest, Bytes), bool)| {
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
        shared.options.check_size(&digest)?;
        if digest.size() < shared.options.pack_below {
            return Ok(Some(pack(compressor.as_mut(), digest, bytes)));
        }
        let framed = shared.framed_staging(loan.cloned());
        let staged = Staging::private(&shared.uploads, digest, framed).and_then(|mut staging| {
            staging.append(&bytes)?;
            staging.finish()
        });
        staged.map(|staged| Some(Item::File(staged))).inspect_err(|error| shared.count_disk_error(error))
    };
    Ok(blobs.into_iter().zip(entries.iter().map(Option::is_some)).map(&mut prepare).collect())
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

/// A large blob in steps of at least [`STEP`] bytes.
struct Steps {
    source: ByteStream,
    /// Somebody else goes on with the upload.
    stop: CancellationToken,
    ended: bool,
    /// Why it ended before its end.
    failed: Option<Error>,
}

impl Steps {
    fn new(source: ByteStream, claim: Option<&Claim>) -> Self {
        let stop = claim.map(|claim| claim.stop.clone()).unwrap_or_default();
        Self { source, stop, ended: false, failed: None }
    }

    /// The next step, also when the source fails behind it. Empty: there are no more.
    async fn next(&mut self) -> Vec<Bytes> {
        let (mut step, mut len) = (Vec::new(), 0);
        while !self.ended && len < STEP {
            let chunk = tokio::select! {
                () = self.stop.cancelled() => {
                    let reason = "another write goes on with this upload".into();
                    Some(Err(Error::Unavailable { reason }))
                }
                chunk = self.source.next() => chunk,
            };
            match chunk {
                Some(Ok(chunk)) => {
                    len += chunk.len();
                    // An empty chunk must not look like the end.
                    step.extend((!chunk.is_empty()).then_some(chunk));
                }
                Some(Err(error)) => (self.ended, self.failed) = (true, Some(error)),
                None => self.ended = true,
            }
        }
        step
    }
}

impl Shared {
    /// Room for a large blob of this size a second time while it comes. `None`: it is not to be compressed, or there is no
    /// room for that.
    fn room_to_compress(&self, size: u64) -> Option<(Reservation<'_>, Loan)> {
        (self.options.compress != Compression::Off).then(|| self.room.lend(size)).flatten()
    }

    /// For small blobs, if they are to be compressed.
    fn compressor(&self) -> Option<Compressor> {
        (self.options.compress != Compression::Off).then(|| Compressor::new().ok()).flatten()
    }

    fn framed_staging(&self, loan: Option<Loan>) -> Option<FramedStaging> {
        FramedStaging::begin(&self.uploads, loan?).ok()
    }
}

fn pack(compressor: Option<&mut Compressor>, digest: Digest, bytes: Bytes) -> Item {
    let packed = compressor.and_then(|compressor| compressor.pack(bytes.clone()).ok());
    let (encoding, bytes) = packed.unwrap_or((Encoding::Plain, bytes));
    Item::Packed { digest, encoding, bytes }
}

fn open(shared: &Shared, digest: Digest, claim: Option<Arc<Claim>>, loan: Option<Loan>) -> Result<Staging> {
    let framed = shared.framed_staging(loan);
    let Some(claim) = claim else { return Staging::private(&shared.uploads, digest, framed) };
    if claim.begins > 0 {
        shared.metrics.resumed_uploads.inc();
    }
    Staging::claimed(claim, digest, framed)
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
