//! A work item into the store.

use crate::{ArchiveOptions, Error, Packaged, WorkItem, package};
use cas::{
    BlobStore, Monitor, Progress,
    tree::{self, Early, Inlet, Sources, Uploaded},
};
use futures::future;
use std::sync::Arc;

/// What was archived.
#[derive(Clone, Debug)]
pub struct Archived {
    /// The work item; its sources are gone.
    pub packaged: Packaged,
    /// What the store had to be sent.
    pub uploaded: Uploaded,
}

/// Hashes what changed, asks the store once what is missing, and sends that, the manifest with it. When nothing is
/// missing this is a single call. Where many small files changed, they are asked for and sent while others are hashed.
pub async fn archive(
    store: &dyn BlobStore,
    item: WorkItem,
    options: &ArchiveOptions,
    monitor: Arc<dyn Monitor>,
) -> Result<Archived, Error> {
    let (outlet, inlet) = tree::early();
    let packaging = package(item, options, Some(outlet), Arc::clone(&monitor));
    let (mut packaged, early) = future::try_join(packaging, sending(store, inlet, &*monitor)).await?;
    let uploaded = upload(store, std::mem::take(&mut packaged.sources), early, &*monitor).await?;
    Ok(Archived { packaged, uploaded })
}

/// Several work items, and what the store had to be sent for all of them together.
#[derive(Clone, Debug)]
pub struct BatchArchived {
    /// In the order given; their sources are gone.
    pub packaged: Vec<Packaged>,
    /// For all of them.
    pub uploaded: Uploaded,
}

/// Bytes of small files and manifests that a batch of work items keeps in memory until it asks for all that is left.
const MAX_KEPT: usize = 64 * 1024 * 1024;

/// The same for several work items: what they share is asked for and sent once.
pub async fn archive_batch(
    store: &dyn BlobStore,
    items: Vec<(WorkItem, ArchiveOptions)>,
    monitor: Arc<dyn Monitor>,
) -> Result<BatchArchived, Error> {
    let (outlet, inlet) = tree::early();
    let packaging = async {
        let outlet = outlet;
        let mut sources = Sources::new();
        let (mut packaged, mut kept) = (Vec::with_capacity(items.len()), 0);
        for (item, options) in items {
            // Each item may leave a batch in memory: beyond some of them, files are read again to be sent.
            let outlet = (kept < MAX_KEPT).then(|| outlet.clone());
            let mut done = package(item, &options, outlet, Arc::clone(&monitor)).await?;
            kept += done.sources.bytes_in_memory();
            sources.extend(std::mem::take(&mut done.sources));
            packaged.push(done);
        }
        Ok((packaged, sources))
    };
    let ((packaged, sources), early) = future::try_join(packaging, sending(store, inlet, &*monitor)).await?;
    let uploaded = upload(store, sources, early, &*monitor).await?;
    Ok(BatchArchived { packaged, uploaded })
}

async fn sending(store: &dyn BlobStore, inlet: Inlet, monitor: &dyn Monitor) -> Result<Early, Error> {
    Ok(tree::upload_early(store, inlet, monitor).await?)
}

/// What did not go up yet.
async fn upload(
    store: &dyn BlobStore,
    mut sources: Sources,
    early: Early,
    monitor: &dyn Monitor,
) -> Result<Uploaded, Error> {
    sources.remove_all(&early.digests);
    monitor.progress(Progress::Planned { files: sources.len() as u64, bytes: sources.bytes() });
    let mut uploaded = tree::upload(store, &sources, monitor).await?;
    uploaded += early.uploaded;
    Ok(uploaded)
}
