//! What changed, and nothing else, comes to the same as everything.

use super::{splice::splice, *};
use crate::{
    BlobStore, Silent,
    isolated::{Entry, Isolated},
    memory::MemoryStore,
    patch::Patch,
    testing::{Call, Faulty, Recording, stream_of},
    tree::{
        Error, Exclude, HashCache, Input, LastManifest, Snapshot, SnapshotOptions, Uploaded, snapshot, upload,
    },
};
use bytes::Bytes;
use futures::{FutureExt as _, TryStreamExt as _};
use proptest::prelude::*;
use proto::{Digest, DigestFunction, RelPath, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

mod random;

const FUNCTION: DigestFunction = DigestFunction::Blake3;
const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A tree, the store that it is archived in, and what is kept of that.
struct Bench<S> {
    dir: TempDir,
    store: Recording<S>,
    inputs: Vec<Input>,
    options: SnapshotOptions,
}

impl<S: BlobStore> Bench<S> {
    /// With so many files that few changes make a patch.
    fn new(store: S) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self {
            dir,
            store: Recording::new(store),
            inputs: vec![Input::Everything],
            options: SnapshotOptions::default(),
        };
        for number in 0..100 {
            bench.write(&format!("many/file-{number}"), &format!("{number}"));
        }
        bench
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn again(&self) -> Again {
        Again::of(&self.dir.path().join("kept"), &self.root(), b"this")
    }

    fn look(&self) -> Result<(Snapshot, Bytes), Error> {
        let hashes = HashCache::disabled();
        let snapshot = snapshot(&self.root(), &self.inputs, &self.options, &hashes, None, &Silent)?;
        let isolated = Isolated { files: snapshot.files.clone(), ..Isolated::new(FUNCTION) };
        Ok((snapshot, isolated.to_bytes().into()))
    }

    /// Looks at everything, sends it and keeps it. `false`: that cannot be kept.
    async fn full(&self) -> bool {
        let (mut snapshot, manifest) = self.look().unwrap();
        let digest = snapshot.sources.add_bytes(FUNCTION, manifest.clone());
        upload(&self.store, &snapshot.sources, &Silent).await.unwrap();
        self.store.calls();
        let Some(reach) = snapshot.reach else { return false };
        self.again().last.save(digest, &manifest).unwrap();
        self.again().save(&Kept::new(FUNCTION.digest(b"this"), digest, NOW, "token", reach)).unwrap();
        true
    }

    async fn renew(&self, changed: &[&str]) -> Result<Option<Renewed>, Error> {
        let changes = Changes {
            token: "next".into(),
            paths: Some(changed.iter().map(|changed| path(changed)).collect()),
        };
        let (again, kept) = (self.again(), self.again().read(NOW).unwrap());
        renew(&self.store, &self.root(), &self.options, (&again, kept), changes, Arc::new(Silent)).await
    }

    /// Renews, and checks that it came to the same as looking at everything, and that all of it is there.
    async fn renewed(&self, changed: &[&str]) -> Option<Uploaded> {
        let renewed = self.renew(changed).await.unwrap()?;
        let (snapshot, manifest) = self.look().unwrap();
        assert!(renewed.manifest == manifest, "{:?}\n{manifest:?}", renewed.manifest);
        assert_eq!(renewed.digest, FUNCTION.digest(&manifest));
        let size: u64 = snapshot.files.values().filter_map(Entry::digest).map(|digest| digest.size()).sum();
        assert_eq!((renewed.files, renewed.bytes), (snapshot.files.len() as u64, size));
        let all: Vec<Digest> = snapshot.sources.digests().chain([renewed.digest]).collect();
        assert_eq!(self.store.inner().find_missing(&all).await.unwrap(), []);
        let kept = self.again().read(NOW).unwrap();
        assert_eq!((kept.manifest, kept.token()), (renewed.digest, "next"));
        assert_eq!(self.again().last.read(), Some((renewed.digest, manifest)));
        Some(renewed.uploaded)
    }
}

#[tokio::test]
async fn files_that_changed_came_or_went_are_all_that_is_looked_at_and_asked_about() {
    let bench = Bench::new(MemoryStore::new());
    for (name, content) in [("a", "1"), ("dir/b", "22"), ("dir/c", "333"), ("dir!", "4"), ("z", "5")] {
        bench.write(name, content);
    }
    assert!(bench.full().await);
    assert_eq!(bench.renewed(&[]).await.unwrap().uploaded_blobs, 0);
    assert_eq!(bench.store.calls(), [Call::WritePatch]);

    bench.write("dir/b", "changed");
    bench.write("0 new", "new");
    fs::remove_file(bench.at("z")).unwrap();
    let changed = ["dir/b", "0 new", "z", "gone before it was seen"];
    let uploaded = bench.renewed(&changed).await.unwrap();
    assert_eq!(bench.store.calls(), [Call::FindMissing(2), Call::WriteBatch(2), Call::WritePatch]);
    assert_eq!((uploaded.uploaded_blobs, uploaded.present_blobs), (3, 103));

    // As it is; with other permissions; as another one that the store has.
    fs::set_permissions(bench.at("dir/c"), fs::Permissions::from_mode(0o755)).unwrap();
    bench.write("a", "5");
    assert_eq!(bench.renewed(&["dir/c", "a", "dir/b"]).await.unwrap().uploaded_blobs, 1);
    assert_eq!(bench.store.calls(), [Call::FindMissing(3), Call::WritePatch]);

    // Directories: of one that comes nobody says what is in it.
    fs::rename(bench.at("dir"), bench.at("other")).unwrap();
    bench.write("new/deep/x", "x");
    bench.write("many/file-7", "seven");
    assert!(bench.renewed(&["dir", "other", "new", "new/deep", "many"]).await.is_some());
    fs::remove_dir_all(bench.at("other")).unwrap();
    bench.write("other", "a file now");
    fs::remove_dir_all(bench.at("new")).unwrap();
    assert!(bench.renewed(&["other", "new", "other/b"]).await.is_some());
    fs::remove_file(bench.at("other")).unwrap();
    bench.write("other/again", "a directory again");
    assert!(bench.renewed(&["other"]).await.is_some());
}

#[tokio::test]
async fn what_is_no_input_or_excluded_is_of_no_interest() {
    let mut bench = Bench::new(MemoryStore::new());
    bench.inputs = vec![Input::Path(path("many")), Input::Path(path("dir/in")), Input::Path(path("file"))];
    bench.options.exclude = Some(Exclude::new(|path| path.file_name() == "left"));
    for name in ["dir/in/a", "dir/in/left/b", "dir/out/c", "file", "other"] {
        bench.write(name, name);
    }
    assert!(bench.full().await);
    for name in ["dir/in/left/b", "dir/in/left/new", "dir/out/c", "dir/d", "other", "new"] {
        bench.write(name, "changed");
        assert_eq!(bench.renewed(&[name]).await.unwrap().uploaded_blobs, 0, "{name}");
        assert_eq!(bench.store.calls(), [Call::WritePatch]);
    }
    bench.write("dir/in/a", "changed");
    bench.write("file", "changed, too");
    assert_eq!(bench.renewed(&["dir/in/a", "file"]).await.unwrap().uploaded_blobs, 3);
    // Above an input, or one itself: what there is to archive may be another thing now, or an error.
    bench.store.calls();
    for changed in ["dir", "dir/in", "file"] {
        let before = bench.at("before");
        fs::rename(bench.at(changed), &before).unwrap();
        assert!(bench.renew(&[changed]).await.unwrap().is_none(), "{changed}");
        fs::rename(before, bench.at(changed)).unwrap();
    }
}

#[tokio::test]
async fn symlinks_say_what_else_is_in_the_tree_and_where_they_change_everything_is_looked_at() {
    let mut bench = Bench::new(MemoryStore::new());
    bench.inputs = vec![Input::Path(path("many")), Input::Path(path("in"))];
    for name in ["in/a", "shared/b", "shared/deep/c", "data/d"] {
        bench.write(name, name);
    }
    fs::create_dir(bench.at("empty")).unwrap();
    symlink("../shared", bench.at("in/link")).unwrap();
    symlink("../data/d", bench.at("in/file")).unwrap();
    symlink("../empty", bench.at("in/empty")).unwrap();
    assert!(bench.full().await);
    for name in ["shared/b", "shared/deep/new", "data/d", "in/a", "empty/e"] {
        bench.write(name, "changed");
        assert!(bench.renewed(&[name]).await.unwrap().uploaded_blobs > 0, "{name}");
    }
    fs::remove_file(bench.at("shared/b")).unwrap();
    assert!(bench.renewed(&["shared/b"]).await.is_some());
    bench.write("data/not seen", "changed");
    assert_eq!(bench.renewed(&["data/not seen"]).await.unwrap().uploaded_blobs, 0);

    // Symlinks that are new, changed, or point to nothing now.
    symlink("a", bench.at("in/new")).unwrap();
    assert!(bench.renew(&["in/new"]).await.unwrap().is_none());
    assert!(bench.full().await);
    fs::remove_file(bench.at("in/new")).unwrap();
    assert!(bench.renew(&["in/new"]).await.unwrap().is_none());
    bench.write("in/new", "no symlink any more");
    assert!(bench.renew(&["in/new"]).await.unwrap().is_none());
    assert!(bench.full().await);
    for gone in ["data/d", "empty", "shared"] {
        let before = bench.at("before");
        fs::rename(bench.at(gone), &before).unwrap();
        assert!(bench.renew(&[gone]).await.unwrap().is_none(), "{gone}");
        fs::rename(before, bench.at(gone)).unwrap();
    }
}

#[tokio::test]
async fn what_a_walk_followed_out_of_the_root_or_left_out_is_not_kept() {
    let bench = Bench::new(MemoryStore::new());
    fs::write(bench.dir.path().join("outside"), "x").unwrap();
    symlink("../outside", bench.at("link")).unwrap();
    assert!(!bench.full().await);
    fs::remove_file(bench.at("link")).unwrap();
    symlink("nothing", bench.at("link")).unwrap();
    let bench = Bench {
        options: SnapshotOptions { broken: crate::tree::Broken::Skip, ..bench.options.clone() },
        ..bench
    };
    assert!(!bench.full().await);
    let follow = SnapshotOptions { symlinks: crate::tree::Symlinks::Follow, ..SnapshotOptions::default() };
    fs::remove_file(bench.at("link")).unwrap();
    assert!(bench.full().await);
    assert!(!Bench { options: follow, ..bench }.full().await);
}

#[tokio::test]
async fn links_that_are_inputs_or_on_the_way_to_one_are_no_less_of_interest() {
    let mut bench = Bench::new(MemoryStore::new());
    for name in ["lib/real.1", "lib/real.2", "shared/sub/x", "shared/b", "x/y/z"] {
        bench.write(name, name);
    }
    let link = |target: &str, at: &str| {
        let _ = fs::remove_file(bench.at(at));
        symlink(target, bench.at(at)).unwrap();
    };
    link("second", "lib/first");
    link("real.1", "lib/second");
    link("x", "way");
    bench.inputs = ["many", "lib/first", "way/y/z"].map(|input| Input::Path(path(input))).to_vec();
    assert!(bench.full().await);
    assert_eq!(bench.renewed(&[]).await.unwrap().uploaded_blobs, 0);
    for changed in ["lib/first", "lib/second", "way"] {
        assert!(bench.renew(&[changed]).await.unwrap().is_none(), "{changed}");
        let before = bench.at("before");
        fs::rename(bench.at(changed), &before).unwrap();
        assert!(bench.renew(&[changed]).await.unwrap().is_none(), "{changed} is gone");
        fs::rename(before, bench.at(changed)).unwrap();
    }
    bench.write("lib/real.2", "of no interest");
    assert_eq!(bench.renewed(&["lib/real.2"]).await.unwrap().uploaded_blobs, 0);
    bench.write("lib/real.1", "changed");
    assert!(bench.renewed(&["lib/real.1"]).await.unwrap().uploaded_blobs > 0);

    // Whether there is a `sub` is nothing that a walk comes to.
    symlink("../shared/sub/../b", bench.at("many/winding")).unwrap();
    assert!(!bench.full().await);
}

#[tokio::test]
async fn files_with_another_name_are_looked_at_each_time() {
    let bench = Bench::new(MemoryStore::new());
    fs::hard_link(bench.at("many/file-1"), bench.dir.path().join("name")).unwrap();
    assert!(bench.full().await);
    assert_eq!(bench.renewed(&[]).await.unwrap().uploaded_blobs, 0);
    fs::write(bench.dir.path().join("name"), "by its other name").unwrap();
    assert_eq!(bench.renewed(&[]).await.unwrap().uploaded_blobs, 2);
    bench.write("many/file-2", "and another one");
    fs::remove_file(bench.dir.path().join("name")).unwrap();
    assert_eq!(bench.renewed(&["many/file-2"]).await.unwrap().uploaded_blobs, 2);
}

#[tokio::test]
async fn a_file_that_got_another_name_and_what_is_no_file_lead_to_looking_at_everything() {
    let bench = Bench::new(MemoryStore::new());
    assert!(bench.full().await);
    fs::hard_link(bench.at("many/file-1"), bench.dir.path().join("name")).unwrap();
    bench.write("many/file-1", "changed");
    assert!(bench.renew(&["many/file-1"]).await.unwrap().is_none());
    fs::remove_file(bench.dir.path().join("name")).unwrap();
    assert!(bench.renewed(&["many/file-1"]).await.is_some());
    let _socket = std::os::unix::net::UnixListener::bind(bench.at("many/socket")).unwrap();
    assert!(bench.renew(&["many/socket"]).await.unwrap().is_none());
    assert!(bench.renew(&["many"]).await.unwrap().is_none());
}

#[tokio::test]
async fn anything_may_have_changed_where_that_is_said_or_too_much_did() {
    let bench = Bench::new(MemoryStore::new());
    assert!(bench.full().await);
    let many: Vec<RelPath> = (0..20_001).map(|number| path(&format!("many/x{number}"))).collect();
    for paths in [None, Some(many)] {
        let (again, kept) = (bench.again(), bench.again().read(NOW).unwrap());
        let changes = Changes { token: "next".into(), paths };
        let (root, options) = (bench.root(), &bench.options);
        let renewed = renew(&bench.store, &root, options, (&again, kept), changes, Arc::new(Silent)).await;
        assert!(renewed.unwrap().is_none());
    }
    assert_eq!(bench.store.calls(), []);
}

#[tokio::test]
async fn a_store_that_lost_the_manifest_or_takes_no_patches_is_asked_about_everything_next() {
    let bench = Bench::new(MemoryStore::new());
    assert!(bench.full().await);
    let manifest = bench.again().read(NOW).unwrap().manifest;
    assert!(bench.store.inner().remove(manifest));
    bench.write("many/file-1", "changed");
    for changed in [&["many/file-1"][..], &[]] {
        assert!(bench.renew(changed).await.unwrap().is_none());
    }
    // The manifest that did not get there is no base of another one.
    assert!(bench.renew(&[]).await.unwrap().is_none());

    let refuses =
        |call| (call == Call::WritePatch).then(|| crate::Error::Invalid { reason: "unknown".into() });
    let bench = Bench::new(Faulty::new(MemoryStore::new(), refuses));
    assert!(bench.full().await);
    assert!(bench.renew(&[]).await.unwrap().is_none());
    let gone = |_| Some(crate::Error::Unavailable { reason: "gone".into() });
    let gone = Bench {
        store: Recording::new(Faulty::new(MemoryStore::new(), gone)),
        dir: bench.dir,
        inputs: bench.inputs,
        options: bench.options,
    };
    // A proxy may answer so for ever to a call that it does not know.
    assert!(gone.renew(&[]).await.unwrap().is_none());
    gone.write("many/file-1", "changed");
    assert!(gone.renew(&["many/file-1"]).await.is_err(), "nobody waits for it twice");
}

#[tokio::test]
async fn what_is_kept_counts_for_the_same_work_item_for_ten_minutes_and_undamaged() {
    let bench = Bench::new(MemoryStore::new());
    assert!(bench.full().await);
    let again = bench.again();
    assert!(again.read(NOW + Duration::from_secs(599)).is_some());
    assert!(again.read(NOW + Duration::from_secs(600)).is_none());
    assert!(again.read(NOW - Duration::from_secs(1)).is_none(), "the clock was put back");
    let (dir, root) = (bench.dir.path().join("kept"), bench.root());
    assert!(Again::of(&dir, &root, b"that").read(NOW).is_none());
    assert!(Again::of(&dir, &bench.at("many"), b"this").read(NOW).is_none());
    // Trust is as old as it was, however often it was renewed.
    bench.write("many/file-1", "changed");
    assert!(bench.renewed(&["many/file-1"]).await.is_some());
    assert!(again.read(NOW + Duration::from_secs(600)).is_none());

    let mut files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|ending| ending == "again")).unwrap();
    let good = fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(again.read(NOW).is_none(), "{at}");
        fs::write(&file, &good[..at]).unwrap();
        assert!(again.read(NOW).is_none(), "{at}");
    }
    fs::write(&file, good).unwrap();
    assert!(again.read(NOW).is_some());
    fs::remove_file(dir.join(file.with_extension("manifest"))).unwrap();
    assert!(bench.renew(&[]).await.unwrap().is_none());
}

#[test]
fn small_manifests_are_not_kept_and_large_ones_once() {
    let dir = tempfile::tempdir().unwrap();
    let again = Again::of(dir.path(), dir.path(), b"this");
    let keep = |count: usize| {
        let files = (0..count).map(|number| {
            let entry = Entry::File { digest: FUNCTION.digest(b"x"), mode: None };
            (path(&format!("file-{number}")), entry)
        });
        let manifest = Isolated { files: files.collect(), ..Isolated::new(FUNCTION) }.to_bytes();
        let digest = FUNCTION.digest(&manifest);
        again.keep((digest, &manifest), NOW, "token".into(), Reach::default()).unwrap();
        digest
    };
    keep(10);
    assert_eq!((again.read(NOW), fs::read_dir(dir.path()).unwrap().count()), (None, 0));
    let digest = keep(5000);
    assert_eq!(again.read(NOW).unwrap().manifest, digest);
    use std::os::unix::fs::MetadataExt as _;
    let inode = || fs::metadata(LastManifest::of(dir.path(), dir.path()).file()).unwrap().ino();
    let before = inode();
    keep(5000);
    assert_eq!(inode(), before);
    assert_ne!(keep(5001), digest);
    assert_ne!(inode(), before);
}
