//! What goes when there is too much, too many, too little left, or something too old.

use super::*;

/// Four blobs, the first one the oldest.
fn four(cache: &DiskCache) -> Vec<Digest> {
    let digests: Vec<Digest> = (0..4).map(|seed| insert(cache, seed)).collect();
    for (at, digest) in digests.iter().enumerate() {
        age(cache, *digest, 10_000 - at as u64);
    }
    digests
}

#[test]
fn no_more_blobs_than_allowed_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(dir.path(), DiskCacheOptions { max_items: 100, ..options(1 << 40) }).unwrap();
    let digests: Vec<Digest> = (0..100).map(|seed| insert(&cache, seed)).collect();
    for (at, digest) in digests.iter().enumerate() {
        age(&cache, *digest, 10_000 - at as u64);
    }
    cache.make_room(0, 20).unwrap();
    assert!(cache.stats().unwrap().blobs <= 80, "room for so many is made ahead");
    assert_eq!(cache.missing(&digests).unwrap(), digests[..28], "nine tenths of 80 stay, the oldest go");
    for seed in 200..350 {
        insert(&cache, seed);
    }
    cache.make_room(0, 0).unwrap();
    assert!(cache.stats().unwrap().blobs <= 100);
}

#[test]
fn free_space_is_left_on_the_disk_as_far_as_the_cache_can() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 40);
    let digests = four(&cache);
    let most = Count { bytes: 1 << 40, items: 100 };
    let target = Target { most, wanted: most, shortage: 4097, expired: 0 };
    let now = cache.accounting().now().unwrap();
    let trimmed = trim::trim(cache.contents(), now, target).unwrap();
    assert_eq!(trimmed.left.count, Count { bytes: 2 * 4096, items: 2 });
    assert_eq!(cache.missing(&digests).unwrap(), digests[..2]);
    drop(cache);

    // No disk has as much: all goes but what is in use, again and again, and nothing fails.
    let greedy = DiskCacheOptions { min_free: 1 << 62, ..options(1 << 40) };
    let cache = DiskCache::open(dir.path(), greedy).unwrap();
    let used = FUNCTION.digest(&noise(9, 4096));
    let _pins = cache.pin(vec![used]);
    insert(&cache, 9);
    insert(&cache, 10);
    cache.make_room(0, 0).unwrap();
    assert_eq!(cache.missing(&[used]).unwrap(), []);
    assert_eq!(cache.stats().unwrap().blobs, 1);
}

#[test]
fn what_trees_have_is_no_room_that_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 40);
    let digests = four(&cache);
    let lend = |digest: &Digest, name| fs::hard_link(cache.path(*digest), dir.path().join(name)).unwrap();
    digests.iter().zip(["a", "b", "c"]).for_each(|(digest, name)| lend(digest, name));
    let most = Count { bytes: 1 << 40, items: 100 };
    let trim = |shortage| {
        let target = Target { most, wanted: most, shortage, expired: 0 };
        let now = cache.accounting().now().unwrap();
        trim::trim(cache.contents(), now, target).unwrap()
    };
    assert_eq!(trim(4096).left.count.items, 3, "what nobody has goes first");
    assert!(!cache.path(digests[3]).exists());
    assert_eq!(trim(1).left.count.items, 0, "nothing that is removed makes room");
    assert!(["a", "b", "c"].iter().all(|name| dir.path().join(name).exists()));
}

#[test]
fn what_was_not_used_for_too_long_goes_when_the_cache_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let aged = DiskCacheOptions { max_age: Duration::from_secs(1000), ..options(1 << 40) };
    let cache = DiskCache::open(dir.path(), aged).unwrap();
    let digests: Vec<Digest> = (0..3).map(|seed| insert(&cache, seed)).collect();
    cache.make_room(0, 0).unwrap();
    let now = cache.accounting().now().unwrap();
    age(&cache, digests[0], 2000);
    age(&cache, digests[1], 1001);
    age(&cache, digests[2], 999);
    drop(cache);
    // As it would be, had the time passed: the last trim found something used then.
    fs::write(dir.path().join("usage"), format!("12288 3 {} packs\n", now - 2000)).unwrap();
    let cache = DiskCache::open(dir.path(), aged).unwrap();
    assert_eq!(cache.missing(&digests).unwrap(), digests[..2]);
    let usage = fs::read_to_string(dir.path().join("usage")).unwrap();
    assert!(usage.starts_with("4096 1 "), "{usage}");
}

/// Another process that publishes blobs and is killed: everything stays as it was at that moment.
#[test]
fn after_a_kill_nothing_is_scanned_and_the_limits_hold() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 64 * 100 * 4096);
    let digests: Vec<Digest> = (0..150).map(|seed| insert(&cache, seed)).collect();
    // No destructor runs, and the kernel closes the files, as at the end of a process.
    let session = dir.path().join("staging").read_dir().unwrap().next().unwrap().unwrap().path();
    let copy = dir.path().join("staging/session-killed");
    fs::create_dir(&copy).unwrap();
    std::mem::forget(cache);
    assert!(session.exists());
    let foreign =
        dir.path().join("blobs").read_dir().unwrap().next().unwrap().unwrap().path().join("foreign");
    fs::write(&foreign, "a scan would remove it").unwrap();

    let again = open(dir.path(), 64 * 100 * 4096);
    assert!(!copy.exists());
    assert_eq!(again.missing(&digests).unwrap(), []);
    let usage = fs::read_to_string(dir.path().join("usage")).unwrap();
    let counted: u64 = usage.split(' ').next().unwrap().parse().unwrap();
    assert!(
        (150 * 4096..=250 * 4096).contains(&counted),
        "at most a part too much, never too little: {usage}"
    );
    assert!(foreign.exists());
}
