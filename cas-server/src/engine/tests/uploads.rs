//! Uploads that are cut off and go on.

use super::*;
use crate::engine::UploadName;
use runtime::{Clock as _, SystemClock};
use std::fs;

const LEN: usize = 5_000_000;

fn unavailable() -> Error {
    Error::Unavailable { reason: "cut".into() }
}

/// The first `len` bytes, then a break.
fn cut_off(bytes: &Bytes, len: usize) -> cas::ByteStream {
    let chunks: Vec<_> = bytes[..len].chunks(77_777).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    futures::stream::iter(chunks).chain(futures::stream::once(async { Err(unavailable()) })).boxed()
}

fn rest(bytes: &Bytes, from: u64) -> cas::ByteStream {
    let rest = bytes.slice(usize::try_from(from).unwrap()..);
    futures::stream::once(async { Ok(rest) }).boxed()
}

fn named(name: &str, bytes: &Bytes) -> UploadName {
    UploadName::new(name, DigestFunction::Sha256.digest(bytes))
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir.join("uploads")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn begin(engine: &Engine, name: &UploadName, bytes: &Bytes, len: usize) {
    let broken = engine.resume(name.clone(), 0, cut_off(bytes, len)).await;
    assert!(broken.unwrap_err().is_transient());
    assert_eq!(engine.buffered(name.clone()).await.unwrap(), len as u64, "all that came is kept");
}

/// By the real time, as the times of files are.
fn reopen(dir: &Path) -> Engine {
    Engine::open(dir, options(), SystemClock::shared()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_was_cut_off_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = blob(1, LEN);
    let name = named("uploads/1", &bytes);
    let engine = reopen(dir.path());
    begin(&engine, &name, &bytes, 1_234_567).await;
    let broken = engine.resume(name.clone(), 1_234_567, cut_off(&bytes.slice(1_234_567..), 2_000_000)).await;
    assert!(broken.unwrap_err().is_transient());
    engine.close().await;

    let engine = reopen(dir.path());
    assert_eq!(engine.buffered(name.clone()).await.unwrap(), 3_234_567);
    engine.resume(name.clone(), 3_234_567, rest(&bytes, 3_234_567)).await.unwrap();
    assert_eq!(engine.shared().metrics.resumed_uploads.get(), 1);
    assert!(files(dir.path()).is_empty());
    // Whole, with the right sums at its end.
    assert_eq!(engine.get(name.digest()).await.unwrap(), bytes);
    assert_eq!(engine.shared().metrics.corrupt.get(), 0);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_only_from_what_was_told_or_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let bytes = blob(2, LEN);
    let name = named("uploads/1", &bytes);
    for offset in [1, 77_777, LEN as u64] {
        let refused = engine.resume(name.clone(), offset, rest(&bytes, offset)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    begin(&engine, &name, &bytes, 2_000_000).await;
    for offset in [1, 1_999_999, 2_000_001] {
        let refused = engine.resume(name.clone(), offset, rest(&bytes, offset)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    // Another name knows nothing of it, also for the same blob.
    assert_eq!(engine.buffered(named("uploads/2", &bytes)).await.unwrap(), 0);
    assert_eq!(engine.buffered(name.clone()).await.unwrap(), 2_000_000, "refusals cost nothing");
    engine.resume(name.clone(), 0, rest(&bytes, 0)).await.unwrap();
    assert_eq!(engine.get(name.digest()).await.unwrap(), bytes);
    assert!(files(dir.path()).is_empty());
    // What is there is there, whatever the offset.
    engine.resume(name, 17, rest(&bytes, 17)).await.unwrap();
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_good_for_several_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let (one, two) = (blob(3, LEN), blob(4, LEN));
    begin(&engine, &named("uploads/1", &one), &one, 1_000_000).await;
    begin(&engine, &named("uploads/1", &two), &two, 2_000_000).await;
    assert_eq!(engine.buffered(named("uploads/1", &one)).await.unwrap(), 1_000_000);
    engine.resume(named("uploads/1", &two), 2_000_000, rest(&two, 2_000_000)).await.unwrap();
    engine.resume(named("uploads/1", &one), 1_000_000, rest(&one, 1_000_000)).await.unwrap();
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_what_was_kept_makes_the_upload_start_over() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = blob(5, LEN);
    let name = named("uploads/1", &bytes);
    for shorter in [false, true] {
        let engine = reopen(dir.path());
        begin(&engine, &name, &bytes, 3_000_000).await;
        engine.close().await;
        let engine = reopen(dir.path());
        if shorter {
            fs::OpenOptions::new().write(true).open(&files(dir.path())[0]).unwrap().set_len(1000).unwrap();
        } else {
            super::damage::flip(&files(dir.path())[0], 1_000_000);
        }
        let damaged = engine.resume(name.clone(), 3_000_000, rest(&bytes, 3_000_000)).await;
        assert!(damaged.unwrap_err().is_transient(), "the bytes that were sent may be right");
        assert!(is_gone(&engine, name.digest()).await);
        assert!(files(dir.path()).is_empty());
        assert_eq!(engine.buffered(name.clone()).await.unwrap(), 0);
        engine.close().await;
    }
    let engine = reopen(dir.path());
    engine.resume(name.clone(), 0, rest(&bytes, 0)).await.unwrap();
    assert_eq!(engine.get(name.digest()).await.unwrap(), bytes);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_the_senders_fault_and_nothing_of_them_stays() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let (bytes, other) = (blob(6, LEN), blob(7, LEN));
    let name = named("uploads/1", &bytes);
    begin(&engine, &name, &other, 3_000_000).await;
    let wrong = engine.resume(name.clone(), 3_000_000, rest(&bytes, 3_000_000)).await;
    assert!(matches!(wrong, Err(Error::Mismatch { .. })), "{wrong:?}");
    let long = futures::stream::iter([Ok(bytes.clone()), Ok(Bytes::from_static(b"more"))]).boxed();
    assert!(matches!(engine.resume(name.clone(), 0, long).await, Err(Error::Mismatch { .. })));
    assert_eq!(engine.buffered(name.clone()).await.unwrap(), 0);
    assert!(files(dir.path()).is_empty());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_takes_over_and_who_starts_over_gets_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(open(dir.path()));
    let bytes = blob(8, LEN);
    let name = named("uploads/1", &bytes);
    // A connection that died without the server knowing.
    let dead = futures::stream::once(std::future::ready(Ok(bytes.slice(..2_000_000))));
    let dead = dead.chain(futures::stream::pending()).boxed();
    let mut writes = tokio::task::JoinSet::new();
    let (writer, written) = (Arc::clone(&engine), name.clone());
    writes.spawn(async move { writer.resume(written, 0, dead).await });
    while engine.buffered(name.clone()).await.unwrap() < 2_000_000 {
        tokio::task::yield_now().await;
    }
    let wrong = engine.resume(name.clone(), 1_000_000, rest(&bytes, 1_000_000)).await;
    assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
    assert!(writes.try_join_next().is_none(), "it is left alone");
    engine.resume(name.clone(), 0, cut_off(&bytes, 1_000_000)).await.unwrap_err();
    assert_eq!(engine.buffered(name.clone()).await.unwrap(), 2_000_000, "it never decreases");
    engine.resume(name.clone(), 2_000_000, rest(&bytes, 2_000_000)).await.unwrap();
    assert!(writes.join_next().await.unwrap().unwrap().unwrap_err().is_transient());
    assert_eq!(engine.get(name.digest()).await.unwrap(), bytes);
    assert!(files(dir.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_upload_one_blob_at_a_time_succeed() {
    for options in [options(), compressing()] {
        all_succeed(options).await;
    }
}

async fn all_succeed(options: EngineOptions) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(dir.path(), options, Arc::new(clock())).unwrap());
    let bytes = text(9, LEN);
    let mut writes = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (engine, bytes) = (Arc::clone(&engine), bytes.clone());
        // Two of each name.
        let name = named(&format!("uploads/{}", writer / 2), &bytes);
        let chunks: Vec<_> = bytes.chunks(77_777).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        writes.spawn(async move { engine.resume(name, 0, futures::stream::iter(chunks).boxed()).await });
    }
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    assert_eq!(engine.shared().index.sums().totals.blobs, 1);
    assert!(files(dir.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_goes_on_with_count_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(SystemClock::new().now());
    let keep_uploads = Duration::from_secs(3600);
    let limited = EngineOptions { keep_uploads, max_bytes: 40_000_000, ..options() };
    let engine = Engine::open(dir.path(), limited.clone(), Arc::new(clock.clone())).unwrap();
    let blobs: Vec<_> = (10..14).map(|seed| blob(seed, LEN)).collect();
    for bytes in &blobs {
        begin(&engine, &named("uploads/1", bytes), bytes, 3_000_000).await;
        // All together less than a round of housekeeping, which would trim them by itself.
        clock.advance(Duration::from_secs(1));
    }
    // A quarter of the budget has room for three of them; the oldest goes.
    engine.shared().recount();
    assert_eq!(engine.shared().metrics.kept_uploads.get(), 12_000_000);
    assert!(engine.shared().room.used() >= 12_000_000);
    engine.shared().trim_uploads();
    assert_eq!(engine.shared().uploads.kept_bytes(), 9_000_000);
    assert_eq!(engine.buffered(named("uploads/1", &blobs[0])).await.unwrap(), 0);
    assert_eq!(files(dir.path()).len(), 3);
    engine.close().await;
    // Their age counts over a restart, and a restart removes what is no upload.
    fs::write(dir.path().join("uploads/.tmpx"), b"private").unwrap();
    let engine = Engine::open(dir.path(), limited, Arc::new(clock.clone())).unwrap();
    assert_eq!(files(dir.path()).len(), 3);
    // Who asks is about to go on.
    clock.advance(keep_uploads - Duration::from_secs(10));
    assert_eq!(engine.buffered(named("uploads/1", &blobs[3])).await.unwrap(), 3_000_000);
    clock.advance(Duration::from_secs(10));
    engine.shared().trim_uploads();
    assert_eq!(files(dir.path()).len(), 1);
    clock.advance(keep_uploads);
    engine.shared().trim_uploads();
    assert!(files(dir.path()).is_empty());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_above_the_limit_are_refused_before_any_of_their_bytes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let limited = EngineOptions { max_blob: Some(1_000_000), ..options() };
    let engine = Engine::open(dir.path(), limited, Arc::new(clock())).unwrap();
    let bytes = blob(15, 1_000_001);
    let digest = DigestFunction::Sha256.digest(&bytes);
    let never = || futures::stream::pending().boxed();
    assert!(matches!(engine.write(digest, never()).await, Err(Error::Invalid { .. })));
    assert!(matches!(engine.resume(named("u", &bytes), 0, never()).await, Err(Error::Invalid { .. })));
    let batch = engine.write_batch(vec![(digest, bytes.clone())]).await.unwrap();
    assert!(matches!(batch[0], Err(Error::Invalid { .. })));
    put_stream(&engine, &bytes.slice(1..)).await.unwrap();
    engine.close().await;
}
