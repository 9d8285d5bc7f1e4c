//! What goes up, and what happens when it does not.

use super::*;
use crate::tree::early::{collect, kept};
use std::collections::HashSet;

#[tokio::test]
async fn only_what_is_missing_is_sent() {
    let root = tree(&[("a", b"1"), ("b", b"22")]);
    let store = MemoryStore::new();
    store.put(FUNCTION, (&b"22"[..]).into()).await.unwrap();
    let uploaded = upload(&store, &everything(root.path()).sources, &Silent).await.unwrap();
    let expected = Uploaded { uploaded_blobs: 1, uploaded_bytes: 1, present_blobs: 1, present_bytes: 2 };
    assert_eq!(uploaded, expected);
}

#[tokio::test]
async fn many_small_files_go_in_few_calls_and_large_ones_as_streams() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..limits::MAX_BATCH_BLOBS + 10 {
        fs::write(root.path().join(i.to_string()), i.to_string()).unwrap();
    }
    fs::write(root.path().join("large"), noise(1, 5_000_000)).unwrap();
    let store = Recording::new(MemoryStore::new());
    upload(&store, &everything(root.path()).sources, &Silent).await.unwrap();
    let mut calls = store.calls();
    calls.sort_by_key(|call| format!("{call:?}"));
    let first = limits::MAX_BATCH_BLOBS;
    assert_eq!(
        calls,
        [Call::FindMissing(first + 11), Call::Write, Call::WriteBatch(10), Call::WriteBatch(first)]
    );
}

/// Reads the tree below `root` and sends what is read meanwhile.
async fn read_and_sent(
    store: &dyn BlobStore,
    root: &Path,
) -> (Result<Snapshot, Error>, Result<Early, Error>) {
    let (outlet, inlet) = early();
    let root = root.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let options = SnapshotOptions::default();
        snapshot(&root, &[Input::Everything], &options, &HashCache::disabled(), Some(&outlet), &Silent)
    });
    let sent = upload_early(store, inlet, &Silent).await;
    (reading.await.unwrap(), sent)
}

/// A tree of so many files, two of each content.
fn pairs(files: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for i in 0..files {
        write(&root.path().join(format!("{}/{i}", i % 7)), (i / 2).to_string().as_bytes());
    }
    root
}

#[tokio::test]
async fn small_files_are_sent_while_others_are_read_each_once_and_never_read_again() {
    let threads = std::thread::available_parallelism().unwrap().get() + 1;
    let files = 2 * threads * limits::MAX_BATCH_BLOBS;
    let root = pairs(files);
    let store = Recording::new(MemoryStore::new());
    let (snapshot, sent) = read_and_sent(&store, root.path()).await;
    let (snapshot, sent) = (snapshot.unwrap(), sent.unwrap());
    root.close().unwrap();
    assert!(sent.uploaded.uploaded_blobs >= limits::MAX_BATCH_BLOBS as u64 / 2, "{:?}", sent.uploaded);
    assert_eq!(sent.uploaded.uploaded_blobs as usize, store.inner().len());

    let mut rest = snapshot.sources.clone();
    rest.remove_all(&sent.digests);
    let mut uploaded = upload(&store, &rest, &Silent).await.unwrap();
    uploaded += sent.uploaded;
    assert_eq!((uploaded.uploaded_blobs as usize, uploaded.present_blobs), (files / 2, 0));
    let written =
        store.calls().into_iter().map(|call| if let Call::WriteBatch(count) = call { count } else { 0 });
    assert_eq!(written.sum::<usize>(), files / 2);
    let named: Vec<Digest> = snapshot.files.values().filter_map(Entry::digest).collect();
    assert_eq!((named.len(), store.find_missing(&named).await.unwrap()), (files, vec![]));
}

#[tokio::test]
async fn what_the_store_has_is_asked_for_and_not_sent_while_others_are_read() {
    let root = pairs(4 * limits::MAX_BATCH_BLOBS);
    let store = Recording::new(MemoryStore::new());
    upload(&store, &everything(root.path()).sources, &Silent).await.unwrap();
    store.calls();
    let (snapshot, sent) = read_and_sent(&store, root.path()).await;
    let (snapshot, sent) = (snapshot.unwrap(), sent.unwrap());
    assert_eq!(sent.uploaded.uploaded_blobs, 0);
    assert_eq!(sent.uploaded.present_blobs as usize, sent.digests.len());
    // What filled no batch is asked for later, and may have been sent with another file.
    let named: HashSet<Digest> = snapshot.files.values().filter_map(Entry::digest).collect();
    let dealt_with: HashSet<Digest> =
        snapshot.sources.digests().chain(sent.digests.iter().copied()).collect();
    assert!(!sent.digests.is_empty() && snapshot.sources.len() < 2 * limits::MAX_BATCH_BLOBS);
    assert_eq!((dealt_with.len(), dealt_with), (2 * limits::MAX_BATCH_BLOBS, named));
    assert!(store.calls().iter().all(|call| matches!(call, Call::FindMissing(_))));
}

#[tokio::test]
async fn what_goes_to_somebody_who_keeps_only_a_part_can_be_read_again() {
    let threads = std::thread::available_parallelism().unwrap().get() + 1;
    let root = pairs(2 * threads * limits::MAX_BATCH_BLOBS);
    let (outlet, inlet) = kept();
    let path = root.path().to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let options = SnapshotOptions::default();
        snapshot(&path, &[Input::Everything], &options, &HashCache::disabled(), Some(&outlet), &Silent)
    });
    assert!(!collect(inlet, 1).await.is_empty());
    let (snapshot, store) = (reading.await.unwrap().unwrap(), MemoryStore::new());
    upload(&store, &snapshot.sources, &Silent).await.unwrap();
    let named: Vec<Digest> = snapshot.files.values().filter_map(Entry::digest).collect();
    assert_eq!(store.find_missing(&named).await.unwrap(), []);
}

#[tokio::test]
async fn reading_ends_when_what_is_read_cannot_be_sent() {
    let threads = std::thread::available_parallelism().unwrap().get() + 1;
    let root = pairs(2 * threads * limits::MAX_BATCH_BLOBS);
    let full =
        |call| matches!(call, Call::WriteBatch(_)).then(|| crate::Error::Exhausted { reason: "full".into() });
    let store = Faulty::new(MemoryStore::new(), full);
    let (snapshot, sent) = read_and_sent(&store, root.path()).await;
    assert!(matches!(sent, Err(Error::Store(crate::Error::Exhausted { .. }))), "{sent:?}");
    // It may have read the last file before.
    assert!(
        snapshot.is_ok() || matches!(&snapshot, Err(Error::Store(crate::Error::Io { .. }))),
        "{snapshot:?}"
    );
}

#[tokio::test]
async fn a_file_that_changed_since_is_named_and_stored_under_no_wrong_name() {
    let large = noise(1, 5_000_000);
    for (before, after) in [
        (&b"before"[..], &b"after!"[..]),
        (b"before", b"longer than before"),
        (b"before", b""),
        (&large, &noise(2, 5_000_000)),
        (&large, &large[1..]),
    ] {
        let root = tree(&[("f", before)]);
        let snapshot = everything(root.path());
        write(&root.path().join("f"), after);
        let store = MemoryStore::new();
        let error = upload(&store, &snapshot.sources, &Silent).await.unwrap_err();
        assert!(matches!(&error, Error::Changed { path } if path == &root.path().join("f")), "{error:?}");
        assert!(store.is_empty());
        fs::remove_file(root.path().join("f")).unwrap();
        let error = upload(&store, &snapshot.sources, &Silent).await.unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_large_file_is_sent_again_when_the_connection_breaks() {
    let root = tree(&[("large", &noise(1, 5_000_000))]);
    let broken = AtomicUsize::new(3);
    let down = move |call| {
        let breaks =
            || broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        (call == Call::Write && breaks()).then(|| crate::Error::Unavailable { reason: "cut".into() })
    };
    let store = Recording::new(Faulty::new(MemoryStore::new(), down));
    let uploaded = upload(&store, &everything(root.path()).sources, &Silent).await.unwrap();
    assert_eq!(uploaded.uploaded_bytes, 5_000_000);
    assert_eq!(store.calls().iter().filter(|call| **call == Call::Write).count(), 4);
    assert_eq!(store.inner().inner().len(), 1);
}

#[tokio::test]
async fn a_store_that_stays_away_fails_the_upload_in_the_end() {
    let root = tree(&[("large", &noise(1, 5_000_000))]);
    let down = |call| (call == Call::Write).then(|| crate::Error::Unavailable { reason: "down".into() });
    let store = Faulty::new(MemoryStore::new(), down);
    let error = upload(&store, &everything(root.path()).sources, &Silent).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let full =
        |call| matches!(call, Call::WriteBatch(_)).then(|| crate::Error::Exhausted { reason: "full".into() });
    let store = Faulty::new(MemoryStore::new(), full);
    let root = tree(&[("a", b"1")]);
    let error = upload(&store, &everything(root.path()).sources, &Silent).await.unwrap_err();
    assert!(matches!(error, Error::Store(crate::Error::Exhausted { .. })), "{error:?}");
}
