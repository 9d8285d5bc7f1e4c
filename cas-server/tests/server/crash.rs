//! kill -9 during uploads: what was acknowledged is there, and nothing lies around that nobody knows.

use crate::support::Program;
use bytes::Bytes;
use cas::{BlobStore as _, BlobStoreExt as _, testing};
use proto::{Digest, DigestFunction};
use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// What was acknowledged so far, of whom.
#[derive(Default)]
struct Acknowledged {
    blobs: Mutex<Vec<(Digest, u64, usize)>>,
    news: Notify,
}

/// Uploads by batch and by stream until the server is gone. Seeds name the bytes.
async fn upload(server: Arc<Program>, seeds: Arc<AtomicU64>, acknowledged: Arc<Acknowledged>) {
    let store = server.store();
    loop {
        let seed = seeds.fetch_add(10, Ordering::Relaxed);
        let lens = if seed.is_multiple_of(50) { vec![1_500_000] } else { vec![10, 1000, 40_000, 3000, 1] };
        let blobs: Vec<(Digest, Bytes, u64)> =
            (seed..).zip(&lens).map(|(seed, len)| named(seed, *len)).collect();
        let batch: Vec<_> = blobs.iter().map(|(digest, bytes, _)| (*digest, bytes.clone())).collect();
        let outcomes = match &blobs[..] {
            [(digest, bytes, _)] => {
                vec![store.write(*digest, testing::stream_of(bytes.clone(), 200_000)).await]
            }
            _ => match store.write_batch(batch).await {
                Ok(outcomes) => outcomes,
                Err(_) => return,
            },
        };
        if outcomes.iter().any(Result::is_err) {
            return;
        }
        let new = blobs.iter().map(|(digest, bytes, seed)| (*digest, *seed, bytes.len()));
        acknowledged.blobs.lock().unwrap().extend(new);
        acknowledged.news.notify_one();
    }
}

fn named(seed: u64, len: usize) -> (Digest, Bytes, u64) {
    let bytes = testing::noise(seed, len);
    (DigestFunction::Blake3.digest(&bytes), bytes, seed)
}

/// Every large file is one that the server answers for.
async fn assert_no_orphans(server: &Program, data: &Path) {
    let buckets = fs::read_dir(data.join("large")).unwrap().map(|bucket| bucket.unwrap().path());
    let files = buckets.flat_map(|bucket| fs::read_dir(bucket).unwrap());
    let names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let digest = |name: &String| {
        let parts: Vec<_> = name.split(['-', '.']).collect();
        format!("{}:{}/{}", parts[0], parts[1], parts[2]).parse::<Digest>().unwrap()
    };
    let digests: Vec<Digest> = names.iter().map(digest).collect();
    assert_eq!(server.store().find_missing(&digests).await.unwrap(), []);
    let mut unique = digests.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), digests.len(), "one file for each blob");
    for upload in fs::read_dir(data.join("uploads")).unwrap() {
        let name = upload.unwrap().file_name();
        assert!(name.to_str().unwrap().starts_with("1."), "{name:?} is no upload that can go on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_blob_is_missing_after_kill_9_however_often() {
    let dir = tempfile::tempdir().unwrap();
    let seeds = Arc::new(AtomicU64::new(0));
    let acknowledged = Arc::new(Acknowledged::default());
    for round in 1..=10usize {
        let server = Arc::new(Program::start(dir.path()));
        let mut uploads = JoinSet::new();
        for _ in 0..6 {
            uploads.spawn(upload(Arc::clone(&server), Arc::clone(&seeds), Arc::clone(&acknowledged)));
        }
        let before = acknowledged.blobs.lock().unwrap().len();
        while acknowledged.blobs.lock().unwrap().len() < before + 37 * round {
            tokio::time::timeout(Duration::from_secs(60), acknowledged.news.notified())
                .await
                .expect("uploads go on");
        }
        let pid = server.pid();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        while uploads.join_next().await.is_some() {}
        Arc::into_inner(server).expect("uploads have ended").kill();

        let server = Program::start(dir.path());
        let blobs = acknowledged.blobs.lock().unwrap().clone();
        let digests: Vec<_> = blobs.iter().map(|(digest, ..)| *digest).collect();
        assert_eq!(server.store().find_missing(&digests).await.unwrap(), []);
        for (digest, seed, len) in blobs.iter().rev().take(500) {
            assert_eq!(server.store().get(*digest).await.unwrap(), testing::noise(*seed, *len));
        }
        assert_no_orphans(&server, dir.path()).await;
        server.kill();
    }
}
