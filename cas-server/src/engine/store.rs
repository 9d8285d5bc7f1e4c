//! The engine as others see it.

use super::{
    blocking::Bounds,
    codec::FORMAT,
    evict::Evictor,
    files::Files,
    index::Index,
    metrics::Metrics,
    options::{EngineOptions, OpenError},
    read, replay,
    room::Room,
    segments::Segments,
    shared::Shared,
    touches::Touches,
    upload::Uploader,
    writer::{QUEUE, Writer},
};
use async_trait::async_trait;
use bytes::Bytes;
use cas::{BlobStore, ByteStream, Range, Result};
use prometheus_client::registry::Registry;
use proto::{Digest, DigestFunction};
use runtime::{Clock, Shutdown};
use rustix::fs::FlockOperation;
use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::{Arc, RwLock},
    thread,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle};

/// How often uses are written down, and the need for room is looked at without anybody asking.
const ROUND: Duration = Duration::from_secs(30);

/// The durable blob store. See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    uploader: Uploader,
    stop: StopOnDrop,
    housekeeper: JoinHandle<()>,
    writer: thread::JoinHandle<()>,
}

/// Ends background work also when the engine is dropped without being closed.
#[derive(Debug)]
struct StopOnDrop(Shutdown);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Engine {
    /// Opens the store in `dir`, making it if need be. Call it inside of a tokio runtime; it blocks for as long as
    /// the end of the log takes to replay, which is little.
    pub fn open(dir: &Path, options: EngineOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let lock = lock(dir)?;
        check_format(dir)?;
        let index_dir = dir.join("index");
        let index = Index::open(&index_dir).map_err(|reason| OpenError::Index { path: index_dir, reason })?;
        let (segments, ids) = Segments::open(dir.join("segments")).map_err(io)?;
        let shared = Arc::new(Shared {
            index,
            segments,
            files: Files::open(dir).map_err(io)?,
            touches: Touches::default(),
            room: Room::new(dir, &options),
            bounds: Bounds::new(options.max_memory, options.patience),
            metrics: Metrics::default(),
            presence: RwLock::default(),
            clock,
            options,
            _lock: lock,
        });
        let replayed = replay::recover(&shared, &ids);
        let (end, next) = replayed.map_err(|source| OpenError::Replay { path: dir.to_owned(), source })?;
        shared.recount();
        let log = Writer::new(Arc::clone(&shared), end, next).map_err(io)?;
        let (writer, requests) = mpsc::channel(QUEUE);
        let thread =
            thread::Builder::new().name("cas-writer".into()).spawn(move || log.run(requests)).map_err(io)?;
        let shutdown = Shutdown::new();
        let evictor = Evictor { shared: Arc::clone(&shared), writer: writer.clone() };
        Ok(Self {
            housekeeper: keep_house(evictor, shutdown.clone()),
            uploader: Uploader { shared, writer },
            stop: StopOnDrop(shutdown),
            writer: thread,
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
            let _ = thread.join();
            if let Err(error) = shared.touches.flush(&shared.index).and_then(|()| shared.index.sync()) {
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
        self.uploader.shared.bounds.run(move || shared.index.find_hash(function, &hash)).await
    }

    /// Hands the engine's metrics to whoever exports them.
    pub fn register(&self, registry: &mut Registry) {
        self.uploader.shared.metrics.register(registry);
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.uploader.shared
    }

    #[cfg(test)]
    pub(crate) fn writer(&self) -> &mpsc::Sender<super::writer::Request> {
        &self.uploader.writer
    }
}

#[async_trait]
impl BlobStore for Engine {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let shared = Arc::clone(&self.uploader.shared);
        let mut seen = HashSet::new();
        let asked: Vec<_> =
            digests.iter().copied().filter(|digest| !digest.is_empty() && seen.insert(*digest)).collect();
        let find = move || {
            let entries = shared.look_up(&asked)?;
            let missing = asked.iter().zip(entries).filter(|(_, entry)| entry.is_none());
            let missing: HashSet<Digest> = missing.map(|(digest, _)| *digest).collect();
            shared.metrics.looked_up("find_missing", asked.len() - missing.len(), missing.len());
            Ok(missing)
        };
        let missing = self.uploader.shared.bounds.run(find).await?;
        Ok(digests.iter().copied().filter(|digest| missing.contains(digest)).collect())
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        let shared = Arc::clone(&self.uploader.shared);
        let total = digests.iter().map(Digest::size).fold(0, u64::saturating_add);
        let _memory = self.uploader.shared.bounds.memory(total).await?;
        let digests = digests.to_vec();
        self.uploader.shared.bounds.run(move || shared.read_all(&digests)).await
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        self.uploader.batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        read::stream(&self.uploader.shared, digest, range).await
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        self.uploader.stream(digest, source).await
    }
}

/// One process at a time.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { path: dir.to_owned() }),
        Err(error) => Err(OpenError::Io { path, source: error.into() }),
    }
}

/// `format` says in one line what wrote the directory.
fn check_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    let io = |source| OpenError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&path, format!("{FORMAT}\n")).map_err(io)
        }
        Err(error) => Err(io(error)),
        Ok(text) => match text.trim().parse() {
            Ok(FORMAT) => Ok(()),
            Ok(found) => Err(OpenError::Format { path: dir.to_owned(), found, known: FORMAT }),
            Err(_) => Err(io(io::Error::new(io::ErrorKind::InvalidData, "it does not hold a number"))),
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine awaits it when it closes")]
fn keep_house(evictor: Evictor, shutdown: Shutdown) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let shared = &evictor.shared;
            tokio::select! {
                () = shared.room.wanted() => {}
                () = shared.clock.sleep(ROUND) => {}
                () = shutdown.requested() => return,
            }
            let evictor = evictor.clone();
            // A panic in it must not end all eviction.
            if let Err(error) = tokio::task::spawn_blocking(move || evictor.round()).await {
                tracing::error!(%error, "making room failed");
            }
        }
    })
}
