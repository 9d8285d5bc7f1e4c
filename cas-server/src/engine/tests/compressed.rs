//! Blobs that are stored compressed: any part of them, what goes out as it is, what they take, what damages them.

use super::{damage::flip, recovery::copy, *};
use crate::engine::{
    State, Stored,
    codec::{Encoding, Location},
    evict::Evictor,
    frames::{Compressor, FRAME},
    record::{Form, Header},
};
use cas::Range;
use futures::TryStreamExt as _;
use proptest::prelude::*;
use std::{fs, path::PathBuf};

fn open_compressing(dir: &Path) -> Engine {
    Engine::open(dir, compressing(), Arc::new(clock())).unwrap()
}

/// What comes of a blob for those who take zstd.
pub(super) async fn read_stored(engine: &Engine, digest: Digest, offset: u64) -> cas::Result<Stored<Bytes>> {
    let (is_zstd, stream) = match engine.read_stored(digest, offset).await? {
        Stored::Plain(stream) => (false, stream),
        Stored::Zstd(stream) => (true, stream),
    };
    let bytes = stream.try_collect::<Vec<Bytes>>().await?.concat().into();
    Ok(if is_zstd { Stored::Zstd(bytes) } else { Stored::Plain(bytes) })
}

/// As whoever takes zstd reads it.
pub(super) fn plain(stored: Stored<Bytes>) -> Bytes {
    match stored {
        Stored::Plain(bytes) => bytes,
        Stored::Zstd(frames) => zstd::stream::decode_all(&frames[..]).unwrap().into(),
    }
}

fn frames(stored: Stored<Bytes>) -> Bytes {
    let Stored::Zstd(frames) = stored else { panic!("it is not compressed") };
    frames
}

/// The sums of the index are those over its entries.
pub(super) fn assert_accounts(engine: &Engine) {
    let index = &engine.shared().index;
    let (mut content_bytes, mut stored_bytes, mut file_bytes) = (0, 0, 0);
    for (key, entry) in index.entries(None, usize::MAX).unwrap() {
        if let Encoding::Zstd(len) = entry.location.encoding() {
            content_bytes += entry.content.size();
            stored_bytes += len;
            assert!(len <= entry.content.size() / 8 * 7 + 7);
        }
        if let Location::File(..) = entry.location {
            file_bytes += crate::engine::evict::disk_len(&key, &entry.content, entry.location);
        }
    }
    let totals = index.sums().totals;
    assert_eq!(
        (totals.compressed.content_bytes, totals.compressed.stored_bytes),
        (content_bytes, stored_bytes)
    );
    assert_eq!(totals.file_bytes, file_bytes);
}

fn location(engine: &Engine, digest: Digest) -> Location {
    engine.shared().index.get(&[digest]).unwrap()[0].unwrap().location
}

fn file(engine: &Engine, dir: &Path, digest: Digest) -> PathBuf {
    let Location::File(at, _) = location(engine, digest) else { panic!("it is packed") };
    let path = engine.shared().files.path(&digest, at);
    assert!(path.starts_with(dir));
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_smaller_is_stored_so_and_takes_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_compressing(dir.path());
    let large = text(1, 3_300_000);
    let digest = put_stream(&engine, &large).await.unwrap();
    let Encoding::Zstd(stored) = location(&engine, digest).encoding() else { panic!("it is plain") };
    assert!(stored < 1_600_000);
    let on_disk = fs::metadata(file(&engine, dir.path(), digest)).unwrap().len();
    let State::Present { bytes_at_rest, .. } = engine.explain(digest).await.unwrap().state else { panic!() };
    assert_eq!(bytes_at_rest, on_disk);
    assert_eq!(engine.shared().index.sums().totals.file_bytes, on_disk);

    let small = put(&engine, &text(2, 20_000)).await;
    let in_batch = engine.put(DigestFunction::Sha1, text(3, 100_000)).await.unwrap();
    for digest in [small, in_batch] {
        assert!(
            matches!(location(&engine, digest).encoding(), Encoding::Zstd(len) if len < digest.size() / 2)
        );
    }
    // What saves too little, or is too short, is plain.
    let mixed: Bytes = [blob(4, 50_000), text(4, 5000)].concat().into();
    let large_mixed: Bytes = [blob(5, 6_000_000), text(5, 500_000)].concat().into();
    for bytes in [mixed, large_mixed, text(6, 255), blob(7, 300_000)] {
        let digest = put_stream(&engine, &bytes).await.unwrap();
        assert_eq!(location(&engine, digest).encoding(), Encoding::Plain);
        assert_eq!(engine.get(digest).await.unwrap(), bytes);
    }
    assert_eq!(fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
    assert_accounts(&engine);
    let metrics = &engine.shared().metrics;
    let (content, stored) = (metrics.compressed_content.get(), metrics.compressed_stored.get());
    assert!(content == 3_420_000 && stored < content / 2);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_more_blobs_than_it_has_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions { max_bytes: 8 * MIB, ..compressing() };
    let engine = Engine::open(dir.path(), options, Arc::new(clock())).unwrap();
    let mut digests = Vec::new();
    for seed in 0..16 {
        digests.push(put(&engine, &text(seed, 800_000)).await);
    }
    assert_eq!(engine.find_missing(&digests).await.unwrap(), []);
    assert!(engine.usage().bytes < 8 * MIB);
    // There is no room for this one to be there twice while it comes.
    let large = text(100, 2_000_000);
    let digest = put_stream(&engine, &large).await;
    assert!(digest.is_ok() && engine.get(digest.unwrap()).await.unwrap() == large);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_both_forms_a_large_blob_stays_plain() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions { max_bytes: 8 * MIB, ..compressing() };
    let engine = Engine::open(dir.path(), options, Arc::new(clock())).unwrap();
    let bytes = text(1, 5_000_000);
    let digest = put_stream(&engine, &bytes).await.unwrap();
    assert_eq!(location(&engine, digest).encoding(), Encoding::Plain);
    assert_eq!(engine.get(digest).await.unwrap(), bytes);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_goes_out_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_compressing(dir.path());
    let (small, large) = (text(1, 50_000), text(2, 3_300_000));
    let packed = put(&engine, &small).await;
    let digest = put_stream(&engine, &large).await.unwrap();
    let Encoding::Zstd(stored) = location(&engine, digest).encoding() else { panic!("it is plain") };
    let on_disk = Bytes::from(fs::read(file(&engine, dir.path(), digest)).unwrap());
    let on_disk = on_disk.slice(..usize::try_from(stored).unwrap());
    assert_eq!(frames(read_stored(&engine, digest, 0).await.unwrap()), on_disk);
    let second = frames(read_stored(&engine, digest, FRAME).await.unwrap());
    assert!(second.len() < on_disk.len() && on_disk.ends_with(&second));
    // From within the first frame: the rest of it, then the others as they are.
    let within = frames(read_stored(&engine, digest, FRAME - 1000).await.unwrap());
    assert!(within.ends_with(&second) && within.len() < second.len() + 2000);
    let segment = fs::read(dir.path().join("segments/00000000")).unwrap();
    let frame = frames(read_stored(&engine, packed, 0).await.unwrap());
    assert!(segment.windows(frame.len()).any(|window| window == frame));
    for (outcome, expected) in
        engine.read_batch_stored(&[packed, digest]).await.unwrap().into_iter().zip([frame, on_disk])
    {
        assert_eq!(frames(outcome.unwrap()), expected);
    }
    assert_eq!(engine.shared().metrics.decompressed.get(), 0);
    assert_eq!(engine.shared().metrics.passed_through.get(), 6);
    assert_eq!(engine.get(packed).await.unwrap(), small);
    assert_eq!(engine.shared().metrics.decompressed.get(), 1);
    let absent = DigestFunction::Blake3.digest(b"absent");
    assert!(matches!(read_stored(&engine, absent, 0).await, Err(Error::NotFound { .. })));
    assert!(matches!(read_stored(&engine, packed, 50_001).await, Err(Error::Invalid { .. })));
    engine.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn any_part_of_any_blob_is_what_it_is_in_the_plain_bytes(
        ranges in proptest::collection::vec((0..6usize, 0..=3_300_000u64, proptest::option::of(0..=3_300_000u64)), 60),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let engine = open_compressing(dir.path());
            let mixed: Bytes = [text(1, 1_500_000), blob(2, 900_000), text(3, 900_000)].concat().into();
            let zeros = Bytes::from(vec![0; 3 * 1_048_576]);
            let blobs = [text(4, 3_300_000), mixed, zeros, blob(5, 1_200_000), text(6, 60_000), blob(7, 60_000)];
            for bytes in &blobs {
                put_stream(&engine, bytes).await.unwrap();
            }
            for (which, offset, limit) in ranges {
                let bytes = &blobs[which];
                // Offsets around the borders of frames, too.
                let offset = if offset % 3 == 0 { offset / FRAME * FRAME } else { offset };
                super::model::read_part(
                    &engine,
                    DigestFunction::Sha256.digest(bytes),
                    bytes,
                    Range { offset: offset.min(bytes.len() as u64), limit },
                ).await;
            }
            engine.close().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_brings_compressed_blobs_back_whatever_is_asked_for_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let (index, old) = (dir.path().join("index"), dir.path().join("old-index"));
    open(dir.path()).close().await;
    copy(&index, &old);
    let engine = open_compressing(dir.path());
    let blobs: Vec<_> =
        (0..40).map(|seed| text(seed, if seed % 8 == 0 { 1_300_000 } else { 50_000 })).collect();
    for bytes in &blobs {
        put(&engine, bytes).await;
    }
    let before = engine.shared().index.sums();
    engine.close().await;

    for options in [options(), compressing()] {
        copy(&old, &index);
        let engine = Engine::open(dir.path(), options, Arc::new(clock())).unwrap();
        for bytes in &blobs {
            assert_eq!(engine.get(DigestFunction::Blake3.digest(bytes)).await.unwrap(), bytes);
        }
        let after = engine.shared().index.sums();
        assert_eq!((after.totals, after.segments), (before.totals, before.segments.clone()));
        assert_accounts(&engine);
        engine.close().await;
    }
    // A torn last record, and one that is damaged.
    copy(&old, &index);
    let segment = dir.path().join("segments/00000000");
    fs::OpenOptions::new()
        .write(true)
        .open(&segment)
        .unwrap()
        .set_len(fs::metadata(&segment).unwrap().len() - 1)
        .unwrap();
    flip(&segment, 8000);
    let engine = open(dir.path());
    let mut gone = 0;
    for bytes in &blobs {
        match engine.get(DigestFunction::Blake3.digest(bytes)).await {
            Ok(found) => assert_eq!(found, bytes),
            Err(error) => {
                assert!(matches!(error, Error::NotFound { .. }));
                gone += 1;
            }
        }
    }
    assert_eq!(gone, 2);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_in_what_is_compressed_are_never_given_to_anyone() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_compressing(dir.path());
    let (small, large) = (text(1, 50_000), text(2, 3_300_000));
    for as_stored in [false, true] {
        // Of a record: in the header, the frame, and the sum behind it.
        for back in [1, 5000, u64::MAX] {
            let digest = put(&engine, &small).await;
            let (Location::Packed(at, _), len) = (location(&engine, digest), engine.usage().bytes) else {
                panic!()
            };
            let segment = engine.shared().segments.path(at.segment);
            let end = fs::metadata(&segment).unwrap().len();
            flip(&segment, end.saturating_sub(back).max(u64::from(at.offset) + 10));
            assert!(len > 0);
            assert_dropped(&engine, digest, as_stored).await;
        }
        // Of a file: in the first frame, the last one, the table and its sum.
        for back in [u64::MAX, 200, 20, 1] {
            let digest = put_stream(&engine, &large).await.unwrap();
            let path = file(&engine, dir.path(), digest);
            let end = fs::metadata(&path).unwrap().len();
            flip(&path, end.saturating_sub(back).max(100));
            if back == 200 {
                // What lies elsewhere is sound.
                let part = Range { offset: 1000, limit: Some(2000) };
                let part: Vec<Bytes> = engine.read(digest, part).await.unwrap().try_collect().await.unwrap();
                assert_eq!(part.concat(), large.slice(1000..3000));
            }
            assert_dropped(&engine, digest, as_stored).await;
        }
        // Cut, and lost.
        let digest = put_stream(&engine, &large).await.unwrap();
        let path = file(&engine, dir.path(), digest);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1_000_000).unwrap();
        assert_dropped(&engine, digest, as_stored).await;
        let digest = put_stream(&engine, &large).await.unwrap();
        fs::remove_file(file(&engine, dir.path(), digest)).unwrap();
        assert_dropped(&engine, digest, as_stored).await;
    }
    engine.close().await;
}

async fn assert_dropped(engine: &Engine, digest: Digest, as_stored: bool) {
    let corrupt = engine.shared().metrics.corrupt.get();
    let read = match as_stored {
        true => read_stored(engine, digest, 0).await.map(|_| ()),
        false => engine.get(digest).await.map(|_| ()),
    };
    assert!(matches!(read, Err(Error::NotFound { .. })));
    assert_eq!(engine.shared().metrics.corrupt.get(), corrupt + 1);
    assert_eq!(engine.find_missing(&[digest]).await.unwrap(), [digest]);
    assert_accounts(engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn reclaimed_segments_keep_the_frames_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_compressing(dir.path());
    let blobs: Vec<_> = (0..240).map(|seed| text(seed, 60_000)).collect();
    let mut before = Vec::new();
    for bytes in &blobs {
        let digest = put(&engine, bytes).await;
        before.push((digest, frames(read_stored(&engine, digest, 0).await.unwrap())));
    }
    assert!(engine.shared().index.sums().segments.len() > 1, "the first one is full");
    let evictor = Evictor { shared: Arc::clone(engine.shared()), writer: engine.writer().clone() };
    tokio::task::spawn_blocking(move || evictor.reclaim(0)).await.unwrap().unwrap();
    assert!(!dir.path().join("segments/00000000").exists());
    for ((digest, frame), bytes) in before.iter().zip(&blobs) {
        assert_eq!(frames(read_stored(&engine, *digest, 0).await.unwrap()), frame);
        assert_eq!(engine.get(*digest).await.unwrap(), bytes);
    }
    assert_accounts(&engine);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_on_and_off_all_of_it_stays_readable_and_older_programs_stay_out() {
    let dir = tempfile::tempdir().unwrap();
    let format = || fs::read_to_string(dir.path().join("format")).unwrap();
    let mut blobs = Vec::new();
    for (at, compress) in
        [Compression::Off, Compression::Zstd, Compression::Off, Compression::Zstd].into_iter().enumerate()
    {
        let engine =
            Engine::open(dir.path(), EngineOptions { compress, ..options() }, Arc::new(clock())).unwrap();
        // Older programs read format 2.
        assert_eq!(format(), "3\n");
        for len in [10_000, 1_200_000] {
            let bytes = text(at as u64, len);
            let digest = put(&engine, &bytes).await;
            assert_eq!(location(&engine, digest).encoding() == Encoding::Plain, compress == Compression::Off);
            blobs.push((digest, bytes));
        }
        for (digest, bytes) in &blobs {
            assert_eq!(engine.get(*digest).await.unwrap(), bytes);
        }
        assert_accounts(&engine);
        engine.close().await;
    }
    let store = crate::engine::Offline::open(dir.path(), Arc::new(clock())).unwrap();
    let report = store.scrub(|_| {}).unwrap();
    assert_eq!((report.sound, report.damaged, report.leftovers), (8, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_goes_on_over_a_restart_is_compressed_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = text(1, 3_300_000);
    let digest = DigestFunction::Sha256.digest(&bytes);
    let name = crate::engine::UploadName::new("uploads/1", digest);
    let uploads = || fs::read_dir(dir.path().join("uploads")).unwrap().count();
    let part = |from: usize, to: usize| {
        let cut = Err(Error::Unavailable { reason: "cut".into() });
        futures::stream::iter([Ok(bytes.slice(from..to)), cut]).boxed()
    };
    let engine = Engine::open(dir.path(), compressing(), runtime::SystemClock::shared()).unwrap();
    engine.resume(name.clone(), 0, part(0, 1_500_000)).await.unwrap_err();
    assert_eq!(uploads(), 1, "what came is kept as it came");
    engine.close().await;
    let engine = Engine::open(dir.path(), compressing(), runtime::SystemClock::shared()).unwrap();
    assert_eq!(engine.buffered(name.clone()).await.unwrap(), 1_500_000);
    engine.resume(name.clone(), 1_500_000, part(1_500_000, 2_500_000)).await.unwrap_err();
    let rest = futures::stream::iter([Ok(bytes.slice(2_500_000..))]).boxed();
    engine.resume(name, 2_500_000, rest).await.unwrap();
    assert_eq!(uploads(), 0);
    assert!(matches!(location(&engine, digest), Location::File(_, Encoding::Zstd(_))));
    assert_eq!(engine.get(digest).await.unwrap(), bytes);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_only_for_compressing_goes_to_those_who_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions { max_bytes: 16 * MIB, ..compressing() };
    let engine = Arc::new(Engine::open(dir.path(), options, Arc::new(clock())).unwrap());
    let (first, second) = (text(1, 6_000_000), text(2, 6_000_000));
    let digest = DigestFunction::Blake3.digest(&first);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let source = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok).boxed();
    let mut writes = tokio::task::JoinSet::new();
    let writer = Arc::clone(&engine);
    writes.spawn(async move { writer.write(digest, source).await });
    // The second empty one is taken when the first part is.
    for part in [first.slice(..3_000_000), Bytes::new(), Bytes::new()] {
        sender.send(part).await.unwrap();
    }
    // Both come, each once and one of them twice: that is too much.
    let other = put_stream(&engine, &second).await.unwrap();
    sender.send(first.slice(3_000_000..)).await.unwrap();
    drop(sender);
    writes.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(location(&engine, digest).encoding(), Encoding::Plain);
    for (digest, bytes) in [(digest, first), (other, second)] {
        assert_eq!(engine.get(digest).await.unwrap(), bytes);
    }
    assert_eq!(fs::read_dir(dir.path().join("uploads")).unwrap().count(), 0);
    assert_accounts(&engine);
}

/// After damage, replay looks for records in bytes that clients chose.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_record_names_no_blob_that_it_does_not_hold() {
    let (claimed, other) = (text(1, 5000), text(2, 5000));
    let digest = DigestFunction::Blake3.digest(&claimed);
    let (encoding, payload) = Compressor::new().unwrap().pack(other).unwrap();
    assert!(matches!(encoding, Encoding::Zstd(_)));
    let mut record = Vec::new();
    Header::blob(Form::Packed, digest, encoding).write(&mut record);
    record.extend_from_slice(&payload);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("segments")).unwrap();
    fs::write(dir.path().join("format"), "3\n").unwrap();
    fs::write(dir.path().join("segments/00000000"), &record).unwrap();
    let engine = open(dir.path());
    assert_eq!(engine.find_missing(&[digest]).await.unwrap(), [digest]);
    engine.close().await;
}
