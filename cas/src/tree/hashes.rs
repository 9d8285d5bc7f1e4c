//! Digests of files that were hashed before, so that unchanged files are not read again.
//!
//! A file is taken for unchanged when its path, size, mtime, ctime, inode and device are what they were. A file that was
//! changed so shortly before it was hashed that a later change might bear the same time is never remembered. The cache is
//! one file per root directory; a damaged or foreign one counts as empty.

mod saved;
mod sweep;

use super::Error;
use proto::{Digest, DigestFunction, RelPath};
use rustix::fs::Stat;
pub(super) use saved::Cursor;
use saved::Saved;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Names the cache's file after the root.
const NAME: DigestFunction = DigestFunction::Blake3;

/// How much older than the present a file's times must be to be remembered, in nanoseconds: more than a tick of the
/// kernel's clock.
const SETTLED: i64 = 50_000_000;

/// The same for file systems that keep full seconds, or two.
const SETTLED_COARSE: i64 = 2_000_000_000;

/// What tells that a file is unchanged. Times are nanoseconds since 1970, as far as they fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    mtime: i64,
    ctime: i64,
    inode: u64,
    device: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |seconds: i64, nanos: u64| {
            seconds.saturating_mul(1_000_000_000).saturating_add(nanos.cast_signed())
        };
        Self {
            size: stat.st_size.cast_unsigned(),
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            device: stat.st_dev,
        }
    }

    /// Bytes in the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether any later change shows in the times, given that the file was read after `now`.
    pub(super) fn is_settled(&self, now: i64) -> bool {
        let coarse = self.mtime % 1_000_000_000 == 0;
        let settling = if coarse { SETTLED_COARSE } else { SETTLED };
        self.mtime.max(self.ctime).saturating_add(settling) < now
    }
}

/// A file as it was when it was hashed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    stamp: Stamp,
    digest: Digest,
}

impl Record {
    /// The digest, if the file is unchanged.
    pub(super) fn digest_of(&self, stamp: Stamp) -> Option<Digest> {
        (self.stamp == stamp).then_some(self.digest)
    }
}

/// The file in `dir` that is about `root`.
pub(super) fn file_of(dir: &Path, root: &Path) -> PathBuf {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    dir.join(NAME.digest(root.as_os_str().as_bytes()).hex())
}

/// The file of a root, which is in use from now on.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    sweep::used(&file);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file that consists of these parts in the place of another one, as a whole or not at all.
pub(super) fn replace(file: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let write = |dir: &Path| -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut staged = tempfile::Builder::new().prefix(sweep::STAGING).tempfile_in(dir)?;
        parts.iter().try_for_each(|part| staged.write_all(part))?;
        staged.persist(file)?;
        Ok(())
    };
    write(file.parent().unwrap_or(Path::new("."))).map_err(|error| Error::io(file, error))
}

/// What a record is found by.
type Key = (RelPath, DigestFunction);

/// The digests of the files below one root. Shared by threads.
#[derive(Debug)]
pub struct HashCache {
    /// `None`: remembers nothing.
    file: Option<PathBuf>,
    /// What was in the file when it was opened.
    saved: Saved,
    /// What came since, and wins.
    fresh: Mutex<BTreeMap<Key, Record>>,
}

impl HashCache {
    /// The digests that are kept in `dir` for files below `root`. Whatever cannot be read counts as empty.
    pub fn open(dir: &Path, root: &Path) -> Self {
        let file = file_of(dir, root);
        let saved = read(&file).ok().and_then(Saved::read).unwrap_or_default();
        Self { file: Some(file), saved, fresh: Mutex::default() }
    }

    /// Remembers nothing.
    pub fn disabled() -> Self {
        Self { file: None, saved: Saved::default(), fresh: Mutex::default() }
    }

    /// Where it is kept by default: `$XDG_CACHE_HOME/isoswarm/hashes`, or the same below `~/.cache`. `None` without a home.
    pub fn default_dir() -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(cache.join("isoswarm").join("hashes"))
    }

    /// What was known of the file at `path` when the cache was opened. Quickest with one cursor for files in the order of
    /// their paths.
    pub(super) fn find(
        &self,
        path: &RelPath,
        function: DigestFunction,
        cursor: &mut Cursor,
    ) -> Option<Record> {
        self.saved.get(function, path, cursor)
    }

    /// Remembers digests of files that were read after `now`, the file system's time, for whoever opens the cache next.
    pub(super) fn put(&self, now: i64, hashed: impl IntoIterator<Item = (RelPath, Stamp, Digest)>) {
        if self.file.is_none() {
            return;
        }
        let settled = hashed.into_iter().filter(|(_, stamp, _)| stamp.is_settled(now));
        let records =
            settled.map(|(path, stamp, digest)| ((path, digest.function()), Record { stamp, digest }));
        self.fresh().extend(records);
    }

    /// The file system's time in nanoseconds, from a file that is made for that.
    pub(super) fn now(&self) -> i64 {
        let probe = || {
            let dir = self.file.as_ref()?.parent()?;
            fs::create_dir_all(dir).ok()?;
            let probe = tempfile::tempfile_in(dir).ok()?;
            Some(Stamp::of(&rustix::fs::fstat(&probe).ok()?).mtime)
        };
        // Without a time nothing is old enough to be remembered.
        probe().unwrap_or(i64::MIN)
    }

    /// Writes what is new to the disk, as a whole or not at all.
    pub fn save(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = match &*self.fresh() {
            fresh if fresh.is_empty() => return Ok(()),
            fresh => self.saved.with(fresh),
        };
        replace(file, &[&bytes])?;
        sweep::sweep(file);
        Ok(())
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeMap<Key, Record>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
