//! The way from async code to the disk: a bounded number of blocking calls at a time.

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
    memory: Arc<Semaphore>,
    max_memory: u64,
    patience: Duration,
}

impl Bounds {
    pub(crate) fn new(max_memory: u64, patience: Duration) -> Self {
        let permits =
            usize::try_from(max_memory / UNIT).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            calls: Arc::new(Semaphore::new(CALLS)),
            memory: Arc::new(Semaphore::new(permits)),
            max_memory,
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

    /// Begins `call` where it may block, unless too much is going on already.
    pub(crate) fn try_start<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Option<JoinHandle<Result<T>>> {
        let permit = Arc::clone(&self.calls).try_acquire_owned().ok()?;
        Some(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        }))
    }

    /// Room in memory for this many bytes, for as long as the permit lives.
    pub(crate) async fn memory(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        // A single thing that is larger than all memory gets all of it.
        let units = (bytes.min(self.max_memory) / UNIT).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.wait(&self.memory, units, "too many bytes are on their way at a time").await
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
