//! About how many bytes there are, shared by all processes that have the cache open.

use super::{cache::present, layout::Layout};
use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What this process published is added to the common count when it is this part of the budget.
const SETTLE_PART: u64 = 64;

/// A trim that could not reach its target is not tried again before the count grew by this part of the budget.
const RETRY_PART: u64 = 16;

/// The budget, the count, and the lock that guards them.
#[derive(Debug)]
pub(super) struct Accounting {
    max_bytes: u64,
    lock_path: PathBuf,
    usage_path: PathBuf,
    /// The lock is one between processes only, so threads have the mutex.
    lock: Mutex<File>,
    /// Published here, not in the common count yet.
    unsettled: AtomicU64,
    /// Below this no trim is worth trying, because the last one left that much.
    futile_below: AtomicU64,
}

/// The common count, while it is locked.
pub(super) struct Usage<'a> {
    path: &'a PathBuf,
}

impl Usage<'_> {
    /// `None`: nobody knows, a scan has to tell.
    fn get(&self) -> Option<u64> {
        fs::read_to_string(self.path).ok()?.trim().parse().ok()
    }

    /// Best effort: without it the next one scans.
    fn set(&self, bytes: u64) {
        if let Err(error) = fs::write(self.path, format!("{bytes}\n")) {
            tracing::debug!(%error, "cannot write the usage of the local cache");
            self.forget();
        }
    }

    /// Makes the next one scan.
    pub(super) fn forget(&self) {
        let _ = fs::remove_file(self.path);
    }
}

impl Accounting {
    pub(super) fn open(layout: &Layout, max_bytes: u64) -> Result<Self> {
        let (lock_path, usage_path) = (layout.lock(), layout.usage());
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = Mutex::new(lock.map_err(|error| Error::io(&lock_path, error))?);
        let (unsettled, futile_below) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { max_bytes, lock_path, usage_path, lock, unsettled, futile_below })
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The file system's time in seconds.
    pub(super) fn now(&self) -> Result<i64> {
        present(&self.lock.lock().unwrap_or_else(PoisonError::into_inner), &self.lock_path)
    }

    /// Runs `critical` with no other process or thread in it.
    pub(super) fn locked<T>(&self, critical: impl FnOnce(Usage<'_>) -> Result<T>) -> Result<T> {
        let file = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: rustix::io::Errno| Error::io(&self.lock_path, error.into());
        flock(&*file, FlockOperation::LockExclusive).map_err(failed)?;
        let outcome = critical(Usage { path: &self.usage_path });
        flock(&*file, FlockOperation::Unlock).map_err(failed)?;
        outcome
    }

    /// Takes note of published bytes. `true`: it is time to settle.
    pub(super) fn add(&self, bytes: u64) -> bool {
        let before = self.unsettled.fetch_add(bytes, Ordering::Relaxed);
        before + bytes > self.max_bytes / SETTLE_PART
    }

    /// Brings the common count up to date, and has `trim(now, target)` bring what is there down to a target, and tell
    /// what is left, when `upcoming` bytes more would not fit.
    pub(super) fn settle(&self, upcoming: u64, trim: impl FnOnce(i64, Target) -> Result<u64>) -> Result<()> {
        let now = self.now()?;
        self.locked(|usage| {
            let added = self.unsettled.swap(0, Ordering::Relaxed);
            let known = usage.get().map(|bytes| bytes.saturating_add(added));
            let worth = self.max_bytes.max(self.futile_below.load(Ordering::Relaxed));
            if let Some(bytes) = known.filter(|bytes| bytes.saturating_add(upcoming) <= worth) {
                usage.set(bytes);
                return Ok(());
            }
            let most = self.max_bytes.saturating_sub(upcoming);
            // Of a trim that fails nobody knows how far it came.
            let left = trim(now, Target { most, wanted: most / 10 * 9 }).inspect_err(|_| usage.forget())?;
            usage.set(left);
            let futile = if left > most { left + upcoming + self.max_bytes / RETRY_PART } else { 0 };
            self.futile_below.store(futile, Ordering::Relaxed);
            Ok(())
        })
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        let added = self.unsettled.swap(0, Ordering::Relaxed);
        if added > 0 {
            // What is not counted now the next trim finds.
            let _ = self.locked(|usage| {
                if let Some(bytes) = usage.get() {
                    usage.set(bytes.saturating_add(added));
                }
                Ok(())
            });
        }
    }
}

/// How far a trim goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// What is over this goes even when it was used a moment ago.
    pub(super) most: u64,
    /// What was not used for a while goes down to this.
    pub(super) wanted: u64,
}
