//! A tree that is laid out while it is fetched.

use super::{
    super::{
        gate::Gate,
        materialize::{Building, Site},
    },
    *,
};
use bytes::Bytes;
use futures::poll;
use proptest::prelude::*;
use runtime::{Clock as _, SystemClock};
use std::{pin::pin, sync::Arc, task::Poll};

/// A manifest of these files, whose blobs are stored.
async fn item(store: &dyn BlobStore, files: &[(&str, Bytes)], read_only: ReadOnly) -> Digest {
    let mut entries = BTreeMap::new();
    for (name, bytes) in files {
        let digest = store.put(FUNCTION, bytes.clone()).await.unwrap();
        entries.insert(path(name), Entry::File { digest, mode: Some(0o750) });
    }
    entries.insert(path("link"), Entry::Symlink { target: files[0].0.into() });
    store_manifest(store, &Isolated { files: entries, read_only, ..Isolated::new(FUNCTION) }).await
}

/// Whether files can be cloned in directories of tests: then they are made of the cache's when all has come.
fn clones(cache: &DiskCache, target: &Path) -> bool {
    let probe = Bytes::from_static(b"probe");
    let digest = FUNCTION.digest(&probe);
    cache.insert(digest, &probe).unwrap();
    reflink_copy::reflink(cache.path(digest), target.join("probe")).is_ok()
}

#[tokio::test]
async fn small_files_are_there_before_the_large_ones_came() {
    let store = Recording::new(MemoryStore::new());
    let small = noise(1, 3000);
    let files = [
        ("a", small.clone()),
        ("b/c", small.clone()),
        ("b/large", noise(2, 5_000_000)),
        ("empty", Bytes::new()),
    ];
    let digest = item(&store, &files, ReadOnly::Files).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new");
    let Cache { cache, .. } = &Cache::new();
    store.calls();
    let begun = fetch_into(&store, cache, (Some(digest), &[]), &target, &Silent).await.unwrap();
    assert_eq!(store.calls(), [Call::ReadBatch(1), Call::ReadBatch(1), Call::Read]);
    let there: Vec<PathBuf> = contents(&target).into_keys().collect();
    let expected = if clones(cache, dir.path()) { vec![] } else { vec![PathBuf::from("a"), "b/c".into()] };
    assert_eq!(there, expected);
    let fetched = begun.finish().unwrap();
    assert_eq!((fetched.files, fetched.bytes, fetched.isolated.files.len()), (5, 5_006_000, 0));
    let mut expected: BTreeMap<PathBuf, Vec<u8>> =
        files.iter().map(|(name, bytes)| (PathBuf::from(name), bytes.to_vec())).collect();
    expected.insert("link".into(), b"-> a".to_vec());
    assert_eq!(contents(&target), expected);
    assert_eq!((mode(&target.join("a")), mode(&target.join("b/large"))), (0o550, 0o550));
}

#[tokio::test]
async fn nothing_is_asked_for_when_the_directory_is_not_empty() {
    let store = Recording::new(MemoryStore::new());
    let digest = item(&store, &[("a", noise(1, 3000))], ReadOnly::Files).await;
    let target = tree(&[("mine", b"precious")]);
    let Cache { cache, .. } = &Cache::new();
    store.calls();
    let error = fetch_into(&store, cache, (Some(digest), &[]), target.path(), &Silent).await.unwrap_err();
    assert!(matches!(&error, Error::Occupied { path } if path == target.path()), "{error:?}");
    assert_eq!(store.calls(), [Call::ReadBatch(1)], "the manifest");
    assert_eq!(contents(target.path()), [("mine".into(), b"precious".to_vec())].into());
}

#[tokio::test]
async fn nothing_appears_of_a_manifest_that_is_refused() {
    let store = MemoryStore::new();
    let digest = store.put(FUNCTION, noise(1, 3000)).await.unwrap();
    let file = Entry::File { digest, mode: None };
    let link = Entry::Symlink { target: "../out".into() };
    let files = [(path("a"), file), (path("link"), link)].into();
    let manifest = store_manifest(&store, &Isolated { files, ..Isolated::new(FUNCTION) }).await;
    let target = tempfile::tempdir().unwrap();
    let Cache { cache, .. } = &Cache::new();
    let error = fetch_into(&store, cache, (Some(manifest), &[]), target.path(), &Silent).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error:?}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

/// Gives other bytes than those that were asked for, and does not say so.
#[derive(Debug)]
struct Lying(MemoryStore);

#[async_trait::async_trait]
impl BlobStore for Lying {
    async fn find_missing(&self, digests: &[Digest]) -> crate::Result<Vec<Digest>> {
        self.0.find_missing(digests).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> crate::Result<Vec<crate::Result<Bytes>>> {
        let blobs = self.0.read_batch(digests).await?;
        let lie = |blob: crate::Result<Bytes>| {
            blob.map(|bytes| if bytes.len() == 3000 { noise(9, 3000) } else { bytes })
        };
        Ok(blobs.into_iter().map(lie).collect())
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> crate::Result<Vec<crate::Result<()>>> {
        self.0.write_batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: crate::Range) -> crate::Result<crate::ByteStream> {
        self.0.read(digest, range).await
    }

    async fn write(&self, digest: Digest, source: crate::ByteStream) -> crate::Result<()> {
        self.0.write(digest, source).await
    }
}

#[tokio::test]
async fn wrong_bytes_do_not_reach_the_tree() {
    let store = Lying(MemoryStore::new());
    let digest = item(&store, &[("a", noise(1, 3000))], ReadOnly::Files).await;
    let target = tempfile::tempdir().unwrap();
    let Cache { cache, .. } = &Cache::new();
    let error = fetch_into(&store, cache, (Some(digest), &[]), target.path(), &Silent).await.unwrap_err();
    assert!(matches!(&error, Error::Store(crate::Error::Mismatch { .. })), "{error:?}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn nothing_is_made_any_more_when_the_fetch_was_dropped() {
    let (bytes, target) = (noise(1, 3000), tempfile::tempdir().unwrap());
    let digest = FUNCTION.digest(&bytes);
    let Cache { cache, .. } = &Cache::new();
    cache.insert(digest, &bytes).unwrap();
    let mut isolated = Isolated::new(FUNCTION);
    isolated.files.insert(path("d/a"), Entry::File { digest, mode: None });
    let site = Site::new(&mut isolated, &[].into(), cache, target.path()).unwrap();
    // As a thread that has got its batch, and is slow.
    let builder = site.builder();
    drop(site);
    builder.make(&[(digest, bytes)]).unwrap();
    assert_eq!(contents(target.path()), BTreeMap::new());
}

#[test]
fn no_directory_is_made_where_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let Cache { cache, .. } = &Cache::new();
    let mut isolated = Isolated::new(FUNCTION);
    isolated.files.insert(path("d/a"), Entry::File { digest: FUNCTION.digest(b"a"), mode: None });
    let pass = Gate::default().pass();
    Building::begin(&mut isolated, &[].into(), cache, &dir.path().join("tree"), pass).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_fetch_that_is_dropped_leaves_a_directory_that_can_be_removed() {
    let store = Arc::new(MemoryStore::new());
    let files: Vec<(String, Bytes)> =
        (0..2000).map(|i| (format!("d{}/f{i}", i % 7), noise(i, 9000))).collect();
    let files: Vec<(&str, Bytes)> = files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    let digest = item(&store, &files, ReadOnly::Files).await;
    for waits in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("tree");
        let Cache { cache, .. } = &Cache::new();
        {
            let mut fetch = pin!(fetch_into(&*store, cache, (Some(digest), &[]), &target, &Silent));
            for _ in 0..waits {
                if let Poll::Ready(begun) = poll!(&mut fetch) {
                    drop(begun.unwrap().finish().unwrap());
                    break;
                }
                SystemClock::new().sleep(Duration::from_millis(3)).await;
            }
        }
        if target.exists() {
            fs::remove_dir_all(&target).unwrap();
        }
        // Threads that are still busy with the cache make nothing here.
        SystemClock::new().sleep(Duration::from_millis(2)).await;
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

/// Sizes of each kind: empty, in a batch, lent where that may be, streamed.
const SIZES: [usize; 6] = [0, 1, 5000, 200_000, 1_100_000, 4_300_000];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_same_tree_comes_of_it_as_in_two_steps(
        files in proptest::collection::btree_map("[a-c]/[a-c]/[a-e]|[d-h]", (0..SIZES.len(), 0..3u64, 0..0o1000u32), 1..25),
        cached in 0..4u64,
        read_only in 0..3u64,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let (Cache { cache, .. }, Cache { cache: other, .. }) = (&Cache::new(), &Cache::new());
            let mut isolated =
                Isolated { read_only: ReadOnly::from_number(read_only).unwrap(), ..Isolated::new(FUNCTION) };
            for (name, (size, seed, mode)) in &files {
                let bytes = noise(*seed, SIZES[*size]);
                let digest = store.put(FUNCTION, bytes.clone()).await.unwrap();
                isolated.files.insert(path(name), Entry::File { digest, mode: Some(*mode) });
                if *seed == cached && *size > 0 {
                    cache.insert(digest, &bytes).unwrap();
                }
            }
            let digest = store_manifest(&store, &isolated).await;
            let (dir, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let one = dir.path().join("one");
            let begun = fetch_into(&store, cache, (Some(digest), &[]), &one, &Silent).await.unwrap();
            begun.finish().unwrap();
            let fetched = fetch(&store, other, digest, &Silent).await.unwrap();
            materialize(&fetched, other, two.path()).unwrap();
            assert!(contents(&one) == contents(two.path()));
            for name in files.keys() {
                assert_eq!(mode(&one.join(name)), mode(&two.path().join(name)));
                let directory = |root: &Path| mode(root.join(name).parent().unwrap());
                assert_eq!(directory(&one), directory(two.path()));
            }
            for root in [&*one, two.path()] {
                let (above, name) = (root.parent().unwrap(), root.file_name().unwrap());
                crate::remove(above, name).unwrap();
            }
            fs::create_dir(two.path()).unwrap();
            // All of it is in the cache, unless a tree had it.
            let wanted: Vec<Digest> = isolated.files.values().filter_map(Entry::digest).collect();
            assert_eq!(cache.missing(&wanted).unwrap(), []);
        });
    }
}
