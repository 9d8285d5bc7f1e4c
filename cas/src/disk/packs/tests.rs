use super::{merge::MANY, *};
use crate::{
    disk::{DiskCache, DiskCacheOptions, Stats, seal, staged::Trust},
    testing::noise,
};
use bytes::Bytes;
use proto::DigestFunction;
use std::{fs::File, io::Write as _, os::unix::fs::PermissionsExt as _, time::Duration};

const FUNCTION: DigestFunction = DigestFunction::Blake3;

fn open(dir: &Path, max_bytes: u64) -> DiskCache {
    let options = DiskCacheOptions { max_bytes, min_free: 0, ..DiskCacheOptions::default() };
    DiskCache::open(dir, options).unwrap()
}

/// So many blobs of some hundred bytes.
fn blobs(function: DigestFunction, seeds: std::ops::Range<u64>) -> Vec<(Digest, Bytes)> {
    let blob = |seed: u64| {
        let bytes = noise(seed, 100 + seed as usize % 900);
        (function.digest(&bytes), bytes)
    };
    seeds.map(blob).collect()
}

fn digests(blobs: &[(Digest, Bytes)]) -> Vec<Digest> {
    blobs.iter().map(|(digest, _)| *digest).collect()
}

/// Packs them, all in one.
fn pack(cache: &DiskCache, blobs: &[(Digest, Bytes)]) {
    let gathering = Gathering::new(cache);
    gathering.keep(blobs, Trust::Hash).unwrap();
    gathering.finish().unwrap();
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("packs")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_all_there(cache: &DiskCache, blobs: &[(Digest, Bytes)]) -> bool {
    cache.missing(&digests(blobs)).unwrap().is_empty()
        && blobs.iter().all(|(digest, bytes)| cache.read(*digest).unwrap().as_ref() == Some(bytes))
}

/// Makes a pack look used so many seconds ago, with its seal: as if the clock had gone on.
fn age(cache: &DiskCache, seconds: i64) -> i64 {
    cache.accounting().now().unwrap() + seconds
}

#[test]
fn what_comes_together_is_one_file_for_all_who_share_the_cache() {
    for function in DigestFunction::KNOWN {
        let dir = tempfile::tempdir().unwrap();
        let (cache, other) = (open(dir.path(), 1 << 30), open(dir.path(), 1 << 30));
        let blobs = blobs(function, 0..200);
        assert_eq!(other.missing(&digests(&blobs)).unwrap().len(), 200);
        pack(&cache, &blobs);
        assert_eq!(packs(dir.path()).len(), 1);
        assert_eq!(cache.stats().unwrap().blobs, 200);
        for cache in [cache, other, open(dir.path(), 1 << 30)] {
            assert!(is_all_there(&cache, &blobs), "{function:?}");
            assert_eq!(cache.missing(&[function.digest(b"another")]).unwrap().len(), 1);
        }
    }
}

#[test]
fn few_and_large_ones_are_files_of_their_own_and_wrong_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let few = blobs(FUNCTION, 0..TOGETHER as u64 - 1);
    pack(&cache, &few);
    assert_eq!(packs(dir.path()), [] as [PathBuf; 0]);
    assert!(is_all_there(&cache, &few));
    let mut many = blobs(FUNCTION, 100..200);
    let large = noise(7, SMALL as usize + 1);
    many.push((FUNCTION.digest(&large), large));
    many.push((Digest::empty(FUNCTION), Bytes::new()));
    pack(&cache, &many);
    assert!(is_all_there(&cache, &many));
    assert!(cache.path(many[100].0).exists());

    let mut wrong = blobs(FUNCTION, 300..400);
    wrong[50].1 = Bytes::from_static(b"wrong");
    let gathering = Gathering::new(&cache);
    assert!(matches!(gathering.keep(&wrong, Trust::Hash), Err(Error::Mismatch { .. })));
    assert!(matches!(gathering.keep(&wrong, Trust::Verified), Err(Error::Internal { .. })));
    drop(gathering);
    assert_eq!(cache.missing(&digests(&wrong)).unwrap().len(), 100);
    assert_eq!(packs(dir.path()).len(), 1);
}

#[test]
fn what_came_before_a_fetch_broke_off_is_kept_and_what_a_dead_process_packed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let (first, second) = (blobs(FUNCTION, 0..100), blobs(FUNCTION, 100..200));
    let gathering = Gathering::new(&cache);
    gathering.keep(&first, Trust::Hash).unwrap();
    drop(gathering);
    assert!(is_all_there(&open(dir.path(), 1 << 30), &first));

    let gathering = Gathering::new(&cache);
    gathering.keep(&second, Trust::Hash).unwrap();
    // What a kill leaves: files, and no lock on them.
    let session = fs::read_dir(dir.path().join("staging")).unwrap().map(|entry| entry.unwrap().path());
    let session = session.max_by_key(|path| fs::read_dir(path).unwrap().count()).unwrap();
    let left = dir.path().join("staging/session-dead");
    fs::create_dir(&left).unwrap();
    for file in fs::read_dir(&session).unwrap() {
        fs::rename(file.unwrap().path(), left.join("left")).unwrap();
    }
    std::mem::forget(gathering);
    let again = open(dir.path(), 1 << 30);
    assert!(!left.exists());
    assert_eq!(again.missing(&digests(&second)).unwrap().len(), 100);
    assert!(is_all_there(&again, &first));
}

fn writable(path: &Path) -> File {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    File::options().write(true).open(path).unwrap()
}

#[test]
fn a_pack_that_was_changed_is_dropped_before_it_is_used_and_a_copied_one_is_hashed_and_kept() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("one byte", |path| writable(path).write_all(b"!").unwrap()),
        ("shorter", |path| writable(path).set_len(5000).unwrap()),
        ("longer", |path| writable(path).set_len(500_000).unwrap()),
        ("none", |path| writable(path).set_len(0).unwrap()),
    ];
    for (name, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path(), 1 << 30);
        let blobs = blobs(FUNCTION, 0..100);
        let _pins = cache.pin(digests(&blobs));
        pack(&cache, &blobs);
        let path = packs(dir.path()).pop().unwrap();
        let changed = File::open(&path).unwrap();
        change(&path);
        // However quickly that came after the last use.
        changed
            .set_modified(changed.metadata().unwrap().modified().unwrap() - Duration::from_secs(1))
            .unwrap();
        for cache in [&cache, &open(dir.path(), 1 << 30)] {
            assert_eq!(cache.missing(&digests(&blobs)).unwrap().len(), 100, "{name}");
            assert_eq!(cache.packed(blobs[0].0).unwrap(), None, "{name}");
        }
        assert!(!path.exists(), "{name}");
        pack(&cache, &blobs);
        assert!(is_all_there(&cache, &blobs), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..100);
    pack(&cache, &blobs);
    drop(cache);
    let path = packs(dir.path()).pop().unwrap();
    let copy = dir.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert!(is_all_there(&open(dir.path(), 1 << 30), &blobs));
    let name = Pack::open(&path).unwrap().unwrap().name;
    assert!(seal::is_sealed(&fs::metadata(&path).unwrap(), name), "it is not hashed again");
}

#[test]
fn a_pack_of_which_half_is_used_stays_young_and_a_part_of_another_moves_out() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..400);
    pack(&cache, &blobs);
    let path = packs(dir.path()).pop().unwrap();
    let used = || fs::metadata(&path).unwrap().modified().unwrap();
    let begin = used();
    let find = |part: &[(Digest, Bytes)], later: i64| {
        let now = age(&cache, later);
        cache.packs().find(&digests(part), now).unwrap()
    };
    assert_eq!(find(&blobs[..100], MOVE_AFTER - 10).leaving.len(), 0, "too early to tell");
    assert_eq!(used(), begin);
    assert_eq!(find(&blobs[..100], MOVE_AFTER + 10).leaving.len(), 100);
    assert_eq!(find(&blobs[..300], MOVE_AFTER + 10).leaving.len(), 0);
    assert!(used() > begin);
    assert_eq!(find(&blobs[..300], 0).places.len(), 300);
}

#[test]
fn what_moved_out_is_found_in_its_new_pack_while_the_old_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..400);
    pack(&cache, &blobs);
    let old = packs(dir.path()).pop().unwrap();
    // An hour ago: with another seal, so that it is hashed, as if it came from another machine.
    let file = File::open(&old).unwrap();
    let now = age(&cache, MOVE_AFTER + 10);
    let few = &blobs[..TOGETHER * 2];
    let pins = cache.pin(digests(few));
    let places = cache.find(&digests(few), now).unwrap();
    assert_eq!(places.len(), few.len());
    drop(places);
    assert_eq!(packs(dir.path()).len(), 2);
    file.set_modified(file.metadata().unwrap().modified().unwrap() - Duration::from_secs(100_000)).unwrap();
    fs::remove_file(&old).unwrap();
    assert!(is_all_there(&cache, few));
    drop(pins);
    assert_eq!(open(dir.path(), 1 << 30).missing(&digests(&blobs)).unwrap().len(), 400 - few.len());
}

#[test]
fn a_trim_removes_the_oldest_pack_but_none_that_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 20);
    let all: Vec<Vec<(Digest, Bytes)>> =
        (0..3).map(|part| blobs(FUNCTION, part * 100..part * 100 + 100)).collect();
    for blobs in &all {
        pack(&cache, blobs);
    }
    let stats = cache.stats().unwrap();
    assert_eq!(stats.blobs, 300);
    let pins = cache.pin(digests(&all[0]));
    assert_eq!(cache.missing(&digests(&all[0])).unwrap(), []);
    cache.make_room((1 << 20) - stats.bytes / 3, 0).unwrap();
    let left = cache.stats().unwrap();
    assert_eq!(left, Stats { blobs: 100, bytes: left.bytes }, "all but the one that is pinned");
    assert!(is_all_there(&cache, &all[0]));
    drop(pins);
    cache.make_room(1 << 20, 0).unwrap();
    assert_eq!(cache.stats().unwrap(), Stats::default());
    assert_eq!(packs(dir.path()), [] as [PathBuf; 0]);
}

#[test]
fn many_packs_become_few_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let mut all = Vec::new();
    for part in 0..MANY as u64 * 5 {
        let blobs = blobs(FUNCTION, part * 40..part * 40 + 40);
        pack(&cache, &blobs);
        all.extend(blobs);
        assert!(packs(dir.path()).len() < MANY * 2, "{part}");
    }
    assert!(is_all_there(&cache, &all));
    assert!(is_all_there(&open(dir.path(), 1 << 30), &all));
    assert_eq!(cache.stats().unwrap().blobs, all.len() as u64);
}

#[test]
fn what_is_no_pack_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..100);
    pack(&cache, &blobs);
    let path = packs(dir.path()).pop().unwrap();
    let foreign = path.with_file_name("foreign");
    fs::write(&foreign, b"?").unwrap();
    let other = FUNCTION.digest(b"other bytes of a tail");
    fs::copy(&path, path.with_file_name(crate::disk::layout::file_name(other))).unwrap();
    assert!(is_all_there(&open(dir.path(), 1 << 30), &blobs));
    assert_eq!(packs(dir.path()), [path]);
}
