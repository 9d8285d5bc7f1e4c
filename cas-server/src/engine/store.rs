//! The engine as others see it.

use super::{
    blocking::Bounds,
    codec::Position,
    directory,
    endings::Endings,
    evict::Evictor,
    files::Files,
    index::Index,
    metrics::Metrics,
    options::{EngineOptions, OpenError},
    pins::Pins,
    read, replay,
    retention::Retention,
    room::Room,
    segments::Segments,
    shared::Shared,
    touches::Touches,
    upload::Uploader,
    uploads::{UploadName, Uploads},
    writer::{QUEUE, Request, Writer},
};
use async_trait::async_trait;
use bytes::Bytes;
use cas::{BlobStore, ByteStream, Error, Range, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use proto::{Digest, DigestFunction};
use runtime::{Clock, Shutdown};
use std::{
    path::Path,
    sync::{Arc, RwLock},
    thread,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
};

/// How often uses are written down, and the need for room is looked at without anybody asking. A death of the process
/// forgets the uses of this long.
const ROUND: Duration = Duration::from_secs(5);

/// How often the index is read into memory if it is not there as a whole. Something went wrong since the last time, or
/// the store became smaller.
const WARM: Duration = Duration::from_secs(600);

/// The durable blob store. See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    stop: StopOnDrop,
    housekeeper: JoinHandle<()>,
    uploader: Uploader,
    /// Dropped last: it ends when the uploader is gone.
    writer: JoinOnDrop,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Blobs and values.
    pub entries: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes on disk that it stays below.
    pub limit: u64,
}

/// Ends background work also when the engine is dropped without being closed.
#[derive(Debug)]
struct StopOnDrop(Shutdown);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// Waits for the writer also when the engine is dropped without being closed: RocksDB must not be at work in a thread
/// when the process ends.
#[derive(Debug)]
struct JoinOnDrop(Option<thread::JoinHandle<()>>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        // A panic in it was told of by then.
        let _ = self.0.take().map(thread::JoinHandle::join);
    }
}

impl Engine {
    /// Opens the store in `dir`, making it if need be. Call it inside of a tokio runtime; it blocks for as long as
    /// the end of the log takes to replay, which is little.
    pub fn open(dir: &Path, options: EngineOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: dir.to_owned(), source };
        let Opened { shared, end, next } = prepare(dir, options, clock)?;
        let log = Writer::new(Arc::clone(&shared), end, next).map_err(io)?;
        let (writer, requests) = mpsc::channel(QUEUE);
        let thread =
            thread::Builder::new().name("cas-writer".into()).spawn(move || log.run(requests)).map_err(io)?;
        let shutdown = Shutdown::new();
        Ok(Self {
            housekeeper: keep_house(Arc::clone(&shared), writer.downgrade(), shutdown.clone()),
            uploader: Uploader { shared, writer },
            stop: StopOnDrop(shutdown),
            writer: JoinOnDrop(Some(thread)),
        })
    }

    /// Ends background work and writes down what is known about uses. The directory is free when this returns and
    /// all streams that were read from it are dropped.
    pub async fn close(self) {
        drop(self.stop);
        // It ends by itself; a panic in it was told of by then.
        let _ = self.housekeeper.await;
        let Uploader { shared, writer } = self.uploader;
        drop(writer);
        let thread = self.writer;
        let last = tokio::task::spawn_blocking(move || {
            drop(thread);
            if let Err(error) = shared.touches.flush(&shared.index).and_then(|()| shared.index.settle()) {
                tracing::warn!(%error, "cannot write the last uses down");
            }
        });
        let _ = last.await;
    }

    /// The blob of this hash, if the store has it: for protocols whose names have no size.
    pub async fn find_hash(&self, function: DigestFunction, hash: Vec<u8>) -> Result<Option<Digest>> {
        if Digest::empty(function).hash() == hash {
            return Ok(Some(Digest::empty(function)));
        }
        let shared = Arc::clone(&self.uploader.shared);
        if let Some(known) = shared.index.recall_hash(function, &hash) {
            return Ok(known);
        }
        self.uploader.shared.bounds.run(move || shared.index.find_hash(function, &hash)).await
    }

    /// Why the store does not work any more, if it does not. A full disk is no reason: what there is can be read.
    pub fn health(&self) -> Result<()> {
        let ended =
            |what: &str| Error::Internal { reason: format!("{what} has ended: start the server again") };
        if self.writer.0.as_ref().is_none_or(thread::JoinHandle::is_finished) {
            return Err(ended("the writer"));
        }
        if self.housekeeper.is_finished() {
            return Err(ended("housekeeping"));
        }
        self.uploader.shared.index.check()
    }

    /// Room in memory for the stream of a blob to a client, to be kept until the last byte has left. Of a large one a
    /// step is counted; read ahead there may be two more.
    pub(crate) async fn answer(&self, digest: Digest) -> Result<Arc<OwnedSemaphorePermit>> {
        let step = digest.size().min(proto::limits::STREAM_CHUNK as u64);
        self.uploader.shared.bounds.answer(step).await.map(Arc::new)
    }

    /// How full the store is.
    pub fn usage(&self) -> Usage {
        let count = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        let metrics = &self.uploader.shared.metrics;
        Usage { entries: count(&metrics.blobs), bytes: count(&metrics.bytes), limit: count(&metrics.limit) }
    }

    /// Refuses digests of a function that is switched off.
    pub(crate) fn check<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        let mut functions = digests.into_iter().map(Digest::function);
        if !self.uploader.shared.options.md5 && functions.any(|function| function == DigestFunction::Md5) {
            let reason = "this server takes no md5 (its configuration has `md5 = false`)".to_owned();
            return Err(Error::Invalid { reason });
        }
        Ok(())
    }

    /// Bytes that came of an upload of a large blob before it was cut off, and where it may go on.
    pub async fn buffered(&self, name: UploadName) -> Result<u64> {
        let shared = Arc::clone(&self.uploader.shared);
        self.uploader.shared.bounds.run(move || Ok(shared.uploads.buffered(&name))).await
    }

    /// Stores one blob like [`BlobStore::write`], from `offset` on, which is what [`Engine::buffered`] told or 0 to start
    /// over. If it breaks off, what came is kept under this name.
    pub async fn resume(&self, name: UploadName, offset: u64, source: ByteStream) -> Result<()> {
        self.check([&name.digest()])?;
        self.uploader.resume(name, offset, source).await
    }

    /// Bytes of the largest blob that the store takes.
    pub fn max_blob_bytes(&self) -> u64 {
        self.uploader.shared.options.max_blob_bytes()
    }

    /// Takes note of bytes of blobs that came in an upload.
    pub(crate) fn received(&self, bytes: usize) {
        self.uploader.shared.metrics.received_bytes.inc_by(bytes as u64);
    }

    /// An upload whose bytes are [`received`](Self::received) as they come.
    pub(crate) fn receiving(&self, upload: ByteStream) -> ByteStream {
        let received = self.uploader.shared.metrics.received_bytes.clone();
        let count = move |chunk: &Bytes| {
            received.inc_by(chunk.len() as u64);
        };
        upload.inspect_ok(count).boxed()
    }

    /// Hands the engine's metrics to whoever exports them.
    pub fn register(&self, registry: &mut Registry) {
        self.uploader.shared.metrics.register(registry);
    }

    pub(super) fn uploader(&self) -> &Uploader {
        &self.uploader
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.uploader.shared
    }

    /// As if the writer had panicked.
    #[cfg(test)]
    pub(crate) fn lose_writer(&mut self) {
        let lost = self.writer.0.replace(thread::spawn(|| {}));
        // It ends with the engine's last sender.
        drop(lost);
    }

    #[cfg(test)]
    pub(crate) fn writer(&self) -> &mpsc::Sender<Request> {
        &self.uploader.writer
    }
}

/// A store whose index has caught up with its log.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    /// The end of the log, if it can be appended to.
    end: Option<Position>,
    /// The number of the next segment.
    next: u32,
}

/// All of opening that needs no one at work in the background.
pub(super) fn prepare(
    dir: &Path,
    options: EngineOptions,
    clock: Arc<dyn Clock>,
) -> Result<Opened, OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    let replay = |source| OpenError::Replay { path: dir.to_owned(), source };
    let lock = directory::take(dir)?;
    let index = Index::open(&dir.join("index"))?;
    let pins = Pins::load(&index, &options).map_err(replay)?;
    let (segments, ids) = Segments::open(dir.join("segments")).map_err(io)?;
    let shared = Arc::new(Shared {
        index,
        segments,
        uploads: Arc::new(Uploads::open(dir.join("uploads"), Arc::clone(&clock)).map_err(io)?),
        files: Files::open(dir).map_err(io)?,
        touches: Touches::default(),
        room: Room::new(dir, &options),
        bounds: Bounds::new(options.max_memory, options.patience),
        metrics: Metrics::default(),
        retention: Retention::default(),
        pins,
        endings: Endings::new(clock.now()),
        presence: RwLock::default(),
        clock,
        options,
        _lock: lock,
    });
    let (end, next) = replay::recover(&shared, &ids).map_err(replay)?;
    shared.recount();
    Ok(Opened { shared, end, next })
}

#[async_trait]
impl BlobStore for Engine {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        self.check(digests)?;
        let shared = Arc::clone(&self.uploader.shared);
        if let Some(entries) = shared.glance(digests) {
            // Whoever asks again and again lets others go on.
            tokio::task::coop::consume_budget().await;
            return Ok(shared.missing(digests, &entries));
        }
        let asked = digests.to_vec();
        let find = move || Ok(shared.missing(&asked, &shared.look_up(&asked)?));
        self.uploader.shared.bounds.run(find).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        self.check(digests)?;
        let shared = Arc::clone(&self.uploader.shared);
        let total = digests.iter().map(Digest::size).fold(0, u64::saturating_add);
        let _memory = self.uploader.shared.bounds.memory(total).await?;
        if let Some(blobs) = shared.read_now(digests) {
            tokio::task::coop::consume_budget().await;
            return Ok(blobs.into_iter().map(Ok).collect());
        }
        let digests = digests.to_vec();
        self.uploader.shared.bounds.run(move || shared.read_all(&digests)).await
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        self.check(blobs.iter().map(|(digest, _)| digest))?;
        self.uploader.batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        self.check([&digest])?;
        read::stream(&self.uploader.shared, digest, range).await
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        self.check([&digest])?;
        self.uploader.stream(digest, source).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine awaits it when it closes")]
fn keep_house(shared: Arc<Shared>, writer: mpsc::WeakSender<Request>, shutdown: Shutdown) -> JoinHandle<()> {
    tokio::spawn(async move {
        futures::join!(make_rounds(&shared, writer, &shutdown), keep_warm(&shared, &shutdown));
    })
}

async fn keep_warm(shared: &Arc<Shared>, shutdown: &Shutdown) {
    while !shutdown.is_requested() {
        let (warmed, stop) = (Arc::clone(shared), shutdown.clone());
        let warming = tokio::task::spawn_blocking(move || warmed.index.warm(|| stop.is_requested()));
        match warming.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot read the index into memory"),
            Err(error) => tracing::error!(%error, "reading the index into memory failed"),
        }
        tokio::select! {
            () = shared.clock.sleep(WARM) => {}
            () = shutdown.requested() => {}
        }
    }
}

async fn make_rounds(shared: &Arc<Shared>, writer: mpsc::WeakSender<Request>, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            () = shared.room.wanted() => {}
            () = shared.clock.sleep(ROUND) => {}
            () = shutdown.requested() => return,
        }
        // The writer ends with the engine, not with this task.
        let Some(writer) = writer.upgrade() else { return };
        let evictor = Evictor { shared: Arc::clone(shared), writer };
        // A panic in it must not end all eviction.
        if let Err(error) = tokio::task::spawn_blocking(move || evictor.round()).await {
            tracing::error!(%error, "making room failed");
        }
    }
}
