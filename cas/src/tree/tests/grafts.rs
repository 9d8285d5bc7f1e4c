//! Several manifests as one tree.

use super::*;

fn graft(manifest: impl Into<Option<Digest>>, into: &str) -> Graft {
    let into = Some(into).filter(|into| !into.is_empty()).map(path);
    Graft { manifest: manifest.into(), into }
}

/// Archives a tree of these files.
async fn item(store: &dyn BlobStore, files: &[(&str, &[u8])]) -> Digest {
    archive(store, tree(files).path()).await
}

async fn refused(store: &MemoryStore, base: Option<Digest>, grafts: &[Graft]) -> Error {
    let Cache { cache, .. } = &Cache::new();
    let target = tempfile::tempdir().unwrap();
    fetch_into(store, cache, (base, grafts), target.path(), &Silent).await.unwrap_err()
}

#[tokio::test]
async fn each_lies_in_its_directory_beside_the_first_and_an_empty_one_is_made() {
    let store = Recording::new(MemoryStore::new());
    let base = item(&store, &[("run.sh", b"run"), ("parts/own", b"own")]).await;
    let first = item(&store, &[("log", b"one"), ("d/e", b"deep")]).await;
    let second = item(&store, &[("log", b"two")]).await;
    let grafts =
        [graft(first, "parts/0"), graft(second, "parts/1"), graft(None, "parts/2"), graft(second, "")];
    store.calls();
    let Cache { cache, .. } = &Cache::new();
    let target = tempfile::tempdir().unwrap();
    let begun = fetch_into(&store, cache, (Some(base), &grafts), target.path(), &Silent).await.unwrap();
    let fetched = begun.finish().unwrap();
    assert_eq!(store.calls(), [Call::ReadBatch(3), Call::ReadBatch(5)], "manifests, then files");
    assert_eq!(
        (fetched.cold_items, fetched.hot_items),
        (8, 1),
        "a manifest that is there twice counts twice"
    );
    let expected: [(&str, &[u8]); 6] = [
        ("log", b"two"),
        ("parts/0/d/e", b"deep"),
        ("parts/0/log", b"one"),
        ("parts/1/log", b"two"),
        ("parts/own", b"own"),
        ("run.sh", b"run"),
    ];
    let expected = expected.map(|(name, bytes)| (PathBuf::from(name), bytes.to_vec()));
    assert_eq!(contents(target.path()), expected.into());
    assert!(target.path().join("parts/2").is_dir());
    let other = tempfile::tempdir().unwrap();
    let warm = fetch_into(&store, cache, (Some(base), &grafts), other.path(), &Silent).await.unwrap();
    let warm = warm.finish().unwrap();
    assert_eq!(contents(other.path()), contents(target.path()));
    assert_eq!(store.calls(), [], "a warm fetch");
    assert_eq!((warm.cold_items, warm.hot_items), (0, 9));
}

#[tokio::test]
async fn without_a_first_one_there_is_no_command_and_nothing_may_be_written_to() {
    let store = MemoryStore::new();
    let part = item(&store, &[("log", b"one")]).await;
    let Cache { cache, .. } = &Cache::new();
    let target = tempfile::tempdir().unwrap();
    let begun = fetch_into(&store, cache, (None, &[graft(part, "a")]), target.path(), &Silent).await.unwrap();
    let isolated = begun.finish().unwrap().isolated;
    assert_eq!((isolated.command.len(), isolated.read_only), (0, ReadOnly::Files));
    assert_eq!(contents(target.path()), [(PathBuf::from("a/log"), b"one".to_vec())].into());
    let target = tempfile::tempdir().unwrap();
    let nothing =
        fetch_into(&store, cache, (None, &[graft(None, "a")]), target.path(), &Silent).await.unwrap();
    nothing.finish().unwrap();
    assert!(target.path().join("a").is_dir());
}

#[tokio::test]
async fn what_lies_at_the_same_place_is_refused_and_both_are_named() {
    let store = MemoryStore::new();
    let base = item(&store, &[("a/b", b"base")]).await;
    let one = item(&store, &[("log", b"one")]).await;
    let two = item(&store, &[("log", b"two")]).await;
    let same = refused(&store, Some(base), &[graft(one, "x"), graft(two, "x")]).await;
    let both = format!("`x/log` of manifest {two} cannot lie beside `x/log` of manifest {one}");
    assert!(same.to_string().starts_with(&both), "{same}");
    let below = refused(&store, Some(base), &[graft(one, "a/b")]).await;
    let both = format!("`a/b/log` of manifest {one} cannot lie beside `a/b` of the input");
    assert!(below.to_string().starts_with(&both), "{below}");
    let empty = refused(&store, Some(base), &[graft(None, "a/b")]).await;
    assert!(empty.to_string().contains("`a/b` of the input"), "{empty}");
    let Cache { cache, .. } = &Cache::new();
    let equal = [graft(one, "x"), graft(one, "x")];
    let target = tempfile::tempdir().unwrap();
    fetch_into(&store, cache, (Some(base), &equal), target.path(), &Silent).await.unwrap();
}

#[tokio::test]
async fn no_link_leads_out_by_way_of_another_manifest() {
    let store = MemoryStore::new();
    let link = |name: &str, target: &str| {
        let files = [(path(name), Entry::Symlink { target: target.into() })].into();
        Isolated { files, ..Isolated::new(FUNCTION) }
    };
    // Each stays inside of its own tree, and of the one that it is put into; together they do not.
    let base = store_manifest(&store, &link("d/up", "..")).await;
    let part = store_manifest(&store, &link("x", "up/../y")).await;
    let error = refused(&store, Some(base), &[graft(part, "d")]).await;
    assert!(matches!(error, Error::Manifest { .. }), "{error:?}");
    let out = store_manifest(&store, &link("x", "../y")).await;
    let error = refused(&store, Some(base), &[graft(out, "deep/er")]).await;
    assert!(matches!(&error, Error::Manifest { digest, .. } if *digest == out), "{error:?}");
}

#[tokio::test]
async fn what_the_store_has_not_is_named() {
    let store = MemoryStore::new();
    let gone = FUNCTION.digest(b"gone");
    let error = refused(&store, None, &[graft(gone, "a")]).await;
    assert!(matches!(&error, Error::Missing { digests, count: 1 } if digests == &[gone]), "{error:?}");
}
