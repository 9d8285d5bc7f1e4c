//! A work item to its manifest and the sources of its blobs: everything about archiving that needs no store.

use crate::{Error, Watching, WorkItem, default_exclude};
use bytes::Bytes;
use cas::{
    Monitor,
    isolated::{Isolated, ReadOnly, Version},
    tree::{
        self, Broken, Exclude, HashCache, LastManifest, Outlet, Reach, Snapshot, SnapshotOptions, Sources,
        Symlinks,
    },
};
use proto::{Digest, DigestFunction};
use std::{path::PathBuf, sync::Arc};

/// How to package.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// Names the blobs and the manifest.
    pub function: DigestFunction,
    /// How the manifest is written.
    pub version: Version,
    /// Left out inside of directories.
    pub exclude: Exclude,
    /// What becomes of symlinks.
    pub symlinks: Symlinks,
    /// What becomes of inputs that are not there.
    pub broken: Broken,
    /// Where digests of unchanged files are kept; `None` hashes everything anew.
    pub hash_cache: Option<PathBuf>,
    /// Who may know what changed since the tree was archived last; `None` looks at everything.
    pub watching: Option<Watching>,
}

impl ArchiveOptions {
    /// BLAKE3, the default exclusions and the user's hash cache.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            function: DigestFunction::Blake3,
            version: Version::default(),
            exclude: default_exclude()?,
            symlinks: Symlinks::default(),
            broken: Broken::default(),
            hash_cache: HashCache::default_dir(),
            watching: None,
        })
    }

    /// How a tree is looked at.
    pub(crate) fn snapshot(&self) -> SnapshotOptions {
        SnapshotOptions {
            function: self.function,
            exclude: Some(self.exclude.clone()),
            symlinks: self.symlinks,
            broken: self.broken,
        }
    }

    /// A manifest that has no files yet.
    pub(crate) fn head(&self, item: &WorkItem) -> Isolated {
        let read_only = match self.version {
            Version::V1 => item.read_only,
            Version::V2 => ReadOnly::Writable,
        };
        Isolated {
            command: item.command.clone(),
            relative_cwd: item.relative_cwd.clone(),
            read_only,
            version: self.version,
            ..Isolated::new(self.function)
        }
    }
}

/// A work item, hashed.
#[derive(Clone, Debug)]
pub struct Packaged {
    /// The manifest's name: what downloads and runs ask for.
    pub digest: Digest,
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The manifest.
    pub isolated: Isolated,
    /// Every blob of it, the manifest among them, and where to read it.
    pub sources: Sources,
    /// Inputs that were not there and were left out.
    pub skipped: Vec<PathBuf>,
    /// Where looking at the tree began, if from that alone follows what is looked at.
    pub reach: Option<Reach>,
}

impl Packaged {
    /// Files and symlinks in it.
    pub fn files(&self) -> u64 {
        self.isolated.files.len() as u64
    }

    /// Sum of the sizes of the files.
    pub fn bytes(&self) -> u64 {
        self.isolated.total_bytes()
    }
}

/// Lists the inputs and hashes what changed. Small files that it had to read go into `outlet`, but for the last few.
pub async fn package(
    item: WorkItem,
    options: &ArchiveOptions,
    outlet: Option<Outlet>,
    monitor: Arc<dyn Monitor>,
) -> Result<Packaged, Error> {
    let (snapshot_options, head) = (options.snapshot(), options.head(&item));
    let WorkItem { root, inputs, .. } = item;
    let hash_cache = options.hash_cache.clone();
    let packaging = tokio::task::spawn_blocking(move || {
        let last = hash_cache.as_ref().map(|dir| LastManifest::of(dir, &root));
        let hashes = hash_cache.map_or_else(HashCache::disabled, |dir| HashCache::open(&dir, &root));
        let snapshot =
            tree::snapshot(&root, &inputs, &snapshot_options, &hashes, outlet.as_ref(), &*monitor)?;
        // Those who send need not wait for the manifest.
        drop(outlet);
        let Snapshot { files, mut sources, skipped, reach, .. } = snapshot;
        let isolated = Isolated { files, ..head };
        let manifest = Bytes::from(isolated.to_bytes());
        let digest = sources.add_manifest(snapshot_options.function, manifest.clone(), last);
        Ok(Packaged { digest, manifest, isolated, sources, skipped, reach })
    });
    crate::process::joined(packaging.await)?
}
