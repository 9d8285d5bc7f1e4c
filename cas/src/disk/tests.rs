mod changed;
mod limits;

use super::{
    limits::{Count, Left, Target, Trimmed},
    *,
};
use crate::{
    Error,
    testing::{conformance, noise},
};
use proto::{Digest, DigestFunction};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// The disk of the tests may be as full as it likes.
fn options(max_bytes: u64) -> DiskCacheOptions {
    DiskCacheOptions { max_bytes, min_free: 0, ..DiskCacheOptions::default() }
}

fn open(dir: &Path, max_bytes: u64) -> DiskCache {
    DiskCache::open(dir, options(max_bytes)).unwrap()
}

/// Inserts 4096 bytes of noise.
fn insert(cache: &DiskCache, seed: u64) -> Digest {
    let bytes = noise(seed, 4096);
    let digest = FUNCTION.digest(&bytes);
    cache.insert(digest, &bytes).unwrap();
    digest
}

/// Makes a blob look used so many seconds ago.
fn age(cache: &DiskCache, digest: Digest, seconds: u64) {
    let file = fs::File::open(cache.path(digest)).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    file.set_modified(now - Duration::from_secs(seconds)).unwrap();
}

/// Until so much time has gone by, as files in this directory tell it.
pub(super) fn wait(dir: &Path, since: SystemTime, long: Duration) {
    while tempfile::tempfile_in(dir).unwrap().metadata().unwrap().modified().unwrap() < since + long {
        std::thread::yield_now();
    }
}

fn files_below(dir: &Path) -> usize {
    let count = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files_below(&entry.path()),
        false => 1,
    };
    fs::read_dir(dir).unwrap().map(|entry| count(entry.unwrap())).sum()
}

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&DiskStore::new(open(dir.path(), 1 << 30))).await;
}

#[test]
fn blobs_outlive_the_process_and_are_shared_with_others() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let other = open(dir.path(), 1 << 30);
    let digest = insert(&cache, 1);
    assert_eq!(other.read(digest).unwrap().unwrap(), noise(1, 4096));
    drop((cache, other));
    let again = open(dir.path(), 1 << 30);
    assert_eq!(again.missing(&[digest]).unwrap(), []);
    assert_eq!(again.stats().unwrap(), Stats { blobs: 1, bytes: 4096 });
    let mode = fs::metadata(again.path(digest)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let digest = FUNCTION.digest(b"right");
    for wrong in [&b"wrong"[..], b"righ", b"right!", b""] {
        assert!(matches!(cache.insert(digest, wrong), Err(Error::Mismatch { .. })));
    }
    let mut staged = cache.stage(digest).unwrap();
    staged.write(b"rig").unwrap();
    drop(staged);
    assert_eq!(cache.missing(&[digest]).unwrap(), [digest]);
    assert_eq!(files_below(&dir.path().join("staging")), 0);
    assert_eq!(files_below(&dir.path().join("blobs")), 0);
}

#[test]
fn bytes_that_were_hashed_before_are_not_hashed_again_but_counted() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let digest = FUNCTION.digest(b"right");
    for wrong in [&b"righ"[..], b"right!"] {
        assert!(matches!(cache.insert_as(digest, wrong, Trust::Verified), Err(Error::Internal { .. })));
    }
    assert_eq!(files_below(dir.path()), 2, "nothing but the lock and the count");
    // That this is found out later shows that it was not hashed now.
    cache.insert_as(digest, b"wrong", Trust::Verified).unwrap();
    assert_eq!(fs::read(cache.path(digest)).unwrap(), b"wrong");
}

#[test]
fn a_torn_file_is_as_none_and_whole_bytes_take_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let digest = insert(&cache, 1);
    fs::set_permissions(cache.path(digest), fs::Permissions::from_mode(0o644)).unwrap();
    fs::File::options().write(true).open(cache.path(digest)).unwrap().set_len(4095).unwrap();
    assert_eq!(cache.missing(&[digest]).unwrap(), [digest]);
    assert_eq!(cache.read(digest).unwrap(), None);
    assert_eq!(insert(&cache, 1), digest);
    assert_eq!(cache.missing(&[digest]).unwrap(), []);
}

#[test]
fn a_file_that_is_being_written_stays_in_a_trim_until_nobody_can_be_writing_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 4096);
    let digest = FUNCTION.digest(&noise(1, 4096));
    let path = cache.path(digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"the beginning").unwrap();
    let now = cache.accounting().now().unwrap();
    for (later, remains) in [(0, true), (100_000, false)] {
        assert!(trim::scan(cache.contents(), now + later).unwrap().is_empty());
        assert_eq!(path.exists(), remains);
    }
}

#[test]
fn the_least_recently_used_go_first_and_the_budget_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 100 * 4096);
    let digests: Vec<Digest> = (0..90).map(|seed| insert(&cache, seed)).collect();
    for (at, digest) in digests.iter().enumerate() {
        age(&cache, *digest, 10_000 - at as u64);
    }
    // Using one makes it the youngest.
    assert_eq!(cache.missing(&digests[..1]).unwrap(), []);
    for seed in 100..115 {
        insert(&cache, seed);
    }
    cache.make_room(0, 0).unwrap();
    let stats = cache.stats().unwrap();
    assert!(stats.bytes <= 100 * 4096, "{stats:?}");
    assert!(stats.blobs >= 80, "{stats:?}");
    let missing = cache.missing(&digests).unwrap();
    assert_eq!(missing, digests[1..=missing.len()], "oldest first, but for the one that was used");
}

#[test]
fn room_is_made_ahead_of_need() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 100 * 4096);
    for seed in 0..90 {
        let digest = insert(&cache, seed);
        age(&cache, digest, 10_000);
    }
    cache.make_room(50 * 4096, 50).unwrap();
    assert!(cache.stats().unwrap().bytes <= 50 * 4096);
}

#[test]
fn what_is_pinned_stays_whatever_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 10 * 4096);
    let kept: Vec<Digest> = (0..20).map(|seed| FUNCTION.digest(&noise(seed, 4096))).collect();
    let pins = cache.pin(kept.clone());
    for seed in 0..20 {
        let digest = insert(&cache, seed);
        age(&cache, digest, 100_000 - seed);
    }
    for seed in 20..40 {
        // May be gone at once: there is no room for it.
        insert(&cache, seed);
    }
    cache.make_room(0, 0).unwrap();
    assert_eq!(cache.missing(&kept).unwrap(), []);
    drop(pins);
    // Enough was added since the futile trim for another one to be worth it.
    for seed in 50..60 {
        insert(&cache, seed);
    }
    cache.make_room(0, 0).unwrap();
    assert!(cache.stats().unwrap().bytes <= 10 * 4096);
}

#[test]
fn what_another_process_uses_while_a_trim_goes_on_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, other) = (open(dir.path(), 1 << 20), open(dir.path(), 1 << 20));
    let digests: Vec<Digest> = (0..3).map(|seed| insert(&cache, seed)).collect();
    digests.iter().for_each(|digest| age(&cache, *digest, 10_000));
    let found = trim::scan(cache.contents(), cache.accounting().now().unwrap()).unwrap();
    assert_eq!(other.missing(&digests[..1]).unwrap(), []);
    let now = cache.accounting().now().unwrap();
    let none = Count::default();
    let target = Target { most: none, wanted: none, shortage: 0, expired: 0 };
    let trimmed = trim::evict(found, cache.contents(), now, target).unwrap();
    assert_eq!(trimmed.left.count, Count { bytes: 4096, items: 1 });
    assert_eq!(cache.missing(&digests).unwrap(), digests[1..]);
}

#[test]
fn sessions_of_dead_processes_are_removed_and_live_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let live = open(dir.path(), 1 << 20);
    let mut staged = live.stage(FUNCTION.digest(b"abc")).unwrap();
    staged.write(b"abc").unwrap();
    let dead = dir.path().join("staging/session-dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("half"), b"half a blob").unwrap();
    let other = open(dir.path(), 1 << 20);
    assert!(!dead.exists());
    staged.finish().unwrap();
    assert_eq!(other.read(FUNCTION.digest(b"abc")).unwrap().unwrap(), &b"abc"[..]);
    drop((live, other));
    assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
}

#[test]
fn a_lost_or_damaged_count_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 10 * 4096);
    for damage in [None, Some("nonsense"), Some("0\n")] {
        match damage {
            None => drop(fs::remove_file(dir.path().join("usage"))),
            Some(text) => fs::write(dir.path().join("usage"), text).unwrap(),
        }
        for seed in 0..40 {
            insert(&cache, seed);
        }
        cache.make_room(0, 0).unwrap();
        assert!(cache.stats().unwrap().bytes <= 20 * 4096, "{damage:?}");
    }
}

#[test]
fn foreign_files_are_cleared_away_by_a_trim() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 4096);
    let digest = insert(&cache, 1);
    let foreign = cache.path(digest).with_file_name("foreign");
    fs::write(&foreign, b"?").unwrap();
    // Directories, and what is not beside blobs, may be anything: they are left alone and stop nothing.
    fs::create_dir(foreign.with_file_name("directory")).unwrap();
    fs::write(dir.path().join("blobs/foreign"), b"?").unwrap();
    insert(&cache, 2);
    cache.make_room(0, 0).unwrap();
    assert!(!foreign.exists());
    assert_eq!(cache.stats().unwrap().blobs, 1);
}

#[test]
fn a_trim_that_fails_makes_the_next_one_count_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 100 * 4096);
    let failed = |_: i64, _| Err(Error::Internal { reason: "for a test".into() });
    let (first, second) = (insert(&cache, 1), insert(&cache, 2));
    cache.make_room(0, 0).unwrap();
    assert!(cache.accounting().settle(Count { bytes: 1 << 40, items: 0 }, failed).is_err());
    // Nobody knows what is left: it is looked at, though there is room.
    let mut looked = false;
    let look = |_: i64, _| {
        looked = true;
        let left = Left { count: Count { bytes: 2 * 4096, items: 2 }, oldest: 0 };
        Ok(Trimmed { left, reached: true })
    };
    cache.accounting().settle(Count::default(), look).unwrap();
    assert!(looked);
    assert_eq!(cache.missing(&[first, second]).unwrap(), []);
}

#[test]
fn use_is_written_down_at_most_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 20);
    let digest = insert(&cache, 1);
    let modified = || -> SystemTime { fs::metadata(cache.path(digest)).unwrap().modified().unwrap() };
    let inserted = modified();
    cache.missing(&[digest]).unwrap();
    assert_eq!(modified(), inserted);
    age(&cache, digest, 200);
    cache.missing(&[digest]).unwrap();
    assert!(modified() >= inserted);
}
