//! kill -9 during uploads and pinning: what was acknowledged is there, and nothing lies around that nobody knows.

use crate::support::Program;
use bytes::Bytes;
use cas::{
    BlobStore as _, BlobStoreExt as _,
    isolated::{Entry, Isolated},
    testing,
};
use proto::{Digest, DigestFunction, v1};
use std::{
    collections::HashMap,
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

/// Uploads a manifest with a file and pins it, until the server is gone. Gives what was acknowledged.
async fn pin(server: Arc<Program>, worker: u64, acknowledged: Arc<Acknowledged>) {
    let (store, mut pins) = (server.store(), server.pins());
    for at in 0.. {
        let seed = (worker << 32) + at;
        let Ok(file) = store.put(DigestFunction::Blake3, testing::noise(seed, 5000)).await else { return };
        let files = [("file".parse().unwrap(), Entry::File { digest: file, mode: None })].into();
        let manifest = Isolated { files, ..Isolated::new(DigestFunction::Blake3) }.to_bytes();
        let len = manifest.len();
        let Ok(root) = store.put(DigestFunction::Blake3, manifest.into()).await else { return };
        let request = v1::CreatePinRequest {
            name: seed.to_string(),
            root: Some(root.into()),
            kind: v1::PinKind::Isolated.into(),
            lifetime: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        };
        if pins.create_pin(request).await.is_err() {
            return;
        }
        acknowledged.blobs.lock().unwrap().push((root, seed, len));
        acknowledged.news.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_pin_is_missing_or_incomplete_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(Acknowledged::default());
    for round in 1..=8_u64 {
        let server = Arc::new(Program::start(dir.path()));
        let mut pinning = JoinSet::new();
        for worker in 0..4 {
            pinning.spawn(pin(Arc::clone(&server), 100 * round + worker, Arc::clone(&acknowledged)));
        }
        let before = acknowledged.blobs.lock().unwrap().len();
        while acknowledged.blobs.lock().unwrap().len() < before + 5 * usize::try_from(round).unwrap() {
            tokio::time::timeout(Duration::from_secs(60), acknowledged.news.notified())
                .await
                .expect("pinning goes on");
        }
        rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL).unwrap();
        while pinning.join_next().await.is_some() {}
        Arc::into_inner(server).expect("pinning has ended").kill();

        let server = Program::start(dir.path());
        let listed = server.pins().list_pins(v1::ListPinsRequest {}).await.unwrap().into_inner().pins;
        let roots: HashMap<String, v1::Pin> = listed.into_iter().map(|pin| (pin.name.clone(), pin)).collect();
        for (root, seed, _) in acknowledged.blobs.lock().unwrap().iter() {
            let pin = &roots[&seed.to_string()];
            assert_eq!((pin.root.clone(), pin.blobs), (Some((*root).into()), 2));
        }
        let digests: Vec<Digest> =
            roots.values().map(|pin| pin.root.as_ref().unwrap().try_into().unwrap()).collect();
        assert_eq!(server.store().find_missing(&digests).await.unwrap(), []);
        server.kill();
    }
}
