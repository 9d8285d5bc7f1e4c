//! Small files go up while others are still being read, with the bytes that were read to hash them.

use super::{
    Error,
    upload::{Uploaded, accepted},
};
use crate::{BlobStore, Monitor, Progress};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::Digest;
use std::{
    collections::HashSet,
    future::ready,
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// Batches that are asked for or sent at a time. A store that syncs what it takes has others to work on meanwhile. Bounds the
/// memory: a batch is at most [`proto::limits::MAX_BATCH_BYTES`].
const IN_FLIGHT: usize = 8;

/// Batches that wait between who reads and who sends.
const WAITING: usize = 2;

/// Blobs with their bytes, as many as one call takes.
type Blobs = Vec<(Digest, Bytes)>;

/// Where [`snapshot`](super::snapshot()) puts the small files that it read.
#[derive(Clone, Debug)]
pub struct Outlet(mpsc::Sender<Blobs>);

impl Outlet {
    /// Blocks while those who send are busy. `false`: they have stopped.
    pub(super) fn put(&self, blobs: Blobs) -> bool {
        self.0.blocking_send(blobs).is_ok()
    }
}

/// What comes out of an [`Outlet`] and its clones, until all of them are dropped.
#[derive(Debug)]
pub struct Inlet(mpsc::Receiver<Blobs>);

/// A way from those who read to those who send. Full, it makes those wait who read.
pub fn early() -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Outlet(sender), Inlet(receiver))
}

/// What [`upload_early`] came to.
#[derive(Debug, Default)]
pub struct Early {
    /// All blobs that came: the store has them.
    pub digests: HashSet<Digest>,
    /// What they came to.
    pub uploaded: Uploaded,
}

/// Sends what comes out of `inlet` and the store does not have; ends when nothing more can come. Two calls a batch, or one.
pub async fn upload_early(
    store: &dyn BlobStore,
    inlet: Inlet,
    monitor: &dyn Monitor,
) -> Result<Early, Error> {
    let Inlet(mut receiver) = inlet;
    let seen = Mutex::new(HashSet::new());
    let new = |mut blobs: Blobs| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.retain(|(digest, _)| seen.insert(*digest));
        blobs
    };
    let batches = stream::poll_fn(|context| receiver.poll_recv(context)).map(new);
    let sent = batches.map(|blobs| send(store, blobs, monitor)).buffer_unordered(IN_FLIGHT);
    let add = |mut all: Uploaded, one| {
        all += one;
        ready(Ok(all))
    };
    let uploaded = sent.try_fold(Uploaded::default(), add).await?;
    Ok(Early { digests: seen.into_inner().unwrap_or_else(PoisonError::into_inner), uploaded })
}

async fn send(store: &dyn BlobStore, mut blobs: Blobs, monitor: &dyn Monitor) -> Result<Uploaded, Error> {
    monitor.progress(Progress::Planned { files: blobs.len() as u64, bytes: 0 });
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let missing = store.find_missing(&digests).await?;
    let uploaded = Uploaded::planned(&digests, &missing);
    let (files, bytes) = (uploaded.present_blobs, uploaded.present_bytes);
    monitor.progress(Progress::Present { files, bytes });
    let missing: HashSet<Digest> = missing.into_iter().collect();
    blobs.retain(|(digest, _)| missing.contains(digest));
    if blobs.is_empty() {
        return Ok(uploaded);
    }
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    for (digest, outcome) in digests.iter().zip(store.write_batch(blobs).await?) {
        outcome?;
        accepted(*digest, monitor);
    }
    Ok(uploaded)
}
