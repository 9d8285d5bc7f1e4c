//! One pack: what is in it, and its file while somebody uses it.

use super::{super::seal, table::Table};
use crate::{Error, Result, disk::layout::parse_file_name};
use proto::{Digest, DigestFunction};
use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

/// Longest tail that is read. Ours have up to [`super::MOST`] entries, and those that a batch has beyond it.
const MAX_TAIL: u64 = 64 * 1024 * 1024;

/// Times of modification and of change.
type Times = [(i64, i64); 2];

/// A pack that is there, or was.
#[derive(Debug)]
pub(in crate::disk) struct Pack {
    /// The digest of its tail.
    pub(super) name: Digest,
    pub(super) path: PathBuf,
    pub(super) table: Table,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: Weak<Opened>,
    /// What its file was like when all blobs were hashed, and the seal could not be set.
    right: Option<Times>,
}

/// The file of a pack, which can be read whatever becomes of its name. While there is one the pack is in use.
#[derive(Debug)]
pub(in crate::disk) struct Opened {
    pub(super) pack: Arc<Pack>,
    file: File,
    /// Somebody has changed it: nothing is read from it any more.
    is_damaged: AtomicBool,
}

impl Pack {
    pub(super) fn new(name: Digest, path: PathBuf, table: Table) -> Self {
        Self { name, path, table, state: Mutex::default() }
    }

    /// What is in the file at `path`. `None`: it is no pack that is whole.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let Some(name) = path.file_name().and_then(|name| parse_file_name(name.to_str()?)) else {
            return Ok(None);
        };
        let file = File::open(path)?;
        let (length, tail) = (file.metadata()?.len(), name.size());
        if name.function() != DigestFunction::Blake3 || tail > MAX_TAIL || tail > length {
            return Ok(None);
        }
        let mut bytes = vec![0; tail as usize];
        file.read_exact_at(&mut bytes, length - tail)?;
        if DigestFunction::Blake3.digest(&bytes) != name {
            return Ok(None);
        }
        let table = Table::from_tail(bytes).filter(|table| table.payload() == length - tail);
        Ok(table.map(|table| Self::new(name, path.to_owned(), table)))
    }

    /// How many it has.
    pub(in crate::disk) fn blobs(&self) -> u64 {
        self.table.len() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its file, and what that is like. One without a seal is hashed first, and sealed. `None`: somebody has changed it.
    pub(super) fn open(self: &Arc<Self>) -> io::Result<Option<(Arc<Opened>, Metadata)>> {
        let mut state = self.state();
        let opened = match state.opened.upgrade().filter(|opened| !opened.is_damaged()) {
            Some(opened) => opened,
            None => Opened::new(self, File::open(&self.path)?),
        };
        let is_known = |found: &Metadata, state: &State| {
            seal::is_sealed(found, self.name) || state.right == Some(times(found))
        };
        let mut found = opened.file.metadata()?;
        if !is_known(&found, &state) {
            // Whoever moves the time leaves no seal for a moment.
            found = opened.file.metadata()?;
        }
        if !is_known(&found, &state) {
            let is_whole = found.len() == self.table.payload() + self.name.size();
            if !is_whole || !opened.is_right() {
                opened.is_damaged.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            opened.touch();
            found = opened.file.metadata()?;
            state.right = Some(times(&found));
        }
        state.opened = Arc::downgrade(&opened);
        Ok(Some((opened, found)))
    }

    /// The same of a file that was written just now.
    pub(in crate::disk) fn opened(self: &Arc<Self>, file: File) -> Arc<Opened> {
        let opened = Opened::new(self, file);
        self.state().opened = Arc::downgrade(&opened);
        opened
    }

    /// Runs `evict` unless this process uses the pack, and lets nobody begin to while it runs.
    pub(in crate::disk) fn unless_used<T>(&self, evict: impl FnOnce(&Path) -> T) -> Option<T> {
        let state = self.state();
        (state.opened.strong_count() == 0).then(|| evict(&self.path))
    }

    /// Its file is not what it should be. Best effort: what cannot be removed is found out again.
    pub(super) fn remove_damaged(&self) {
        remove_damaged(&self.path);
    }
}

impl Opened {
    fn new(pack: &Arc<Pack>, file: File) -> Arc<Self> {
        Arc::new(Self { pack: pack.clone(), file, is_damaged: AtomicBool::new(false) })
    }

    /// The bytes of a blob, by its number, hashed. `None`, and the pack is removed: they are others.
    pub(super) fn read(&self, number: u32) -> Result<Option<Vec<u8>>> {
        match self.bytes(number) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                if !self.is_damaged.swap(true, Ordering::Relaxed) {
                    self.pack.remove_damaged();
                }
                Ok(None)
            }
            Err(error) => Err(Error::io(&self.pack.path, error)),
        }
    }

    fn bytes(&self, number: u32) -> io::Result<Option<Vec<u8>>> {
        let (offset, digest) = self.pack.table.entry(number as usize);
        let mut bytes = vec![0; digest.size() as usize];
        match self.file.read_exact_at(&mut bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok((digest.function().digest(&bytes) == digest).then_some(bytes))
    }

    fn is_right(&self) -> bool {
        (0..self.pack.table.len() as u32).all(|number| matches!(self.bytes(number), Ok(Some(_))))
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Best effort: who may not move the time only makes it go sooner.
    pub(super) fn touch(&self) {
        let _ = seal::touch(&self.file, self.pack.name);
    }
}

fn times(found: &Metadata) -> Times {
    [seal::used(found), (found.ctime(), found.ctime_nsec())]
}

/// It cannot be looked at, so it counts as not there.
pub(super) fn pass_over(path: &Path, error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        tracing::warn!(path = %path.display(), %error, "cannot look into a pack");
    }
}

/// Best effort.
pub(super) fn remove_damaged(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), "removed a foreign or damaged file from the local cache")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "not a pack, and cannot be removed"),
    }
}
