//! [`DiskCache`]: the handle that everything goes through.

use super::{
    Pins, Staged,
    accounting::Accounting,
    layout::Layout,
    limits::{Count, DiskCacheOptions},
    loose::{self, drop_damaged},
    packs::{Hit, Packs, SMALL},
    pins::PinTable,
    session::{self, Session},
    staged::{Trust, put},
    trim::{self, Contents},
};
use crate::{Error, Result, parallel::in_parts};
use bytes::Bytes;
use proto::Digest;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

/// The time of last use is moved when it is older than this many seconds.
pub(super) const TOUCH_AFTER: i64 = 60;

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
    contents: Contents,
    accounting: Accounting,
    flights: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    session: Session,
}

impl DiskCache {
    /// Opens the cache in `dir`, which is made when it is not there. Quick at any size.
    pub fn open(dir: &Path, options: DiskCacheOptions) -> Result<Self> {
        let layout = Layout::new(dir);
        for made in [layout.blobs(), layout.packs(), layout.staging()] {
            fs::create_dir_all(&made).map_err(|error| Error::io(&made, error))?;
        }
        let accounting = Accounting::open(&layout, options)?;
        let session = accounting.locked(|usage| {
            let dead = session::remove_dead(&layout)?;
            accounting.add_dead(&usage, dead);
            Session::create(&layout)
        })?;
        let (contents, flights) = (Contents::new(layout), Mutex::default());
        let cache = Self { shared: Arc::new(Shared { contents, accounting, flights, session }) };
        // What nobody has used for too long goes also where nothing new comes in.
        told(cache.make_room(0, 0));
        Ok(cache)
    }

    /// Keeps these blobs, those that are there and those that will be, until the guard is dropped.
    pub fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pins {
        self.shared.contents.pins.pin(digests)
    }

    /// Which of these are not there, in the order given. The others count as used now. The empty blob is always there.
    pub fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let now = self.now()?;
        let mut is_packed = vec![false; digests.len()];
        self.find(digests, now)?.iter().for_each(|hit| is_packed[hit.at] = true);
        let missing = Mutex::new(Vec::new());
        in_parts(digests, LOOK_UPS, |at, part| {
            let sought = (at..).zip(part).filter(|(at, digest)| !digest.is_empty() && !is_packed[*at]);
            for (at, digest) in sought {
                if !loose::has(&self.path(*digest), *digest, now)? {
                    missing.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                }
            }
            Ok(())
        })?;
        let mut missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
        missing.sort_unstable();
        Ok(missing.into_iter().map(|at| digests[at]).collect())
    }

    /// Where the file of a blob is, if it is there and not packed. Never write to it.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.shared.contents.layout.blob(digest)
    }

    /// The bytes of a blob, if it is there.
    pub fn read(&self, digest: Digest) -> Result<Option<Bytes>> {
        Ok(self.read_all(&[digest])?.pop().flatten())
    }

    /// The bytes of blobs, of those that are there, in the order given.
    pub(super) fn read_all(&self, digests: &[Digest]) -> Result<Vec<Option<Bytes>>> {
        let now = self.now()?;
        let mut blobs = vec![None; digests.len()];
        for Hit { at, place, .. } in self.find(digests, now)? {
            blobs[at] = place.read()?.map(Bytes::from);
        }
        for (digest, blob) in digests.iter().zip(&mut blobs).filter(|(_, blob)| blob.is_none()) {
            *blob = match digest.is_empty() {
                true => Some(Bytes::new()),
                false => self.read_loose(*digest, now)?,
            };
        }
        Ok(blobs)
    }

    fn read_loose(&self, digest: Digest, now: i64) -> Result<Option<Bytes>> {
        let path = self.path(digest);
        if !loose::has(&path, digest, now)? {
            return Ok(None);
        }
        let Some((mut file, trust)) = self.source(digest)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(usize::try_from(digest.size()).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(|error| Error::io(&path, error))?;
        if bytes.len() as u64 != digest.size() {
            // It was trimmed, and is being written anew.
            return Ok(None);
        }
        if trust == Trust::Hash && digest.function().digest(&bytes) != digest {
            drop_damaged(&path)?;
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
        if digest.size() <= SMALL && trust.takes(digest, bytes) && put(self, digest, bytes)? {
            return Ok(());
        }
        let mut staged = self.stage_as(digest, trust)?;
        staged.write(bytes)?;
        staged.finish()
    }

    /// A file of a few bytes on the disk of the cache, which has no name.
    pub(crate) fn probe(&self) -> Result<File> {
        let dir = self.session_dir();
        let made = tempfile::tempfile_in(dir).and_then(|mut file| file.write_all(&[0; 4096]).map(|()| file));
        made.map_err(|error| Error::io(dir, error))
    }

    /// Trims so far that so many bytes in so many blobs more fit into the limits, as far as what is in use allows.
    pub fn make_room(&self, bytes: u64, items: u64) -> Result<()> {
        let shared = &self.shared;
        let trim = |now, target| trim::trim(&shared.contents, now, target);
        shared.accounting.settle(Count { bytes, items }, trim)
    }

    /// Counts what is there, by looking at everything.
    pub fn stats(&self) -> Result<Stats> {
        let items = trim::scan(&self.shared.contents, self.now()?)?;
        let all = items.iter().fold(Count::default(), |sum, item| sum + item.count);
        Ok(Stats { blobs: all.items, bytes: all.bytes })
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
        &self.shared.contents.layout
    }

    pub(super) fn packs(&self) -> &Packs {
        &self.shared.contents.packs
    }

    pub(super) fn pins(&self) -> &PinTable {
        &self.shared.contents.pins
    }

    /// The file system's time in seconds.
    pub(super) fn now(&self) -> Result<i64> {
        self.shared.accounting.now()
    }

    #[cfg(test)]
    pub(super) fn contents(&self) -> &Contents {
        &self.shared.contents
    }

    #[cfg(test)]
    pub(super) fn accounting(&self) -> &Accounting {
        &self.shared.accounting
    }

    pub(super) fn session_dir(&self) -> &Path {
        self.shared.session.path()
    }

    /// Counts what is about to be published.
    pub(super) fn publishing(&self, count: Count) {
        let shared = &self.shared;
        let trim = |now, target| trim::trim(&shared.contents, now, target);
        told(shared.accounting.publish(count, trim));
    }
}

/// Housekeeping that fails is a matter of the log: the cache works on.
pub(super) fn told(done: Result<()>) {
    if let Err(error) = done {
        tracing::warn!(%error, "cannot put the local cache in order");
    }
}

/// Sets a file's time to the file system's present, and tells it, in seconds.
pub(crate) fn present(file: &File, path: &Path) -> Result<i64> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(file, &times).map_err(|error| Error::io(path, error.into()))?;
    Ok(file.metadata().map_err(|error| Error::io(path, error))?.mtime())
}
