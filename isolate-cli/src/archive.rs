//! A work item into the store.

use crate::{Error, WorkItem, default_exclude};
use bytes::Bytes;
use cas::{
    BlobStore, Monitor, Progress,
    isolated::Isolated,
    tree::{self, Broken, Exclude, HashCache, Snapshot, SnapshotOptions, Symlinks, Uploaded},
};
use proto::{Digest, DigestFunction};
use std::{path::PathBuf, sync::Arc};

/// How to archive.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// Names the blobs and the manifest.
    pub function: DigestFunction,
    /// Left out inside of directories.
    pub exclude: Exclude,
    /// What becomes of symlinks.
    pub symlinks: Symlinks,
    /// What becomes of inputs that are not there.
    pub broken: Broken,
    /// Where digests of unchanged files are kept; `None` hashes everything anew.
    pub hash_cache: Option<PathBuf>,
}

impl ArchiveOptions {
    /// BLAKE3, the default exclusions and the user's hash cache.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            function: DigestFunction::Blake3,
            exclude: default_exclude()?,
            symlinks: Symlinks::default(),
            broken: Broken::default(),
            hash_cache: HashCache::default_dir(),
        })
    }
}

/// What was archived.
#[derive(Clone, Debug)]
pub struct Archived {
    /// The manifest's name: what downloads and runs ask for.
    pub digest: Digest,
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// Files and symlinks in it.
    pub files: u64,
    /// Sum of the sizes of the files.
    pub bytes: u64,
    /// What the store had to be sent.
    pub uploaded: Uploaded,
    /// Inputs that were not there and were left out.
    pub skipped: Vec<PathBuf>,
}

/// Hashes what changed, asks the store once what is missing, and sends that, the manifest with it. When nothing is
/// missing this is a single call.
pub async fn archive(
    store: &dyn BlobStore,
    item: WorkItem,
    options: &ArchiveOptions,
    monitor: Arc<dyn Monitor>,
) -> Result<Archived, Error> {
    let snapshot_options = SnapshotOptions {
        function: options.function,
        exclude: Some(options.exclude.clone()),
        symlinks: options.symlinks,
        broken: options.broken,
    };
    let (root, inputs) = (item.root.clone(), item.inputs);
    let hash_cache = options.hash_cache.clone();
    let follower = Arc::clone(&monitor);
    let hashing = tokio::task::spawn_blocking(move || {
        let hashes = hash_cache.map_or_else(HashCache::disabled, |dir| HashCache::open(&dir, &root));
        tree::snapshot(&root, &inputs, &snapshot_options, &hashes, &*follower)
    });
    let Snapshot { files, mut sources, skipped } = crate::process::joined(hashing.await)??;

    let manifest = Isolated {
        command: item.command,
        files,
        relative_cwd: item.relative_cwd,
        read_only: item.read_only,
        ..Isolated::new(options.function)
    };
    let (files, bytes) = (manifest.files.len() as u64, manifest.total_bytes());
    let manifest = Bytes::from(manifest.to_bytes());
    let digest = sources.add_bytes(options.function, manifest.clone());
    monitor.progress(Progress::Planned { files: sources.len() as u64, bytes: sources.bytes() });
    let uploaded = tree::upload(store, &sources, &*monitor).await?;
    Ok(Archived { digest, manifest, files, bytes, uploaded, skipped })
}
