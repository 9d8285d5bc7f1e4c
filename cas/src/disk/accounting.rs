//! About how much there is, shared by all processes that have the cache open.

use super::{
    cache::present,
    layout::Layout,
    limits::{Count, DiskCacheOptions, Left, Target, Trimmed},
};
use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock, fstatvfs};
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// The last word of the count.
const WITH_PACKS: &str = "packs";

/// What this process published is added to the common count when it is this part of the limits.
const SETTLE_PART: u64 = 64;

/// A trim that could not reach its target is not tried again before the count grew by this part of the limits.
const RETRY_PART: u64 = 16;

/// What is too old goes when the oldest is too old by this part of the age, so that it does not go one by one.
const AGE_PART: i64 = 16;

/// The limits, the count, and the lock that guards them.
#[derive(Debug)]
pub(super) struct Accounting {
    options: DiskCacheOptions,
    lock_path: PathBuf,
    usage_path: PathBuf,
    /// The lock is one between processes only, so threads have the mutex.
    lock: Mutex<File>,
    /// Published here, not in the common count yet.
    unsettled: Mutex<Count>,
    /// What the last trim left, when that was more than it should have.
    stuck: Mutex<Option<Count>>,
}

/// The common count, while it is locked.
pub(super) struct Usage<'a> {
    path: &'a PathBuf,
}

impl Usage<'_> {
    /// `None`: nobody knows, a scan has to tell. So it is when an older program left it, which counted bytes only.
    fn get(&self) -> Option<Left> {
        let text = fs::read_to_string(self.path).ok()?;
        let mut words = text.split_whitespace();
        let count = Count { bytes: words.next()?.parse().ok()?, items: words.next()?.parse().ok()? };
        let oldest = words.next()?.parse().ok()?;
        // An older program does not count packs, and writes three words.
        words.next().filter(|word| *word == WITH_PACKS)?;
        Some(Left { count, oldest })
    }

    /// Best effort: without it the next one scans.
    fn set(&self, usage: Left) {
        let Left { count: Count { bytes, items }, oldest } = usage;
        if let Err(error) = fs::write(self.path, format!("{bytes} {items} {oldest} {WITH_PACKS}\n")) {
            tracing::debug!(%error, "cannot write the usage of the local cache");
            self.forget();
        }
    }

    /// Adds to it, if it is known.
    fn add(&self, count: Count) {
        if let Some(usage) = self.get() {
            self.set(usage.plus(count));
        }
    }

    /// Makes the next one scan.
    fn forget(&self) {
        let _ = fs::remove_file(self.path);
    }
}

impl Accounting {
    pub(super) fn open(layout: &Layout, options: DiskCacheOptions) -> Result<Self> {
        let (lock_path, usage_path) = (layout.lock(), layout.usage());
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = Mutex::new(lock.map_err(|error| Error::io(&lock_path, error))?);
        let (unsettled, stuck) = (Mutex::default(), Mutex::default());
        Ok(Self { options, lock_path, usage_path, lock, unsettled, stuck })
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    fn limits(&self) -> Count {
        Count { bytes: self.options.max_bytes, items: self.options.max_items }
    }

    /// Counts what so many processes that died may have published without counting it. More than they can have: the next
    /// trim finds out.
    pub(super) fn add_dead(&self, usage: &Usage<'_>, processes: u64) {
        let part = self.limits().per(SETTLE_PART);
        usage.add(Count {
            bytes: part.bytes.saturating_mul(processes),
            items: part.items.saturating_mul(processes),
        });
    }

    fn unsettled(&self) -> std::sync::MutexGuard<'_, Count> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stuck(&self) -> std::sync::MutexGuard<'_, Option<Count>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes the disk has too few, when it is to have `upcoming` more.
    fn shortage(&self, upcoming: u64) -> Result<u64> {
        let file = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = fstatvfs(&*file).map_err(|error| Error::io(&self.lock_path, error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(self.options.min_free.saturating_add(upcoming).saturating_sub(free))
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

    /// Counts what is about to be published, so that whoever is killed then has counted it already, or belongs to what
    /// [`Self::add_dead`] counts. Makes room for it now and then.
    pub(super) fn publish(
        &self,
        count: Count,
        trim: impl FnOnce(i64, Target) -> Result<Trimmed>,
    ) -> Result<()> {
        {
            let mut unsettled = self.unsettled();
            let sum = *unsettled + count;
            if sum.fits(self.limits().per(SETTLE_PART)) {
                *unsettled = sum;
                return Ok(());
            }
        }
        self.settle_and_count(count, count, trim)
    }

    /// Brings the common count up to date, and has `trim(now, target)` bring what is there down to a target, and tell
    /// what is left, when `upcoming` more would not fit, or something is too old.
    pub(super) fn settle(
        &self,
        upcoming: Count,
        trim: impl FnOnce(i64, Target) -> Result<Trimmed>,
    ) -> Result<()> {
        self.settle_and_count(upcoming, Count::default(), trim)
    }

    fn settle_and_count(
        &self,
        upcoming: Count,
        counted: Count,
        trim: impl FnOnce(i64, Target) -> Result<Trimmed>,
    ) -> Result<()> {
        let now = self.now()?;
        let max_age = i64::try_from(self.options.max_age.as_secs()).unwrap_or(i64::MAX);
        let shortage = self.shortage(upcoming.bytes)?;
        self.locked(|usage| {
            let added = std::mem::take(&mut *self.unsettled());
            let known = usage.get().map(|known| known.plus(added));
            let limits = self.limits();
            if let Some(known) = known {
                let is_enough = (known.count + upcoming).fits(limits) && shortage == 0;
                let worth = |stuck: Count| !known.count.fits(stuck + limits.per(RETRY_PART));
                let is_futile = self.stuck().is_some_and(|stuck| !worth(stuck));
                let is_fresh = known.oldest >= now.saturating_sub(max_age.saturating_add(max_age / AGE_PART));
                if (is_enough || is_futile) && is_fresh {
                    usage.set(known.plus(counted));
                    return Ok(());
                }
            }
            let most = limits.saturating_sub(upcoming);
            let wanted = Count { bytes: most.bytes / 10 * 9, items: most.items / 10 * 9 };
            let target = Target { most, wanted, shortage, expired: now.saturating_sub(max_age) };
            // Of a trim that fails nobody knows how far it came.
            let Trimmed { left, reached } = trim(now, target).inspect_err(|_| usage.forget())?;
            usage.set(left.plus(counted));
            *self.stuck() = (!reached).then_some(left.count);
            Ok(())
        })
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        let added = std::mem::take(&mut *self.unsettled());
        if added != Count::default() {
            // What is not counted now the next trim finds.
            let _ = self.locked(|usage| {
                usage.add(added);
                Ok(())
            });
        }
    }
}
