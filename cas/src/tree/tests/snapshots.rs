//! What is archived, and what is not.

use super::{hashes::Cursor, *};
use std::{collections::BTreeSet, os::unix::net::UnixListener};

fn inputs(paths: &[&str]) -> Vec<Input> {
    paths.iter().map(|text| Input::Path(path(text))).collect()
}

#[test]
fn only_what_was_asked_for_is_archived() {
    let root = tree(&[("a", b"1"), ("b", b"2"), ("d/e/f", b"3"), ("d/g", b"4"), ("x/y", b"5")]);
    let snapshot = take(root.path(), &inputs(&["a", "d", "d/g"]), &SnapshotOptions::default()).unwrap();
    assert_eq!(names(&snapshot), ["a", "d/e/f", "d/g"]);
    let digest = FUNCTION.digest(b"3");
    assert_eq!(snapshot.files[&path("d/e/f")], Entry::File { digest, mode: Some(0o640) });
    assert_eq!(snapshot.sources.len(), 3);
    assert_eq!(snapshot.sources.bytes(), 3);
}

#[test]
fn exclusion_works_inside_directories_only() {
    let root = tree(&[("a.pyc", b"1"), ("d/b.pyc", b"2"), ("d/.git/c", b"3"), ("d/e", b"4")]);
    let exclude = Exclude::new(|path| path.as_str().ends_with(".pyc") || path.file_name() == ".git");
    let options = SnapshotOptions { exclude: Some(exclude), ..SnapshotOptions::default() };
    let snapshot = take(root.path(), &inputs(&["a.pyc", "d"]), &options).unwrap();
    assert_eq!(names(&snapshot), ["a.pyc", "d/e"]);
}

#[test]
fn a_missing_input_is_named_or_skipped() {
    let root = tree(&[("a", b"1")]);
    symlink("nowhere", root.path().join("dangling")).unwrap();
    for missing in ["b", "a/b", "d/e", "dangling"] {
        let error = take(root.path(), &inputs(&["a", missing]), &SnapshotOptions::default()).unwrap_err();
        assert!(
            matches!(&error, Error::NoSuchInput { path } if path == &root.path().join(missing)),
            "{error:?}"
        );
        let options = SnapshotOptions { broken: Broken::Skip, ..SnapshotOptions::default() };
        let snapshot = take(root.path(), &inputs(&["a", missing]), &options).unwrap();
        assert_eq!((names(&snapshot), &snapshot.skipped), (vec!["a"], &vec![root.path().join(missing)]));
    }
    let gone = take(Path::new("/no/such/root"), &[Input::Everything], &SnapshotOptions::default());
    assert!(matches!(gone, Err(Error::NoSuchInput { .. })));
}

#[test]
fn sockets_pipes_and_odd_names_are_refused_or_skipped() {
    let root = tree(&[("a", b"1"), ("back\\slash", b"2")]);
    let socket = UnixListener::bind(root.path().join("socket")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("pipe"), 0o600.into()).unwrap();
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not-\xff-utf8");
    fs::write(root.path().join(name), b"3").unwrap();
    assert!(matches!(
        take(root.path(), &[Input::Everything], &SnapshotOptions::default()),
        Err(Error::Unusable { .. } | Error::Name { .. })
    ));
    let pipe = take(root.path(), &inputs(&["pipe"]), &SnapshotOptions::default()).unwrap_err();
    assert!(pipe.to_string().contains("pipe: it is a device, socket or pipe"), "{pipe}");
    let options = SnapshotOptions { broken: Broken::Skip, ..SnapshotOptions::default() };
    let snapshot = take(root.path(), &[Input::Everything], &options).unwrap();
    assert_eq!((names(&snapshot), snapshot.skipped.len()), (vec!["a"], 4));
    drop(socket);
}

#[test]
fn symlinks_inside_are_kept_with_what_they_point_to() {
    let root = tree(&[("real/file", b"1"), ("real/other", b"2"), ("apart", b"3")]);
    let links = root.path().join("links");
    fs::create_dir(&links).unwrap();
    symlink("../real/file", links.join("relative")).unwrap();
    symlink(root.path().join("apart"), links.join("absolute")).unwrap();
    symlink("relative", links.join("twice")).unwrap();
    symlink("../real", links.join("dir")).unwrap();
    symlink("..", links.join("up")).unwrap();
    let link = |target: &str| Entry::Symlink { target: target.into() };
    let single = take(root.path(), &inputs(&["links/twice"]), &SnapshotOptions::default()).unwrap();
    assert_eq!(names(&single), ["links/relative", "links/twice", "real/file"]);
    // A file is asked for through a link to its directory: both are recorded where they really are.
    let through = take(root.path(), &inputs(&["links/dir/other"]), &SnapshotOptions::default()).unwrap();
    assert_eq!(names(&through), ["links/dir", "real/other"]);
    let all = take(root.path(), &inputs(&["links"]), &SnapshotOptions::default()).unwrap();
    assert_eq!(
        names(&all),
        [
            "apart",
            "links/absolute",
            "links/dir",
            "links/relative",
            "links/twice",
            "links/up",
            "real/file",
            "real/other"
        ]
    );
    assert_eq!(all.files[&path("links/relative")], link("../real/file"));
    assert_eq!(all.files[&path("links/absolute")], link("../apart"));
    let isolated = Isolated { files: all.files, ..Isolated::new(FUNCTION) };
    assert!(Isolated::parse(&isolated.to_bytes()).is_ok(), "what is archived is accepted");
}

/// Seen with luci-py's client/isolated_format.py, which compares by text and so takes `elsewhere/../a` for `a`.
#[test]
fn targets_are_written_without_detours_that_mean_nothing() {
    let root = tree(&[("a", b"1"), ("d/a", b"2"), ("d/e/f", b"3"), ("real/deep/f", b"4"), ("real/a", b"5")]);
    symlink("real/deep", root.path().join("elsewhere")).unwrap();
    symlink(root.path().join("real/deep"), root.path().join("d/deep")).unwrap();
    for (number, (target, expected)) in [
        ("./a", "a"),
        ("d/", "d"),
        ("d/../a", "a"),
        ("d//e/./f", "d/e/f"),
        ("d/e/..", "d"),
        ("elsewhere/../a", "elsewhere/../a"),
        ("d/deep/../a", "d/deep/../a"),
        ("elsewhere/../deep/f", "elsewhere/../deep/f"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("link{number}");
        symlink(target, root.path().join(&name)).unwrap();
        let snapshot = take(root.path(), &inputs(&[&name]), &SnapshotOptions::default()).unwrap();
        assert_eq!(snapshot.files[&path(&name)], Entry::Symlink { target: expected.into() }, "{target}");
        let isolated = Isolated { files: snapshot.files, ..Isolated::new(FUNCTION) };
        assert!(Isolated::parse(&isolated.to_bytes()).is_ok(), "what is archived is accepted");
    }
    let deep = take(root.path(), &inputs(&["d/deep"]), &SnapshotOptions::default()).unwrap();
    assert_eq!(deep.files[&path("d/deep")], Entry::Symlink { target: "../real/deep".into() });
    symlink(root.path().join("d/.."), root.path().join("d/e/top")).unwrap();
    let top = take(root.path(), &inputs(&["d/e/top/a"]), &SnapshotOptions::default()).unwrap();
    assert_eq!(top.files[&path("d/e/top")], Entry::Symlink { target: "../..".into() });
    assert_eq!(names(&top), ["a", "d/e/top"]);
}

#[test]
fn a_target_that_no_manifest_can_have_is_refused_or_skipped() {
    let root = tree(&[("a", b"1"), ("odd\\name", b"2")]);
    symlink("odd\\name", root.path().join("link")).unwrap();
    let error = take(root.path(), &inputs(&["link"]), &SnapshotOptions::default()).unwrap_err();
    assert!(error.to_string().contains("link: the symlink's target has a backslash"), "{error}");
    let options = SnapshotOptions { broken: Broken::Skip, ..SnapshotOptions::default() };
    let snapshot = take(root.path(), &inputs(&["a", "link"]), &options).unwrap();
    assert_eq!((names(&snapshot), &snapshot.skipped), (vec!["a"], &vec![root.path().join("link")]));
    let options = SnapshotOptions { symlinks: Symlinks::Follow, ..SnapshotOptions::default() };
    assert_eq!(names(&take(root.path(), &inputs(&["link"]), &options).unwrap()), ["link"]);
}

#[test]
fn symlinks_that_lead_out_are_followed() {
    let outside = tree(&[("file", b"out"), ("dir/deep", b"deep")]);
    symlink("deep", outside.path().join("dir/sibling")).unwrap();
    let root = tree(&[("in", b"1")]);
    symlink(outside.path().join("file"), root.path().join("file")).unwrap();
    symlink(outside.path().join("dir"), root.path().join("dir")).unwrap();
    let snapshot = everything(root.path());
    assert_eq!(names(&snapshot), ["dir/deep", "dir/sibling", "file", "in"]);
    let digest = FUNCTION.digest(b"out");
    assert_eq!(snapshot.files[&path("file")], Entry::File { digest, mode: Some(0o640) });
}

#[test]
fn symlinks_that_lead_out_are_refused_or_skipped_where_they_must_stay_within() {
    let root = tree(&[("a", b"1"), ("real/file", b"2")]);
    symlink("../a", root.path().join("real/inside")).unwrap();
    symlink("/", root.path().join("real/everything")).unwrap();
    symlink("real/everything/etc", root.path().join("far")).unwrap();
    let options = SnapshotOptions { symlinks: Symlinks::Within, ..SnapshotOptions::default() };
    for leading_out in ["real", "far", "real/everything/etc/passwd"] {
        let error = take(root.path(), &inputs(&[leading_out]), &options).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{error}");
    }
    let options = SnapshotOptions { broken: Broken::Skip, ..options };
    let snapshot = take(root.path(), &[Input::Everything], &options).unwrap();
    assert_eq!(names(&snapshot), ["a", "real/file", "real/inside"]);
    let skipped: BTreeSet<_> = snapshot.skipped.into_iter().collect();
    assert_eq!(skipped, BTreeSet::from([root.path().join("far"), root.path().join("real/everything")]));
}

#[test]
fn symlinks_are_files_where_that_is_asked_for() {
    let root = tree(&[("real/file", b"1")]);
    symlink("real", root.path().join("dir")).unwrap();
    symlink("real/file", root.path().join("file")).unwrap();
    let options = SnapshotOptions { symlinks: Symlinks::Follow, ..SnapshotOptions::default() };
    let snapshot = take(root.path(), &[Input::Everything], &options).unwrap();
    assert_eq!(names(&snapshot), ["dir/file", "file", "real/file"]);
    assert!(snapshot.files.values().all(|entry| matches!(entry, Entry::File { .. })));
    let named = take(root.path(), &inputs(&["dir", "file", "dir/file"]), &options).unwrap();
    assert_eq!(names(&named), ["dir/file", "file"]);
    symlink("nowhere", root.path().join("gone")).unwrap();
    assert!(matches!(take(root.path(), &inputs(&["gone"]), &options), Err(Error::NoSuchInput { .. })));
}

#[test]
fn symlinks_that_go_round_end() {
    let root = tree(&[("a", b"1")]);
    symlink("loop", root.path().join("loop")).unwrap();
    let error = take(root.path(), &inputs(&["loop"]), &SnapshotOptions::default()).unwrap_err();
    assert!(error.to_string().contains("leads back to itself"), "{error}");
    let outside = tree(&[("dir/b", b"1")]);
    for name in ["one", "two", "three"] {
        symlink(outside.path(), outside.path().join("dir").join(name)).unwrap();
    }
    let root = tree(&[]);
    symlink(outside.path(), root.path().join("out")).unwrap();
    let error = take(root.path(), &[Input::Everything], &SnapshotOptions::default()).unwrap_err();
    assert!(error.to_string().contains("lead back to itself"), "{error}");
}

#[test]
fn a_deep_tree_needs_no_deep_stack() {
    const DEPTH: usize = 900;
    let root = tree(&[]);
    let mut deepest = root.path().to_owned();
    for _ in 0..DEPTH {
        deepest.push("d");
        fs::create_dir(&deepest).unwrap();
    }
    write(&deepest.join("f"), b"1");
    let out = tree(&[]);
    symlink(root.path(), out.path().join("out")).unwrap();
    for (root, first) in [(root.path().to_owned(), ""), (out.path().to_owned(), "out/")] {
        let walked = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            let options = SnapshotOptions::default();
            let mut files = Vec::new();
            let walked = walk::walk(&root, &[Input::Everything], &options, &mut |group| files.extend(group));
            walked.map(|_| files)
        });
        let expected = path(&format!("{first}{}f", "d/".repeat(DEPTH)));
        assert_eq!(walked.unwrap().join().unwrap().unwrap(), [expected]);
    }
}

#[test]
fn a_path_that_is_too_long_is_refused_or_skipped() {
    let root = tree(&[("a", b"1")]);
    let mut dir = std::fs::File::open(root.path()).unwrap();
    // Made from within, as a process would that goes down step by step. A manifest takes the path, the kernel does not
    // when the root comes before it.
    let lengths = std::iter::repeat_n(200, 20).chain([4095 - 20 * 201]);
    for name in lengths.map(|length| "n".repeat(length)) {
        rustix::fs::mkdirat(&dir, &*name, 0o700.into()).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        dir = rustix::fs::openat(&dir, &*name, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    let options = SnapshotOptions { broken: Broken::Skip, ..SnapshotOptions::default() };
    let snapshot = take(root.path(), &[Input::Everything], &options).unwrap();
    assert_eq!((names(&snapshot), snapshot.skipped.len()), (vec!["a"], 1));
    let error = take(root.path(), &[Input::Everything], &SnapshotOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("its path is too long"), "{error}");
}

#[test]
fn modes_are_reduced_to_what_a_manifest_keeps() {
    let root = tree(&[("f", b"1")]);
    let file = root.path().join("f");
    for (given, kept) in [
        (0o644, 0o640),
        (0o755, 0o750),
        (0o777, 0o750),
        (0o744, 0o750),
        (0o600, 0o600),
        (0o711, 0o700),
        (0o450, 0o440),
        (0o4755, 0o4750),
        (0o2755, 0o2750),
        (0o1644, 0o1640),
        (0o7777, 0o7750),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(given)).unwrap();
        let Entry::File { mode, .. } = everything(root.path()).files[&path("f")] else {
            panic!("it is a file")
        };
        assert_eq!(mode, Some(kept), "{given:o}");
    }
}

#[test]
fn unchanged_files_are_not_read_again() {
    let root = tree(&[("f", b"one")]);
    let file = root.path().join("f");
    settle(&file);
    let dir = tempfile::tempdir().unwrap();
    let digest = |hashes: &HashCache| {
        let options = SnapshotOptions::default();
        let snapshot = snapshot(root.path(), &[Input::Everything], &options, hashes, None, &Silent).unwrap();
        snapshot.files[&path("f")].digest().unwrap()
    };
    let hashes = HashCache::open(dir.path(), root.path());
    assert_eq!(digest(&hashes), FUNCTION.digest(b"one"));
    // Its ctime is of this moment, so that nothing is remembered until it has grown old enough.
    wait_until_old(&file, &hashes);
    assert_eq!(digest(&hashes), FUNCTION.digest(b"one"));
    let reopened = HashCache::open(dir.path(), root.path());
    let (name, stamp) = (path("f"), stamp(&file));
    assert_eq!(digest_in(&reopened, &name, FUNCTION, stamp), Some(FUNCTION.digest(b"one")));
    assert_eq!(digest_in(&reopened, &name, DigestFunction::Sha1, stamp), None, "each function has its own");
    fs::write(&file, b"two").unwrap();
    settle(&file);
    assert_eq!(digest(&reopened), FUNCTION.digest(b"two"), "same size, same mtime, other bytes");
}

/// What a cache says of a file that looks like that.
fn digest_in(
    hashes: &HashCache,
    name: &RelPath,
    function: DigestFunction,
    stamp: hashes::Stamp,
) -> Option<Digest> {
    hashes.find(name, function, &mut Cursor::default())?.digest_of(stamp)
}

fn stamp(file: &Path) -> hashes::Stamp {
    hashes::Stamp::of(&rustix::fs::stat(file).unwrap())
}

/// Waits until the times of the file are old enough for its digest to be remembered.
fn wait_until_old(file: &Path, hashes: &HashCache) {
    let stamp = stamp(file);
    while !stamp.is_settled(hashes.now()) {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_was_just_written_is_not_remembered() {
    let root = tree(&[("f", b"one")]);
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashCache::open(dir.path(), root.path());
    let stamp = stamp(&root.path().join("f"));
    hashes.put(hashes.now(), [(path("f"), stamp, FUNCTION.digest(b"one"))]);
    hashes.save().unwrap();
    assert_eq!(digest_in(&HashCache::open(dir.path(), root.path()), &path("f"), FUNCTION, stamp), None);
}

#[test]
fn what_nobody_asks_for_is_forgotten_after_some_saves() {
    let root = tree(&[("f", b"one"), ("g", b"two"), ("h", b"three")]);
    let dir = tempfile::tempdir().unwrap();
    let digest = FUNCTION.digest(b"any");
    let [f, g, h] = ["f", "g", "h"].map(|name| (path(name), stamp(&root.path().join(name)), digest));
    let open = || HashCache::open(dir.path(), root.path());
    let known =
        |cache: &HashCache, of: &(RelPath, hashes::Stamp, Digest)| digest_in(cache, &of.0, FUNCTION, of.1);
    let first = open();
    first.put(i64::MAX, [f.clone(), g.clone()]);
    first.save().unwrap();
    for _ in 0..40 {
        let cache = open();
        assert!(known(&cache, &f).is_some());
        cache.put(i64::MAX, [h.clone()]);
        cache.save().unwrap();
    }
    let last = open();
    assert!(known(&last, &f).is_some() && known(&last, &h).is_some());
    assert_eq!(known(&last, &g), None, "it was not asked for in forty saves");
}

#[test]
fn a_damaged_or_foreign_hash_file_counts_as_empty() {
    let root = tree(&[("f", b"one"), ("g", b"two")]);
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashCache::open(dir.path(), root.path());
    let files = ["f", "g"].map(|name| (path(name), stamp(&root.path().join(name))));
    let digest = FUNCTION.digest(b"any");
    hashes.put(i64::MAX, files.iter().map(|(name, stamp)| (name.clone(), *stamp, digest)));
    hashes.save().unwrap();
    let saved = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&saved).unwrap();
    let known = || {
        let hashes = HashCache::open(dir.path(), root.path());
        files.iter().filter(|(name, stamp)| digest_in(&hashes, name, FUNCTION, *stamp).is_some()).count()
    };
    assert_eq!(known(), 2);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&saved, &bad).unwrap();
        assert_eq!(known(), 0, "byte {at}");
        fs::write(&saved, &good[..at]).unwrap();
        assert_eq!(known(), 0, "cut at {at}");
    }
}

#[test]
fn a_file_that_has_more_bytes_than_it_says_is_not_taken_for_an_empty_one() {
    let root = tree(&[("a", b"1")]);
    symlink("/proc/version", root.path().join("version")).unwrap();
    let (outlet, _inlet) = early();
    for outlet in [None, Some(&outlet)] {
        let (inputs, options) = ([Input::Everything], SnapshotOptions::default());
        let taken = snapshot(root.path(), &inputs, &options, &HashCache::disabled(), outlet, &Silent);
        assert!(matches!(&taken, Err(Error::Changed { path }) if path.ends_with("version")), "{taken:?}");
    }
}

#[test]
fn what_is_kept_of_roots_goes_when_they_are_not_archived_for_long() {
    let kept = tempfile::tempdir().unwrap();
    let [used, gone, new] = [1, 2, 3].map(|_| tree(&[("f", b"one")]));
    let open = |root: &TempDir| HashCache::open(kept.path(), root.path());
    let save = |root: &TempDir| {
        let cache = open(root);
        cache.put(i64::MAX, [(path("f"), stamp(&root.path().join("f")), FUNCTION.digest(b"one"))]);
        cache.save().unwrap();
    };
    let now = fs::metadata(used.path().join("f")).unwrap().modified().unwrap();
    let age = |name: &str, days: u64| {
        let at = now - Duration::from_secs(days * 24 * 3600);
        let file = fs::File::options().append(true).create(true).open(kept.path().join(name));
        file.unwrap().set_modified(at).unwrap();
    };
    let name = |root: &TempDir| {
        let file = hashes::file_of(kept.path(), root.path());
        file.file_name().unwrap().to_str().unwrap().to_owned()
    };
    [&used, &gone].into_iter().for_each(save);
    for root in [&used, &gone] {
        age(&name(root), 100);
        age(&format!("{}.manifest", name(root)), 100);
    }
    for (name, days) in [(".staged-1", 2), (".tmpAbCdEf", 2), (".staged-2", 0), ("notes", 1000)] {
        age(name, days);
    }
    open(&used);
    save(&new);
    let left = fs::read_dir(kept.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: BTreeSet<String> = left.map(|name| name.into_string().unwrap()).collect();
    let manifest = format!("{}.manifest", name(&used));
    assert_eq!(left, [name(&used), manifest, name(&new), ".staged-2".into(), "notes".into()].into());
}
