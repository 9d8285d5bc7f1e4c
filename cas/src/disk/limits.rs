//! What a cache may take, and how far it goes down when that is too much.

use std::{ops::Add, time::Duration};

/// What a cache is allowed. What is in use at the same time may exceed it for as long as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCacheOptions {
    /// Bytes, in whole disk blocks.
    pub max_bytes: u64,
    /// Blobs.
    pub max_items: u64,
    /// Bytes that the cache leaves free on its disk, as far as it can by giving up all that it has.
    pub min_free: u64,
    /// What was not used for so long goes; in whole seconds.
    pub max_age: Duration,
}

impl Default for DiskCacheOptions {
    fn default() -> Self {
        const GIB: u64 = 1024 * 1024 * 1024;
        Self {
            max_bytes: 20 * GIB,
            max_items: 2_000_000,
            min_free: 2 * GIB,
            max_age: Duration::from_secs(21 * 24 * 60 * 60),
        }
    }
}

/// Bytes on the disk and blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) bytes: u64,
    pub(super) items: u64,
}

impl Count {
    /// Whether both are at most those of `other`.
    pub(super) fn fits(self, other: Self) -> bool {
        self.bytes <= other.bytes && self.items <= other.items
    }

    pub(super) fn saturating_sub(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), items: self.items.saturating_sub(other.items) }
    }

    /// A part of it.
    pub(super) fn per(self, parts: u64) -> Self {
        Self { bytes: self.bytes / parts, items: self.items / parts }
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), items: self.items.saturating_add(other.items) }
    }
}

/// How far a trim goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// What is over this goes even when it was used a moment ago.
    pub(super) most: Count,
    /// What was not used for a while goes down to this.
    pub(super) wanted: Count,
    /// So many bytes less than there are, whatever the others say.
    pub(super) shortage: u64,
    /// What was last used before, in seconds, goes in any case.
    pub(super) expired: i64,
}

/// What is there, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) count: Count,
    /// When the least recently used of it was used, in seconds.
    pub(super) oldest: i64,
}

impl Left {
    pub(super) fn plus(self, more: Count) -> Self {
        Self { count: self.count + more, ..self }
    }
}

/// What came of a trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trimmed {
    pub(super) left: Left,
    /// Whether that is no more than it should be.
    pub(super) reached: bool,
}
