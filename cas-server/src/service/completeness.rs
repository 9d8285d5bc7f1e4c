//! Whether everything that a result of an action refers to is in the store. Asking is a use, so that it stays there.

use super::{
    digest::Named,
    tree::{Walk, WalkError},
};
use cas::{BlobStore, BlobStoreExt as _, Error, Result};
use prost::Message as _;
use proto::{Digest, DigestError, DigestFunction, reapi};
use reapi::{ActionResult, Directory, Tree};
use std::{collections::HashSet, sync::Arc};
use tokio::sync::Semaphore;

/// Most bytes of `Tree` messages that one result may have.
const MAX_TREE_BYTES: u64 = 64 << 20;

/// KiB of `Tree` messages in memory at a time, over all calls.
const TREES_AT_A_TIME: usize = 128 << 10;

/// Digests that are asked about at a time.
const STEP: usize = 10_000;

/// Most digests of files in one result.
const MAX_FILES: usize = 2_000_000;

/// What a result refers to.
#[derive(Debug, Default)]
pub(super) struct Referenced {
    blobs: Vec<Digest>,
    trees: HashSet<Digest>,
    roots: Vec<Digest>,
}

impl Referenced {
    /// Fails on what is no digest of this function.
    pub(super) fn of(result: &ActionResult, function: DigestFunction) -> Result<Self, DigestError> {
        let named = Named::of(function);
        let mut referenced = Self::default();
        for file in &result.output_files {
            referenced.blobs.push(named.required(file.digest.as_ref())?);
        }
        for wire in [&result.stdout_digest, &result.stderr_digest].into_iter().flatten() {
            referenced.blobs.push(named.digest(wire)?);
        }
        for directory in &result.output_directories {
            if let Some(root) = &directory.root_directory_digest {
                referenced.roots.push(named.digest(root)?);
            }
            // One of the two is there.
            if directory.root_directory_digest.is_none() || directory.tree_digest.is_some() {
                let tree = named.required(directory.tree_digest.as_ref())?;
                referenced.trees.insert(tree);
                referenced.blobs.push(tree);
            }
        }
        Ok(referenced)
    }
}

/// Checks results.
#[derive(Clone, Debug)]
pub(super) struct Completeness {
    store: Arc<dyn BlobStore>,
    trees: Arc<Semaphore>,
}

impl Completeness {
    pub(super) fn new(store: Arc<dyn BlobStore>) -> Self {
        Self { store, trees: Arc::new(Semaphore::new(TREES_AT_A_TIME)) }
    }

    /// Whether all blobs of a result of this function are there. One that cannot be followed to its end is not complete.
    pub(super) async fn check(&self, result: &ActionResult, function: DigestFunction) -> Result<bool> {
        let Ok(referenced) = Referenced::of(result, function) else { return Ok(false) };
        if !self.all_there(&referenced.blobs).await? {
            return Ok(false);
        }
        if referenced.trees.iter().map(Digest::size).fold(0, u64::saturating_add) > MAX_TREE_BYTES {
            return Ok(false);
        }
        for tree in referenced.trees {
            if !self.tree(tree).await? {
                return Ok(false);
            }
        }
        self.roots(&referenced.roots).await
    }

    /// Whether the files in a `Tree` are there.
    async fn tree(&self, digest: Digest) -> Result<bool> {
        let unavailable = |_| Error::Unavailable { reason: "the server is closing".into() };
        let kib = u32::try_from(digest.size() >> 10).unwrap_or(u32::MAX);
        let _memory = self.trees.acquire_many(kib).await.map_err(unavailable)?;
        let bytes = match self.store.get(digest).await {
            Ok(bytes) => bytes,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Ok(tree) = Tree::decode(bytes) else { return Ok(false) };
        let named = Named::of(digest.function());
        let mut all = HashSet::new();
        for directory in tree.root.iter().chain(&tree.children) {
            if !files(directory, named, &mut all) {
                return Ok(false);
            }
        }
        self.all_there(&Vec::from_iter(all)).await
    }

    /// Whether all directories below these are there, and their files. The other home of directories: blobs each.
    pub(super) async fn roots(&self, roots: &[Digest]) -> Result<bool> {
        let [first, others @ ..] = roots else { return Ok(true) };
        let mut walk = Walk::new(*first);
        others.iter().for_each(|root| walk.add(*root));
        let named = Named::of(first.function());
        let mut passed = 0;
        loop {
            let directories = match walk.step(&*self.store).await {
                Ok(directories) => directories,
                Err(WalkError::Store(error)) => return Err(error),
                Err(WalkError::Malformed { .. } | WalkError::TooLarge { .. }) => return Ok(false),
            };
            if directories.is_empty() {
                return Ok(true);
            }
            let mut all = HashSet::new();
            for directory in directories {
                let Some(directory) = directory else { return Ok(false) };
                if !files(&directory, named, &mut all) {
                    return Ok(false);
                }
            }
            passed += all.len();
            if passed > MAX_FILES || !self.all_there(&Vec::from_iter(all)).await? {
                return Ok(false);
            }
        }
    }

    /// Whether all of these are there.
    pub(super) async fn all_there(&self, digests: &[Digest]) -> Result<bool> {
        for step in digests.chunks(STEP) {
            if !self.store.find_missing(step).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Adds the files of a directory. Not if there is one without a digest.
fn files(directory: &Directory, named: Named, all: &mut HashSet<Digest>) -> bool {
    for file in &directory.files {
        let Ok(digest) = named.required(file.digest.as_ref()) else { return false };
        all.insert(digest);
    }
    all.len() <= MAX_FILES
}
