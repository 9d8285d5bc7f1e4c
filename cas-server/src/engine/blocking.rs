//! The way from async code to the disk: a bounded number of blocking calls at a time.

use bytes::Bytes;
use cas::{Error, Result};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

/// Blocking calls at a time.
const CALLS: usize = 64;

/// Bounds what is going on at a time.
#[derive(Debug)]
pub(crate) struct Bounds {
    calls: Arc<Semaphore>,
    /// Of what comes in, one half of all …
    memory: Arc<Semaphore>,
    /// … and of what goes out: clients that do not read must not keep others from writing.
    answers: Arc<Semaphore>,
    /// Bytes of each half.
    half: u64,
    patience: Duration,
}

impl Bounds {
    pub(crate) fn new(max_memory: u64, patience: Duration) -> Self {
        let half = max_memory / 2;
        let permits = usize::try_from(half / UNIT).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            calls: Arc::new(Semaphore::new(CALLS)),
            memory: Arc::new(Semaphore::new(permits)),
            answers: Arc::new(Semaphore::new(permits)),
            half,
            patience,
        }
    }

    /// Runs `call` where it may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.wait(&self.calls, 1, "the disk is busy").await?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        });
        done.await.unwrap_or_else(|error| Err(Error::Internal { reason: error.to_string() }))
    }

    /// Begins `call` where it may block, unless half of what may go on at a time does so already.
    pub(crate) fn try_start<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Option<JoinHandle<Result<T>>> {
        if self.calls.available_permits() <= CALLS / 2 {
            return None;
        }
        let permit = Arc::clone(&self.calls).try_acquire_owned().ok()?;
        Some(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        }))
    }

    /// Room in memory for this many bytes that come in, for as long as the permit lives.
    pub(crate) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        self.wait(&self.memory, self.units(bytes), "too many bytes are on their way at a time").await
    }

    /// The same for bytes that go out, see [`held`].
    pub(crate) async fn answer(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let busy = "clients are slow to read what they asked for, and memory has no room for more answers";
        self.wait(&self.answers, self.units(bytes), busy).await
    }

    fn units(&self, bytes: u64) -> u32 {
        // A single thing that is larger than all memory gets all of it.
        u32::try_from((bytes.min(self.half) / UNIT).max(1)).unwrap_or(u32::MAX)
    }

    async fn wait(
        &self,
        semaphore: &Arc<Semaphore>,
        permits: u32,
        busy: &str,
    ) -> Result<OwnedSemaphorePermit> {
        let permit =
            tokio::time::timeout(self.patience, Arc::clone(semaphore).acquire_many_owned(permits)).await;
        let unavailable = |reason: &str| Error::Unavailable { reason: reason.to_owned() };
        permit.map_err(|_| unavailable(busy))?.map_err(|_| unavailable("the store is closing"))
    }
}

/// Memory is counted in KiB.
const UNIT: u64 = 1024;

/// The bytes, which keep `room` until the last of them has left.
pub(crate) fn held<T: Send + 'static>(bytes: Bytes, room: T) -> Bytes {
    struct Held<T>(Bytes, T);
    impl<T> AsRef<[u8]> for Held<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, room))
}
