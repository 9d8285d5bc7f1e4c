//! A work item into the store.

use crate::{ArchiveOptions, Error, Packaged, WorkItem, package};
use cas::{
    BlobStore, Monitor, Progress,
    tree::{self, Sources, Uploaded},
};
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
/// missing this is a single call.
pub async fn archive(
    store: &dyn BlobStore,
    item: WorkItem,
    options: &ArchiveOptions,
    monitor: Arc<dyn Monitor>,
) -> Result<Archived, Error> {
    let mut packaged = package(item, options, Arc::clone(&monitor)).await?;
    let sources = std::mem::take(&mut packaged.sources);
    let uploaded = upload(store, &sources, &*monitor).await?;
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

/// The same for several work items: what they share is asked for and sent once.
pub async fn archive_batch(
    store: &dyn BlobStore,
    items: Vec<(WorkItem, ArchiveOptions)>,
    monitor: Arc<dyn Monitor>,
) -> Result<BatchArchived, Error> {
    let mut sources = Sources::new();
    let mut packaged = Vec::with_capacity(items.len());
    for (item, options) in items {
        let mut done = package(item, &options, Arc::clone(&monitor)).await?;
        sources.extend(std::mem::take(&mut done.sources));
        packaged.push(done);
    }
    let uploaded = upload(store, &sources, &*monitor).await?;
    Ok(BatchArchived { packaged, uploaded })
}

async fn upload(store: &dyn BlobStore, sources: &Sources, monitor: &dyn Monitor) -> Result<Uploaded, Error> {
    monitor.progress(Progress::Planned { files: sources.len() as u64, bytes: sources.bytes() });
    Ok(tree::upload(store, sources, monitor).await?)
}
