//! Facts about each verb, and the round trip through a store.

use super::*;
use crate::{
    BlobStore, BlobStoreExt as _, Silent,
    disk::{DiskCache, DiskCacheOptions},
    isolated::{Entry, Isolated, ReadOnly},
    memory::MemoryStore,
    testing::{Call, Faulty, Recording, noise},
};
use proto::{Digest, DigestFunction, RelPath, limits};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

mod archives;
mod fetching;
mod grafts;
mod hostile;
mod lending;
mod packed;
mod patches;
mod snapshots;
mod together;
mod uploading;

const FUNCTION: DigestFunction = DigestFunction::Blake3;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A tree of files.
fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        write(&root.path().join(name), bytes);
    }
    root
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn everything(root: &Path) -> Snapshot {
    take(root, &[Input::Everything], &SnapshotOptions::default()).unwrap()
}

fn take(root: &Path, inputs: &[Input], options: &SnapshotOptions) -> Result<Snapshot, Error> {
    snapshot(root, inputs, options, &HashCache::disabled(), None, &Silent)
}

/// The names in a snapshot.
fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files.keys().map(RelPath::as_str).collect()
}

/// A manifest of the snapshot among its sources.
fn manifest(snapshot: &mut Snapshot) -> Digest {
    let isolated =
        Isolated { files: snapshot.files.clone(), read_only: ReadOnly::Writable, ..Isolated::new(FUNCTION) };
    snapshot.sources.add_bytes(FUNCTION, isolated.to_bytes().into())
}

/// Archives everything below `root` and tells the manifest.
async fn archive(store: &dyn BlobStore, root: &Path) -> Digest {
    let mut snapshot = everything(root);
    let digest = manifest(&mut snapshot);
    upload(store, &snapshot.sources, &Silent).await.unwrap();
    digest
}

/// Stores a manifest that was made by hand.
async fn store_manifest(store: &dyn BlobStore, isolated: &Isolated) -> Digest {
    store.put(FUNCTION, isolated.to_bytes().into()).await.unwrap()
}

/// A cache in a directory of its own.
struct Cache {
    dir: TempDir,
    cache: DiskCache,
}

impl Cache {
    fn new() -> Self {
        Self::of(1 << 30)
    }

    fn of(max_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(
            dir.path(),
            DiskCacheOptions { max_bytes, min_free: 0, ..DiskCacheOptions::default() },
        )
        .unwrap();
        Self { dir, cache }
    }
}

/// Every file below `root` with its bytes, and every symlink with its target.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(root).unwrap().to_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                found.insert(name, format!("-> {}", target.display()).into_bytes());
            } else {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Makes a file look as if nobody had written to it for long.
fn settle(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 500)).unwrap();
}

#[tokio::test]
async fn a_tree_comes_back_as_it_went() {
    let large = noise(1, 9 * 1024 * 1024);
    let root = tree(&[("a", b"same"), ("d/b", b"same"), ("d/e/empty", b""), ("large", &large)]);
    write(&root.path().join("run.sh"), b"#!/bin/sh\n");
    fs::set_permissions(root.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../run.sh", root.path().join("d/link")).unwrap();
    let store = MemoryStore::new();
    let digest = archive(&store, root.path()).await;
    let Cache { cache, .. } = &Cache::new();
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    materialize(&fetched, cache, target.path()).unwrap();
    assert_eq!(contents(target.path()), contents(root.path()));
    assert_eq!(mode(&target.path().join("run.sh")), 0o750);
    assert_eq!(mode(&target.path().join("a")), 0o640);
}

#[tokio::test]
async fn round_trips_are_what_they_must_be() {
    let root = tree(&[("a", b"1"), ("b", b"2"), ("c/d", b"3")]);
    let store = Recording::new(MemoryStore::new());
    let digest = archive(&store, root.path()).await;
    assert_eq!(store.calls(), [Call::FindMissing(4), Call::WriteBatch(4)], "a small new tree");
    archive(&store, root.path()).await;
    assert_eq!(store.calls(), [Call::FindMissing(4)], "the same again");
    write(&root.path().join("b"), b"changed");
    archive(&store, root.path()).await;
    assert_eq!(store.calls(), [Call::FindMissing(4), Call::WriteBatch(2)], "one file changed");
    let Cache { cache, .. } = &Cache::new();
    let cold = fetch(&store, cache, digest, &Silent).await.unwrap();
    assert_eq!(store.calls(), [Call::ReadBatch(1), Call::ReadBatch(3)], "a cold fetch");
    assert_eq!((cold.cold_items, cold.hot_items, cold.hot_bytes), (4, 0, 0));
    let warm = fetch(&store, cache, digest, &Silent).await.unwrap();
    assert_eq!(store.calls(), [], "a warm fetch");
    assert_eq!((warm.cold_items, warm.cold_bytes, warm.hot_items), (0, 0, 4));
    assert_eq!(warm.hot_bytes, cold.cold_bytes);
}
