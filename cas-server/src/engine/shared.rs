//! What all parts of an engine share.

use super::{
    blocking::Bounds,
    codec::Entry,
    endings::Endings,
    files::Files,
    index::Index,
    key::Key,
    metrics::{Metrics, gauge},
    options::EngineOptions,
    pins::Pins,
    retention::Retention,
    room::Room,
    segments::Segments,
    touches::Touches,
    uploads::Uploads,
};
use runtime::Clock;
use std::{
    fs::File,
    sync::{Arc, PoisonError, RwLock},
};

/// Entries that are looked up without leaving the caller's thread.
const GLANCE: usize = 4096;

/// The engine's parts.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: EngineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Index,
    pub(crate) segments: Segments,
    pub(crate) files: Files,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) touches: Touches,
    pub(crate) room: Room,
    pub(crate) bounds: Bounds,
    pub(crate) metrics: Metrics,
    pub(crate) retention: Retention,
    pub(crate) pins: Pins,
    pub(crate) endings: Endings,
    /// Held shared from looking an entry up until its use is noted, and while uses are on their way to the index, and
    /// alone while eviction chooses and forgets: so that nothing is evicted after a client was told that it is there.
    /// Taken before the index's lock.
    pub(crate) presence: RwLock<()>,
    /// The directory is ours for as long as this file is open.
    pub(crate) _lock: File,
}

impl Shared {
    /// Looks entries up, which is a use of them. Blocks.
    pub(crate) fn look_up<K: Copy + Into<Key>>(&self, keys: &[K]) -> cas::Result<Vec<Option<Entry>>> {
        let presence = self.presence.read().unwrap_or_else(PoisonError::into_inner);
        let entries = self.index.get(keys)?;
        self.used(keys, &entries);
        if self.touches.are_many()
            && let Err(error) = self.touches.flush(&self.index)
        {
            // They are written down later.
            tracing::warn!(%error, "cannot write uses down");
        }
        drop(presence);
        Ok(entries)
    }

    /// The same, if that takes neither the disk nor waiting. Otherwise `None`, and [`look_up`](Self::look_up) is to be
    /// called.
    pub(crate) fn glance<K: Copy + Into<Key>>(&self, keys: &[K]) -> Option<Vec<Option<Entry>>> {
        if keys.len() > GLANCE || self.touches.are_many() {
            return None;
        }
        let _presence = self.presence.try_read().ok()?;
        let entries = self.index.recall(keys)?;
        self.used(keys, &entries);
        Some(entries)
    }

    fn used<K: Copy + Into<Key>>(&self, keys: &[K], entries: &[Option<Entry>]) {
        let now = self.clock.now();
        let stale = |entry: &Entry| now.since(entry.touched) >= self.options.touch_interval;
        let used = keys.iter().zip(entries).filter(|(_, entry)| entry.as_ref().is_some_and(stale));
        self.touches.note(used.map(|(key, _)| (*key).into()), now);
    }

    /// Brings counts of bytes and their metrics up to date.
    pub(crate) fn recount(&self) {
        let (blobs, used) = self.index.used();
        let kept = self.uploads.kept_bytes();
        let used = used + kept;
        self.metrics.kept_uploads.set(gauge(kept));
        self.room.set_used(used);
        self.metrics.blobs.set(gauge(blobs));
        self.metrics.bytes.set(gauge(used));
        self.metrics.limit.set(gauge(self.room.limit()));
        let compressed = self.index.compressed();
        self.metrics.compressed_content.set(gauge(compressed.content_bytes));
        self.metrics.compressed_stored.set(gauge(compressed.stored_bytes));
        self.metrics.pinned.set(gauge(self.pins.bytes(self.clock.now())));
    }
}
