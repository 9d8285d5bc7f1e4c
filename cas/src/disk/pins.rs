//! What of the cache is in use, within this process.

use proto::Digest;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts the users of each blob.
#[derive(Debug, Default)]
pub(super) struct PinTable {
    counts: Mutex<HashMap<Digest, u32>>,
}

impl PinTable {
    /// Pins all of them until the guard is dropped.
    pub(super) fn pin(self: &Arc<Self>, digests: Vec<Digest>) -> Pins {
        let mut counts = self.counts();
        for digest in &digests {
            *counts.entry(*digest).or_default() += 1;
        }
        drop(counts);
        Pins { table: self.clone(), digests }
    }

    /// Runs `evict` unless somebody uses the blob, and lets nobody begin to while it runs.
    pub(super) fn unless_pinned<T>(&self, digest: Digest, evict: impl FnOnce() -> T) -> Option<T> {
        let counts = self.counts();
        (!counts.contains_key(&digest)).then(evict)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Digest, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps blobs from being trimmed by this process while it lives. Pin first, then look whether they are there.
#[derive(Debug)]
pub struct Pins {
    table: Arc<PinTable>,
    digests: Vec<Digest>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut counts = self.table.counts();
        for digest in &self.digests {
            if let Some(count) = counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(digest);
                }
            }
        }
    }
}
