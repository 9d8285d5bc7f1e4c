//! What every blob store does.

use super::*;
use cas::testing::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_a_blob_store() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions { max_bytes: 1 << 30, ..EngineOptions::default() };
    let engine = Engine::open(dir.path(), options.clone(), Arc::new(clock())).unwrap();
    conformance::all(&engine).await;
    engine.close().await;
    // Also one that has everything already.
    let engine = Engine::open(dir.path(), options, Arc::new(clock())).unwrap();
    let digest = put(&engine, &blob(1, 10)).await;
    assert_eq!(engine.find_hash(DigestFunction::Blake3, digest.hash().to_vec()).await.unwrap(), Some(digest));
    assert_eq!(engine.find_hash(DigestFunction::Sha256, digest.hash().to_vec()).await.unwrap(), None);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_no_blob_has_cost_those_that_claim_them_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let bytes = blob(1, 100);
    let right = DigestFunction::Sha256.digest(&bytes);
    let wrong = Digest::new(right.function(), right.hash(), u64::MAX / 2).unwrap();
    let batch = [wrong, right, wrong, wrong].map(|digest| (digest, bytes.clone()));
    let outcomes = engine.write_batch(batch.to_vec()).await.unwrap();
    assert!(outcomes[1].is_ok(), "{outcomes:?}");
    for at in [0, 2, 3] {
        assert!(matches!(outcomes[at], Err(Error::Mismatch { .. })), "{outcomes:?}");
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_uploads_at_a_time_share_their_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let uploads = (0..500).map(|seed| {
        let engine = &engine;
        async move { put(engine, &blob(seed, 100)).await }
    });
    let digests = futures::future::join_all(uploads).await;
    assert!(engine.find_missing(&digests).await.unwrap().is_empty());
    let commits = engine.shared().metrics.commits.get();
    assert!(commits < 250, "500 blobs took {commits} syncs");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_at_a_time_than_memory_has_are_refused_after_a_while_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions { max_memory: MIB, patience: Duration::from_millis(50), ..options() };
    let engine = Arc::new(Engine::open(dir.path(), options, Arc::new(clock())).unwrap());
    // An upload that stands still holds the memory …
    let slow = DigestFunction::Blake3.digest(&blob(1, 200_000));
    let (hold, held) = tokio::sync::oneshot::channel::<Bytes>();
    let source = futures::stream::once(async { Ok(held.await.unwrap()) }).boxed();
    let writing = engine.write(slow, source);
    let other = async {
        let refused = loop {
            let bytes = blob(2, 1000);
            match engine.write_batch(vec![(DigestFunction::Blake3.digest(&bytes), bytes)]).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        // … until it ends.
        hold.send(blob(1, 200_000)).unwrap();
        refused
    };
    let (written, refused) = futures::join!(writing, other);
    written.unwrap();
    assert!(refused.is_transient(), "{refused}");
    put(&engine, &blob(3, 1000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_writer_says_that_it_does_not_work() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open(dir.path());
    engine.health().unwrap();
    engine.lose_writer();
    let lost = async {
        while engine.health().is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lost).await.unwrap();
    assert!(engine.health().unwrap_err().to_string().contains("writer"));
}
