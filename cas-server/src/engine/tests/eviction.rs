//! The budget holds, the least recently used go first, and what is in use never goes.

use super::*;
use tokio::task::JoinSet;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Store {
    pub(super) dir: tempfile::TempDir,
    pub(super) clock: ManualClock,
    pub(super) engine: Engine,
}

impl Store {
    pub(super) fn new(max_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = clock();
        let options = EngineOptions { max_bytes, ..options() };
        let engine = Engine::open(dir.path(), options, Arc::new(clock.clone())).unwrap();
        Self { dir, clock, engine }
    }

    pub(super) async fn reopen(self) -> Self {
        let Self { dir, clock, engine } = self;
        let options = engine.shared().options.clone();
        engine.close().await;
        let engine = Engine::open(dir.path(), options, Arc::new(clock.clone())).unwrap();
        Self { dir, clock, engine }
    }

    fn used(&self) -> u64 {
        self.engine.shared().room.used()
    }
}

/// Writes blobs of `len` bytes, one a minute, until five times the budget went through. Gives them in order.
pub(super) async fn churn(store: &Store, len: usize) -> Vec<Digest> {
    let budget = store.engine.shared().options.max_bytes;
    let count = 5 * budget / len as u64;
    let mut written = Vec::new();
    for seed in 0..count {
        written.push(put(&store.engine, &blob(seed, len)).await);
        store.clock.advance(MINUTE);
        assert!(store.used() <= budget, "{} of {budget} bytes after {seed} blobs", store.used());
    }
    written
}

/// What is missing once the round of eviction that may be under way has ended.
async fn settled(store: &Store, written: &[Digest]) -> Vec<Digest> {
    let mut rounds = store.engine.shared().room.rounds();
    store.engine.shared().room.wake();
    rounds.changed().await.unwrap();
    store.engine.find_missing(written).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_blobs_stay_within_the_budget_and_the_oldest_go_first() {
    let store = Store::new(8 * MIB);
    let written = churn(&store, 50_000).await;
    let missing = settled(&store, &written).await;
    assert_eq!(missing, written[..missing.len()], "those that are gone are the oldest");
    let kept = (written.len() - missing.len()) as u64 * 50_000;
    assert!(kept > 4 * MIB, "{kept} bytes are still there");
    for (seed, digest) in written.iter().enumerate().skip(missing.len()) {
        assert_eq!(store.engine.get(*digest).await.unwrap(), blob(seed as u64, 50_000));
    }
    let metrics = &store.engine.shared().metrics;
    assert!(metrics.reclaimed_segments.get() > 20);
    assert_eq!(metrics.evicted_blobs.get(), missing.len() as u64);
    assert!(metrics.evicted_age.get() >= 12 * 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_stay_within_the_budget_and_leave_no_files_behind() {
    let store = Store::new(8 * MIB);
    let written = churn(&store, 200_000).await;
    let missing = settled(&store, &written).await;
    assert_eq!(missing, written[..missing.len()]);
    assert!(written.len() - missing.len() > 25);
    let buckets = std::fs::read_dir(store.dir.path().join("large")).unwrap();
    let files: usize = buckets.map(|bucket| std::fs::read_dir(bucket.unwrap().path()).unwrap().count()).sum();
    assert_eq!(files, written.len() - missing.len());
    assert_eq!(std::fs::read_dir(store.dir.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_again_and_again_outlives_everything_else() {
    let store = Store::new(8 * MIB);
    let dear =
        [put(&store.engine, &blob(1 << 40, 30_000)).await, put(&store.engine, &blob(1 << 41, 300_000)).await];
    for seed in 0..600 {
        put(&store.engine, &blob(seed, 60_000)).await;
        store.clock.advance(MINUTE);
        if seed % 8 == 0 {
            assert!(store.engine.find_missing(&dear).await.unwrap().is_empty(), "gone after {seed} minutes");
        }
    }
    assert_eq!(store.engine.get(dear[0]).await.unwrap(), blob(1 << 40, 30_000));
    assert_eq!(store.engine.get(dear[1]).await.unwrap(), blob(1 << 41, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_under_lease_are_not_evicted_but_uploads_refused_until_the_lease_ends() {
    let store = Store::new(4 * MIB);
    let mut written = Vec::new();
    let refused = loop {
        let bytes = blob(written.len() as u64, 100_000);
        let digest = DigestFunction::Blake3.digest(&bytes);
        match store.engine.write_batch(vec![(digest, bytes)]).await.unwrap().pop().unwrap() {
            Ok(()) => written.push(digest),
            Err(error) => break error,
        }
        assert!(written.len() < 100);
    };
    assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    assert!(refused.to_string().contains("--max-size"));
    assert!(store.engine.find_missing(&written).await.unwrap().is_empty());
    // What is there already needs no room.
    put(&store.engine, &blob(0, 100_000)).await;
    store.clock.advance(store.engine.shared().options.protection() + MINUTE);
    let digest = put_stream(&store.engine, &blob(1 << 40, 100_000)).await.unwrap();
    assert!(store.engine.contains(digest).await.unwrap());
    assert!(!store.engine.find_missing(&written).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_gets_the_room_of_old_ones_also_below_the_high_mark() {
    let store = Store::new(8 * MIB);
    let mut seed = 0;
    // Not full enough for eviction to begin by itself, but too full for what comes.
    while store.used() < 7 * MIB {
        put(&store.engine, &blob(seed, 50_000)).await;
        store.clock.advance(MINUTE);
        seed += 1;
    }
    assert_eq!(store.engine.shared().metrics.evicted_blobs.get(), 0);
    let large = put_stream(&store.engine, &blob(1 << 40, 3 << 20)).await.unwrap();
    assert!(store.engine.contains(large).await.unwrap());
    assert!(store.used() <= 8 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_larger_than_the_store_is_refused_at_once() {
    let store = Store::new(4 * MIB);
    let refused = put_stream(&store.engine, &blob(0, 5 << 20)).await.unwrap_err();
    assert!(
        matches!(refused, Error::Invalid { .. }) && refused.to_string().contains("larger than"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_their_segments_are_reclaimed() {
    let store = Arc::new(Store::new(8 * MIB));
    let dear: Vec<_> = (0..20).map(|seed| blob((1 << 40) + seed, 20_000)).collect();
    for bytes in &dear {
        put(&store.engine, bytes).await;
    }
    // A task of its own: what it reads is in memory, and it would never let the writer have its turn.
    let mut reader = JoinSet::new();
    reader.spawn({
        let (store, dear) = (Arc::clone(&store), dear.clone());
        async move {
            while store.engine.shared().metrics.reclaimed_segments.get() < 30 {
                for bytes in &dear {
                    assert_eq!(store.engine.get(DigestFunction::Blake3.digest(bytes)).await.unwrap(), bytes);
                }
            }
        }
    });
    churn(&store, 40_000).await;
    reader.join_all().await;
    assert_eq!(store.engine.shared().metrics.corrupt.get(), 0);
}
