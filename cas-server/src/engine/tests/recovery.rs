//! What opening makes of what a death left behind.

use super::*;
use crate::engine::OpenError;
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

/// Copies a directory of plain files.
pub(super) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn segments(dir: &Path) -> usize {
    fs::read_dir(dir.join("segments")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lost_its_last_writes_gets_them_back_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    let old = dir.path().join("old-index");
    let engine = open(dir.path());
    let mut blobs = vec![blob(0, 1000)];
    put(&engine, &blobs[0]).await;
    engine.close().await;
    copy(&index, &old);

    let engine = open(dir.path());
    for seed in 1..100 {
        // Every tenth has a file of its own; together they fill several segments.
        let bytes = blob(seed, if seed % 10 == 0 { 100_000 } else { 40_000 });
        put(&engine, &bytes).await;
        blobs.push(bytes);
    }
    engine.close().await;
    assert!(segments(dir.path()) > 3);

    copy(&old, &index);
    let engine = open(dir.path());
    for bytes in &blobs {
        assert_eq!(engine.get(DigestFunction::Blake3.digest(bytes)).await.unwrap(), bytes);
    }
    let sums = engine.shared().index.sums();
    assert_eq!(sums.totals.blobs, 100);
    let on_disk: u64 = fs::read_dir(dir.path().join("segments"))
        .unwrap()
        .map(|s| s.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(sums.segment_bytes, on_disk);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_log_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let bytes = blob(1, 1000);
    let digest = put(&engine, &bytes).await;
    engine.close().await;
    let path = dir.path().join("segments/00000000");
    let len = fs::metadata(&path).unwrap().len();
    // The beginning of a record that never got its end.
    let mut record = Vec::new();
    let unfinished = DigestFunction::Sha256.digest(&blob(2, 5000));
    let form = crate::engine::record::Form::Packed;
    let plain = crate::engine::codec::Encoding::Plain;
    crate::engine::record::Header::blob(form, unfinished, plain).write(&mut record);
    record.extend(&blob(2, 5000)[..4000]);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&record).unwrap();

    let engine = open(dir.path());
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
    assert!(is_gone(&engine, unfinished).await);
    assert_eq!(engine.get(digest).await.unwrap(), bytes);
    let after = put(&engine, &blob(3, 1000)).await;
    engine.close().await;
    let engine = open(dir.path());
    assert_eq!(engine.get(after).await.unwrap(), blob(3, 1000));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_what_is_replayed_costs_the_records_that_it_is_in_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (index, old) = (dir.path().join("index"), dir.path().join("old-index"));
    open(dir.path()).close().await;
    copy(&index, &old);
    let engine = open(dir.path());
    let blobs: Vec<_> = (0..6).map(|seed| blob(seed, 10_000)).collect();
    for bytes in &blobs {
        put(&engine, bytes).await;
    }
    engine.close().await;
    copy(&old, &index);
    let record = 10_000 + 54;
    // The header of the second one, and the payload of the fourth.
    super::damage::flip(&dir.path().join("segments/00000000"), record + 20);
    super::damage::flip(&dir.path().join("segments/00000000"), 3 * record + 5000);

    let engine = open(dir.path());
    for (at, bytes) in blobs.iter().enumerate() {
        let digest = DigestFunction::Blake3.digest(bytes);
        assert_eq!(is_gone(&engine, digest).await, at == 1 || at == 3, "blob {at}");
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_made_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("several/levels/deep");
    open(&data).close().await;
    assert_eq!(fs::read_to_string(data.join("format")).unwrap(), "3\n");
    assert!(!data.join("format.new").exists());
    // A death while it was being made.
    fs::rename(data.join("format"), data.join("format.new")).unwrap();
    open(&data).close().await;
    assert_eq!(fs::read_to_string(data.join("format")).unwrap(), "3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_uploads_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().await;
    fs::write(dir.path().join("uploads/.tmpabc"), b"half").unwrap();
    // A segment that was reclaimed, but whose file was not deleted yet, is older than the log and unknown.
    let engine = open(dir.path());
    for seed in 0..60 {
        put(&engine, &blob(seed, 50_000)).await;
    }
    engine.shared().index.remove_segment(1).unwrap();
    engine.close().await;
    let before = segments(dir.path());
    open(dir.path()).close().await;
    assert_eq!(segments(dir.path()), before - 1);
    assert_eq!(fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_forgotten_blobs_are_deleted_at_the_latest_when_the_store_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let digest = put(&engine, &blob(1, 200_000)).await;
    let entry = engine.shared().index.get(&[digest]).unwrap()[0].unwrap();
    let synced = crate::engine::index::Durability::Synced;
    engine.shared().index.remove(&[(digest, entry.location)], synced).unwrap();
    let bucket = dir.path().join("large").join(&digest.hex()[..2]);
    assert_eq!(fs::read_dir(&bucket).unwrap().count(), 1);
    engine.close().await;
    let engine = open(dir.path());
    assert_eq!(fs::read_dir(&bucket).unwrap().count(), 0);
    assert_eq!(engine.shared().index.doomed().unwrap(), Vec::<String>::new());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_or_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let again = Engine::open(dir.path(), options(), Arc::new(clock())).unwrap_err();
    assert!(matches!(again, OpenError::InUse { .. }));
    assert!(again.to_string().contains("another cas-server"));
    engine.close().await;
    fs::write(dir.path().join("format"), "4\n").unwrap();
    let later = Engine::open(dir.path(), options(), Arc::new(clock())).unwrap_err();
    assert!(matches!(later, OpenError::Format { found: 4, known: 3, .. }), "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_remembered_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let engine = Engine::open(dir.path(), options(), Arc::new(clock.clone())).unwrap();
    let digest = put(&engine, &blob(1, 10)).await;
    clock.advance(Duration::from_secs(3600));
    engine.find_missing(&[digest]).await.unwrap();
    engine.close().await;
    let engine = Engine::open(dir.path(), options(), Arc::new(clock.clone())).unwrap();
    let entry = engine.shared().index.get(&[digest]).unwrap()[0].unwrap();
    assert_eq!(entry.touched, runtime::Clock::now(&clock));
    engine.close().await;
}
