//! What became of blobs that are no more, for those who ask why one is missing. Remembered since the store was opened,
//! the last ones only.

use super::{codec::Entry, key::Key};
use proto::Timestamp;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// Endings that are remembered.
const MOST: usize = 50_000;

/// Why a blob went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The store was full, and it was used least recently.
    Evicted,
    /// It was found to be damaged.
    Damaged,
}

/// The end of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// Its last use.
    pub touched: Timestamp,
}

/// Remembers endings.
#[derive(Debug)]
pub(crate) struct Endings {
    pub(crate) since: Timestamp,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    endings: HashMap<Key, Ending>,
    order: VecDeque<Key>,
}

impl Endings {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self { since, last: Mutex::default() }
    }

    /// Takes note of what was removed.
    pub(crate) fn note(&self, removed: &[(Key, Entry)], cause: Cause, at: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Last { endings, order } = &mut *last;
        for (key, entry) in removed {
            if endings.insert(*key, Ending { cause, at, touched: entry.touched }).is_none() {
                order.push_back(*key);
            }
            if order.len() > MOST
                && let Some(oldest) = order.pop_front()
            {
                endings.remove(&oldest);
            }
        }
    }

    /// What became of this one last.
    pub(crate) fn of(&self, key: &Key) -> Option<Ending> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).endings.get(key).copied()
    }
}
