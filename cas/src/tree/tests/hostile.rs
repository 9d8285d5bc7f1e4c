//! Manifests that mean harm, and tasks that do.

use super::*;
use proptest::{prelude::*, strategy::ValueTree as _};
use rustix::fs::Mode;
use std::{collections::BTreeSet, ops::Add as _};

/// What [`fetch`] would give for a manifest that no parser has seen.
async fn unparsed(cache: &DiskCache, files: BTreeMap<RelPath, Entry>) -> Fetched {
    let store = MemoryStore::new();
    let empty = store_manifest(&store, &Isolated::new(FUNCTION)).await;
    let mut fetched = fetch(&store, cache, empty, &Silent).await.unwrap();
    fetched.isolated.files = files;
    fetched
}

#[tokio::test]
async fn a_hostile_manifest_is_refused_by_name() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let hash = FUNCTION.digest(b"x").hex();
    let file = format!(r#"{{"h":"{hash}","s":1}}"#);
    for files in [
        format!(r#""../x":{file}"#),
        format!(r#""/tmp/x":{file}"#),
        r#""x":{"l":"/etc"}"#.to_owned(),
        r#""x":{"l":"../out"}"#.to_owned(),
        format!(r#""x":{{"l":"y"}},"x/z":{file}"#),
    ] {
        let text = format!(r#"{{"algo":"blake3","files":{{{files}}}}}"#);
        let digest = store.put(FUNCTION, text.into()).await.unwrap();
        let error = fetch(&store, cache, digest, &Silent).await.unwrap_err();
        assert!(matches!(&error, Error::Manifest { digest: named, .. } if *named == digest), "{error:?}");
        assert!(!error.is_transient());
    }
    let digest = store.put(FUNCTION, (&b"\x7fELF"[..]).into()).await.unwrap();
    assert!(matches!(fetch(&store, cache, digest, &Silent).await, Err(Error::Manifest { .. })));
}

#[tokio::test]
async fn a_directory_that_is_not_empty_is_left_alone() {
    let Cache { cache, .. } = &Cache::new();
    let fetched = unparsed(cache, BTreeMap::new()).await;
    let target = tree(&[("precious", b"1")]);
    assert!(matches!(materialize(&fetched, cache, target.path()), Err(Error::Occupied { .. })));
    let file = target.path().join("precious");
    assert!(matches!(materialize(&fetched, cache, &file), Err(Error::Store(_))));
    assert_eq!(fs::read(file).unwrap(), b"1");
    materialize(&fetched, cache, &target.path().join("fresh/and/deep")).unwrap();
}

#[tokio::test]
async fn a_task_cannot_reach_the_cache_through_its_inputs() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let digest = archive(&store, tree(&[("f", b"original")]).path()).await;
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    for _ in 0..2 {
        let target = tempfile::tempdir().unwrap();
        materialize(&fetched, cache, target.path()).unwrap();
        let file = target.path().join("f");
        assert_eq!(fs::read(&file).unwrap(), b"original");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(&file, b"replaced").unwrap();
    }
    assert_eq!(cache.read(FUNCTION.digest(b"original")).unwrap().unwrap(), &b"original"[..]);
}

#[tokio::test]
async fn what_is_read_only_and_what_is_not_follows_the_manifest() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let root = tree(&[("d/f", b"1"), ("d/run", b"2")]);
    fs::set_permissions(root.path().join("d/run"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut snapshot = everything(root.path());
    let manifests = [ReadOnly::Writable, ReadOnly::Files, ReadOnly::FilesAndDirs].map(|read_only| {
        let relative_cwd = Some(path("made/for/it"));
        let files = snapshot.files.clone();
        let isolated = Isolated { files, read_only, relative_cwd, ..Isolated::new(FUNCTION) };
        snapshot.sources.add_bytes(FUNCTION, isolated.to_bytes().into())
    });
    upload(&store, &snapshot.sources, &Silent).await.unwrap();
    let expected = [(0o640, 0o750, 0o755), (0o440, 0o550, 0o755), (0o440, 0o550, 0o555)];
    for (digest, (file, run, dir)) in manifests.into_iter().zip(expected) {
        let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
        let target = tempfile::tempdir().unwrap();
        materialize(&fetched, cache, target.path()).unwrap();
        let below = |name: &str| mode(&target.path().join(name));
        assert_eq!((below("d/f"), below("d/run"), below("d")), (file, run, dir));
        assert_eq!(
            (below("made/for/it"), mode(target.path()) & 0o222),
            (dir, if dir == 0o555 { 0 } else { 0o200 })
        );
        for name in ["", "d", "made", "made/for", "made/for/it"] {
            fs::set_permissions(target.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[tokio::test]
async fn permissions_are_those_of_the_manifest_whatever_the_umask_takes_away() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let root = tree(&[("run", b"1")]);
    fs::set_permissions(root.path().join("run"), fs::Permissions::from_mode(0o750)).unwrap();
    let mut snapshot = everything(root.path());
    let isolated = Isolated { files: snapshot.files.clone(), ..Isolated::new(FUNCTION) };
    let digest = snapshot.sources.add_bytes(FUNCTION, isolated.to_bytes().into());
    upload(&store, &snapshot.sources, &Silent).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    let before = rustix::process::umask(Mode::from_raw_mode(0o077));
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    let laid_out = materialize(&fetched, cache, target.path());
    rustix::process::umask(before);
    laid_out.unwrap();
    assert_eq!(mode(&target.path().join("run")), 0o550);
    assert_eq!(mode(&cache.path(FUNCTION.digest(b"1"))), 0o444);
}

#[tokio::test]
async fn permissions_are_those_of_the_manifest_where_a_default_acl_takes_them_away() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let root = tree(&[("d/run", b"1")]);
    fs::set_permissions(root.path().join("d/run"), fs::Permissions::from_mode(0o750)).unwrap();
    let digest = archive(&store, root.path()).await;
    let target = tempfile::tempdir().unwrap();
    // As `setfacl -d -m u::rwx,g::-,o::-`: version 2, then tag, permissions and user of each entry.
    let entry = |tag: u16, permissions: u16| [tag, permissions, u16::MAX, u16::MAX].map(u16::to_le_bytes);
    let entries = [entry(0x01, 7), entry(0x04, 0), entry(0x20, 0)].concat();
    let acl = [&[2, 0, 0, 0][..], entries.as_flattened()].concat();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(target.path(), "system.posix_acl_default", &acl, flags).unwrap();
    fs::write(target.path().join("probe"), "").unwrap();
    assert_eq!(mode(&target.path().join("probe")) & 0o077, 0, "the list is in force");
    fs::remove_file(target.path().join("probe")).unwrap();
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    materialize(&fetched, cache, target.path()).unwrap();
    assert_eq!(mode(&target.path().join("d/run")), 0o750);
    assert_eq!(mode(&target.path().join("d")), 0o755);
}

#[tokio::test]
async fn a_blob_that_went_missing_from_the_cache_is_named_and_blamed_on_nobody_else() {
    let store = MemoryStore::new();
    let Cache { cache, .. } = &Cache::new();
    let digest = archive(&store, tree(&[("f", b"1"), ("g", b"2")]).path()).await;
    let fetched = fetch(&store, cache, digest, &Silent).await.unwrap();
    let lost = FUNCTION.digest(b"2");
    fs::remove_file(cache.path(lost)).unwrap();
    let target = tempfile::tempdir().unwrap();
    let error = materialize(&fetched, cache, target.path()).unwrap_err();
    assert!(matches!(&error, Error::Store(crate::Error::Internal { .. })), "{error:?}");
    assert!(error.to_string().contains(&lost.to_string()), "{error}");
}

/// As long as a path may be, and longer than one that the kernel takes in one piece below any directory.
#[tokio::test]
async fn the_longest_path_is_laid_out_below_the_target() {
    let Cache { cache, .. } = &Cache::new();
    let long = [vec!["d".repeat(255); 15], vec!["d".repeat(253), "f".to_owned()]].concat();
    assert!(RelPath::new(&format!("{}f", long.join("/"))).is_err());
    let deep = path(&long.join("/"));
    assert_eq!(deep.as_str().len(), 4095);
    let entry = Entry::File { digest: Digest::empty(FUNCTION), mode: None };
    let fetched = unparsed(cache, BTreeMap::from([(deep, entry)])).await;
    let around = tree(&[("sentinel", b"1")]);
    materialize(&fetched, cache, &around.path().join("target")).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(around.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["sentinel", "target"]);
    let mut dir = fs::File::open(around.path().join("target")).unwrap();
    for name in &long {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::RDONLY;
        dir = rustix::fs::openat(&dir, name, flags, Mode::empty()).unwrap().into();
    }
    assert!(dir.metadata().unwrap().is_file());
}

fn any_files() -> impl Strategy<Value = BTreeMap<RelPath, Entry>> {
    let entry = prop_oneof![
        Just(Entry::File { digest: Digest::empty(FUNCTION), mode: Some(0o7777) }),
        "(/|\\.\\./)?([ab.]{1,2}/){0,2}[ab]".prop_map(|target| Entry::Symlink { target }),
    ];
    // Names that are the same, or devices, where somebody else's rules hold.
    let name = "([abA]|CON|aux\\.|[a ]\\.|\u{e9}|e\u{301})(/([abA]|CON|aux\\.|[a ]\\.|\u{e9}|e\u{301})){0,3}";
    let name = name.prop_map(|text| path(&text));
    proptest::collection::btree_map(name, entry, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_appears_outside_of_the_target(files in any_files()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let Cache { cache, .. } = &Cache::new();
        let fetched = runtime.block_on(unparsed(cache, files.clone()));
        let around = tree(&[("sentinel", b"1")]);
        let target = around.path().join("target");
        let outcome = materialize(&fetched, cache, &target);
        let mut outside = contents(around.path());
        outside.retain(|name, _| !name.starts_with("target"));
        prop_assert_eq!(outside.into_keys().collect::<Vec<_>>(), [PathBuf::from("sentinel")]);
        if outcome.is_ok() {
            // In the order of components, which is not that of text.
            let made: BTreeSet<PathBuf> = contents(&target).into_keys().collect();
            let named: BTreeSet<PathBuf> = files.keys().map(|path| path.as_path().to_owned()).collect();
            prop_assert_eq!(made, named);
        }
    }
}

/// A name that may mean harm, `@` being the directory around the target.
fn any_name() -> impl Strategy<Value = String> {
    let part = "[abA]|\\.|\\.\\.|CON|aux\\.|NUL:|[a ]\\.|\u{e9}|e\u{301}|";
    let parts = proptest::collection::vec(proptest::string::string_regex(part).unwrap(), 1..4);
    let harmful = (parts, "@/|/|\\\\|C:\\\\|\\.\\./|", "/|\\\\", "\u{0}|/|")
        .prop_map(|(parts, start, separator, end)| format!("{start}{}{end}", parts.join(&separator)));
    // The longest that is taken has 4095 bytes, and components of 255.
    let long = (253..258usize).prop_map(|length| "d".repeat(255).add("/").repeat(15) + &"e".repeat(length));
    prop_oneof![8 => "[abA](/[abA]){0,2}", 4 => harmful, 1 => long]
}

/// The text of a manifest with whatever somebody may put into one. Its only blob is `x`.
fn any_text() -> impl Strategy<Value = String> {
    let file = (0..0o10000u32)
        .prop_map(|mode| serde_json::json!({ "h": FUNCTION.digest(b"x").hex(), "s": 1, "m": mode }));
    let link = any_name().prop_map(|target| serde_json::json!({ "l": target }));
    let files = proptest::collection::vec((any_name(), prop_oneof![file, link]), 0..5);
    (files, proptest::option::of(any_name()), 0..2u8).prop_map(|(files, relative_cwd, read_only)| {
        let files: serde_json::Map<_, _> = files.into_iter().collect();
        let mut manifest =
            serde_json::json!({ "algo": "blake3", "files": files, "read_only": read_only, "version": "1.6" });
        if let Some(relative_cwd) = relative_cwd {
            manifest["relative_cwd"] = relative_cwd.into();
        }
        manifest.to_string()
    })
}

/// Stores manifests that include one another, the first one all others.
async fn store_texts(store: &MemoryStore, texts: &[String], around: &Path) -> Digest {
    let mut includes = Vec::new();
    let mut last = None;
    for text in texts.iter().rev() {
        let text = text.replace('@', around.to_str().unwrap());
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        if !includes.is_empty() && includes.len() + 1 == texts.len() {
            manifest["includes"] = includes.clone().into();
        }
        let digest = store.put(FUNCTION, manifest.to_string().into()).await.unwrap();
        includes.push(format!("{}/{}", digest.hex(), digest.size()));
        last = Some(digest);
    }
    last.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// As it goes from a server to the disk: a text, parsed, its includes merged, laid out.
    #[test]
    fn no_text_of_a_manifest_makes_anything_appear_outside_of_the_target(
        texts in proptest::collection::vec(any_text(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let Cache { cache, .. } = &Cache::new();
        // As deep as `..` could lead up.
        let around = tree(&[("1/2/3/4/5/sentinel", b"1")]);
        let before = places(around.path());
        let target = around.path().join("1/2/3/4/5/target");
        let store = MemoryStore::new();
        let fetched = runtime.block_on(async {
            store.put(FUNCTION, (&b"x"[..]).into()).await.unwrap();
            let digest = store_texts(&store, &texts, around.path()).await;
            fetch(&store, cache, digest, &Silent).await
        });
        let laid_out = fetched.and_then(|fetched| materialize(&fetched, cache, &target));
        let away = tempfile::tempdir().unwrap();
        let moved = away.path().join("target");
        if target.exists() {
            fs::rename(&target, &moved).unwrap();
        }
        prop_assert_eq!(places(around.path()), before);
        prop_assert_eq!(fs::read(around.path().join("1/2/3/4/5/sentinel")).unwrap(), b"1");
        // Longer names than these cannot be asked about from here.
        if laid_out.is_ok() && texts.iter().all(|text| text.len() < 3000) {
            let real = moved.canonicalize().unwrap();
            for place in places(&moved) {
                let place = moved.join(place);
                prop_assert!(place.canonicalize().map_or(true, |to| to.starts_with(&real)), "{place:?}");
                let mode = fs::symlink_metadata(&place).unwrap().permissions().mode();
                prop_assert_eq!(mode & 0o7000, 0, "{:?}", place);
            }
        }
    }
}

/// All that is below, directories too.
fn places(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(root).unwrap().to_owned());
        }
    }
    found
}

/// The property above would say nothing of texts that are all alike.
#[test]
fn of_the_texts_some_are_accepted_and_some_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..1000 {
        let text = any_text().new_tree(&mut runner).unwrap().current().replace('@', "/tmp");
        accepted +=
            usize::from(Isolated::parse(text.as_bytes()).is_ok_and(|isolated| !isolated.files.is_empty()));
    }
    assert!((100..900).contains(&accepted), "{accepted} of 1000");
}
