//! Archives in manifests.

use super::*;
use proptest::prelude::*;

/// A tar archive as the original made them, names taken as they are.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o4755);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A manifest of one archive, at this path, and one file.
async fn with_tar(store: &dyn BlobStore, at: &str, tar: Vec<u8>) -> Digest {
    let digest = store.put(FUNCTION, tar.into()).await.unwrap();
    let file = store.put(FUNCTION, (&b"mine"[..]).into()).await.unwrap();
    let files = BTreeMap::from([
        (path(at), Entry::Tar { digest, mode: None }),
        (path("mine"), Entry::File { digest: file, mode: None }),
    ]);
    store_manifest(store, &Isolated { files, read_only: ReadOnly::Writable, ..Isolated::new(FUNCTION) }).await
}

async fn refusal(tar: Vec<u8>) -> String {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let digest = with_tar(&store, "all.tar", tar).await;
    let error = fetch(&store, cache, digest, &Silent).await.unwrap_err();
    let Error::Manifest { source, .. } = error else { panic!("{error:?}") };
    source.to_string()
}

#[tokio::test]
async fn archives_are_laid_out_as_the_files_in_them() {
    let store = Recording::<MemoryStore>::default();
    let Cache { cache, .. } = &Cache::new();
    let tar = tar(&[("a", b"1"), ("deep/b", b""), ("mine", b"theirs"), (r"win\c", b"3"), ("a", b"again")]);
    let digest = with_tar(&store, "sub/all.tar", tar).await;
    store.calls();
    for calls in [vec![Call::ReadBatch(1), Call::ReadBatch(2)], vec![]] {
        let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
        assert_eq!(store.calls(), calls);
        let target = tempfile::tempdir().unwrap();
        materialize(&fetched, cache, target.path()).unwrap();
        let expected: BTreeMap<PathBuf, Vec<u8>> = [
            ("mine", "mine"),
            ("sub/a", "1"),
            ("sub/deep/b", ""),
            ("sub/mine", "theirs"),
            ("sub/win/c", "3"),
        ]
        .map(|(name, bytes)| (PathBuf::from(name), bytes.into()))
        .into();
        assert_eq!(contents(target.path()), expected);
        let mode = fs::metadata(target.path().join("sub/a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
    // At the top, what the manifest names itself wins.
    let digest = with_tar(&store, "all.tar", self::tar(&[("mine", b"theirs")])).await;
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    assert_eq!(fetched.isolated.files[&path("mine")].digest(), Some(FUNCTION.digest(b"mine")));
}

#[tokio::test]
async fn archives_that_mean_harm_are_refused_by_name() {
    for name in ["../x", "/etc/x", "a/../../x", r"..\x", "a//b", "mine/below"] {
        let refusal = refusal(tar(&[(name, b"1")])).await;
        assert!(refusal.contains("all.tar") || refusal.contains("lies below `mine`"), "{name}: {refusal}");
    }
    let mut links = tar::Builder::new(Vec::new());
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Char] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        links.append_link(&mut header, "link", "/etc").unwrap();
        let refusal = refusal(links.get_ref().clone()).await;
        assert!(refusal.contains("`link` in the tar archive is not a plain file"), "{refusal}");
        links = tar::Builder::new(Vec::new());
    }
    let cut = tar(&[("a", &[7; 5000])])[..3000].to_vec();
    assert!(refusal(cut).await.contains("all.tar"));
    assert!(refusal(b"no tar at all, whatever it says".repeat(50)).await.contains("no tar archive"));
}

#[tokio::test]
async fn one_archive_named_again_and_again_is_not_read_without_end() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::of(1 << 20);
    let digest = store.put(FUNCTION, tar(&[("a", &[1; 100_000])]).into()).await.unwrap();
    let files = (0..20).map(|at| (path(&format!("{at}/t")), Entry::Tar { digest, mode: None })).collect();
    let manifest = store_manifest(&store, &Isolated { files, ..Isolated::new(FUNCTION) }).await;
    let error = fetch(&store, cache, manifest, &Silent).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_of_another_function_than_its_name_is_refused() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let digest = store.put(FUNCTION, (&br#"{"algo":"sha-512"}"#[..]).into()).await.unwrap();
    let Err(Error::Manifest { source, .. }) = fetch(&store, cache, digest, &Silent).await else { panic!() };
    assert!(source.to_string().starts_with("`algo` is refused: sha-512"), "{source}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever the archive, nothing appears beside the target.
    #[test]
    fn no_archive_leaves_the_target(
        names in proptest::collection::vec("[a./\\\\]{1,12}", 1..6),
        damage in proptest::option::of((0..4000usize, any::<u8>())),
    ) {
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b"x"[..])).collect();
        let mut bytes = tar(&files);
        if let Some((at, byte)) = damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let Cache { cache, .. } = &Cache::new();
            let digest = with_tar(&store, "d/all.tar", bytes).await;
            let Ok(fetched) = fetch(&store, cache, digest, &Silent).await else { return };
            let parent = tempfile::tempdir().unwrap();
            materialize(&fetched, cache, &parent.path().join("in/target")).unwrap();
            let outside = contents(parent.path()).into_keys().find(|file| !file.starts_with("in/target"));
            assert_eq!(outside, None);
        });
    }
}
