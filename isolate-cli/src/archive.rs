//! A work item into the store.

use crate::{ArchiveOptions, Error, Packaged, WorkItem, again::WatchedItem, package};
use bytes::Bytes;
use cas::{
    BlobStore, Monitor, Progress,
    isolated::Isolated,
    tree::{self, Early, Inlet, Sources, Uploaded},
};
use futures::future;
use proto::Digest;
use std::{path::PathBuf, sync::Arc};

/// A work item that the store has.
#[derive(Clone, Debug)]
pub struct Item {
    /// The manifest's name: what downloads and runs ask for.
    pub digest: Digest,
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The manifest, unless only what changed was looked at.
    pub isolated: Option<Isolated>,
    /// Files and symlinks in it.
    pub files: u64,
    /// Sum of the sizes of the files.
    pub bytes: u64,
    /// Inputs that were not there and were left out.
    pub skipped: Vec<PathBuf>,
}

impl From<Packaged> for Item {
    fn from(packaged: Packaged) -> Self {
        let (files, bytes) = (packaged.files(), packaged.bytes());
        let Packaged { digest, manifest, isolated, skipped, .. } = packaged;
        Self { digest, manifest, isolated: Some(isolated), files, bytes, skipped }
    }
}

/// What was archived.
#[derive(Clone, Debug)]
pub struct Archived {
    /// The work item.
    pub item: Item,
    /// What the store had to be sent.
    pub uploaded: Uploaded,
}

/// Hashes what changed, asks the store once what is missing, and sends that, the manifest with it. When nothing is
/// missing this is a single call. Where many small files changed, they are asked for and sent while others are hashed.
///
/// Of a root that somebody [watches](ArchiveOptions::watching) only what changed is looked at, if it was archived a moment ago.
pub async fn archive(
    store: &dyn BlobStore,
    item: WorkItem,
    options: &ArchiveOptions,
    monitor: Arc<dyn Monitor>,
) -> Result<Archived, Error> {
    let watched = match look(store, &item, options, &monitor).await? {
        Look::Renewed(item, uploaded) => return Ok(Archived { item, uploaded }),
        Look::AtEverything(watched) => watched,
    };
    let (outlet, inlet) = tree::early();
    let packaging = package(item, options, Some(outlet), Arc::clone(&monitor));
    let (mut packaged, early) = future::try_join(packaging, sending(store, inlet, &*monitor)).await?;
    let uploaded = upload(store, std::mem::take(&mut packaged.sources), early, &*monitor).await?;
    Ok(Archived { item: kept(packaged, watched).await?, uploaded })
}

/// How much of an item has to be looked at.
enum Look {
    /// Only what changed was: it is in the store.
    Renewed(Item, Uploaded),
    /// At all of it; whether somebody watches it.
    AtEverything(Option<WatchedItem>),
}

async fn look(
    store: &dyn BlobStore,
    item: &WorkItem,
    options: &ArchiveOptions,
    monitor: &Arc<dyn Monitor>,
) -> Result<Look, Error> {
    let mut watched = WatchedItem::of(item, options).await?;
    if let Some(watched) = &mut watched
        && let Some((item, uploaded)) = watched.renew(store, options, Arc::clone(monitor)).await?
    {
        return Ok(Look::Renewed(item, uploaded));
    }
    Ok(Look::AtEverything(watched))
}

/// An item that is in the store as a whole, of which is kept what the next time needs.
async fn kept(packaged: Packaged, watched: Option<WatchedItem>) -> Result<Item, Error> {
    if let Some(watched) = watched {
        watched.keep(&packaged).await?;
    }
    Ok(packaged.into())
}

/// Several work items, and what the store had to be sent for all of them together.
#[derive(Clone, Debug)]
pub struct BatchArchived {
    /// In the order given.
    pub items: Vec<Item>,
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
    let packaging = package_all(store, items, outlet, Arc::clone(&monitor));
    let (Batch { done, sources }, early) =
        future::try_join(packaging, sending(store, inlet, &*monitor)).await?;
    let mut uploaded = upload(store, sources, early, &*monitor).await?;
    let mut items = Vec::with_capacity(done.len());
    for done in done {
        items.push(match done {
            Done::Renewed(item, sent) => {
                uploaded += sent;
                item
            }
            Done::Packaged(packaged, watched) => kept(*packaged, watched).await?,
        });
    }
    Ok(BatchArchived { items, uploaded })
}

/// What became of an item of a batch.
enum Done {
    /// It is in the store.
    Renewed(Item, Uploaded),
    /// Its blobs are among the sources of the batch.
    Packaged(Box<Packaged>, Option<WatchedItem>),
}

/// The items of a batch, in their order.
struct Batch {
    done: Vec<Done>,
    sources: Sources,
}

async fn package_all(
    store: &dyn BlobStore,
    items: Vec<(WorkItem, ArchiveOptions)>,
    outlet: tree::Outlet,
    monitor: Arc<dyn Monitor>,
) -> Result<Batch, Error> {
    let mut batch = Batch { done: Vec::with_capacity(items.len()), sources: Sources::new() };
    let mut kept = 0;
    for (item, options) in items {
        let watched = match look(store, &item, &options, &monitor).await? {
            Look::Renewed(item, sent) => {
                batch.done.push(Done::Renewed(item, sent));
                continue;
            }
            Look::AtEverything(watched) => watched,
        };
        // Each item may leave a batch in memory: beyond some of them, files are read again to be sent.
        let outlet = (kept < MAX_KEPT).then(|| outlet.clone());
        let mut packaged = package(item, &options, outlet, Arc::clone(&monitor)).await?;
        kept += packaged.sources.bytes_in_memory();
        batch.sources.extend(std::mem::take(&mut packaged.sources));
        batch.done.push(Done::Packaged(packaged.into(), watched));
    }
    Ok(batch)
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
    if sources.is_empty() {
        return Ok(early.uploaded);
    }
    monitor.progress(Progress::Planned { files: sources.len() as u64, bytes: sources.bytes() });
    let mut uploaded = tree::upload(store, &sources, monitor).await?;
    uploaded += early.uploaded;
    Ok(uploaded)
}
