//! [`DiskCache`]: the handle that everything goes through.

use super::{
    Pins, Staged,
    accounting::Accounting,
    layout::Layout,
    lend,
    limits::{Count, DiskCacheOptions},
    pins::PinTable,
    seal,
    session::{self, Session},
    staged::{Trust, put},
    trim,
};
use crate::{Error, Result, parallel::in_parts};
use bytes::Bytes;
use proto::Digest;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

/// The time of last use is moved when it is older than this many seconds.
const TOUCH_AFTER: i64 = 60;

/// Blobs of up to so many bytes are written with one call. Larger ones are staged: they take long enough to be looked at.
const AT_ONCE: usize = 128 * 1024;

/// Blobs that a thread looks up at a time.
const LOOK_UPS: usize = 64;

/// What is in a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blobs.
    pub blobs: u64,
    /// Bytes that they take on the disk.
    pub bytes: u64,
}

/// A directory of blobs. Clones share everything. Methods block, for as long as the disk takes.
#[derive(Clone, Debug)]
pub struct DiskCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    pins: Arc<PinTable>,
    accounting: Accounting,
    flights: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    session: Session,
}

impl DiskCache {
    /// Opens the cache in `dir`, which is made when it is not there. Quick at any size.
    pub fn open(dir: &Path, options: DiskCacheOptions) -> Result<Self> {
        let layout = Layout::new(dir);
        for made in [layout.blobs(), layout.staging()] {
            fs::create_dir_all(&made).map_err(|error| Error::io(&made, error))?;
        }
        let accounting = Accounting::open(&layout, options)?;
        let session = accounting.locked(|usage| {
            let dead = session::remove_dead(&layout)?;
            accounting.add_dead(&usage, dead);
            Session::create(&layout)
        })?;
        let (pins, flights) = (Arc::default(), Mutex::default());
        let cache = Self { shared: Arc::new(Shared { layout, pins, accounting, flights, session }) };
        // What nobody has used for too long goes also where nothing new comes in.
        told(cache.make_room(0, 0));
        Ok(cache)
    }

    /// Keeps these blobs, those that are there and those that will be, until the guard is dropped.
    pub fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pins {
        self.shared.pins.pin(digests)
    }

    /// Which of these are not there, in the order given. The others count as used now. The empty blob is always there.
    pub fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let now = self.shared.accounting.now()?;
        let missing = Mutex::new(Vec::new());
        in_parts(digests, LOOK_UPS, |at, part| {
            for (at, digest) in (at..).zip(part).filter(|(_, digest)| !digest.is_empty()) {
                if !self.has(*digest, now)? {
                    missing.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                }
            }
            Ok(())
        })?;
        let mut missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
        missing.sort_unstable();
        Ok(missing.into_iter().map(|at| digests[at]).collect())
    }

    fn has(&self, digest: Digest, now: i64) -> Result<bool> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() == digest.size() => {
                let is_known = seal::is_sealed(&found, digest) && found.mtime() >= now - TOUCH_AFTER;
                if is_known || use_now(&path, digest)? {
                    return Ok(true);
                }
            }
            // It is being written, or was when somebody was killed. Whoever has all of it puts that in its place.
            Ok(found) if found.is_file() && found.len() < digest.size() => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io(path, error)),
        }
        drop_damaged(&path)?;
        Ok(false)
    }

    /// Where the file of a blob is, if it is there. Never write to it.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.shared.layout.blob(digest)
    }

    /// The bytes of a blob, if it is there.
    pub fn read(&self, digest: Digest) -> Result<Option<Bytes>> {
        if digest.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        if !self.missing(&[digest])?.is_empty() {
            return Ok(None);
        }
        let Some((mut file, trust)) = self.source(digest)? else { return Ok(None) };
        let path = || self.path(digest);
        let mut bytes = Vec::with_capacity(usize::try_from(digest.size()).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(|error| Error::io(path(), error))?;
        if bytes.len() as u64 != digest.size() {
            // It was trimmed, and is being written anew.
            return Ok(None);
        }
        if trust == Trust::Hash && digest.function().digest(&bytes) != digest {
            drop_damaged(&path())?;
            return Ok(None);
        }
        Ok(Some(bytes.into()))
    }

    /// Forgets a blob whose bytes turned out to be others.
    pub(crate) fn forget(&self, digest: Digest) -> Result<()> {
        drop_damaged(&self.path(digest))
    }

    /// Begins a blob that comes in pieces.
    pub fn stage(&self, digest: Digest) -> Result<Staged> {
        Staged::create(self.clone(), digest, Trust::Hash)
    }

    /// The same with bytes that were hashed already, by the end of them at the latest, if `trust` says so.
    pub(crate) fn stage_as(&self, digest: Digest, trust: Trust) -> Result<Staged> {
        Staged::create(self.clone(), digest, trust)
    }

    /// Adds a blob.
    pub fn insert(&self, digest: Digest, bytes: &[u8]) -> Result<()> {
        self.insert_as(digest, bytes, Trust::Hash)
    }

    pub(crate) fn insert_as(&self, digest: Digest, bytes: &[u8], trust: Trust) -> Result<()> {
        let is_right = || trust == Trust::Verified || digest.function().digest(bytes) == digest;
        let is_put = bytes.len() as u64 == digest.size()
            && bytes.len() <= AT_ONCE
            && is_right()
            && put(self, digest, bytes)?;
        if is_put {
            return Ok(());
        }
        let mut staged = self.stage_as(digest, trust)?;
        staged.write(bytes)?;
        staged.finish()
    }

    /// Trims so far that so many bytes in so many blobs more fit into the limits, as far as what is in use allows.
    pub fn make_room(&self, bytes: u64, items: u64) -> Result<()> {
        let shared = &self.shared;
        let trim = |now, target| trim::trim(&shared.layout, &shared.pins, now, target);
        shared.accounting.settle(Count { bytes, items }, trim)
    }

    /// Counts what is there, by looking at everything.
    pub fn stats(&self) -> Result<Stats> {
        let items = trim::scan(&self.shared.layout, self.shared.accounting.now()?)?;
        Ok(Stats { blobs: items.len() as u64, bytes: items.iter().map(|item| item.footprint).sum() })
    }

    /// The byte budget.
    pub fn max_bytes(&self) -> u64 {
        self.shared.accounting.max_bytes()
    }

    /// Lets one at a time fetch what `digest` names: those who come second find it there.
    pub(crate) async fn flight(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let flight = {
            let mut flights = self.shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.retain(|_, flight| flight.strong_count() > 0);
            flights.get(&digest).and_then(Weak::upgrade).unwrap_or_else(|| {
                let flight = Arc::default();
                flights.insert(digest, Arc::downgrade(&flight));
                flight
            })
        };
        flight.lock_owned().await
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    #[cfg(test)]
    pub(super) fn accounting(&self) -> &Accounting {
        &self.shared.accounting
    }

    pub(super) fn session_dir(&self) -> &Path {
        self.shared.session.path()
    }

    /// Counts a blob that is about to be published.
    pub(super) fn publishing(&self, footprint: u64) {
        let shared = &self.shared;
        let trim = |now, target| trim::trim(&shared.layout, &shared.pins, now, target);
        told(shared.accounting.publish(Count { bytes: footprint, items: 1 }, trim));
    }
}

/// A trim that fails is a matter of the log: the cache works on.
fn told(trimmed: Result<()>) {
    if let Err(error) = trimmed {
        tracing::warn!(%error, "cannot trim the local cache");
    }
}

/// Makes this the time of last use of a blob whose file has the right size; hashes it first if it has no seal. `false`: it
/// is not what it should be.
fn use_now(path: &Path, digest: Digest) -> Result<bool> {
    let checked = || -> io::Result<bool> {
        let file = File::open(path)?;
        // Nobody gets and changes it between our hashing and our sealing.
        let held = lend::keep(&file, digest);
        let found = file.metadata()?;
        if !seal::is_sealed(&found, digest) && !is_whole(&file, digest)? {
            return Ok(false);
        }
        if held && found.nlink() <= 1 {
            // Best effort: who may not move the time only makes the blob go sooner.
            let _ = seal::touch(&file, digest);
        }
        Ok(true)
    };
    match checked() {
        // Trimmed just now, or closed by a tree that it was lent to.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(false)
        }
        checked => checked.map_err(|error| Error::io(path, error)),
    }
}

/// Reads it all.
fn is_whole(mut file: &File, digest: Digest) -> io::Result<bool> {
    let mut hasher = digest.function().hasher();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == digest),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn drop_damaged(path: &Path) -> Result<()> {
    tracing::warn!(path = %path.display(), "dropped a file from the local cache that was changed or damaged");
    remove(path)
}

/// Sets a file's time to the file system's present, and tells it, in seconds.
pub(crate) fn present(file: &File, path: &Path) -> Result<i64> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(file, &times).map_err(|error| Error::io(path, error.into()))?;
    Ok(file.metadata().map_err(|error| Error::io(path, error))?.mtime())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}
