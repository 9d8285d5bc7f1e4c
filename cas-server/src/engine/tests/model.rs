//! Any sequence of calls and reopenings against a map.

use super::*;
use cas::Range;
use futures::TryStreamExt as _;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<(u64, usize)>),
    Stream(u64, usize),
    Wrong(u64),
    Read { which: usize, offset: u64, limit: Option<u64> },
    FindMissing,
    Reopen(Compression),
}

/// Every second one gets smaller.
fn content(seed: u64, len: usize) -> Bytes {
    if seed.is_multiple_of(2) { text(seed, len) } else { blob(seed, len) }
}

fn compression() -> impl Strategy<Value = Compression> {
    prop_oneof![Just(Compression::Off), Just(Compression::Zstd)]
}

fn step() -> impl Strategy<Value = Step> {
    let one = (0..40u64, prop_oneof![0..2000usize, 60_000..70_000usize]);
    prop_oneof![
        4 => proptest::collection::vec(one, 0..20).prop_map(Step::Batch),
        2 => (40..80u64, prop_oneof![9 => 0..900_000usize, 1 => 2_000_000..2_300_000usize]).prop_map(|(seed, len)| Step::Stream(seed, len)),
        1 => (0..80u64).prop_map(Step::Wrong),
        6 => (any::<usize>(), 0..1_500_000u64, proptest::option::of(0..1_500_000u64))
            .prop_map(|(which, offset, limit)| Step::Read { which, offset, limit }),
        2 => Just(Step::FindMissing),
        1 => compression().prop_map(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_a_map_does(first in compression(), steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(compare(first, steps));
    }
}

async fn compare(first: Compression, steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let open = |compress| {
        Engine::open(dir.path(), EngineOptions { compress, ..options() }, Arc::new(clock())).unwrap()
    };
    let mut engine = open(first);
    let mut model: HashMap<Digest, Bytes> = HashMap::new();
    for step in steps {
        match step {
            Step::Batch(blobs) => {
                let blobs: Vec<_> = blobs.into_iter().map(|(seed, len)| content(seed, len)).collect();
                let named = blobs.iter().map(|bytes| (DigestFunction::Sha1.digest(bytes), bytes.clone()));
                let named: Vec<_> = named.collect();
                model.extend(named.clone());
                assert!(engine.write_batch(named).await.unwrap().iter().all(Result::is_ok));
            }
            Step::Stream(seed, len) => {
                let bytes = content(seed, len);
                model.insert(put_stream(&engine, &bytes).await.unwrap(), bytes);
            }
            Step::Wrong(seed) => wrong_bytes(&engine, seed, &model).await,
            Step::Read { which, offset, limit } => {
                let Some((digest, bytes)) = model.iter().nth(which % model.len().max(1)) else { continue };
                read_part(&engine, *digest, bytes, Range { offset, limit }).await;
            }
            Step::FindMissing => {
                let absent = DigestFunction::Blake3.digest(b"never written");
                let asked: Vec<_> = model.keys().copied().chain([absent]).collect();
                assert_eq!(engine.find_missing(&asked).await.unwrap(), [absent]);
            }
            Step::Reopen(compress) => {
                engine.close().await;
                engine = open(compress);
            }
        }
    }
    let digests: Vec<_> = model.keys().copied().collect();
    for (digest, found) in digests.iter().zip(engine.read_batch(&digests).await.unwrap()) {
        assert_eq!(found.unwrap(), model[digest]);
    }
    for (digest, found) in digests.iter().zip(engine.read_batch_stored(&digests).await.unwrap()) {
        assert_eq!(super::compressed::plain(found.unwrap()), model[digest]);
    }
    super::compressed::assert_accounts(&engine);
    assert_eq!(engine.shared().metrics.corrupt.get(), 0);
    engine.close().await;
}

async fn wrong_bytes(engine: &Engine, seed: u64, model: &HashMap<Digest, Bytes>) {
    let digest = DigestFunction::Sha1.digest(&blob(seed, 100_000));
    let source = futures::stream::iter([Ok(blob(seed, 99_999))]).boxed();
    let written = engine.write(digest, source).await;
    assert!(model.contains_key(&digest) || matches!(written, Err(Error::Mismatch { .. })));
    assert_eq!(engine.contains(digest).await.unwrap(), model.contains_key(&digest));
}

pub(super) async fn read_part(engine: &Engine, digest: Digest, bytes: &Bytes, range: Range) {
    let read = engine.read(digest, range).await;
    if range.offset > digest.size() {
        assert!(matches!(read, Err(Error::Invalid { .. })));
        return;
    }
    let start = usize::try_from(range.offset).unwrap();
    let len = usize::try_from(range.limit.unwrap_or(u64::MAX)).unwrap();
    let expected = bytes.slice(start..bytes.len().min(start.saturating_add(len)));
    let read: Vec<Bytes> = read.unwrap().try_collect().await.unwrap();
    assert_eq!(read.concat(), expected);
    let rest = super::compressed::read_stored(engine, digest, range.offset).await.unwrap();
    assert_eq!(super::compressed::plain(rest), bytes.slice(start..));
}
