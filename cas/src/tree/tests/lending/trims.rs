//! What a trim does to files that a tree has.

use super::*;

/// Another blob, used long ago.
fn old(cache: &DiskCache, seed: u64) -> Digest {
    let bytes = noise(seed, LARGE);
    let digest = FUNCTION.digest(&bytes);
    cache.insert(digest, &bytes).unwrap();
    let file = File::open(cache.path(digest)).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    file.set_modified(now - Duration::from_secs(10_000)).unwrap();
    digest
}

/// As a tree may.
fn set_old(tree: &TempDir) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(tree.path().join("large")).unwrap().set_modified(old).unwrap();
}

#[tokio::test]
async fn what_a_tree_has_goes_last_whatever_its_times_say_and_the_tree_keeps_it() {
    let large = LargeFile { cache: Cache::of(5 * LARGE as u64), ..LargeFile::new().await };
    let first = large.tree(ReadOnly::Files).await;
    set_old(&first);
    let cache = &large.cache.cache;
    let others: Vec<Digest> = (10..13).map(|seed| old(cache, seed)).collect();
    cache.make_room(3 * LARGE as u64, 3).unwrap();
    assert!(others.iter().filter(|digest| cache.path(**digest).exists()).count() <= 1);
    // Nor is it too old: nobody knows when it was used.
    assert!(cache.path(large.digest).exists());
    cache.make_room(5 * LARGE as u64, 5).unwrap();
    assert!(!cache.path(large.digest).exists(), "in the end it goes");
    assert_eq!(fs::read(first.path().join("large")).unwrap(), large.bytes);
    // What is fetched then has nothing to do with the file that the tree has.
    let second = large.tree(ReadOnly::Files).await;
    spoil(&first);
    drop(second);
    assert_eq!(large.is_lent(&large.tree(ReadOnly::Files).await), !large.can_clone());
}
