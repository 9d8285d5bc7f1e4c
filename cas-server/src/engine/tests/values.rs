//! Values against a map, replaced at every moment that matters, and directories from before there were any.

use super::{damage::flip, recovery::copy, *};
use crate::engine::ValueName;
use proptest::prelude::*;
use std::{collections::HashMap, fs};

fn name(which: u64) -> ValueName {
    match which % 3 {
        0 => ValueName::Opaque { path: format!("cache/{which}") },
        1 => ValueName::Asset { key: which.to_string() },
        _ => ValueName::Action {
            instance: "main".into(),
            digest: DigestFunction::Sha256.digest(&which.to_be_bytes()),
        },
    }
}

async fn put_value(engine: &Engine, which: u64, bytes: &Bytes) {
    engine.put_value(name(which), bytes.clone()).await.unwrap();
}

async fn value(engine: &Engine, which: u64) -> Option<Bytes> {
    engine.get_value(&name(which)).await.unwrap()
}

fn files(dir: &Path) -> usize {
    let buckets = fs::read_dir(dir.join("large")).unwrap();
    buckets.map(|bucket| fs::read_dir(bucket.unwrap().path()).unwrap().count()).sum()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, u64, usize),
    PutAtOnce(Vec<(u64, u64, usize)>),
    Delete(u64),
    Blob(u64, usize),
    Reopen,
    /// The index loses all that it was told since it was opened.
    ReopenWithOldIndex,
}

fn step() -> impl Strategy<Value = Step> {
    // A few names, so that they are replaced often; sizes on both sides of `pack_below`.
    let put = || (0..6u64, any::<u64>(), prop_oneof![0..3000usize, 60_000..70_000usize]);
    prop_oneof![
        6 => put().prop_map(|(which, seed, len)| Step::Put(which, seed, len)),
        2 => proptest::collection::vec(put(), 1..6).prop_map(Step::PutAtOnce),
        3 => (0..6u64).prop_map(Step::Delete),
        2 => (0..9u64, 0..90_000usize).prop_map(|(seed, len)| Step::Blob(seed, len)),
        1 => Just(Step::Reopen),
        1 => Just(Step::ReopenWithOldIndex),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn values_do_what_a_map_does(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(compare(steps));
    }
}

async fn compare(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let (index, old) = (dir.path().join("index"), dir.path().join("old-index"));
    open(dir.path()).close().await;
    copy(&index, &old);
    let mut engine = open(dir.path());
    let mut model: HashMap<u64, Bytes> = HashMap::new();
    for step in steps {
        match step {
            Step::Put(which, seed, len) => {
                put_value(&engine, which, &blob(seed, len)).await;
                model.insert(which, blob(seed, len));
            }
            Step::PutAtOnce(values) => {
                let puts = values.iter().map(|(which, seed, len)| {
                    let engine = &engine;
                    async move { put_value(engine, *which, &blob(*seed, *len)).await }
                });
                futures::future::join_all(puts).await;
                // Of those to one name any may have come last.
                for (which, ..) in &values {
                    let now = value(&engine, *which).await.unwrap();
                    assert!(values.iter().any(|(w, seed, len)| w == which && blob(*seed, *len) == now));
                    model.insert(*which, now);
                }
            }
            Step::Delete(which) => {
                let deleted = engine.delete_value(&name(which)).await.unwrap();
                assert_eq!(deleted, model.remove(&which).is_some());
            }
            Step::Blob(seed, len) => {
                put(&engine, &blob(seed, len)).await;
            }
            Step::Reopen => {
                engine.close().await;
                copy(&index, &old);
                engine = open(dir.path());
            }
            Step::ReopenWithOldIndex => {
                engine.close().await;
                copy(&old, &index);
                engine = open(dir.path());
            }
        }
        for which in 0..6 {
            assert_eq!(value(&engine, which).await.as_ref(), model.get(&which));
        }
    }
    let sums = engine.shared().index.sums();
    let large = model.values().filter(|bytes| bytes.len() >= 65_536).count();
    assert!(files(dir.path()) >= large && sums.totals.blobs >= model.len() as u64);
    assert_eq!(engine.shared().metrics.corrupt.get(), 0);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_replaced_or_deleted_value_goes() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for seed in 0..5 {
        put_value(&engine, 1, &blob(seed, 200_000)).await;
        assert_eq!(files(dir.path()), 1);
    }
    put_value(&engine, 1, &blob(9, 10)).await;
    assert_eq!(files(dir.path()), 0);
    put_value(&engine, 1, &blob(9, 200_000)).await;
    assert!(engine.delete_value(&name(1)).await.unwrap());
    assert!(!engine.delete_value(&name(1)).await.unwrap());
    assert_eq!(files(dir.path()), 0);
    let sums = engine.shared().index.sums();
    assert_eq!((sums.totals.blobs, sums.totals.file_bytes), (0, 0));
    assert!(sums.segments.values().all(|account| account.live == 0));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_there_already_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for _ in 0..3 {
        put_value(&engine, 1, &blob(1, 100)).await;
    }
    assert_eq!(engine.shared().metrics.written_blobs.get(), 1);
    let too_large = engine.put_value(name(2), Bytes::from(vec![0; (64 << 20) + 1])).await;
    assert!(matches!(too_large, Err(Error::Invalid { .. })));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_share_budget_and_clock_with_blobs_and_survive_the_reclaim_of_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = EngineOptions { max_bytes: 8 * MIB, ..options() };
    let engine = Engine::open(dir.path(), options.clone(), Arc::new(clock.clone())).unwrap();
    put_value(&engine, 1, &blob(1 << 40, 5000)).await;
    put_value(&engine, 2, &blob(1 << 41, 100_000)).await;
    put_value(&engine, 3, &blob(1 << 42, 5000)).await;
    for seed in 0..600 {
        put(&engine, &blob(seed, 30_000)).await;
        put_value(&engine, 1000 + seed, &blob(seed, 30_000)).await;
        // Always the newest, while older records of it are still about.
        put_value(&engine, 4, &blob(seed, 2000)).await;
        clock.advance(Duration::from_secs(60));
        if seed % 8 == 0 {
            assert_eq!(value(&engine, 1).await.unwrap(), blob(1 << 40, 5000), "after {seed} minutes");
            assert_eq!(value(&engine, 2).await.unwrap(), blob(1 << 41, 100_000));
        }
        assert_eq!(value(&engine, 4).await.unwrap(), blob(seed, 2000));
        assert!(engine.shared().room.used() <= 8 * MIB);
    }
    assert!(engine.shared().metrics.reclaimed_segments.get() > 20);
    assert_eq!(engine.shared().metrics.corrupt.get(), 0);
    assert_eq!(value(&engine, 3).await, None, "not used, evicted");
    assert_eq!(value(&engine, 1000).await, None);
    engine.close().await;
    let engine = Engine::open(dir.path(), options, Arc::new(clock)).unwrap();
    assert_eq!(value(&engine, 1).await.unwrap(), blob(1 << 40, 5000));
    assert_eq!(value(&engine, 4).await.unwrap(), blob(599, 2000));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_what_was_replaced_meanwhile_is_not_made() {
    use crate::engine::{key::ValueKey, record, writer};
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put_value(&engine, 1, &blob(1, 100)).await;
    let key = ValueKey::from(&name(1));
    let old = engine.shared().index.get(&[key]).unwrap()[0].unwrap();
    put_value(&engine, 1, &blob(2, 100)).await;
    // As the evictor asks that read the old one just before.
    let header = record::Header::value(record::Form::Packed, key, old.content);
    let item = writer::Item::Moved { header, bytes: blob(1, 100), from: old.location };
    let (answer, done) = tokio::sync::oneshot::channel();
    let request = writer::Request { items: vec![item], memory: None, answer };
    engine.writer().send(request).await.unwrap();
    done.await.unwrap().unwrap();
    engine.close().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let engine = open(dir.path());
    assert_eq!(value(&engine, 1).await.unwrap(), blob(2, 100));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_values_are_gone_and_can_be_had_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put_value(&engine, 1, &blob(1, 5000)).await;
    put_value(&engine, 2, &blob(2, 5000)).await;
    put_value(&engine, 3, &blob(3, 100_000)).await;
    flip(&dir.path().join("segments/00000000"), 3000);
    assert_eq!(value(&engine, 1).await, None);
    assert_eq!(value(&engine, 2).await.unwrap(), blob(2, 5000));
    let bucket = dir.path().join("large").join(&DigestFunction::Blake3.digest(&blob(3, 100_000)).hex()[..2]);
    let file = fs::read_dir(bucket).unwrap().next().unwrap().unwrap().path();
    flip(&file, 70_000);
    assert_eq!(value(&engine, 3).await, None);
    assert_eq!(engine.shared().metrics.corrupt.get(), 2);
    put_value(&engine, 1, &blob(1, 5000)).await;
    assert_eq!(value(&engine, 1).await.unwrap(), blob(1, 5000));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_replacement_leaves_the_old_value() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put_value(&engine, 1, &blob(1, 5000)).await;
    engine.close().await;
    copy(&dir.path().join("index"), &dir.path().join("old-index"));
    let segment = dir.path().join("segments/00000000");
    let len = fs::metadata(&segment).unwrap().len();
    let engine = open(dir.path());
    put_value(&engine, 1, &blob(2, 5000)).await;
    engine.close().await;
    for cut in [1, 4000, 5000, 5080] {
        copy(&dir.path().join("old-index"), &dir.path().join("index"));
        let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
        file.set_len(len + 86 + 5000 - cut).unwrap();
        let engine = open(dir.path());
        assert_eq!(value(&engine, 1).await.unwrap(), blob(1, 5000), "{cut} bytes are missing");
        engine.close().await;
    }
}

/// What format 1 wrote for `abc`, packed: `format`, and the log. The index is made from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_format_1_opens_and_is_of_the_newest_from_then_on() {
    let record = concat!(
        "697377720102a9993e364706816aba3e25717850c26c9cd0d89d0000000000000003",
        "2983fb1271b1533a",
        "616263"
    );
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("segments")).unwrap();
    fs::write(dir.path().join("format"), "1\n").unwrap();
    fs::write(dir.path().join("segments/00000000"), hex::decode(record).unwrap()).unwrap();
    let engine = open(dir.path());
    let digest = DigestFunction::Sha1.digest(b"abc");
    assert_eq!(engine.get(digest).await.unwrap(), "abc");
    put_value(&engine, 1, &blob(1, 10)).await;
    engine.close().await;
    assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "3\n");
    let engine = open(dir.path());
    assert_eq!(engine.get(digest).await.unwrap(), "abc");
    assert_eq!(value(&engine, 1).await.unwrap(), blob(1, 10));
    engine.close().await;
}
