//! Many small blobs in one file, which takes a fraction of what as many files take to make, to find and to read.
//!
//! Blobs that come together are packed (see [`Gathering`]); a pack is published whole, by rename, and is not changed any more.
//! What is in all packs is read when blobs are first looked for, and again when the directory has changed.
//!
//! - **Unchanged.** A pack has the seal of its name (`seal`); of one without it all blobs are hashed before any is used. What is
//!   read is hashed, too: it is small, and in memory.
//! - **Least recently used.** A pack's time is moved when at least half of it is used. If less of it is used, and it was not
//!   for an hour, what is used is copied out of it: the old one goes when its time has come, and with it what nobody wants any
//!   more.
//! - **In use.** A pack of which this process knows where a pinned blob is stays in a trim, and stays readable if another process
//!   removes it: its file is open.
//! - **Few.** Many packs of about one size are made one.

mod gathering;
mod merge;
mod pack;
mod packing;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use gathering::Gathering;
pub(super) use merge::merge;
pub(super) use pack::{Opened, Pack};
pub(super) use packing::Packing;

use super::seal::used;
use crate::{Error, Result, parallel::in_parts};
use pack::{pass_over, remove_damaged};
use proto::Digest;
use std::{
    cmp::Reverse,
    collections::HashMap,
    fs::{self, Metadata},
    io::ErrorKind,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Largest blob that is written at once, in a pack if others come with it. Larger ones take so long that a file of their own makes
/// no difference, and may be cloned or lent.
pub(crate) const SMALL: u64 = 128 * 1024;

/// Fewer than so many that come together are files of their own.
const TOGETHER: usize = 32;

/// A pack of so many blobs is full.
const MOST: usize = 262_144;

/// A pack that was used so many seconds ago keeps its time when less than half of it is used.
const MOVE_AFTER: i64 = 60 * 60;

/// Fewer blobs are found sooner than threads are started.
const ALONE: usize = 1024;

/// A blob in a pack.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) opened: Arc<Opened>,
    pub(super) number: u32,
}

impl Place {
    /// Of all blobs of a pack.
    pub(super) fn all(opened: &Arc<Opened>) -> impl Iterator<Item = Self> + '_ {
        (0..opened.pack.table.len() as u32).map(|number| Self { opened: opened.clone(), number })
    }

    pub(super) fn digest(&self) -> Digest {
        self.opened.pack.table.entry(self.number as usize).1
    }

    /// Its bytes. `None`: somebody has changed them.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>> {
        self.opened.read(self.number)
    }

    /// Whether it is the blob's, and nobody has changed the pack as far as is known.
    pub(super) fn is_of(&self, digest: Digest) -> bool {
        self.digest() == digest && !self.opened.is_damaged()
    }
}

/// A blob that was sought and is packed.
#[derive(Debug)]
pub(super) struct Hit {
    /// Its place among those that were sought.
    pub(super) at: usize,
    pub(super) place: Place,
    /// Whether it should be copied out of its pack, so that this may go.
    pub(super) is_leaving: bool,
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
        let mut known = self.known();
        known.packs.retain(|known| known.path != pack.path);
        known.packs.push(pack);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are there. `now` is the file system's time in seconds.
    fn all(&self, now: i64) -> Result<Vec<Arc<Pack>>> {
        let mut known = self.known();
        let time = match fs::metadata(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            found => used(&found.map_err(|error| Error::io(&self.dir, error))?),
        };
        if known.listed != Some(time) {
            known.packs = self.list(&known.packs)?;
            // What comes within a tick of the clock does not move the directory's time.
            known.listed = (time.0 < now - 1).then_some(time);
        }
        Ok(known.packs.clone())
    }

    /// What is in the directory. Of those that are `known` nothing is read. What is no pack is removed, what cannot be looked at
    /// is passed over.
    fn list(&self, known: &[Arc<Pack>]) -> Result<Vec<Arc<Pack>>> {
        let failed = |error| Error::io(&self.dir, error);
        let known: HashMap<&PathBuf, &Arc<Pack>> = known.iter().map(|pack| (&pack.path, pack)).collect();
        let (mut packs, mut others) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            match known.get(&path) {
                Some(pack) => packs.push((*pack).clone()),
                None if entry.file_type().is_ok_and(|kind| kind.is_file()) => others.push(path),
                None => {}
            }
        }
        let packs = Mutex::new(packs);
        let load = |_: usize, part: &[PathBuf]| {
            for path in part {
                match Pack::load(path) {
                    Ok(Some(pack)) => {
                        packs.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(pack));
                    }
                    Ok(None) => remove_damaged(path),
                    Err(error) => pass_over(path, &error),
                }
            }
            Ok::<_, Error>(())
        };
        in_parts(&others, 1, load)?;
        Ok(packs.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where blobs are, those that are packed, and notes that they are used.
    pub(super) fn find(&self, digests: &[Digest], now: i64) -> Result<Vec<Hit>> {
        let is_small = |digest: &Digest| (1..=SMALL).contains(&digest.size());
        let mut sought: Vec<(Digest, usize)> =
            digests.iter().copied().zip(0..).filter(|(digest, _)| is_small(digest)).collect();
        if sought.is_empty() {
            return Ok(Vec::new());
        }
        sought.sort_unstable();
        let packs = self.all(now)?;
        let having = Mutex::new(Vec::new());
        let look = |part: &[Arc<Pack>]| {
            for pack in part {
                let found = pack.table.find(&sought);
                if let Some((opened, time)) = Some(pack).filter(|_| !found.is_empty()).and_then(usable) {
                    having.lock().unwrap_or_else(PoisonError::into_inner).push((time, opened, found));
                }
            }
            Ok::<_, Error>(())
        };
        if sought.len() < ALONE {
            look(&packs)?
        } else {
            in_parts(&packs, 1, |_, part| look(part))?
        }
        let mut having = having.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Of two that have a blob the one that was used last counts.
        having.sort_unstable_by_key(|(time, ..)| Reverse(*time));
        let (mut hits, mut is_found) = (Vec::new(), vec![false; digests.len()]);
        for ((time, _), opened, mut found) in having {
            found.retain(|(at, _)| !std::mem::replace(&mut is_found[*at], true));
            let bytes: u64 = found.iter().map(|(at, _)| digests[*at].size()).sum();
            let is_half = bytes >= opened.pack.table.payload() / 2;
            if is_half && time < now - super::cache::TOUCH_AFTER {
                opened.touch();
            }
            let is_leaving = !is_half && time < now - MOVE_AFTER;
            let place = |number| Place { opened: opened.clone(), number };
            hits.extend(found.into_iter().map(|(at, number)| Hit { at, place: place(number), is_leaving }));
        }
        Ok(hits)
    }

    /// All that are there, and what their files are like.
    pub(super) fn scan(&self, now: i64) -> Result<Vec<(Arc<Pack>, Metadata)>> {
        let seen = |pack: Arc<Pack>| fs::symlink_metadata(&pack.path).ok().map(|found| (pack, found));
        Ok(self.all(now)?.into_iter().filter_map(seen).collect())
    }
}

/// The file of a pack and its time, unless it is gone or was changed.
fn usable(pack: &Arc<Pack>) -> Option<(Arc<Opened>, (i64, i64))> {
    match pack.open() {
        Ok(Some((opened, found))) => return Some((opened, used(&found))),
        Ok(None) => pack.remove_damaged(),
        Err(error) => pass_over(&pack.path, &error),
    }
    None
}
