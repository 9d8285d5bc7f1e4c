//! What comes into the cache, and what happens when it does not.

use super::*;
use crate::isolated::Include;
use std::sync::Arc;

fn file_entry(bytes: &[u8]) -> Entry {
    Entry::File { digest: FUNCTION.digest(bytes), mode: Some(0o640) }
}

/// A manifest of files with these bytes, which are stored too.
async fn work_item(store: &dyn BlobStore, files: &[(&str, &[u8])]) -> Isolated {
    for (_, bytes) in files {
        store.put(FUNCTION, bytes.to_vec().into()).await.unwrap();
    }
    let files = files.iter().map(|(name, bytes)| (path(name), file_entry(bytes))).collect();
    Isolated { files, ..Isolated::new(FUNCTION) }
}

#[tokio::test]
async fn all_that_is_missing_is_named_at_once() {
    let store = MemoryStore::new();
    let large = noise(1, 5_000_000);
    let bytes: Vec<Vec<u8>> = (0..30u8).map(|i| vec![i + 1]).collect();
    let names: Vec<String> = (0..30).map(|i| format!("f{i}")).collect();
    let mut files: Vec<(&str, &[u8])> =
        names.iter().zip(&bytes).map(|(name, bytes)| (&**name, &**bytes)).collect();
    files.push(("large", &large));
    let isolated = work_item(&store, &files).await;
    let digest = store_manifest(&store, &isolated).await;
    for (_, bytes) in &files[5..] {
        assert!(store.remove(FUNCTION.digest(bytes)));
    }
    let Cache { cache, .. } = &Cache::new();
    let error = fetch(&store, cache, digest, &Silent).await.unwrap_err();
    let Error::Missing { digests, count } = &error else { panic!("{error:?}") };
    assert_eq!((digests.len(), *count), (10, 26));
    assert!(error.to_string().contains("and 16 more"), "{error}");
    let gone = FUNCTION.digest(b"no such manifest");
    let error = fetch(&store, cache, gone, &Silent).await.unwrap_err();
    assert!(matches!(&error, Error::Missing { digests, count: 1 } if digests == &[gone]), "{error:?}");
    // What did come is not fetched again.
    for (_, bytes) in &files[5..] {
        store.put(FUNCTION, bytes.to_vec().into()).await.unwrap();
    }
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    assert_eq!((fetched.hot_items, fetched.cold_items), (6, 26));
}

#[tokio::test]
async fn what_is_held_is_not_evicted() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::of(64 * 4096);
    let held = work_item(&store, &[("a", &noise(1, 40_000)), ("b", &noise(2, 40_000))]).await;
    let held = store_manifest(&store, &held).await;
    let first = fetch(&store, cache, held, &Silent).await.unwrap();
    for seed in 10..30 {
        let other = work_item(&store, &[("c", &noise(seed, 50_000))]).await;
        let other = store_manifest(&store, &other).await;
        fetch(&store, cache, other, &Silent).await.unwrap();
    }
    let target = tempfile::tempdir().unwrap();
    materialize(&first, cache, target.path()).unwrap();
    assert_eq!(fs::read(target.path().join("a")).unwrap(), noise(1, 40_000));
    assert!(cache.stats().unwrap().bytes <= 2 * 64 * 4096);
}

#[tokio::test]
async fn inputs_that_can_never_fit_are_refused_with_the_remedy() {
    let store = MemoryStore::new();
    let isolated = work_item(&store, &[("a", &noise(1, 40_000))]).await;
    let digest = store_manifest(&store, &isolated).await;
    let Cache { cache, .. } = &Cache::of(30_000);
    let error = fetch(&store, cache, digest, &Silent).await.unwrap_err();
    assert!(matches!(&error, Error::Store(crate::Error::Exhausted { .. })), "{error:?}");
    assert!(error.to_string().contains("give it more"), "{error}");
}

#[tokio::test]
async fn sizes_that_nobody_has_are_refused_and_do_not_overflow() {
    let store = MemoryStore::new();
    let huge = |seed: u8| {
        let digest = Digest::new(FUNCTION, &[seed; 32], i64::MAX.cast_unsigned()).unwrap();
        Entry::File { digest, mode: None }
    };
    let files = [("a", huge(1)), ("b", huge(2)), ("c", huge(3))].map(|(name, entry)| (path(name), entry));
    let isolated = Isolated { files: files.into(), ..Isolated::new(FUNCTION) };
    let digest = store_manifest(&store, &isolated).await;
    let Cache { cache, .. } = &Cache::new();
    let error = fetch(&store, cache, digest, &Silent).await.unwrap_err();
    assert!(matches!(&error, Error::Store(crate::Error::Exhausted { .. })), "{error:?}");
}

#[tokio::test]
async fn manifests_are_no_larger_together_than_one_may_be() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let refusal = async |size: u64| {
        let include = Include::Sized(Digest::new(FUNCTION, &[1; 32], size).unwrap());
        let isolated = Isolated { includes: vec![include], ..Isolated::new(FUNCTION) };
        let digest = store_manifest(&store, &isolated).await;
        fetch(&store, cache, digest, &Silent).await.unwrap_err()
    };
    // This one is only not there.
    let within = refusal(limits::MAX_MANIFEST_BYTES - 1000).await;
    assert!(matches!(&within, Error::Missing { .. }), "{within:?}");
    let beyond = refusal(limits::MAX_MANIFEST_BYTES).await;
    assert!(matches!(&beyond, Error::Manifest { .. }), "{beyond:?}");
}

#[tokio::test]
async fn a_thousand_manifests_may_be_included_and_not_one_more() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let mut includes = Vec::new();
    for number in 0..1001 {
        let link = Entry::Symlink { target: "somewhere".into() };
        let files = BTreeMap::from([(path(&format!("{number}")), link)]);
        let isolated = Isolated { files, ..Isolated::new(FUNCTION) };
        includes.push(Include::Sized(store_manifest(&store, &isolated).await));
    }
    let load = async |count: usize| {
        let isolated = Isolated { includes: includes[..count].to_vec(), ..Isolated::new(FUNCTION) };
        let digest = store_manifest(&store, &isolated).await;
        crate::tree::manifest(&store, cache, digest, &Silent).await
    };
    assert_eq!(load(1000).await.unwrap().files.len(), 1000);
    let error = load(1001).await.unwrap_err();
    let Error::Manifest { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("there are more than 1000"), "{source}");
}

#[tokio::test]
async fn streams_that_break_off_are_never_published() {
    let store = Arc::new(MemoryStore::new());
    let (small, large) = (noise(1, 100), noise(2, 5_000_000));
    let isolated = work_item(&store, &[("small", &small), ("large", &large)]).await;
    let digest = store_manifest(&store, &isolated).await;
    for cut in [0, 1, 4_999_999] {
        let store = Faulty::new(store.clone(), |_| None).cutting(move || Some(cut));
        let Cache { cache, .. } = &Cache::new();
        let error = fetch(&store, cache, digest, &Silent).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(cache.missing(&[FUNCTION.digest(&large)]).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn those_who_fetch_the_same_at_the_same_time_share_one_transfer() {
    let store = Recording::new(MemoryStore::new());
    let isolated = work_item(&store, &[("a", b"1"), ("large", &noise(2, 5_000_000))]).await;
    let digest = store_manifest(&store, &isolated).await;
    store.calls();
    let Cache { cache, .. } = &Cache::new();
    let fetches = (0..5).map(|_| fetch(&store, cache, digest, &Silent));
    let fetched = futures::future::try_join_all(fetches).await.unwrap();
    assert_eq!(fetched.iter().map(|fetched| fetched.cold_items).sum::<u64>(), 3);
    assert_eq!(store.calls(), [Call::ReadBatch(1), Call::ReadBatch(1), Call::Read]);
}

#[tokio::test]
async fn includes_are_merged_depth_first_and_the_first_to_define_wins() {
    let store = MemoryStore::new();
    let deep = work_item(&store, &[("deep", b"deep"), ("x", b"from deep")]).await;
    let deep = store_manifest(&store, &deep).await;
    let left = Isolated {
        includes: vec![Include::Sized(deep)],
        command: vec!["left".into()],
        ..work_item(&store, &[("x", b"from left"), ("y", b"from left")]).await
    };
    let left = store_manifest(&store, &left).await;
    let right = Isolated {
        command: vec!["right".into()],
        ..work_item(&store, &[("y", b"from right"), ("deep", b"from right")]).await
    };
    let right = store_manifest(&store, &right).await;
    let root = Isolated {
        includes: vec![Include::Sized(left), Include::Sized(right)],
        ..work_item(&store, &[("x", b"from root")]).await
    };
    let root = store_manifest(&store, &root).await;
    let Cache { cache, .. } = &Cache::new();
    let fetched = fetch(&store, cache, root, &Silent).await.unwrap();
    let expected: &[(&str, &[u8])] = &[("deep", b"deep"), ("x", b"from root"), ("y", b"from left")];
    let expected: BTreeMap<RelPath, Entry> =
        expected.iter().map(|(name, bytes)| (path(name), file_entry(bytes))).collect();
    assert_eq!(fetched.isolated.files, expected);
    assert_eq!(fetched.isolated.command, ["left"]);
    assert_eq!(fetched.isolated.includes, []);
    assert_eq!((fetched.cold_items, fetched.hot_items), (7, 0));
}

#[tokio::test]
async fn includes_that_cannot_be_fetched_or_come_twice_are_refused() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let leaf = store_manifest(&store, &work_item(&store, &[("a", b"1")]).await).await;
    let refusal = async |includes: Vec<Include>| {
        let isolated = Isolated { includes, ..Isolated::new(FUNCTION) };
        let digest = store_manifest(&store, &isolated).await;
        match fetch(&store, cache, digest, &Silent).await {
            Err(Error::Manifest { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(refusal(vec![Include::Unsized { hash: leaf.hex() }]).await.contains("HASH/SIZE"));
    assert!(refusal(vec![Include::Sized(leaf), Include::Sized(leaf)]).await.contains("included twice"));
}
