//! How fast the CAS takes and gives blobs, durably, over loopback.

use bytes::Bytes;
use cas::{BlobStore as _, Range, remote::RemoteStore, testing};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::{Digest, DigestFunction};
use runtime::{Clock as _, SystemClock, connect::channel};
use tests::Program;

fn batch(from: u64) -> Vec<(Digest, Bytes)> {
    let named = |seed| {
        let bytes = testing::noise(seed, 1024);
        (DigestFunction::Sha256.digest(&bytes), bytes)
    };
    (from..from + 100).map(named).collect()
}

/// Prints the part of the table on blobs.
pub(crate) async fn bench() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--listen", "127.0.0.1:0", "--data", dir.path().to_str().unwrap()];
    let server = Program::start("cas-server", args).await;
    let store = RemoteStore::new(channel(server.url(), None).unwrap(), "");
    println!("\nCAS alone, SHA-256, every write synced");
    small(&store).await;
    large(&store).await;
    assert!(server.terminate().await.success());
}

async fn small(store: &RemoteStore) {
    const BATCHES: u64 = 200;
    let clock = SystemClock::new();
    for concurrency in [1, 8, 64] {
        let batches: Vec<_> = (0..BATCHES).map(|i| batch((concurrency as u64 * BATCHES + i) * 100)).collect();
        let digests: Vec<Vec<Digest>> =
            batches.iter().map(|batch| batch.iter().map(|(digest, _)| *digest).collect()).collect();
        let start = clock.elapsed();
        let writes =
            stream::iter(batches).map(|batch| store.write_batch(batch)).buffer_unordered(concurrency);
        writes.try_for_each(|_| async { Ok(()) }).await.unwrap();
        let wrote = (clock.elapsed() - start).as_secs_f64();
        let start = clock.elapsed();
        let reads = stream::iter(&digests).map(|batch| store.read_batch(batch)).buffer_unordered(concurrency);
        reads.try_for_each(|_| async { Ok(()) }).await.unwrap();
        let read = (clock.elapsed() - start).as_secs_f64();
        let count = (BATCHES * 100) as f64;
        println!(
            "1 KiB x 100, {concurrency} calls at a time: {:.0} blobs/s written, {:.0} blobs/s read",
            count / wrote,
            count / read
        );
    }
}

async fn large(store: &RemoteStore) {
    let clock = SystemClock::new();
    for seed in 0..3 {
        let bytes = testing::noise(seed, 64 << 20);
        let digest = DigestFunction::Sha256.digest(&bytes);
        let source = testing::stream_of(bytes, 1 << 20);
        let start = clock.elapsed();
        store.write(digest, source).await.unwrap();
        let wrote = (clock.elapsed() - start).as_secs_f64();
        let start = clock.elapsed();
        let stream = store.read(digest, Range::ALL).await.unwrap();
        stream.try_for_each(|_| async { Ok(()) }).await.unwrap();
        let read = (clock.elapsed() - start).as_secs_f64();
        let megabytes = f64::from(64 << 20) / 1e6;
        println!("64 MiB: {:.0} MB/s written, {:.0} MB/s read", megabytes / wrote, megabytes / read);
    }
}
