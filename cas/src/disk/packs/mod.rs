//! Many small blobs in one file, which takes a fraction of what as many files take to make, to find and to read.
//!
//! Blobs that come together are packed (see [`Gathering`]); a pack is published whole, by rename, and is not changed any more.
//! What is in all packs is read when blobs are first looked for, and again when the directory has changed.
//!
//! - **Unchanged.** A pack has the seal of its name (`seal`); of one without it all blobs are hashed before any is used.
//! - **Least recently used.** A pack's time is moved when at least half of it is used. If less of it is used, and it was not
//!   for an hour, what is used is copied into a new pack: the old one goes when its time has come, and with it what nobody
//!   wants any more.
//! - **In use.** A pack of which this process knows where a pinned blob is stays in a trim, and stays readable if another process
//!   removes it: its file is open.
//! - **Few.** Many packs of about one size are made one.

mod merge;
mod pack;
mod packing;
mod table;
#[cfg(test)]
mod tests;

pub(super) use merge::merge;
pub(super) use pack::Pack;
pub(crate) use packing::Gathering;
pub(super) use packing::Packing;

use super::{layout::footprint, limits::Count};
use crate::{Error, Result, parallel::in_parts};
use proto::Digest;
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Largest blob that is written at once, in a pack if others come with it. Larger ones take so long that a file of their own makes
/// no difference, and may be cloned or lent.
pub(crate) const SMALL: u64 = 128 * 1024;

/// Fewer than so many that come together are files of their own.
const TOGETHER: usize = 32;

/// Most blobs in a pack.
const MOST: usize = 65_536;

/// A pack that was used so many seconds ago keeps its time when less than half of it is used.
const MOVE_AFTER: i64 = 60 * 60;

/// A blob in a pack.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) pack: Arc<Pack>,
    pub(super) number: u32,
}

impl Place {
    /// Of all blobs of a pack.
    pub(super) fn all(pack: &Arc<Pack>) -> impl Iterator<Item = Self> + '_ {
        (0..pack.table.len() as u32).map(|number| Self { pack: pack.clone(), number })
    }

    pub(super) fn digest(&self) -> Digest {
        self.pack.digest(self.number)
    }

    pub(super) fn read(&self) -> Result<Vec<u8>> {
        self.pack.read(self.number)
    }

    /// Whether it is the blob's, and nobody has changed the pack as far as is known.
    pub(super) fn is_of(&self, digest: Digest) -> bool {
        self.digest() == digest && !self.pack.is_damaged()
    }
}

/// What was found of what was sought.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By the place in what was sought.
    pub(super) places: Vec<(usize, Place)>,
    /// Of these, the ones that should move into a new pack, by their place in `places`.
    pub(super) leaving: Vec<usize>,
}

/// All packs of a cache.
#[derive(Debug)]
pub(super) struct Packs {
    dir: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The directory's time when it was listed, if nothing can have changed in it since then without moving that.
    listed: Option<(i64, i64)>,
    packs: Vec<Arc<Pack>>,
}

impl Packs {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, known: Mutex::default() }
    }

    /// One was published.
    pub(super) fn add(&self, pack: Arc<Pack>) {
        self.known().packs.push(pack);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are there. `now` is the file system's time in seconds.
    fn all(&self, now: i64) -> Result<Vec<Arc<Pack>>> {
        let mut known = self.known();
        let failed = |error| Error::io(&self.dir, error);
        let found = fs::metadata(&self.dir).map_err(failed)?;
        let time = (found.mtime(), found.mtime_nsec());
        if known.listed != Some(time) {
            let mut packs: HashMap<PathBuf, Arc<Pack>> =
                known.packs.drain(..).map(|pack| (pack.path.clone(), pack)).collect();
            for entry in fs::read_dir(&self.dir).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let pack = packs.remove(&path).map_or_else(|| opened(&path), |pack| Ok(Some(pack)))?;
                known.packs.extend(pack);
            }
            // What comes within a tick of the clock does not move the directory's time.
            known.listed = (found.mtime() < now - 1).then_some(time);
        }
        Ok(known.packs.clone())
    }

    /// Where blobs are, those that are packed, and notes that they are used.
    pub(super) fn find(&self, digests: &[Digest], now: i64) -> Result<Found> {
        let packs = self.all(now)?;
        let is_small = |digest: &Digest| (1..=SMALL).contains(&digest.size());
        let mut sought: Vec<(Digest, usize)> =
            digests.iter().copied().zip(0..).filter(|(digest, _)| is_small(digest)).collect();
        if packs.is_empty() || sought.is_empty() {
            return Ok(Found::default());
        }
        sought.sort_unstable();
        let all = Mutex::new(Vec::new());
        let look = |part: &[Arc<Pack>]| {
            for pack in part {
                let hits = pack.table.find(&sought);
                if !hits.is_empty() {
                    all.lock().unwrap_or_else(PoisonError::into_inner).push((pack.clone(), hits));
                }
            }
            Ok::<_, Error>(())
        };
        // A few are found sooner than threads are started.
        if sought.len() < MOST / 64 {
            look(&packs)?
        } else {
            in_parts(&packs, 1, |_, part| look(part))?
        }
        let mut found = Found::default();
        let mut taken = vec![false; digests.len()];
        let mut usable = Vec::new();
        for (pack, hits) in all.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match pack.unchanged()? {
                Some(metadata) => usable.push((pack::used(&metadata), pack, hits)),
                None => self.drop_damaged(&pack)?,
            }
        }
        // The one that was used last has a blob of two.
        usable.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        for ((used, _), pack, mut hits) in usable {
            hits.retain(|(at, _)| !std::mem::replace(&mut taken[*at], true));
            let first = found.places.len();
            found
                .places
                .extend(hits.iter().map(|(at, number)| (*at, Place { pack: pack.clone(), number: *number })));
            let bytes: u64 = hits.iter().map(|(at, _)| digests[*at].size()).sum();
            if bytes >= pack.table.payload() / 2 {
                if used < now - super::cache::TOUCH_AFTER {
                    pack.touch();
                }
            } else if used < now - MOVE_AFTER {
                found.leaving.extend(first..found.places.len());
            }
        }
        Ok(found)
    }

    /// Removes one whose bytes are others than they should be.
    fn drop_damaged(&self, pack: &Arc<Pack>) -> Result<()> {
        pack.set_damaged();
        self.known().packs.retain(|known| !Arc::ptr_eq(known, pack));
        remove_damaged(&pack.path)
    }

    /// All that are there, as a trim sees them.
    pub(super) fn scan(&self, now: i64) -> Result<Vec<Held>> {
        let held = |pack: Arc<Pack>| {
            let found = fs::symlink_metadata(&pack.path).ok()?;
            let count = Count { bytes: footprint(found.len()), items: pack.table.len() as u64 };
            Some(Held { used: pack::used(&found), count, pack })
        };
        Ok(self.all(now)?.into_iter().filter_map(held).collect())
    }

    /// Runs `evict` unless this process uses the pack, and lets it not begin to while it runs.
    pub(super) fn unless_used<T>(&self, held: Held, evict: impl FnOnce(&Path) -> T) -> Option<T> {
        let mut known = self.known();
        let Held { pack, .. } = held;
        // Here, and in the list.
        if Arc::strong_count(&pack) > 2 {
            return None;
        }
        known.packs.retain(|known| !Arc::ptr_eq(known, &pack));
        known.listed = None;
        Some(evict(&pack.path))
    }
}

/// A pack as a trim sees it.
#[derive(Debug)]
pub(super) struct Held {
    pack: Arc<Pack>,
    pub(super) count: Count,
    /// Seconds and nanoseconds.
    pub(super) used: (i64, i64),
}

/// `None`: it is gone, or was none and was removed.
fn opened(path: &Path) -> Result<Option<Arc<Pack>>> {
    let pack = Pack::open(path).map_err(|error| Error::io(path, error))?;
    if pack.is_none() {
        remove_damaged(path)?;
    }
    Ok(pack.map(Arc::new))
}

fn remove_damaged(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), "removed a foreign or damaged file from the local cache")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(path, error)),
    }
    Ok(())
}
