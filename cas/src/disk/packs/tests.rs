use super::{merge::MANY, *};
use crate::{
    disk::{DiskCache, DiskCacheOptions, Stats, seal, staged::Trust, tests::wait},
    testing::noise,
};
use bytes::Bytes;
use proto::DigestFunction;
use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

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
    cache.tidy();
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("packs")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_all_there(cache: &DiskCache, blobs: &[(Digest, Bytes)]) -> bool {
    cache.missing(&digests(blobs)).unwrap().is_empty()
        && blobs.iter().all(|(digest, bytes)| cache.read(*digest).unwrap().as_ref() == Some(bytes))
}

/// The time in so many seconds.
fn later(cache: &DiskCache, seconds: i64) -> i64 {
    cache.now().unwrap() + seconds
}

/// Makes a pack look used so many seconds ago. It has no seal any more.
fn age(pack: &Path, seconds: u64) {
    let file = File::open(pack).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - Duration::from_secs(seconds)).unwrap();
}

/// Bytes and blobs, as they are counted.
fn usage(cache: &DiskCache, dir: &Path) -> (u64, u64) {
    // Settles what this process has counted.
    cache.make_room(0, 0).unwrap();
    let text = fs::read_to_string(dir.join("usage")).unwrap();
    let mut words = text.split(' ').map(|word| word.parse().unwrap());
    (words.next().unwrap(), words.next().unwrap())
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
    let name = Pack::load(&path).unwrap().unwrap().name;
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
    let find = |part: &[(Digest, Bytes)], seconds: i64| {
        cache.packs().find(&digests(part), later(&cache, seconds)).unwrap()
    };
    let leaving = |hits: Vec<Hit>| hits.iter().filter(|hit| hit.is_leaving).count();
    assert_eq!(leaving(find(&blobs[..100], MOVE_AFTER - 10)), 0, "too early to tell");
    assert_eq!(used(), begin);
    assert_eq!(leaving(find(&blobs[..100], MOVE_AFTER + 10)), 100);
    // The tags of two seals of one moment are in no order.
    wait(dir.path(), begin, Duration::from_millis(10));
    assert_eq!(leaving(find(&blobs[..300], MOVE_AFTER + 10)), 0);
    assert!(used() > begin);
    assert_eq!(find(&blobs[..300], 0).len(), 300);
}

#[test]
fn what_moved_out_is_found_in_its_new_pack_when_the_old_one_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..400);
    pack(&cache, &blobs);
    let old = packs(dir.path()).pop().unwrap();
    let many = &blobs[..TOGETHER * 2];
    let _pins = cache.pin(digests(many));
    for _ in 0..2 {
        let hits = cache.find(&digests(many), later(&cache, MOVE_AFTER + 10)).unwrap();
        assert_eq!(hits.len(), many.len());
        assert_eq!(packs(dir.path()).len(), 2, "once");
    }
    // What is pinned is read wherever it was found.
    assert_eq!(cache.packed(many[0].0).unwrap().as_deref(), Some(&many[0].1[..]));
    fs::remove_file(&old).unwrap();
    assert_eq!(cache.packed(many[0].0).unwrap().as_deref(), Some(&many[0].1[..]));
    assert!(is_all_there(&cache, many));
    assert_eq!(open(dir.path(), 1 << 30).missing(&digests(&blobs)).unwrap().len(), 400 - many.len());
}

#[test]
fn a_few_move_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..400);
    pack(&cache, &blobs);
    let few = &blobs[..10];
    cache.find(&digests(few), later(&cache, MOVE_AFTER + 10)).unwrap();
    let inode = |digest| fs::metadata(cache.path(digest)).unwrap().ino();
    let (inodes, counted) =
        (few.iter().map(|blob| inode(blob.0)).collect::<Vec<_>>(), usage(&cache, dir.path()));
    cache.find(&digests(few), later(&cache, MOVE_AFTER + 10)).unwrap();
    assert_eq!(few.iter().map(|blob| inode(blob.0)).collect::<Vec<_>>(), inodes);
    assert_eq!(usage(&cache, dir.path()), counted);
    fs::remove_file(packs(dir.path()).pop().unwrap()).unwrap();
    assert!(is_all_there(&cache, few));
}

#[test]
fn a_trim_removes_the_oldest_packs_but_none_that_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 20);
    let mut all = Vec::new();
    for part in 0..4 {
        let before = packs(dir.path());
        let blobs = blobs(FUNCTION, part * 100..part * 100 + 100);
        pack(&cache, &blobs);
        let path = packs(dir.path()).into_iter().find(|path| !before.contains(path)).unwrap();
        all.push((blobs, path));
    }
    let pins = cache.pin(digests(&all[3].0));
    assert_eq!(cache.missing(&digests(&all[3].0)).unwrap(), []);
    // The last one is the oldest, then the second.
    [(0, 1000), (1, 5000), (2, 2000), (3, 9000)].iter().for_each(|(at, seconds)| age(&all[*at].1, *seconds));
    let bytes = cache.stats().unwrap().bytes;
    let room = (1 << 20) - bytes / 10 * 9;
    cache.make_room(room, 0).unwrap();
    let is_left = || all.iter().map(|(_, path)| path.exists()).collect::<Vec<_>>();
    assert_eq!(is_left(), [true, false, true, true]);
    drop(pins);
    cache.make_room(1 << 20, 0).unwrap();
    assert_eq!(cache.stats().unwrap(), Stats::default());
    assert_eq!(is_left(), [false; 4]);
}

#[test]
fn a_pack_that_was_not_used_for_too_long_goes() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        DiskCacheOptions { max_age: Duration::from_secs(1000), min_free: 0, ..DiskCacheOptions::default() };
    let cache = DiskCache::open(dir.path(), options).unwrap();
    let (old, young) = (blobs(FUNCTION, 0..100), blobs(FUNCTION, 100..200));
    pack(&cache, &old);
    age(&packs(dir.path())[0], 1001);
    pack(&cache, &young);
    fs::write(dir.path().join("usage"), "unknown").unwrap();
    cache.make_room(0, 0).unwrap();
    assert_eq!(cache.missing(&digests(&old)).unwrap().len(), 100);
    assert!(is_all_there(&cache, &young));
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
    let stats = cache.stats().unwrap();
    assert_eq!(stats.blobs, all.len() as u64);
    let counted = usage(&cache, dir.path());
    assert_eq!(counted.1, stats.blobs, "merging counts nothing twice");
    assert!(counted.0 >= stats.bytes, "what tails and blocks were saved is found by a trim");
}

#[test]
fn a_merge_takes_a_bounded_part_passes_over_what_is_damaged_and_keeps_each_blob_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let one = blobs(FUNCTION, 0..40);
    let held = cache.pin(digests(&one));
    for part in 0..MANY as u64 * 3 {
        // All have the first blobs in common.
        let mut some = one.clone();
        some.extend(blobs(FUNCTION, 1000 + part * 10..1010 + part * 10));
        let gathering = Gathering::new(&cache);
        gathering.keep(&some, Trust::Hash).unwrap();
        gathering.finish().unwrap();
    }
    let before = packs(dir.path());
    assert_eq!(before.len(), MANY * 3, "nobody has merged them");
    for path in &before[..MANY / 2] {
        writable(path).set_len(100).unwrap();
    }
    cache.tidy();
    assert!(packs(dir.path()).len() < MANY * 2, "{}", packs(dir.path()).len());
    for path in packs(dir.path()) {
        let table = Pack::load(&path).unwrap().unwrap().table;
        let sizes: u64 = (0..table.len()).map(|number| table.entry(number).1.size()).sum();
        assert_eq!(table.payload(), sizes);
    }
    assert!(is_all_there(&cache, &one));
    assert_eq!(cache.packed(one[0].0).unwrap().as_deref(), Some(&one[0].1[..]));
    drop(held);
}

#[test]
fn a_merge_of_nothing_but_damaged_packs_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    for part in 0..MANY as u64 {
        let gathering = Gathering::new(&cache);
        gathering.keep(&blobs(FUNCTION, part * 40..part * 40 + 40), Trust::Hash).unwrap();
        gathering.finish().unwrap();
    }
    for path in packs(dir.path()) {
        writable(&path).write_all(b"?").unwrap();
        age(&path, 1);
    }
    cache.tidy();
    assert_eq!(packs(dir.path()), [] as [PathBuf; 0]);
    pack(&cache, &blobs(FUNCTION, 0..40));
    cache.tidy();
    assert!(is_all_there(&cache, &blobs(FUNCTION, 0..40)));
}

#[test]
fn blobs_of_two_functions_and_equal_packs_come_together() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, other) = (open(dir.path(), 1 << 30), open(dir.path(), 1 << 30));
    let mut both = blobs(FUNCTION, 0..100);
    both.extend(blobs(DigestFunction::Sha1, 50..150));
    assert_eq!(other.missing(&digests(&both)).unwrap().len(), 200);
    pack(&cache, &both);
    pack(&other, &both);
    assert_eq!(packs(dir.path()).len(), 2);
    assert!(is_all_there(&cache, &both) && is_all_there(&other, &both));
    assert_eq!(cache.stats().unwrap().blobs, 200);
}

#[test]
fn whoever_reads_while_others_pack_merge_and_trim_gets_right_bytes_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let caches = [open(dir.path(), 1 << 20), open(dir.path(), 1 << 20)];
    let round = |cache: &DiskCache, seed: u64| {
        let some = blobs(FUNCTION, seed * 30..seed * 30 + 60);
        let _pins = cache.pin(digests(&some));
        let missing = cache.missing(&digests(&some)).unwrap();
        let lacking: Vec<(Digest, Bytes)> =
            some.iter().filter(|(digest, _)| missing.contains(digest)).cloned().collect();
        pack(cache, &lacking);
        cache.tidy();
        for (digest, bytes) in &some {
            let found = match cache.packed(*digest).unwrap() {
                Some(found) => Some(Bytes::from(found)),
                None => cache.read(*digest).unwrap(),
            };
            assert!(found.is_none_or(|found| found == *bytes));
        }
        cache.make_room(1 << 18, 0).unwrap();
    };
    std::thread::scope(|scope| {
        for (thread, cache) in caches.iter().chain(&caches).enumerate() {
            scope.spawn(move || (0..25).for_each(|step| round(cache, (step * 7 + thread as u64 * 3) % 20)));
        }
    });
    let (stats, held) = (caches[0].stats().unwrap(), packs(dir.path()));
    assert!(stats.blobs <= 20 * 30 + 30 || !held.is_empty());
}

#[tokio::test]
async fn what_a_cancelled_fetch_has_packed_is_published_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..100);
    let gathering = Gathering::new(&cache);
    gathering.keep(&blobs, Trust::Hash).unwrap();
    drop(gathering);
    let published = async {
        while !is_all_there(&cache, &blobs) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), published).await.unwrap();
}

#[test]
fn a_seal_is_set_after_room_was_made() {
    let dir = tempfile::tempdir().unwrap();
    // So small that each pack is counted in common at once.
    let (cache, other) = (open(dir.path(), 1 << 22), open(dir.path(), 1 << 22));
    let gathering = Gathering::new(&cache);
    gathering.keep(&blobs(FUNCTION, 0..400), Trust::Hash).unwrap();
    assert!(packs(dir.path()).is_empty());
    let begun = tempfile::tempfile_in(dir.path()).unwrap().metadata().unwrap().modified().unwrap();
    let (locked, is_locked) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let held = other.accounting().locked(|_| {
                locked.send(()).unwrap();
                // Longer than seal and change may be apart.
                wait(dir.path(), begun, Duration::from_millis(400));
                Ok(())
            });
            held.unwrap();
        });
        is_locked.recv().unwrap();
        gathering.finish().unwrap();
    });
    let path = packs(dir.path()).pop().unwrap();
    let name = Pack::load(&path).unwrap().unwrap().name;
    assert!(seal::is_sealed(&fs::metadata(&path).unwrap(), name));
}

#[test]
fn what_is_no_pack_is_removed_or_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let blobs = blobs(FUNCTION, 0..100);
    pack(&cache, &blobs);
    let path = packs(dir.path()).pop().unwrap();
    fs::write(path.with_file_name("foreign"), b"?").unwrap();
    let named = |text: &[u8]| path.with_file_name(crate::disk::layout::file_name(FUNCTION.digest(text)));
    fs::copy(&path, named(b"other bytes of a tail")).unwrap();
    let directory = named(b"a directory");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("file"), b"in the way").unwrap();
    for cache in [&cache, &open(dir.path(), 1 << 30)] {
        assert!(is_all_there(cache, &blobs));
        assert_eq!(cache.stats().unwrap().blobs, 100);
        cache.make_room(0, 0).unwrap();
    }
    assert_eq!(packs(dir.path()).len(), 2, "the pack and the directory");
    // All of it may go while the cache is open.
    fs::remove_dir_all(dir.path().join("packs")).unwrap();
    assert_eq!(cache.missing(&digests(&blobs)).unwrap().len(), 100);
    pack(&cache, &blobs);
    assert!(is_all_there(&cache, &blobs));
}

#[test]
fn a_pack_takes_no_more_than_offsets_reach() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 1 << 30);
    let mut packing = Packing::create(&cache, FUNCTION).unwrap();
    packing.add(&blobs(FUNCTION, 0..40)).unwrap();
    packing.fill_up_to(u64::from(u32::MAX) + 1);
    assert!(packing.add(&blobs(FUNCTION, 40..80)).is_err());
}
