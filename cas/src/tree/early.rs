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
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::sync::mpsc;

/// Batches that are asked for or sent at a time. A store that syncs what it takes has others to work on meanwhile. Bounds the
/// memory: a batch is at most [`proto::limits::MAX_BATCH_BYTES`].
const IN_FLIGHT: usize = 8;

/// Batches that wait between who reads and who sends.
const WAITING: usize = 2;

/// Batches that are sent unasked when the store had nothing of one that it was asked about. Bounds what is sent in vain.
const UNASKED: u32 = 7;

/// Blobs with their bytes, as many as one call takes.
type Blobs = Vec<(Digest, Bytes)>;

/// Where [`snapshot`](super::snapshot()) puts the small files that it read.
#[derive(Clone, Debug)]
pub struct Outlet {
    sender: mpsc::Sender<Blobs>,
    takes_all: bool,
}

impl Outlet {
    /// Blocks while those who send are busy. `false`: they have stopped.
    pub(super) fn put(&self, blobs: Blobs) -> bool {
        self.sender.blocking_send(blobs).is_ok()
    }

    /// Whether what was put here needs no other source.
    pub(super) fn takes_all(&self) -> bool {
        self.takes_all
    }
}

/// What comes out of an [`Outlet`] and its clones, until all of them are dropped.
#[derive(Debug)]
pub struct Inlet(mpsc::Receiver<Blobs>);

/// A way from those who read to those who send, all of it. Full, it makes those wait who read.
pub fn early() -> (Outlet, Inlet) {
    way(true)
}

/// The same to somebody who keeps only as much as there is room for.
pub(super) fn kept() -> (Outlet, Inlet) {
    way(false)
}

fn way(takes_all: bool) -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Outlet { sender, takes_all }, Inlet(receiver))
}

/// What [`upload_early`] came to.
#[derive(Debug, Default)]
pub struct Early {
    /// All blobs that came: the store has them.
    pub digests: HashSet<Digest>,
    /// What they came to.
    pub uploaded: Uploaded,
}

/// Whether the store is asked before it gets a batch. A tree that is new to it is new in most of its parts: then asking about
/// each of them takes longer than sending a few in vain.
#[derive(Debug, Default)]
struct Asking {
    /// Batches that may go unasked.
    unasked: AtomicU32,
}

impl Asking {
    /// About the next batch.
    fn is_due(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.unasked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err()
    }

    /// The answer: the store had so many blobs of the batch.
    fn answered(&self, present: u64) {
        self.unasked.store(if present == 0 { UNASKED } else { 0 }, Ordering::Relaxed);
    }
}

/// Sends what comes out of `inlet` and the store does not have; ends when nothing more can come. One call a batch, or two.
/// Where the store lacked all of a batch, some that follow are sent without asking, and may be there already.
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
    let asking = Asking::default();
    let sent = batches.map(|blobs| send(store, &asking, blobs, monitor)).buffer_unordered(IN_FLIGHT);
    let add = |mut all: Uploaded, one| {
        all += one;
        ready(Ok(all))
    };
    let uploaded = sent.try_fold(Uploaded::default(), add).await?;
    Ok(Early { digests: seen.into_inner().unwrap_or_else(PoisonError::into_inner), uploaded })
}

/// Keeps what comes out of `inlet`, but nothing that would come to more than about `most` bytes.
pub(super) async fn collect(inlet: Inlet, most: usize) -> Vec<(Digest, Bytes)> {
    let Inlet(mut receiver) = inlet;
    let (mut kept, mut bytes) = (Vec::new(), 0);
    while let Some(blobs) = receiver.recv().await {
        if bytes < most {
            bytes += blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>();
            kept.extend(blobs);
        }
    }
    kept
}

async fn send(
    store: &dyn BlobStore,
    asking: &Asking,
    mut blobs: Blobs,
    monitor: &dyn Monitor,
) -> Result<Uploaded, Error> {
    if blobs.is_empty() {
        return Ok(Uploaded::default());
    }
    monitor.progress(Progress::Planned { files: blobs.len() as u64, bytes: 0 });
    let mut digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let mut uploaded = Uploaded::planned(&digests, &digests);
    if asking.is_due() {
        let missing = store.find_missing(&digests).await?;
        uploaded = Uploaded::planned(&digests, &missing);
        let (files, bytes) = (uploaded.present_blobs, uploaded.present_bytes);
        asking.answered(files);
        monitor.progress(Progress::Present { files, bytes });
        if files > 0 {
            let missing: HashSet<Digest> = missing.into_iter().collect();
            blobs.retain(|(digest, _)| missing.contains(digest));
            digests.retain(|digest| missing.contains(digest));
        }
    }
    if blobs.is_empty() {
        return Ok(uploaded);
    }
    for outcome in store.write_batch(blobs).await? {
        outcome?;
    }
    accepted(&digests, monitor);
    Ok(uploaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_had_nothing_is_asked_about_every_eighth_batch_and_one_that_had_something_about_each() {
        let asking = Asking::default();
        // Until it has answered.
        assert!(asking.is_due() && asking.is_due());
        asking.answered(0);
        let due: Vec<bool> = (0..9).map(|_| asking.is_due()).collect();
        assert_eq!(due.iter().position(|due| *due), Some(UNASKED as usize));
        asking.answered(1);
        assert!(asking.is_due() && asking.is_due());
    }
}
