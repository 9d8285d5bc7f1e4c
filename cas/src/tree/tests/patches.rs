//! Manifests that go up as patches of those before them.

use super::*;
use bytes::Bytes;

/// Manifests of one root, sent to one store one after the other.
struct Sender<S> {
    dir: TempDir,
    store: Recording<S>,
}

impl<S: BlobStore> Sender<S> {
    fn new(store: S) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), store: Recording::new(store) }
    }

    /// Sends a manifest of `files` files one of which is the `version`th: what that came to, and the calls it took.
    async fn send(&self, files: usize, version: usize) -> (Digest, Uploaded, Vec<Call>) {
        let mut sources = Sources::new();
        let last = LastManifest::of(self.dir.path(), self.dir.path());
        let digest = sources.add_manifest(FUNCTION, manifest(files, version), Some(last));
        let uploaded = upload(&self.store, &sources, &Silent).await.unwrap();
        (digest, uploaded, self.store.calls())
    }

    fn kept(&self) -> Vec<PathBuf> {
        fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn manifest(files: usize, version: usize) -> Bytes {
    let mut isolated = Isolated::new(FUNCTION);
    for number in 0..files {
        let version = if number == files / 2 { version } else { 0 };
        let digest = FUNCTION.digest(format!("{number} {version}").as_bytes());
        isolated.files.insert(path(&format!("dir/file-{number}")), Entry::File { digest, mode: Some(0o644) });
    }
    isolated.to_bytes().into()
}

/// As many as make more than 256 KiB, in one batch.
const FILES: usize = 4000;

const ASKED: Call = Call::FindMissing(1);

#[tokio::test]
async fn a_manifest_goes_up_as_a_patch_of_the_one_before_it_and_an_unchanged_one_not_at_all() {
    let sender = Sender::new(MemoryStore::new());
    let (_, first, calls) = sender.send(FILES, 0).await;
    assert_eq!(calls, [ASKED, Call::WriteBatch(1)]);
    assert_eq!(first.uploaded_bytes, manifest(FILES, 0).len() as u64);
    for version in 1..4 {
        let (digest, uploaded, calls) = sender.send(FILES, version).await;
        assert_eq!(calls, [ASKED, Call::WritePatch]);
        assert!(uploaded.uploaded_blobs == 1 && uploaded.uploaded_bytes < 100, "{uploaded:?}");
        assert!(sender.store.inner().get(digest).await.unwrap() == manifest(FILES, version));
    }
    let kept = sender.kept();
    assert_eq!(kept.len(), 1);
    let before = fs::metadata(&kept[0]).unwrap();
    assert_eq!(sender.send(FILES, 3).await.2, [ASKED]);
    assert_eq!(sender.send(FILES, 0).await.2, [ASKED]);
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(fs::metadata(&kept[0]).unwrap().ino(), before.ino(), "nothing was kept anew");
}

#[tokio::test]
async fn one_too_large_for_a_batch_is_a_stream_first_and_then_a_patch() {
    let sender = Sender::new(MemoryStore::new());
    assert_eq!(sender.send(50_000, 0).await.2, [ASKED, Call::Write]);
    assert_eq!(sender.send(50_000, 1).await.2, [ASKED, Call::WritePatch]);
}

#[tokio::test]
async fn a_base_that_the_store_has_lost_costs_a_call_and_the_next_one_is_a_patch_again() {
    let sender = Sender::new(MemoryStore::new());
    let (first, ..) = sender.send(FILES, 0).await;
    assert!(sender.store.inner().remove(first));
    let (digest, uploaded, calls) = sender.send(FILES, 1).await;
    assert_eq!(calls, [ASKED, Call::WritePatch, Call::WriteBatch(1)]);
    assert_eq!(uploaded.uploaded_bytes, digest.size());
    assert!(sender.store.inner().get(digest).await.unwrap() == manifest(FILES, 1));
    assert_eq!(sender.send(FILES, 2).await.2, [ASKED, Call::WritePatch]);
    // The same once more: a patch of itself is none.
    assert!(sender.store.inner().remove(sender.send(FILES, 2).await.0));
    assert_eq!(sender.send(FILES, 2).await.2, [ASKED, Call::WriteBatch(1)]);
}

#[tokio::test]
async fn a_store_that_takes_no_patches_gets_the_whole_whatever_it_says() {
    let errors: [fn() -> crate::Error; 3] = [
        || crate::Error::Invalid { reason: "unknown service".into() },
        || crate::Error::Unavailable { reason: "no healthy upstream".into() },
        || crate::Error::Denied { reason: "not for you".into() },
    ];
    for error in errors {
        let sender =
            Sender::new(Faulty::new(MemoryStore::new(), move |call| (call == Call::WritePatch).then(error)));
        sender.send(FILES, 0).await;
        let (digest, _, calls) = sender.send(FILES, 1).await;
        assert_eq!(calls, [ASKED, Call::WritePatch, Call::WriteBatch(1)]);
        assert!(sender.store.inner().inner().get(digest).await.unwrap() == manifest(FILES, 1));
    }
}

#[tokio::test]
async fn what_is_kept_and_damaged_counts_as_none() {
    let sender = Sender::new(MemoryStore::new());
    sender.send(FILES, 0).await;
    let kept = sender.kept().remove(0);
    let good = fs::read(&kept).unwrap();
    let line = good.iter().rposition(|byte| *byte == b'\n').unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let damaged = [
        Vec::new(),
        good[..10].to_vec(),
        good[..line].to_vec(),
        good[..=line].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        flipped(0),
        flipped(30),
        flipped(line),
        flipped(good.len() - 1),
    ];
    for (version, bytes) in damaged.into_iter().enumerate() {
        fs::write(&kept, bytes).unwrap();
        let (_, _, calls) = sender.send(FILES, version + 1).await;
        assert_eq!(calls, [ASKED, Call::WriteBatch(1)], "{version}");
    }
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    // Nor can another one be put in its place, which fails nothing.
    assert_eq!(sender.send(FILES, 100).await.2, [ASKED, Call::WriteBatch(1)]);
}

#[tokio::test]
async fn small_manifests_are_not_kept() {
    let sender = Sender::new(MemoryStore::new());
    for version in 0..2 {
        assert_eq!(sender.send(1000, version).await.2, [ASKED, Call::WriteBatch(1)]);
    }
    assert!(sender.kept().is_empty());
}

#[tokio::test]
async fn a_store_that_takes_no_patches_is_asked_once_for_all_manifests_of_an_upload() {
    let refuses =
        |call| (call == Call::WritePatch).then(|| crate::Error::Invalid { reason: "unknown".into() });
    let sender = Sender::new(Faulty::new(MemoryStore::new(), refuses));
    sender.send(FILES, 0).await;
    let mut sources = Sources::new();
    for version in 1..4 {
        let last = LastManifest::of(sender.dir.path(), sender.dir.path());
        sources.add_manifest(FUNCTION, manifest(FILES, version), Some(last));
    }
    upload(&sender.store, &sources, &Silent).await.unwrap();
    assert_eq!(sender.store.calls(), [Call::FindMissing(3), Call::WritePatch, Call::WriteBatch(3)]);
}

#[tokio::test]
async fn what_goes_into_a_local_cache_is_no_patch_and_not_kept() {
    let sender = Sender::new(MemoryStore::new());
    sender.send(FILES, 0).await;
    let mut sources = Sources::new();
    let last = LastManifest::of(sender.dir.path(), sender.dir.path());
    sources.add_manifest(FUNCTION, manifest(FILES, 1), Some(last));
    sources.forget_last();
    let local = Recording::new(MemoryStore::new());
    upload(&local, &sources, &Silent).await.unwrap();
    assert_eq!(local.calls(), [ASKED, Call::WriteBatch(1)]);
    assert_eq!(sender.send(FILES, 1).await.2, [ASKED, Call::WritePatch], "the base is what was sent");
}
