//! A work item that was archived before, and whose root somebody watches: only what changed is looked at.

use crate::{ArchiveOptions, Error, Item, Packaged, WorkItem, process::joined, watch::Watcher};
use cas::{
    BlobStore, Monitor,
    isolated::ReadOnly,
    tree::{self, Again, Broken, Changes, Input, Kept, Symlinks, Uploaded},
};
use proto::{DigestFunction, Timestamp};
use runtime::Clock;
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};
use tokio::task::spawn_blocking;

/// Who may know what changed below a root, and what has to be known beside that.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Those who watch.
    pub watcher: Watcher,
    /// The store's name: what one has says nothing of another one.
    pub store: String,
    /// Tells how long ago it said so.
    pub clock: Arc<dyn Clock>,
}

/// All that a manifest depends on but the files, and the store that has their blobs.
#[derive(Serialize)]
struct MadeFrom<'a> {
    /// Another one may do it in another way.
    program: &'static str,
    store: &'a str,
    root: &'a str,
    /// The empty one is everything.
    inputs: Vec<&'a str>,
    command: &'a [String],
    relative_cwd: Option<&'a str>,
    read_only: u8,
    version: &'static str,
    function: &'static str,
    exclude: &'a str,
    collapse_symlinks: bool,
    skip_broken: bool,
}

impl<'a> MadeFrom<'a> {
    /// `None`: not all of it can be told.
    fn of(item: &'a WorkItem, options: &'a ArchiveOptions, store: &'a str) -> Option<Self> {
        let inputs = item.inputs.iter().map(|input| match input {
            Input::Everything => "",
            Input::Path(path) => path.as_str(),
        });
        Some(Self {
            program: runtime::VERSION,
            store,
            root: item.root.to_str()?,
            inputs: inputs.collect(),
            command: &item.command,
            relative_cwd: item.relative_cwd.as_ref().map(|path| path.as_str()),
            read_only: ReadOnly::number(item.read_only),
            version: options.version.name(),
            function: DigestFunction::name(options.function),
            exclude: options.exclude.rule()?,
            collapse_symlinks: match options.symlinks {
                Symlinks::Keep => false,
                Symlinks::Follow => true,
                Symlinks::Within => return None,
            },
            skip_broken: options.broken == Broken::Skip,
        })
    }
}

/// A work item whose root is watched.
#[derive(Debug)]
pub(crate) struct WatchedItem {
    root: PathBuf,
    again: Again,
    /// When whoever watches was asked.
    asked: Timestamp,
    kept: Option<Kept>,
    changes: Changes,
}

impl WatchedItem {
    /// Asks what changed, before anybody looks at the files. `None`: nobody watches.
    pub(crate) async fn of(item: &WorkItem, options: &ArchiveOptions) -> Result<Option<Self>, Error> {
        let Some((watching, dir)) = options.watching.clone().zip(options.hash_cache.clone()) else {
            return Ok(None);
        };
        let Some(made_from) = MadeFrom::of(item, options, &watching.store) else { return Ok(None) };
        let made_from = serde_json::to_vec(&made_from).expect("texts and numbers always serialise");
        let root = item.root.clone();
        let (clock, place) = (Arc::clone(&watching.clock), root.clone());
        let reading = spawn_blocking(move || {
            let again = Again::of(&dir, &place, &made_from);
            let asked = clock.now();
            let kept = again.read(asked);
            (again, asked, kept)
        });
        let (again, asked, kept) = joined(reading.await)?;
        let changes = watching.watcher.changes(&root, kept.as_ref().map(Kept::token)).await;
        Ok(changes.map(|changes| Self { root, again, asked, kept, changes }))
    }

    /// Archives it by what changed. `None`: everything has to be looked at.
    pub(crate) async fn renew(
        &mut self,
        store: &dyn BlobStore,
        options: &ArchiveOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Option<(Item, Uploaded)>, Error> {
        let Some(kept) = self.kept.take() else { return Ok(None) };
        let (root, options, changes) = (&self.root, options.snapshot(), self.changes.clone());
        let renewed = tree::renew(store, root, &options, (&self.again, kept), changes, monitor).await?;
        Ok(renewed.map(|tree::Renewed { digest, manifest, files, bytes, uploaded }| {
            (Item { digest, manifest, isolated: None, files, bytes, skipped: Vec::new() }, uploaded)
        }))
    }

    /// Keeps what the next time needs of an item that was packaged and then uploaded as a whole.
    pub(crate) async fn keep(self, packaged: &Packaged) -> Result<(), Error> {
        let Some(reach) = packaged.reach.clone() else { return Ok(()) };
        let (digest, manifest) = (packaged.digest, packaged.manifest.clone());
        let Self { again, asked, changes, .. } = self;
        let keep = move || again.keep((digest, &manifest), asked, changes.token, reach);
        if let Err(error) = joined(spawn_blocking(keep).await)? {
            tracing::warn!(%error, "cannot keep what was archived for the next time");
        }
        Ok(())
    }
}
