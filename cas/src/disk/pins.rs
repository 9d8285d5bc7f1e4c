//! What of the cache is in use, within this process, and where of that what is packed is.

use super::packs::{Opened, Place};
use proto::Digest;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A blob in 8 bytes. Of two with the same, which chance makes one in billions, both stay when one is used, and only of one is
/// known where it is in a pack.
type Mark = u64;

fn mark(digest: Digest) -> Mark {
    let name = digest.hash().iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte));
    name ^ digest.size().rotate_left(32) ^ u64::from(digest.function().number())
}

/// Counts the users of each blob. Marks and not digests, for there may be a million of them.
#[derive(Debug, Default)]
pub(super) struct PinTable {
    counts: Mutex<HashMap<Mark, Pinned>>,
}

#[derive(Debug, Default)]
struct Pinned {
    users: u32,
    /// Where a blob of this mark is, if one is in a pack: its number there.
    number: u32,
    opened: Option<Arc<Opened>>,
}

impl PinTable {
    /// Pins all of them until the guard is dropped.
    pub(super) fn pin(self: &Arc<Self>, digests: impl IntoIterator<Item = Digest>) -> Pins {
        let marks: Vec<Mark> = digests.into_iter().map(mark).collect();
        let mut counts = self.counts();
        for mark in &marks {
            counts.entry(*mark).or_default().users += 1;
        }
        drop(counts);
        Pins { table: self.clone(), marks }
    }

    /// Runs `evict` unless somebody uses the blob, and lets nobody begin to while it runs.
    pub(super) fn unless_pinned<T>(&self, digest: Digest, evict: impl FnOnce() -> T) -> Option<T> {
        let counts = self.counts();
        (!counts.contains_key(&mark(digest))).then(evict)
    }

    /// Notes where blobs are, of those that are pinned. Then their packs are in use.
    pub(super) fn locate(&self, places: impl IntoIterator<Item = Place>) {
        let mut counts = self.counts();
        for place in places {
            if let Some(pinned) = counts.get_mut(&mark(place.digest())) {
                (pinned.number, pinned.opened) = (place.number, Some(place.opened));
            }
        }
    }

    /// Where a pinned blob is, if it is packed and that was noted.
    pub(super) fn place(&self, digest: Digest) -> Option<Place> {
        let place = {
            let counts = self.counts();
            let Pinned { number, opened, .. } = counts.get(&mark(digest))?;
            Place { opened: opened.clone()?, number: *number }
        };
        place.is_of(digest).then_some(place)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Mark, Pinned>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps blobs from being trimmed by this process while it lives. Pin first, then look whether they are there.
#[derive(Debug)]
pub struct Pins {
    table: Arc<PinTable>,
    marks: Vec<Mark>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut counts = self.table.counts();
        // Closed when nobody waits for the table.
        let mut opened = Vec::new();
        for mark in &self.marks {
            if let Some(pinned) = counts.get_mut(mark) {
                pinned.users -= 1;
                if pinned.users == 0 {
                    opened.extend(counts.remove(mark).and_then(|pinned| pinned.opened));
                }
            }
        }
        drop(counts);
    }
}
