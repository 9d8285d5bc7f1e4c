//! Whatever happens to the files: never wrong bytes. What is damaged is gone, counted, and can be uploaded again.

use super::*;
use cas::Range;
use futures::TryStreamExt as _;
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

fn segment(dir: &Path) -> PathBuf {
    dir.join("segments/00000000")
}

fn large_file(dir: &Path, digest: Digest) -> PathBuf {
    let bucket = dir.join("large").join(&digest.hex()[..2]);
    let mut files = fs::read_dir(bucket).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_str().unwrap().contains(&digest.hex())).unwrap()
}

pub(super) fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// It is gone, that was counted, and it can be had again.
async fn assert_dropped(engine: &Engine, digest: Digest, bytes: &Bytes) {
    let corrupt = engine.shared().metrics.corrupt.get();
    assert!(is_gone(engine, digest).await);
    assert_eq!(engine.shared().metrics.corrupt.get(), corrupt + 1);
    assert_eq!(engine.find_missing(&[digest]).await.unwrap(), [digest]);
    assert!(is_gone(engine, digest).await);
    assert_eq!(engine.shared().metrics.corrupt.get(), corrupt + 1, "counted once");
    engine.put(digest.function(), bytes.clone()).await.unwrap();
    assert_eq!(engine.get(digest).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_segment_costs_the_blob_that_it_is_in_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let (first, second) = (blob(1, 5000), blob(2, 5000));
    let (one, two) = (put(&engine, &first).await, put(&engine, &second).await);
    flip(&segment(dir.path()), 3000);
    assert_dropped(&engine, one, &first).await;
    assert_eq!(engine.get(two).await.unwrap(), second);
    // In a header.
    flip(&segment(dir.path()), 5000 + 54 + 8);
    assert_dropped(&engine, two, &second).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_large_file_shows_in_every_read_that_touches_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let bytes = blob(3, 3_000_000);
    let digest = put_stream(&engine, &bytes).await.unwrap();
    flip(&large_file(dir.path(), digest), 2_500_000);
    // A part that lies elsewhere is sound.
    let part = Range { offset: 100, limit: Some(1_000_000) };
    let read: Vec<Bytes> = engine.read(digest, part).await.unwrap().try_collect().await.unwrap();
    assert_eq!(read.concat(), bytes.slice(100..1_000_100));
    let whole: cas::Result<Vec<Bytes>> = engine.read(digest, Range::ALL).await.unwrap().try_collect().await;
    assert!(matches!(whole, Err(Error::NotFound { .. })));
    assert_eq!(engine.shared().metrics.corrupt.get(), 1);
    assert_eq!(put_stream(&engine, &bytes).await.unwrap(), digest);
    assert_eq!(engine.get(digest).await.unwrap(), bytes);
    // In the sums behind the blob.
    flip(&large_file(dir.path(), digest), 3_000_001);
    assert!(is_gone(&engine, digest).await);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_deleted_files_read_as_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let large = blob(4, 300_000);
    let digest = engine.put(DigestFunction::Sha512, large.clone()).await.unwrap();
    let cut = OpenOptions::new().write(true).open(large_file(dir.path(), digest)).unwrap();
    cut.set_len(299_999).unwrap();
    assert_dropped(&engine, digest, &large).await;
    fs::remove_file(large_file(dir.path(), digest)).unwrap();
    assert_dropped(&engine, digest, &large).await;

    let small = blob(5, 3000);
    let digest = put(&engine, &small).await;
    engine.close().await;
    fs::remove_file(segment(dir.path())).unwrap();
    let engine = open(dir.path());
    assert_dropped(&engine, digest, &small).await;
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reclaiming_a_damaged_segment_saves_what_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    // Two segments full, and the beginning of a third.
    let blobs: Vec<_> = (0..50).map(|seed| blob(seed, 50_000)).collect();
    let mut digests = Vec::new();
    for bytes in &blobs {
        digests.push(put(&engine, bytes).await);
    }
    // The header of the second record, and the payload of the fourth.
    let record = 50_000 + 54;
    flip(&segment(dir.path()), record + 20);
    flip(&segment(dir.path()), 3 * record + 1000);
    let evictor =
        super::super::evict::Evictor { shared: Arc::clone(engine.shared()), writer: engine.writer().clone() };
    tokio::task::spawn_blocking(move || evictor.reclaim(0)).await.unwrap().unwrap();
    assert!(!segment(dir.path()).exists());
    assert_eq!(
        engine.find_missing(&digests).await.unwrap(),
        [digests[1], digests[3]],
        "nobody is told otherwise"
    );
    for (at, (digest, bytes)) in digests.iter().zip(&blobs).enumerate() {
        match at {
            1 | 3 => assert!(is_gone(&engine, *digest).await),
            _ => assert_eq!(engine.get(*digest).await.unwrap(), bytes),
        }
    }
    assert_eq!(engine.shared().metrics.corrupt.get(), 2);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_with_the_sums_of_older_formats_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let bytes = blob(4, 1_500_000);
    let digest = put(&engine, &bytes).await;
    let file = OpenOptions::new().write(true).open(large_file(dir.path(), digest)).unwrap();
    let sums: Vec<u8> = bytes
        .chunks(256 * 1024)
        .flat_map(|piece| DigestFunction::Blake3.digest(piece).hash()[..8].to_vec())
        .collect();
    file.write_all_at(&sums, bytes.len() as u64).unwrap();
    assert_eq!(engine.get(digest).await.unwrap(), bytes);
    flip(&large_file(dir.path(), digest), 700_000);
    assert_dropped(&engine, digest, &bytes).await;
    engine.close().await;
}
