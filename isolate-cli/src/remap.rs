//! A work item on this machine alone: laid out as a bot would, with no server.

use crate::{
    ArchiveOptions, Downloaded, Error, Packaged, WorkItem, download, package, process::interruptible,
};
use cas::{
    Monitor,
    disk::{DiskCache, DiskStore, Pins},
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
) -> Result<(Packaged, Downloaded), Error> {
    let local = store_locally(item, options, cache, Arc::clone(&monitor), shutdown).await?;
    let digest = local.packaged.digest;
    let laid_out = download(&local.store, cache, digest, target, &*monitor, shutdown).await?;
    Ok((local.packaged, laid_out))
}

/// A work item whose blobs are in the local cache, and stay there while this lives.
#[derive(Debug)]
pub struct StoredLocally {
    /// The cache, as the store that has them.
    pub store: DiskStore,
    /// The work item.
    pub packaged: Packaged,
    _pins: Pins,
}

/// Packages the work item into the local cache, so that whatever asks a store for it needs no server.
pub async fn store_locally(
    item: WorkItem,
    options: &ArchiveOptions,
    cache: &DiskCache,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<StoredLocally, Error> {
    let mut packaged = interruptible(shutdown, package(item, options, None, Arc::clone(&monitor))).await?;
    // The last one is what a server has.
    packaged.sources.forget_last();
    let pins = cache.pin(packaged.sources.digests());
    let store = DiskStore::new(cache.clone());
    interruptible(shutdown, tree::upload(&store, &packaged.sources, &*monitor)).await?;
    Ok(StoredLocally { store, packaged, _pins: pins })
}
