//! A work item, laid out on this machine as a bot would, with no server.

use crate::{ArchiveOptions, Downloaded, Error, WorkItem, download, package, process::interruptible};
use cas::{
    Monitor,
    disk::{DiskCache, DiskStore},
    tree,
};
use runtime::Shutdown;
use std::{path::Path, sync::Arc};

/// Packages the work item and lays it out in `target`, a new or an empty directory, by way of the local cache: exactly what
/// the manifest says is there, and nothing else.
pub async fn remap(
    item: WorkItem,
    options: &ArchiveOptions,
    cache: &DiskCache,
    target: &Path,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Downloaded, Error> {
    let packaged = interruptible(shutdown, package(item, options, Arc::clone(&monitor))).await?;
    let _held = cache.pin(packaged.sources.digests().collect());
    let store = DiskStore::new(cache.clone());
    interruptible(shutdown, tree::upload(&store, &packaged.sources, &*monitor)).await?;
    download(&store, cache, packaged.digest, target, &*monitor, shutdown).await
}
