//! How much may be written: the byte budget, and what the file system has left.

use super::options::EngineOptions;
use cas::{Error, Result};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// Eviction begins above this part of the limit, in percent …
const HIGH: u64 = 95;
/// … and ends below this one.
const LOW: u64 = 90;

/// Bytes that are there, on their way and allowed.
#[derive(Debug)]
pub(crate) struct Room {
    data: PathBuf,
    max_bytes: u64,
    min_free: u64,
    /// Bytes of the budget that uploads leave to the copies that reclaiming a segment makes before it gives any back.
    spare: u64,
    /// Bytes on disk.
    used: AtomicU64,
    /// Bytes of uploads that have begun and are not on disk yet, or not counted yet.
    reserved: AtomicU64,
    /// Bytes that were lent.
    lent: AtomicU64,
    /// How often all that was lent was recalled.
    recalls: Arc<AtomicU64>,
    /// Bytes of uploads that wait for room.
    waiting: AtomicU64,
    /// Wakes whoever makes room.
    wanted: Notify,
    /// Rounds of making room that have ended.
    rounds: watch::Sender<u64>,
}

/// Bytes that an upload may still write, or waits for. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    account: &'a AtomicU64,
    bytes: u64,
}

impl<'a> Reservation<'a> {
    fn new(account: &'a AtomicU64, bytes: u64) -> Self {
        account.fetch_add(bytes, Ordering::Relaxed);
        Self { account, bytes }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.account.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Room that is given back as soon as somebody cannot do without it: whoever has it looks at every step.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    recalls: Arc<AtomicU64>,
    lent_at: u64,
}

impl Loan {
    pub(crate) fn is_recalled(&self) -> bool {
        self.recalls.load(Ordering::Relaxed) != self.lent_at
    }
}

impl Room {
    pub(crate) fn new(data: &Path, options: &EngineOptions) -> Self {
        Self {
            data: data.to_owned(),
            max_bytes: options.max_bytes,
            min_free: options.min_free,
            spare: options.spare(),
            used: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            lent: AtomicU64::new(0),
            recalls: Arc::default(),
            waiting: AtomicU64::new(0),
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }

    /// Takes note of the bytes on disk.
    pub(crate) fn set_used(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
    }

    /// Asks for room if the high mark is passed.
    pub(crate) fn want(&self) {
        if self.excess(HIGH) > 0 {
            self.wanted.notify_one();
        }
    }

    /// Asks for a round of housekeeping, because something has failed.
    pub(crate) fn wake(&self) {
        self.wanted.notify_one();
    }

    /// Bytes on disk.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// What the budget and the file system allow to be used.
    pub(crate) fn limit(&self) -> u64 {
        self.max_bytes.min(self.used().saturating_add(self.free().saturating_sub(self.min_free)))
    }

    /// What the file system has left. One that does not tell is taken to have room: the write itself will show.
    pub(crate) fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.data).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Bytes above this part of the limit, with those that wait.
    fn excess(&self, percent: u64) -> u64 {
        let coming =
            self.reserved.load(Ordering::Relaxed).saturating_add(self.waiting.load(Ordering::Relaxed));
        self.used().saturating_add(coming).saturating_sub(self.limit() / 100 * percent)
    }

    /// Bytes that must go, once the high mark is passed.
    pub(crate) fn goal(&self) -> u64 {
        if self.excess(HIGH) > 0 { self.excess(LOW) } else { 0 }
    }

    /// Bytes that must go still.
    pub(crate) fn rest(&self) -> u64 {
        self.excess(LOW)
    }

    /// Ends when room is wanted.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Tells those who wait that a round of making room has ended.
    pub(crate) fn end_round(&self) {
        self.rounds.send_modify(|rounds| *rounds += 1);
    }

    #[cfg(test)]
    pub(crate) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    /// Reserves room for an upload. When there is none, waits until some was made, then refuses.
    pub(crate) async fn reserve(&self, bytes: u64, patience: Duration) -> Result<Reservation<'_>> {
        if bytes > self.max_bytes - self.spare {
            let reason = format!("a blob of {bytes} bytes is larger than the whole store (--max-size)");
            return Err(Error::Exhausted { reason });
        }
        if let Some(reservation) = self.try_reserve(bytes) {
            return Ok(reservation);
        }
        let mut rounds = self.rounds.subscribe();
        // Whoever makes room has to know how much it takes, also below the high mark.
        let _waiting = Reservation::new(&self.waiting, bytes);
        // Two rounds: the first may have been about to end when it was asked for.
        for _ in 0..2 {
            self.wanted.notify_one();
            let _ = tokio::time::timeout(patience, rounds.changed()).await;
            if let Some(reservation) = self.try_reserve(bytes) {
                return Ok(reservation);
            }
        }
        Err(self.refusal(bytes))
    }

    /// Names what is full and what to do about it.
    fn refusal(&self, bytes: u64) -> Error {
        let free = self.free();
        let reason = if free < self.min_free.saturating_add(bytes) {
            let min_free = self.min_free;
            format!(
                "the server's disk is full: {free} bytes are free, of which {min_free} are to stay so (--min-free): free space on it"
            )
        } else {
            let max_bytes = self.max_bytes;
            format!(
                "the store is full of blobs in use: its {max_bytes} bytes are taken; raise --max-size, or wait until leases end"
            )
        };
        Error::Exhausted { reason }
    }

    fn try_reserve(&self, bytes: u64) -> Option<Reservation<'_>> {
        let reservation = Reservation::new(&self.reserved, bytes);
        let taken = self.used().saturating_add(self.reserved.load(Ordering::Relaxed));
        let limit = self.limit().min(self.max_bytes - self.spare);
        if taken <= limit && taken.saturating_add(self.lent.load(Ordering::Relaxed)) > limit {
            self.recalls.fetch_add(1, Ordering::Relaxed);
        }
        (taken <= limit).then_some(reservation)
    }

    /// Lends room for what an upload can do without, if there is any. Nothing is evicted for it.
    pub(crate) fn lend(&self, bytes: u64) -> Option<(Reservation<'_>, Loan)> {
        let loan = Loan { lent_at: self.recalls.load(Ordering::Relaxed), recalls: Arc::clone(&self.recalls) };
        let reservation = Reservation::new(&self.lent, bytes);
        let taken = [self.used(), self.reserved.load(Ordering::Relaxed), self.lent.load(Ordering::Relaxed)];
        let taken = taken.into_iter().fold(0, u64::saturating_add);
        (taken <= self.limit().min(self.max_bytes - self.spare)).then_some((reservation, loan))
    }
}
