//! Digests of files that were hashed before, so that unchanged files are not read again.
//!
//! A file is taken for unchanged when its path, size, mtime, ctime, inode and device are what they were. A file that was
//! changed so shortly before it was hashed that a later change might bear the same time is never remembered. The cache is
//! one file per root directory; a damaged or foreign one counts as empty.

use super::Error;
use proto::{Digest, DigestFunction};
use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Changes with the format, so that other versions' files count as foreign.
const MAGIC: &[u8] = b"isoswarm-hashes-1\n";

/// Checksum of all before it, at the end of the file.
const CHECKSUM: DigestFunction = DigestFunction::Blake3;

/// How much older than the present a file's times must be to be remembered, in nanoseconds: more than a tick of the
/// kernel's clock.
const SETTLED: i128 = 50_000_000;

/// The same for file systems that keep full seconds, or two.
const SETTLED_COARSE: i128 = 2_000_000_000;

/// A digest that nobody asked for in this many saves is forgotten.
const MAX_AGE: u8 = 30;

/// What tells that a file is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    mtime: i128,
    ctime: i128,
    inode: u64,
    device: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            size: metadata.len(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Whether any later change shows in the times, given that the file was read after `now`.
    pub(super) fn is_settled(&self, now: i128) -> bool {
        let coarse = self.mtime % 1_000_000_000 == 0;
        self.mtime.max(self.ctime) + if coarse { SETTLED_COARSE } else { SETTLED } < now
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    stamp: Stamp,
    digest: Digest,
    /// Saves since it was used last.
    age: u8,
}

/// The digests of the files below one root. Shared by threads.
#[derive(Debug)]
pub struct HashCache {
    /// `None`: remembers nothing.
    file: Option<PathBuf>,
    records: Mutex<Records>,
}

/// The number of the function, then the bytes of the path: compared as bytes, which is much quicker than as paths.
type Key = Vec<u8>;

fn key(path: &Path, function: DigestFunction) -> Key {
    let path = path.as_os_str().as_bytes();
    let mut key = Vec::with_capacity(1 + path.len());
    key.push(function.number());
    key.extend_from_slice(path);
    key
}

#[derive(Debug, Default)]
struct Records {
    by_path: HashMap<Key, Record>,
    /// Whether there is anything to save.
    changed: bool,
}

impl HashCache {
    /// The digests that are kept in `dir` for files below `root`. Whatever cannot be read counts as empty.
    pub fn open(dir: &Path, root: &Path) -> Self {
        let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        let file = dir.join(CHECKSUM.digest(root.as_os_str().as_bytes()).hex());
        let by_path = fs::read(&file).ok().and_then(|bytes| format::decode(&bytes)).unwrap_or_default();
        Self { file: Some(file), records: Mutex::new(Records { by_path, changed: false }) }
    }

    /// Remembers nothing.
    pub fn disabled() -> Self {
        Self { file: None, records: Mutex::default() }
    }

    /// Where it is kept by default: `$XDG_CACHE_HOME/isoswarm/hashes`, or the same below `~/.cache`. `None` without a home.
    pub fn default_dir() -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(cache.join("isoswarm").join("hashes"))
    }

    /// The digest of the file at `path`, if it is known and the file unchanged.
    pub(super) fn get(&self, path: &Path, function: DigestFunction, stamp: Stamp) -> Option<Digest> {
        self.file.as_ref()?;
        let key = key(path, function);
        let mut records = self.records();
        let record = records.by_path.get_mut(&key)?;
        if record.stamp != stamp {
            return None;
        }
        record.age = 0;
        Some(record.digest)
    }

    /// Remembers digests of files that were read after `now`, the file system's time.
    pub(super) fn put(&self, now: i128, hashed: impl IntoIterator<Item = (PathBuf, Stamp, Digest)>) {
        if self.file.is_none() {
            return;
        }
        let mut records = self.records();
        for (path, stamp, digest) in hashed {
            if stamp.is_settled(now) {
                records.by_path.insert(key(&path, digest.function()), Record { stamp, digest, age: 0 });
                records.changed = true;
            }
        }
    }

    /// The file system's time in nanoseconds, from a file that is made for that.
    pub(super) fn now(&self) -> i128 {
        let probe = || {
            let dir = self.file.as_ref()?.parent()?;
            fs::create_dir_all(dir).ok()?;
            let probe = tempfile::tempfile_in(dir).ok()?;
            Some(Stamp::of(&probe.metadata().ok()?).mtime)
        };
        // Without a time nothing is old enough to be remembered.
        probe().unwrap_or(i128::MIN)
    }

    /// Writes what is new to the disk, as a whole or not at all.
    pub fn save(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = {
            let mut records = self.records();
            if !std::mem::take(&mut records.changed) {
                return Ok(());
            }
            format::encode(&mut records.by_path)
        };
        let write = |dir: &Path| -> io::Result<()> {
            fs::create_dir_all(dir)?;
            let mut staged = tempfile::NamedTempFile::new_in(dir)?;
            staged.write_all(&bytes)?;
            staged.persist(file)?;
            Ok(())
        };
        write(file.parent().unwrap_or(Path::new("."))).map_err(|error| Error::io(file, error))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records to bytes and back.
mod format {
    use super::*;

    type Map = HashMap<Key, Record>;

    /// Forgets what was not used for long, makes the rest one save older.
    pub(super) fn encode(records: &mut Map) -> Vec<u8> {
        records.retain(|_, record| record.age < MAX_AGE);
        let mut bytes = MAGIC.to_vec();
        for (key, record) in records {
            let path = &key[1..];
            // Paths are far shorter than this: the kernel takes 4096 bytes.
            bytes.extend((path.len() as u32).to_le_bytes());
            bytes.extend(path);
            bytes.extend([record.age, record.digest.function().number()]);
            for number in [record.stamp.size, record.stamp.inode, record.stamp.device] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(record.stamp.mtime.to_le_bytes());
            bytes.extend(record.stamp.ctime.to_le_bytes());
            bytes.extend(record.digest.hash());
        }
        let checksum = CHECKSUM.digest(&bytes);
        bytes.extend(checksum.hash());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Map> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM.hash_len())?)?;
        if CHECKSUM.digest(body).hash() != checksum {
            return None;
        }
        let mut rest = Reader(body.strip_prefix(MAGIC)?);
        // About as many as there are: paths have some hundred bytes, the rest of a record as many.
        let mut records = Map::with_capacity(body.len() / 200);
        while !rest.0.is_empty() {
            let length = u32::from_le_bytes(rest.array()?);
            let path = rest.take(length as usize)?;
            let [age, function] = rest.array()?;
            let mut key = Vec::with_capacity(1 + path.len());
            key.push(function);
            key.extend_from_slice(path);
            let function = DigestFunction::from_number(i32::from(function))?;
            let size = u64::from_le_bytes(rest.array()?);
            let inode = u64::from_le_bytes(rest.array()?);
            let device = u64::from_le_bytes(rest.array()?);
            let mtime = i128::from_le_bytes(rest.array()?);
            let ctime = i128::from_le_bytes(rest.array()?);
            let digest = Digest::new(function, rest.take(function.hash_len())?, size).ok()?;
            let stamp = Stamp { size, mtime, ctime, inode, device };
            records.insert(key, Record { stamp, digest, age: age.saturating_add(1) });
        }
        Some(records)
    }

    struct Reader<'a>(&'a [u8]);

    impl<'a> Reader<'a> {
        fn take(&mut self, count: usize) -> Option<&'a [u8]> {
            let (taken, rest) = self.0.split_at_checked(count)?;
            self.0 = rest;
            Some(taken)
        }

        fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
            self.take(N)?.try_into().ok()
        }
    }
}
