//! What every [`BlobStore`] does. Run [`all`], or one fact after the other, over a store of your own; blobs that are there
//! already do no harm. A store that is reached over a wire may answer `Invalid` where one at hand says `Mismatch`.

use super::{noise, stream_of};
use crate::{BlobStore, BlobStoreExt as _, Error, Range, Result, patch};
use bytes::{Bytes, BytesMut};
use futures::{TryStreamExt as _, future::join_all};
use proto::{Digest, DigestFunction, limits};

/// A blob that no batch takes.
const LARGE: usize = 20 * 1000 * 1000 + 7;

/// Every fact.
pub async fn all(store: &dyn BlobStore) {
    the_empty_blob_is_always_there(store).await;
    blobs_of_every_function_come_back_as_they_went(store).await;
    absent_blobs_are_missing_and_not_found(store).await;
    find_missing_keeps_the_order(store).await;
    batches_keep_the_order_and_tell_outcomes_apart(store).await;
    batches_of_any_number_are_taken(store).await;
    wrong_bytes_are_refused_and_stay_invisible(store).await;
    the_size_is_part_of_the_name(store).await;
    ranges_are_cut_out_of_blobs(store).await;
    large_blobs_are_streamed(store).await;
    a_source_that_fails_leaves_nothing(store).await;
    a_repeated_write_changes_nothing(store).await;
    writers_of_the_same_blob_all_succeed(store).await;
    a_patch_makes_a_blob_of_another_one(store).await;
    a_patch_that_does_not_fit_is_refused_and_leaves_nothing(store).await;
}

async fn collect(store: &dyn BlobStore, digest: Digest, range: Range) -> Result<Bytes> {
    let stream = store.read(digest, range).await?;
    let whole: BytesMut = stream.try_collect::<Vec<Bytes>>().await?.iter().flatten().copied().collect();
    Ok(whole.freeze())
}

fn is_refused<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Mismatch { .. } | Error::Invalid { .. }))
}

async fn assert_absent(store: &dyn BlobStore, digest: Digest) {
    assert_eq!(store.find_missing(&[digest]).await.unwrap(), [digest]);
    assert!(
        matches!(collect(store, digest, Range::ALL).await, Err(Error::NotFound { digest: named }) if named == digest)
    );
    let batch = store.read_batch(&[digest]).await.unwrap();
    assert!(matches!(batch[..], [Err(Error::NotFound { digest: named })] if named == digest));
}

/// It needs no write and is never missing.
pub async fn the_empty_blob_is_always_there(store: &dyn BlobStore) {
    for function in DigestFunction::ALL {
        let empty = Digest::empty(function);
        assert_eq!(store.find_missing(&[empty]).await.unwrap(), []);
        assert_eq!(collect(store, empty, Range::ALL).await.unwrap(), Bytes::new());
        assert_eq!(store.get(empty).await.unwrap(), Bytes::new());
        store.write(empty, stream_of(Bytes::new(), 1)).await.unwrap();
        assert_eq!(store.put(function, Bytes::new()).await.unwrap(), empty);
    }
}

/// Batched and streamed, whichever way they came.
pub async fn blobs_of_every_function_come_back_as_they_went(store: &dyn BlobStore) {
    for function in DigestFunction::ALL {
        let batched = noise(1, 1000);
        let digest = store.put(function, batched.clone()).await.unwrap();
        assert_eq!(store.get(digest).await.unwrap(), batched);
        assert_eq!(collect(store, digest, Range::ALL).await.unwrap(), batched);
        let streamed = noise(2, 3000);
        let digest = function.digest(&streamed);
        store.write(digest, stream_of(streamed.clone(), 700)).await.unwrap();
        assert_eq!(store.get(digest).await.unwrap(), streamed);
        assert!(store.contains(digest).await.unwrap());
    }
}

/// The same hash of another function included.
pub async fn absent_blobs_are_missing_and_not_found(store: &dyn BlobStore) {
    assert_absent(store, DigestFunction::Blake3.digest(b"nobody ever wrote this")).await;
    let there = store.put(DigestFunction::Sha256, noise(3, 100)).await.unwrap();
    assert_absent(store, Digest::new(DigestFunction::Blake3, there.hash(), there.size()).unwrap()).await;
}

/// Of many digests of several functions.
pub async fn find_missing_keeps_the_order(store: &dyn BlobStore) {
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    for i in 0..100u64 {
        let function = DigestFunction::ALL[(i % 4) as usize];
        let bytes = noise(1_000_000 + i, 20);
        let digest = function.digest(&bytes);
        if i % 3 == 0 {
            store.put(function, bytes).await.unwrap();
        } else {
            expected.push(digest);
        }
        asked.push(digest);
    }
    assert_eq!(store.find_missing(&asked).await.unwrap(), expected);
    assert_eq!(store.find_missing(&[]).await.unwrap(), []);
    // The same one twice is no error, and missing it is.
    let twice = store.find_missing(&[expected[0], expected[0]]).await.unwrap();
    assert!(!twice.is_empty() && twice.iter().all(|digest| *digest == expected[0]));
}

/// Read: there, not there, twice, empty. Written: right, wrong, right.
pub async fn batches_keep_the_order_and_tell_outcomes_apart(store: &dyn BlobStore) {
    let function = DigestFunction::Blake3;
    let bytes: Vec<Bytes> = (10..14).map(|seed| noise(seed, 500)).collect();
    let digests: Vec<Digest> = bytes.iter().map(|bytes| function.digest(bytes)).collect();
    let wrong = noise(15, 500);
    let absent = function.digest(b"absent from every batch");
    let batch = vec![
        (digests[0], bytes[0].clone()),
        (digests[1], wrong),
        (digests[2], bytes[2].clone()),
        (DigestFunction::Sha1.digest(&bytes[3]), bytes[3].clone()),
    ];
    let outcomes = store.write_batch(batch).await.unwrap();
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok() && outcomes[3].is_ok());
    assert!(is_refused(&outcomes[1]));
    let asked = [digests[2], absent, digests[0], Digest::empty(function), digests[2]];
    let blobs = store.read_batch(&asked).await.unwrap();
    assert_eq!(blobs.len(), asked.len());
    assert_eq!(blobs[0].as_ref().unwrap(), &bytes[2]);
    assert!(matches!(blobs[1], Err(Error::NotFound { digest }) if digest == absent));
    assert_eq!(blobs[2].as_ref().unwrap(), &bytes[0]);
    assert_eq!(blobs[3].as_ref().unwrap(), &Bytes::new());
    assert_eq!(blobs[4].as_ref().unwrap(), &bytes[2]);
}

/// More blobs, and more bytes, than a call takes.
pub async fn batches_of_any_number_are_taken(store: &dyn BlobStore) {
    let function = DigestFunction::Blake3;
    let small = (0..limits::MAX_BATCH_BLOBS as u64 + 100).map(|i| noise(2_000_000 + i, 16));
    let big = (0..9).map(|i| noise(3_000_000 + i, 1024 * 1024));
    let blobs: Vec<(Digest, Bytes)> =
        small.chain(big).map(|bytes| (function.digest(&bytes), bytes)).collect();
    let outcomes = store.write_batch(blobs.clone()).await.unwrap();
    assert_eq!(outcomes.len(), blobs.len());
    assert!(outcomes.iter().all(Result::is_ok));
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let read = store.read_batch(&digests).await.unwrap();
    assert!(read.iter().zip(&blobs).all(|(read, (_, bytes))| read.as_ref().unwrap() == bytes));
}

/// Other bytes of the same length, fewer and more, also when what is too much comes apart from the rest.
pub async fn wrong_bytes_are_refused_and_stay_invisible(store: &dyn BlobStore) {
    for function in DigestFunction::ALL {
        let right = noise(20, 2000);
        let digest = function.digest(&right);
        let long = [&right[..], b"!"].concat();
        for wrong in [noise(21, 2000), right.slice(..1999), long.into(), Bytes::new()] {
            for chunk in [300, 1000] {
                assert!(is_refused(&store.write(digest, stream_of(wrong.clone(), chunk)).await));
            }
            assert!(is_refused(
                &store.write_batch(vec![(digest, wrong)]).await.and_then(|mut one| one.remove(0))
            ));
            assert_absent(store, digest).await;
        }
    }
}

/// The right hash with another size names nothing, and nothing can be written under it.
pub async fn the_size_is_part_of_the_name(store: &dyn BlobStore) {
    let bytes = noise(30, 400);
    let digest = store.put(DigestFunction::Sha256, bytes.clone()).await.unwrap();
    for size in [399, 401] {
        let other = Digest::new(digest.function(), digest.hash(), size).unwrap();
        assert_absent(store, other).await;
        assert!(is_refused(&store.write(other, stream_of(bytes.clone(), 400)).await));
        assert_absent(store, other).await;
    }
    assert_eq!(store.get(digest).await.unwrap(), bytes);
}

/// Small and large blobs, offsets and limits at both ends and beyond.
pub async fn ranges_are_cut_out_of_blobs(store: &dyn BlobStore) {
    for (seed, length) in [(40, 5000), (41, 3 * 1024 * 1024 + 5)] {
        let bytes = noise(seed, length);
        let digest = store.put(DigestFunction::Blake3, bytes.clone()).await.unwrap();
        let size = length as u64;
        for (offset, limit) in [
            (0, Some(1)),
            (1, None),
            (10, Some(100)),
            (size - 1, Some(1)),
            (0, Some(size)),
            (7, Some(u64::MAX)),
        ] {
            let part = collect(store, digest, Range { offset, limit }).await.unwrap();
            let end = limit.map_or(size, |limit| offset.saturating_add(limit).min(size));
            assert!(part == bytes[offset as usize..end as usize], "{offset} {limit:?} of {size}");
        }
        for nothing in [Range { offset: size, limit: None }, Range { offset: 3, limit: Some(0) }] {
            assert_eq!(collect(store, digest, nothing).await.unwrap(), Bytes::new());
        }
        let beyond = Range { offset: size + 1, limit: None };
        assert!(matches!(collect(store, digest, beyond).await, Err(Error::Invalid { .. })));
    }
}

/// In chunks of any size.
pub async fn large_blobs_are_streamed(store: &dyn BlobStore) {
    for (seed, chunk) in [(50, 64 * 1024), (51, 6 * 1024 * 1024)] {
        let bytes = noise(seed, LARGE);
        let digest = DigestFunction::Blake3.digest(&bytes);
        store.write(digest, stream_of(bytes.clone(), chunk)).await.unwrap();
        assert!(collect(store, digest, Range::ALL).await.unwrap() == bytes);
        assert!(store.get(digest).await.unwrap() == bytes);
    }
}

/// The caller's own error comes back.
pub async fn a_source_that_fails_leaves_nothing(store: &dyn BlobStore) {
    let bytes = noise(60, LARGE / 4);
    let digest = DigestFunction::Blake3.digest(&bytes);
    let failing = futures::stream::iter([
        Ok(bytes.slice(..bytes.len() - 10)),
        Err(Error::Denied { reason: "the source broke".into() }),
    ]);
    let outcome = store.write(digest, Box::pin(failing)).await;
    assert!(matches!(&outcome, Err(Error::Denied { reason }) if reason == "the source broke"), "{outcome:?}");
    assert_absent(store, digest).await;
}

/// Even if its source is not what it should be, since nobody needs to read it.
pub async fn a_repeated_write_changes_nothing(store: &dyn BlobStore) {
    for length in [300, LARGE / 3] {
        let bytes = noise(70, length);
        let digest = store.put(DigestFunction::Blake3, bytes.clone()).await.unwrap();
        store.write(digest, stream_of(bytes.clone(), 100_000)).await.unwrap();
        assert_eq!(store.put(DigestFunction::Blake3, bytes.clone()).await.unwrap(), digest);
        // Either answer is fine; the blob is the same in any case.
        let _ = store.write(digest, stream_of(noise(71, length), 100_000)).await;
        assert!(store.get(digest).await.unwrap() == bytes);
    }
}

/// At the same time, streamed and batched.
pub async fn writers_of_the_same_blob_all_succeed(store: &dyn BlobStore) {
    let bytes = noise(80, 2 * 1024 * 1024);
    let digest = DigestFunction::Sha256.digest(&bytes);
    let streams = (1..6).map(|i| store.write(digest, stream_of(bytes.clone(), i * 50_000)));
    let batches = (0..3).map(|_| store.write_batch(vec![(digest, bytes.clone())]));
    let (streams, batches) = futures::join!(join_all(streams), join_all(batches));
    assert!(streams.iter().all(Result::is_ok), "{streams:?}");
    assert!(batches.iter().all(|outcome| outcome.as_ref().unwrap()[0].is_ok()));
    assert!(store.get(digest).await.unwrap() == bytes);
}

/// Two blobs, the second of which differs in a few bytes, and what makes it of the first.
fn versions(seed: u64, length: usize) -> (Bytes, Bytes, Bytes) {
    let old = noise(seed, length);
    let mut new = old.to_vec();
    new.splice(length / 2..length / 2 + 40, *b"something else");
    let patch = patch::make(&old, &new).unwrap();
    (old, new.into(), patch)
}

/// Small and large, of whatever function; again where it is there.
pub async fn a_patch_makes_a_blob_of_another_one(store: &dyn BlobStore) {
    for (function, length) in [(DigestFunction::Blake3, 3_000_000), (DigestFunction::Sha256, LARGE / 2)] {
        let (old, new, patch) = versions(90, length);
        let base = store.put(function, old).await.unwrap();
        let digest = DigestFunction::Blake3.digest(&new);
        for _ in 0..2 {
            store.write_patch(base, digest, patch.clone()).await.unwrap();
            assert!(store.get(digest).await.unwrap() == new);
        }
    }
}

/// A base that is not there, another one of the same size, another patch, and none at all.
pub async fn a_patch_that_does_not_fit_is_refused_and_leaves_nothing(store: &dyn BlobStore) {
    let function = DigestFunction::Blake3;
    let (absent, new, patch) = versions(91, 3_000_000);
    let (absent, digest) = (function.digest(&absent), function.digest(&new));
    let outcome = store.write_patch(absent, digest, patch.clone()).await;
    assert!(matches!(outcome, Err(Error::NotFound { digest }) if digest == absent), "{outcome:?}");
    let other = store.put(function, noise(92, 3_000_000)).await.unwrap();
    let (cut, end) = (patch.slice(1..), patch.slice(..patch.len() - 1));
    for wrong in [patch, cut, end, Bytes::new(), noise(93, 1000)] {
        assert!(is_refused(&store.write_patch(other, digest, wrong).await));
    }
    assert_absent(store, digest).await;
}
