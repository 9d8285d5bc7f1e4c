//! What patches come to, and what is not taken for one.

use super::{
    Patch, make,
    make::{differences, write_number},
};
use crate::{
    Error, Result,
    isolated::{Entry, Isolated},
    testing::{noise, stream_of},
};
use bytes::Bytes;
use futures::{FutureExt as _, TryStreamExt as _};
use proptest::prelude::*;
use proto::{Digest, DigestFunction, RelPath, limits};

const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// A manifest of `count` files, of which those have a hash of their own that `is_new` says.
fn manifest(count: usize, is_new: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut isolated = Isolated::new(FUNCTION);
    for number in 0..count {
        let path = format!("part-{:02}/dir-{:04}/file-{number}.txt", number / 100 % 50, number / 100);
        let hash = FUNCTION.digest(format!("{number} {}", is_new(number)).as_bytes());
        let digest = Digest::new(FUNCTION, hash.hash(), number as u64 * 7919 % 32_768).unwrap();
        isolated.files.insert(RelPath::new(&path).unwrap(), Entry::File { digest, mode: Some(0o644) });
    }
    isolated.to_bytes()
}

fn parsed(patch: &[u8], base: &[u8], target: &[u8]) -> Result<Patch> {
    Patch::parse(patch, FUNCTION.digest(base), FUNCTION.digest(target))
}

/// What a patch makes, of a base that comes in chunks.
fn applied(patch: &[u8], base: &[u8], target: &[u8], chunk: usize) -> Vec<u8> {
    let source = stream_of(Bytes::copy_from_slice(base), chunk);
    let made = parsed(patch, base, target).unwrap().apply(source);
    made.try_collect::<Vec<Bytes>>().now_or_never().unwrap().unwrap().concat()
}

#[test]
fn of_a_hundred_thousand_files_a_hundredth_of_which_changed_there_is_little_more_than_the_new_hashes() {
    let base = manifest(100_000, |_| false);
    let target = manifest(100_000, |number| number % 100 == 7);
    let patch = make(&base, &target).unwrap();
    println!("{} bytes of {}", patch.len(), target.len());
    assert!((32_000..35_000).contains(&patch.len()), "{} bytes", patch.len());
    assert!(applied(&patch, &base, &target, 100_000) == target);
}

#[test]
fn files_that_came_and_went_are_what_a_patch_has_and_hasnt() {
    let all = manifest(10_000, |_| false);
    let text = String::from_utf8(all.clone()).unwrap();
    let entries: Vec<&str> = text.split_inclusive('}').collect();
    let fewer: Vec<u8> = [&entries[..3000], &entries[3100..]].concat().concat().into();
    for (base, target, most) in [(&all, &fewer, 100), (&fewer, &all, 100 * 100)] {
        let patch = make(base, target).unwrap();
        assert!(patch.len() <= most, "{} bytes", patch.len());
        assert!(applied(&patch, base, target, 4096) == **target);
    }
}

#[test]
fn what_has_nothing_in_common_makes_no_patch() {
    assert_eq!(make(&noise(1, 500_000), &noise(2, 500_000)), None);
    assert_eq!(make(b"", &noise(2, 20_000_000)), None);
    assert_eq!(make(&noise(1, 500_000), b""), None);
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec!["}", "\":{", ",\"a", ",\"b", "x", "{", "}}", ""]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn whatever_texts_are_the_one_is_made_of_the_other(base in texts(), target in texts(), chunk in 1..50usize) {
        let patch = differences(&base, &target).unwrap().finish(usize::MAX).unwrap();
        prop_assert_eq!(applied(&patch, &base, &target, chunk), target);
    }

    #[test]
    fn nothing_that_comes_for_a_patch_panics_or_makes_more_than_it_should(
        numbers in prop::collection::vec(prop_oneof![0..9u64, any::<u64>()], 0..20),
        rest in prop::collection::vec(any::<u8>(), 0..20),
        target in 0..30usize,
    ) {
        let mut content = Vec::new();
        numbers.iter().for_each(|number| write_number(&mut content, *number as usize));
        content.extend(rest);
        let patch = zstd::bulk::compress(&content, 1).unwrap();
        let (base, target) = (noise(1, 20), vec![0; target]);
        if parsed(&patch, &base, &target).is_ok() {
            prop_assert_eq!(applied(&patch, &base, &target, 7).len(), target.len());
        }
        prop_assert!(parsed(&content, &base, &target).is_err());
    }
}

/// A patch of these numbers and bytes.
fn written(numbers: &[usize], inserted: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    numbers.iter().for_each(|number| write_number(&mut content, *number));
    content.extend(inserted);
    zstd::bulk::compress(&content, 1).unwrap()
}

#[test]
fn what_is_no_patch_of_this_base_and_target_is_refused_by_what_is_wrong() {
    let (base, target) = (vec![1; 100], vec![1; 60]);
    assert!(parsed(&written(&[1, 50, 9, 10], &[1; 10]), &base, &target).is_ok());
    let cut = written(&[1, 50, 9, 10], &[1; 10]);
    let bomb = zstd::bulk::compress(&vec![0; 100_000_000], 1).unwrap();
    let large = [0x80; 11];
    for (patch, reason) in [
        (vec![], "ends within its numbers"),
        (b"garbage".to_vec(), "not a patch"),
        (cut[..cut.len() - 1].to_vec(), "not a patch"),
        (bomb, "not a patch of up to 3932160 bytes"),
        (vec![0; limits::MAX_PATCH_BYTES as usize + 1], "above the limit"),
        (written(&[2, 50, 9, 10], &[]), "ends within its numbers"),
        (written(&[usize::MAX], &[0; 100]), "ends within its numbers"),
        (written(&[1, 60, 41, 0], &[]), "a base of 101 bytes, this one has 100"),
        (written(&[1, 59, 0, 0], &[]), "makes 59 bytes, the target has 60"),
        (written(&[1, 60, 0, 1], &[0]), "makes 61 bytes, the target has 60"),
        (written(&[2, 60, usize::MAX, 0, usize::MAX, 0, 0], &[]), "a base of"),
        (written(&[1, 50, 0, 10], &[1; 9]), "inserts 10 bytes and has 9"),
        (written(&[1, 50, 0, 10], &[1; 11]), "inserts 10 bytes and has 11"),
        (written(&[2, 60, 0, 0, 0, 0, 0], &[]), "an edit of nothing"),
        (written(&[1], &[&large[..], &[0, 0, 0]].concat()), "more than 64 bits"),
    ] {
        let refused = parsed(&patch, &base, &target).unwrap_err();
        assert!(matches!(&refused, Error::Invalid { reason: said } if said.contains(reason)), "{refused}");
    }
    let huge = Digest::new(FUNCTION, &[1; 32], limits::MAX_MANIFEST_BYTES + 1).unwrap();
    let small = FUNCTION.digest(&target);
    for (base, target) in [(huge, small), (small, huge)] {
        let refused = Patch::parse(&written(&[1, 60, 0, 0], &[]), base, target).unwrap_err();
        assert!(refused.to_string().contains("too large to be patched"), "{refused}");
    }
}

#[test]
fn a_base_that_is_shorter_than_it_said_is_an_error() {
    let (base, target) = (vec![1; 100], vec![1; 60]);
    let patch = parsed(&written(&[1, 60, 0, 0], &[]), &base, &target).unwrap();
    let made = patch.apply(stream_of(Bytes::from(vec![1; 30]), 10));
    let error = made.try_collect::<Vec<Bytes>>().now_or_never().unwrap().unwrap_err();
    assert!(matches!(error, Error::Internal { .. }), "{error:?}");
}
