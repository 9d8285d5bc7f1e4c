//! Uses that the index has not been told of yet.

use super::{index::Index, key::Key};
use proto::Timestamp;
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// More than this many are written down at once, without waiting for the next round.
const MAX_PENDING: usize = 50_000;

/// Collects uses until they are written down together.
#[derive(Debug, Default)]
pub(crate) struct Touches(Mutex<HashMap<Key, Timestamp>>);

impl Touches {
    fn pending(&self) -> MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these were used. The first note of a key counts: it is less than an interval old.
    pub(crate) fn note(&self, keys: impl IntoIterator<Item = Key>, now: Timestamp) {
        let mut pending = self.pending();
        for key in keys {
            pending.entry(key).or_insert(now);
        }
    }

    /// Whether they should not wait any longer.
    pub(crate) fn are_many(&self) -> bool {
        self.pending().len() >= MAX_PENDING
    }

    /// Writes them down. While they are on their way nobody may evict (`Shared::presence`). What cannot be written is
    /// kept for the next time.
    pub(crate) fn flush(&self, index: &Index) -> cas::Result<()> {
        let pending = mem::take(&mut *self.pending());
        if pending.is_empty() {
            return Ok(());
        }
        let touched = index.touch(pending.iter().map(|(key, at)| (*key, *at)));
        touched.inspect_err(|_| {
            let mut again = self.pending();
            pending.into_iter().for_each(|(key, at)| _ = again.entry(key).or_insert(at));
        })
    }
}
