//! A file system without space, for real: a small tmpfs. Needs the right to mount.

use super::*;
use crate::engine::{
    evict::Evictor,
    index::Durability,
    writer::{Item, Request},
};
use runtime::testing::SmallDisk;
use std::fs;
use tokio::sync::mpsc;

/// An upload whose bytes come when they are handed over.
fn upload(
    engine: &Arc<Engine>,
    bytes: &Bytes,
) -> (mpsc::Sender<Bytes>, tokio::task::JoinHandle<cas::Result<()>>) {
    let digest = DigestFunction::Blake3.digest(bytes);
    let (sender, receiver) = mpsc::channel(1);
    let source = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok).boxed();
    let engine = Arc::clone(engine);
    #[expect(clippy::disallowed_methods, reason = "awaited by the test")]
    let done = tokio::spawn(async move { engine.write(digest, source).await });
    (sender, done)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_refused_while_the_disk_is_full_and_work_again_when_it_is_not() {
    let disk = SmallDisk::new(96);
    let options = EngineOptions { min_free: 8 * MIB, patience: Duration::from_secs(1), ..options() };
    let engine = Arc::new(Engine::open(&disk.path().join("data"), options, Arc::new(clock())).unwrap());
    let kept = blob(1, 50_000);
    let digest = put(&engine, &kept).await;

    // Refused before a byte is written.
    disk.fill();
    for bytes in [blob(2, 1000), blob(3, 1_000_000)] {
        let refused = put_stream(&engine, &bytes).await.unwrap_err();
        assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    }
    assert_eq!(engine.get(digest).await.unwrap(), kept);
    disk.relieve();
    let small = put_stream(&engine, &blob(2, 1000)).await.unwrap();

    // The disk fills up under uploads that were let in.
    let (packed, large) = (blob(4, 60_000), blob(5, 4_000_000));
    let (packed_bytes, packed_done) = upload(&engine, &packed);
    let (large_bytes, large_done) = upload(&engine, &large);
    large_bytes.send(large.slice(..2_000_000)).await.unwrap();
    large_bytes.send(Bytes::new()).await.unwrap();
    packed_bytes.send(packed.slice(..30_000)).await.unwrap();
    packed_bytes.send(Bytes::new()).await.unwrap();
    disk.fill();
    // One after the other: what is refused gives its space back.
    for (sender, rest, done) in [
        (packed_bytes, packed.slice(30_000..), packed_done),
        (large_bytes, large.slice(2_000_000..), large_done),
    ] {
        let _ = sender.send(rest).await;
        drop(sender);
        let refused = done.await.unwrap().unwrap_err();
        assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    }

    // Nothing is damaged, and everything works again.
    assert_eq!(engine.get(digest).await.unwrap(), kept);
    assert_eq!(engine.get(small).await.unwrap(), blob(2, 1000));
    disk.relieve();
    for bytes in [&packed, &large] {
        let digest = put_stream(&engine, bytes).await.unwrap();
        assert_eq!(engine.get(digest).await.unwrap(), bytes);
    }
    let Some(engine) = Arc::into_inner(engine) else { panic!("nobody else has it") };
    engine.close().await;
    let engine = open(&disk.path().join("data"));
    assert_eq!(engine.get(digest).await.unwrap(), kept);
    assert_eq!(engine.get(DigestFunction::Sha256.digest(&large)).await.unwrap(), large);
    engine.close().await;
}

/// Hands a blob to the writer, past all that looks at the space before.
async fn append(engine: &Engine, bytes: &Bytes) -> cas::Result<()> {
    let item = Item::Packed {
        digest: DigestFunction::Blake3.digest(bytes),
        encoding: crate::engine::codec::Encoding::Plain,
        bytes: bytes.clone(),
    };
    let (answer, done) = tokio::sync::oneshot::channel();
    let request = Request { items: vec![item], memory: None, answer };
    assert!(engine.writer().send(request).await.is_ok());
    done.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_the_disk_had_no_room_for_leave_nothing_in_the_log() {
    let disk = SmallDisk::new(96);
    let engine = open(&disk.path().join("data"));
    put(&engine, &blob(1, 50_000)).await;
    disk.fill();
    for seed in 2..12 {
        let refused = append(&engine, &blob(seed, 60_000)).await.unwrap_err();
        assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    }
    let segments =
        || fs::read_dir(disk.path().join("data").join("segments")).unwrap().map(|entry| entry.unwrap());
    assert_eq!(segments().count(), 1);
    disk.relieve();
    append(&engine, &blob(2, 60_000)).await.unwrap();
    let on_disk: u64 = segments().map(|segment| segment.metadata().unwrap().len()).sum();
    assert_eq!(engine.shared().index.sums().segment_bytes, on_disk);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_makes_room_also_when_there_is_none_for_copies() {
    let disk = SmallDisk::new(96);
    let clock = clock();
    let engine = Engine::open(&disk.path().join("data"), options(), Arc::new(clock.clone())).unwrap();
    let mut digests = Vec::new();
    for seed in 0..30 {
        digests.push(put(&engine, &blob(seed, 50_000)).await);
    }
    // The first segment is worth reclaiming: every third record in it is dead.
    let entries = engine.shared().index.get(&digests).unwrap();
    let dead: Vec<_> = digests
        .iter()
        .zip(&entries)
        .step_by(3)
        .map(|(digest, entry)| (*digest, entry.unwrap().location))
        .collect();
    engine.shared().index.remove(&dead, Durability::Synced).unwrap();
    clock.advance(engine.shared().options.protection() * 2);
    disk.fill();
    let evictor = Evictor { shared: Arc::clone(engine.shared()), writer: engine.writer().clone() };
    // The engine's own evictor may be at the same segment in one of them.
    let reclaims = move || {
        evictor.round();
        evictor.shared.metrics.reclaimed_segments.get() > 0
    };
    assert!(tokio::task::spawn_blocking(move || (0..100).any(|_| reclaims())).await.unwrap());
    let digest = put_stream(&engine, &blob(1 << 40, 100_000)).await.unwrap();
    assert!(engine.contains(digest).await.unwrap());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_ran_out_of_disk_works_again_when_there_is_some() {
    let disk = SmallDisk::new(320);
    let clock = clock();
    let engine = Engine::open(&disk.path().join("data"), options(), Arc::new(clock.clone())).unwrap();
    let kept = put(&engine, &blob(1, 1000)).await;
    let mut digests = Vec::new();
    for seed in 0..20 {
        let batch: Vec<_> = (0..1000).map(|n| blob(1000 + seed * 1000 + n, 16)).collect();
        let batch: Vec<_> =
            batch.into_iter().map(|bytes| (DigestFunction::Blake3.digest(&bytes), bytes)).collect();
        digests.extend(batch.iter().map(|(digest, _)| *digest));
        assert!(engine.write_batch(batch).await.unwrap().iter().all(Result::is_ok));
    }
    disk.fill();
    // Uses, written down until the index finds no room any more.
    let mut failed = 0;
    let now = runtime::Clock::now(&clock);
    for seconds in 1..50 {
        let now = now + Duration::from_secs(seconds);
        failed += usize::from(
            engine.shared().index.touch(digests.iter().map(|digest| ((*digest).into(), now))).is_err(),
        );
    }
    assert!(failed > 0, "the index did not run out of disk");
    assert_eq!(engine.get(kept).await.unwrap(), blob(1, 1000));
    disk.relieve();
    let written = async {
        loop {
            let bytes = blob(1 << 50, 2000);
            let digest = DigestFunction::Blake3.digest(&bytes);
            match engine.write_batch(vec![(digest, bytes)]).await.unwrap().remove(0) {
                Ok(()) => break digest,
                Err(error) => println!("{error}"),
            }
            runtime::Clock::sleep(&runtime::SystemClock::new(), Duration::from_millis(500)).await;
        }
    };
    let digest = tokio::time::timeout(Duration::from_secs(30), written).await.expect("it recovers");
    assert!(engine.contains(digest).await.unwrap());
    engine.close().await;
    let engine = open(&disk.path().join("data"));
    assert_eq!(engine.find_missing(&digests).await.unwrap(), []);
    engine.close().await;
}
