//! Large files that are linked to, and what becomes of the cache when a tree does as it likes with them.

mod kills;
mod trims;

use super::*;
use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
};

const LARGE: usize = 3 * 1024 * 1024;

struct LargeFile {
    store: MemoryStore,
    cache: Cache,
    digest: Digest,
    bytes: Vec<u8>,
}

impl LargeFile {
    async fn new() -> Self {
        let (store, bytes) = (MemoryStore::new(), noise(7, LARGE).to_vec());
        let digest = store.put(FUNCTION, bytes.clone().into()).await.unwrap();
        Self { store, cache: Cache::new(), digest, bytes }
    }

    /// Fetches and lays out a tree of the file and a small one.
    async fn tree(&self, read_only: ReadOnly) -> TempDir {
        let small = self.store.put(FUNCTION, b"small"[..].into()).await.unwrap();
        let entry = |digest| Entry::File { digest, mode: Some(0o750) };
        let files = BTreeMap::from([(path("large"), entry(self.digest)), (path("small"), entry(small))]);
        let isolated = Isolated { files, read_only, ..Isolated::new(FUNCTION) };
        let manifest = store_manifest(&self.store, &isolated).await;
        let cache = &self.cache.cache;
        let fetched = fetch(&self.store, cache, manifest, &Silent).await.unwrap();
        let target = tempfile::tempdir().unwrap();
        materialize(&fetched, cache, target.path()).unwrap();
        assert_eq!(fs::read(target.path().join("large")).unwrap(), self.bytes);
        target
    }

    /// Whether the file of a tree is the cache's own.
    fn is_lent(&self, tree: &TempDir) -> bool {
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        inode(&self.cache.cache.path(self.digest)) == inode(&tree.path().join("large"))
    }

    /// Where blocks are shared nothing needs to be lent.
    fn can_clone(&self) -> bool {
        let clone = |to: &Path| -> io::Result<()> {
            let source = File::open(self.cache.cache.path(self.digest))?;
            reflink_copy::reflink_file(&source, &File::create(to.join("clone"))?)
        };
        clone(tempfile::tempdir().unwrap().path()).is_ok()
    }
}

/// Writes over the first byte, whatever the permissions.
fn spoil(tree: &TempDir) {
    let file = tree.path().join("large");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    File::options().write(true).open(file).unwrap().write_all(b"!").unwrap();
}

#[tokio::test]
async fn a_large_file_is_lent_to_one_tree_at_a_time_and_again_when_that_is_gone() {
    let large = LargeFile::new().await;
    let first = large.tree(ReadOnly::Files).await;
    let lends = !large.can_clone();
    assert_eq!(large.is_lent(&first), lends);
    assert_eq!(mode(&first.path().join("large")), 0o550);
    let second = large.tree(ReadOnly::Files).await;
    assert!(!large.is_lent(&second));
    assert_eq!(mode(&second.path().join("large")), 0o550);
    drop((first, second));
    assert_eq!(large.is_lent(&large.tree(ReadOnly::Files).await), lends);
}

#[tokio::test]
async fn nothing_that_may_be_written_to_and_nothing_small_is_lent() {
    let large = LargeFile::new().await;
    let tree = large.tree(ReadOnly::Writable).await;
    assert!(!large.is_lent(&tree));
    assert_eq!(mode(&tree.path().join("large")), 0o750);
    let tree = large.tree(ReadOnly::Files).await;
    assert_eq!(fs::metadata(tree.path().join("small")).unwrap().nlink(), 1);
}

#[tokio::test]
async fn what_a_tree_did_to_its_file_no_other_tree_gets_to_see() {
    let large = LargeFile::new().await;
    let first = large.tree(ReadOnly::Files).await;
    spoil(&first);
    // While the first one is there, and after it.
    let second = large.tree(ReadOnly::Files).await;
    spoil(&second);
    drop((first, second));
    let third = large.tree(ReadOnly::Files).await;
    let times = fs::metadata(third.path().join("large")).unwrap().modified().unwrap();
    spoil(&third);
    // The time put back at once does not hide it.
    File::options().write(true).open(third.path().join("large")).unwrap().set_modified(times).unwrap();
    large.tree(ReadOnly::Files).await;
    // Nor does it reach those who do not lay out.
    let cached = large.cache.cache.read(large.digest).unwrap();
    assert!(cached.is_none_or(|bytes| bytes == large.bytes));
}

#[tokio::test]
async fn what_is_spoilt_between_fetch_and_layout_is_told_and_forgotten() {
    let large = LargeFile::new().await;
    let files = BTreeMap::from([(path("large"), Entry::File { digest: large.digest, mode: None })]);
    let isolated = Isolated { files, ..Isolated::new(FUNCTION) };
    let manifest = store_manifest(&large.store, &isolated).await;
    let Cache { cache, .. } = &large.cache;
    let first = large.tree(ReadOnly::Files).await;
    let fetched = fetch(&large.store, cache, manifest, &Silent).await.unwrap();
    if large.is_lent(&first) {
        spoil(&first);
        let target = tempfile::tempdir().unwrap();
        let error = materialize(&fetched, cache, target.path()).unwrap_err();
        assert!(matches!(&error, Error::Store(crate::Error::Internal { .. })), "{error:?}");
        assert_eq!(cache.missing(&[large.digest]).unwrap(), [large.digest]);
    } else {
        assert!(large.can_clone());
    }
}

#[tokio::test]
async fn a_file_that_a_tree_marked_is_not_lent_again() {
    let large = LargeFile::new().await;
    let first = large.tree(ReadOnly::Files).await;
    let file = first.path().join("large");
    rustix::fs::setxattr(&file, "user.mark", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    drop(first);
    let second = large.tree(ReadOnly::Files).await;
    let file = second.path().join("large");
    assert_eq!(rustix::fs::listxattr_query(&file).unwrap(), 0);
    assert_eq!(mode(&file), 0o550);
}

#[tokio::test]
async fn the_cache_leaves_the_times_of_a_file_alone_that_a_tree_has() {
    let large = LargeFile::new().await;
    let tree = large.tree(ReadOnly::Files).await;
    let file = tree.path().join("large");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(&file).unwrap().set_modified(old).unwrap();
    assert_eq!(large.cache.cache.missing(&[large.digest]).unwrap(), []);
    large.tree(ReadOnly::Files).await;
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), old);
}

/// Needs to be root, or a member of more than one group.
#[tokio::test]
async fn directories_that_give_their_group_away_give_it_to_all_that_is_laid_out_in_them() {
    use std::os::unix::fs::chown;
    let (large, target) = (LargeFile::new().await, tempfile::tempdir().unwrap());
    let own = fs::metadata(target.path()).unwrap().gid();
    let group = if rustix::process::geteuid().is_root() {
        4242
    } else {
        let mut groups = rustix::process::getgroups().unwrap().into_iter().map(|group| group.as_raw());
        groups.find(|group| *group != own).expect("to be root, or another group")
    };
    chown(target.path(), None, Some(group)).unwrap();
    fs::set_permissions(target.path(), Permissions::from_mode(0o2755)).unwrap();
    let entry = Entry::File { digest: large.digest, mode: None };
    let files = BTreeMap::from([(path("large"), entry.clone()), (path("a/b/large"), entry)]);
    let manifest = store_manifest(&large.store, &Isolated { files, ..Isolated::new(FUNCTION) }).await;
    let Cache { cache, .. } = &large.cache;
    let fetched = fetch(&large.store, cache, manifest, &Silent).await.unwrap();
    materialize(&fetched, cache, target.path()).unwrap();
    for made in ["large", "a", "a/b", "a/b/large"] {
        let found = fs::metadata(target.path().join(made)).unwrap();
        assert_eq!((made, found.gid()), (made, group));
        assert_eq!((made, found.nlink() > 1 && found.is_file()), (made, false));
    }
    assert_eq!(mode(&target.path().join("a/b")), 0o2755);
    assert_eq!(fs::metadata(cache.path(large.digest)).unwrap().gid(), own, "the cache's file is its own");
}

#[tokio::test]
async fn a_tree_that_locks_its_file_keeps_nobody_else_waiting() {
    let file = LargeFile::new().await;
    let first = file.tree(ReadOnly::Files).await;
    let lent = File::open(first.path().join("large")).unwrap();
    rustix::fs::flock(&lent, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let second = file.tree(ReadOnly::Files).await;
    let metadata = |tree: &TempDir| fs::metadata(tree.path().join("large")).unwrap();
    assert_ne!(metadata(&first).ino(), metadata(&second).ino());
}
