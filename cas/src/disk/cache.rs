//! [`DiskCache`]: the handle that everything goes through.

use super::{
    Pins, Staged,
    accounting::Accounting,
    layout::Layout,
    limits::{Count, DiskCacheOptions},
    pins::PinTable,
    seal,
    session::{self, Session},
    trim,
};
use crate::{Error, Result};
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
    pub fn pin(&self, digests: Vec<Digest>) -> Pins {
        self.shared.pins.pin(digests)
    }

    /// Which of these are not there, in the order given. The others count as used now. The empty blob is always there.
    pub fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let now = self.shared.accounting.now()?;
        let mut missing = Vec::new();
        for digest in digests.iter().filter(|digest| !digest.is_empty()) {
            let path = self.path(*digest);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_file() && found.len() == digest.size() => {
                    let sealed = seal::is_sealed(&found, *digest);
                    if !sealed && !is_whole(&path, *digest)? {
                        drop_damaged(&path)?;
                        missing.push(*digest);
                    } else if !sealed || found.mtime() < now - TOUCH_AFTER {
                        touch(&path, *digest);
                    }
                }
                Ok(_) => {
                    drop_damaged(&path)?;
                    missing.push(*digest);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(*digest),
                Err(error) => return Err(Error::io(path, error)),
            }
        }
        Ok(missing)
    }

    /// Where the file of a blob is, if it is there. Never write to it.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.shared.layout.blob(digest)
    }

    /// The bytes of a blob, if it is there.
    pub fn read(&self, digest: Digest) -> Result<Option<Bytes>> {
        if !self.missing(&[digest])?.is_empty() {
            return Ok(None);
        }
        if digest.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let path = self.path(digest);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// Begins a blob that comes in pieces.
    pub fn stage(&self, digest: Digest) -> Result<Staged> {
        Staged::create(self.clone(), digest)
    }

    /// Adds a blob.
    pub fn insert(&self, digest: Digest, bytes: &[u8]) -> Result<()> {
        let mut staged = self.stage(digest)?;
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
        let items = trim::scan(&self.shared.layout)?;
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

/// Best effort: who may not move the time only makes the blob go sooner.
fn touch(path: &Path, digest: Digest) {
    let _ = File::open(path).and_then(|file| seal::touch(&file, digest));
}

/// Reads it all.
fn is_whole(path: &Path, digest: Digest) -> Result<bool> {
    let hash = || -> io::Result<bool> {
        let (mut file, mut hasher) = (File::open(path)?, digest.function().hasher());
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finish() == digest),
                read => hasher.update(&buffer[..read]),
            }
        }
    };
    match hash() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        hashed => hashed.map_err(|error| Error::io(path, error)),
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
