use super::*;
use crate::engine::codec::{Encoding, Position};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What may happen, to one of a few blobs.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put(u8),
    Remove(u8),
    /// A change that fails: the database has it, or not.
    Fail(u8, bool),
    /// A reader looks into the database …
    Look,
    /// … and tells what it saw.
    Learn,
    BeginLearning,
    EndLearning,
    Ask(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let blob = 0..100u8;
    let act = prop_oneof![
        8 => blob.clone().prop_map(Act::Put),
        4 => blob.clone().prop_map(Act::Remove),
        1 => (blob.clone(), any::<bool>()).prop_map(|(blob, there)| Act::Fail(blob, there)),
        2 => Just(Act::Look),
        2 => Just(Act::Learn),
        1 => Just(Act::BeginLearning),
        1 => Just(Act::EndLearning),
        8 => blob.prop_map(Act::Ask),
    ];
    proptest::collection::vec(act, 0..400)
}

/// Blobs of 0..4 share a hash and differ in size, as if their function were broken.
fn digest(blob: u8) -> Digest {
    let (hash, size) = if blob < 4 { (0, u64::from(blob)) } else { (blob, 1) };
    let name = DigestFunction::Sha256.digest(&[hash]);
    Digest::new(DigestFunction::Sha256, name.hash(), size).unwrap()
}

fn entry(blob: u8, version: u64) -> Entry {
    let location = Location::Packed(Position { segment: 1, offset: u32::from(blob) }, Encoding::Plain);
    Entry { content: digest(blob), location, touched: Timestamp::from_micros(version) }
}

proptest! {
    #[test]
    fn it_never_contradicts_the_database(acts in acts(), generation in 1..12usize, empty: bool) {
        let recent = Recent::with_generation(empty, generation);
        let mut database: BTreeMap<u8, Entry> = BTreeMap::new();
        if !empty {
            database.extend((50..60).map(|blob| (blob, entry(blob, 0))));
        }
        let mut seen: Option<(Moment, BTreeMap<u8, Entry>)> = None;
        let mut all_learnt = false;
        for (version, act) in acts.into_iter().enumerate() {
            match act {
                Act::Put(blob) => {
                    let new = entry(blob, version as u64);
                    let changing = recent.change();
                    database.insert(blob, new);
                    changing.apply(vec![(Key::Blob(digest(blob)), Some(new))]);
                }
                Act::Remove(blob) => {
                    let changing = recent.change();
                    database.remove(&blob);
                    changing.apply(vec![(Key::Blob(digest(blob)), None)]);
                }
                Act::Fail(blob, there) => {
                    let changing = recent.change();
                    if there {
                        database.insert(blob, entry(blob, version as u64));
                    }
                    drop(changing);
                }
                Act::Look => seen = Some((recent.now(), database.clone())),
                Act::Learn => {
                    if let Some((moment, entries)) = seen.take() {
                        let entries = entries.into_iter().map(|(blob, entry)| (Key::Blob(digest(blob)), entry));
                        all_learnt = recent.learn(moment, entries);
                    }
                }
                Act::BeginLearning => {
                    recent.begin_learning();
                    all_learnt = false;
                }
                Act::EndLearning if all_learnt => recent.end_learning(),
                Act::EndLearning => {}
                Act::Ask(blob) => match recent.get(&Key::Blob(digest(blob))) {
                    Some(Some(known)) => prop_assert_eq!(Some(&known), database.get(&blob)),
                    Some(None) => prop_assert_eq!(None, database.get(&blob)),
                    None => {}
                },
            }
        }
    }
}

#[test]
fn a_store_that_fits_is_known_as_a_whole() {
    let recent = Recent::with_generation(false, 100);
    let key = |blob| Key::Blob(digest(blob));
    assert_eq!(recent.get(&key(7)), None);
    recent.begin_learning();
    assert!(recent.learn(recent.now(), [(key(7), entry(7, 0))]));
    recent.end_learning();
    assert_eq!(recent.get(&key(7)), Some(Some(entry(7, 0))));
    assert_eq!(recent.get(&key(8)), Some(None));
    assert_eq!(recent.find_hash(DigestFunction::Sha256, digest(7).hash()), Some(Some(digest(7))));
    assert_eq!(recent.find_hash(DigestFunction::Sha256, digest(8).hash()), Some(None));
    let long = Key::Blob(DigestFunction::Sha512.digest(b"long"));
    assert_eq!(recent.get(&long), None, "hashes that it does not keep");
}

#[test]
fn what_a_reader_saw_before_or_in_a_change_is_not_believed() {
    let recent = Recent::new(false);
    let stale = [(Key::Blob(digest(9)), entry(9, 0))];
    let before = recent.now();
    let changing = recent.change();
    let during = recent.now();
    assert!(!recent.learn(during, stale));
    changing.apply(vec![(Key::Blob(digest(9)), None)]);
    assert!(!recent.learn(before, stale));
    assert!(!recent.learn(during, stale));
    assert_eq!(recent.get(&Key::Blob(digest(9))), None);
}

#[test]
fn what_is_asked_for_outlives_what_is_not() {
    let recent = Recent::with_generation(false, 4);
    // One shard, so that they displace each other.
    let digests: Vec<Digest> = (0..u32::MAX)
        .map(|number| DigestFunction::Sha256.digest(&number.to_le_bytes()))
        .filter(|digest| usize::from(digest.hash()[0]) % SHARDS == 0)
        .take(40)
        .collect();
    let put = |digest: Digest| {
        let new = Entry { content: digest, ..entry(9, 0) };
        recent.change().apply(vec![(Key::Blob(digest), Some(new))]);
    };
    put(digests[0]);
    for &digest in &digests[1..] {
        put(digest);
        assert!(matches!(recent.get(&Key::Blob(digests[0])), Some(Some(_))));
    }
    assert_eq!(recent.get(&Key::Blob(digests[1])), None, "gone");
}

#[test]
fn what_went_is_not_taken_for_missing() {
    let recent = Recent::with_generation(true, 1);
    let key = |blob| Key::Blob(digest(blob));
    assert_eq!(recent.get(&key(200)), Some(None), "an empty store is known as a whole");
    for blob in 10..100 {
        recent.change().apply(vec![(key(blob), Some(entry(blob, 0)))]);
    }
    assert_eq!(recent.get(&key(200)), None);
    let known = (10..100).filter(|blob| recent.get(&key(*blob)).is_some()).count();
    assert!((1..90).contains(&known), "{known} of them are still here");
}
