//! [`Ahead`]: the disk begins with a large upload while it still comes, so that little is left for the sync at its end.

use super::{blocking::Bounds, staging::Staging};
use cas::{Error, Result};
use tokio::task::JoinHandle;

/// Bytes that make a sync on the way worth it.
const WORTH: u64 = 8 << 20;

/// Syncs of one upload on the way, one at a time.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    unsynced: u64,
    running: Option<JoinHandle<Result<()>>>,
}

impl Ahead {
    /// So many bytes were written. Fails if an earlier sync did.
    pub(super) async fn wrote(&mut self, bytes: u64, staging: &Staging, bounds: &Bounds) -> Result<()> {
        self.unsynced += bytes;
        let busy = self.running.as_ref().is_some_and(|running| !running.is_finished());
        if self.unsynced < WORTH || busy {
            return Ok(());
        }
        self.end().await?;
        self.unsynced = 0;
        self.running = staging.sync_so_far().and_then(|sync| bounds.try_start(sync));
        Ok(())
    }

    /// Waits for the last one. To be called before the sync that counts: the kernel tells of a failure once, and it may
    /// have told here. (An upload that ends otherwise is held by the sync itself until it is over.)
    pub(super) async fn end(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        running.await.unwrap_or_else(|error| Err(Error::Internal { reason: error.to_string() }))
    }
}
