//! One pack: an open file, and what is in it.

use super::table::Table;
use crate::{
    Error, Result,
    disk::{layout::parse_file_name, seal},
};
use proto::{Digest, DigestFunction};
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Longest tail that is read. Ours have up to [`super::MOST`] entries.
const MAX_TAIL: u64 = 64 * 1024 * 1024;

/// Kept open, so that what is in it can be read whatever becomes of its name.
#[derive(Debug)]
pub(in crate::disk) struct Pack {
    /// The digest of its tail.
    pub(super) name: Digest,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) table: Table,
    /// Somebody has changed it: nothing is read from it any more.
    is_damaged: AtomicBool,
}

impl Pack {
    pub(super) fn new(name: Digest, path: PathBuf, file: File, table: Table) -> Self {
        Self { name, path, file, table, is_damaged: AtomicBool::new(false) }
    }

    /// `None`: it is gone, or none that is whole.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let Some(name) = path.file_name().and_then(|name| parse_file_name(name.to_str()?)) else {
            return Ok(None);
        };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        let tail = name.size();
        if name.function() != DigestFunction::Blake3 || tail > MAX_TAIL || tail > length {
            return Ok(None);
        }
        let mut bytes = vec![0; tail as usize];
        file.read_exact_at(&mut bytes, length - tail)?;
        if DigestFunction::Blake3.digest(&bytes) != name {
            return Ok(None);
        }
        let table = Table::from_tail(&bytes).filter(|table| table.payload() == length - tail);
        Ok(table.map(|table| Self::new(name, path.to_owned(), file, table)))
    }

    /// The bytes of a blob, by its number.
    pub(in crate::disk) fn read(&self, number: u32) -> Result<Vec<u8>> {
        let (offset, digest) = self.table.entry(number as usize);
        // A table has no larger ones than fit into 4 bytes.
        let mut bytes = vec![0; digest.size() as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Error::io(&self.path, error))?;
        Ok(bytes)
    }

    /// The digest of a blob, by its number.
    pub(in crate::disk) fn digest(&self, number: u32) -> Digest {
        self.table.entry(number as usize).1
    }

    /// What its file is like, if nobody changed it: of one that has no seal all blobs are hashed, and it is sealed.
    pub(super) fn unchanged(&self) -> Result<Option<Metadata>> {
        let look = || self.file.metadata().map_err(|error| Error::io(&self.path, error));
        let found = look()?;
        if seal::is_sealed(&found, self.name) {
            return Ok(Some(found));
        }
        let is_whole = found.len() == self.table.payload() + self.name.size();
        if !is_whole || !self.is_right() {
            return Ok(None);
        }
        self.touch();
        look().map(Some)
    }

    fn is_right(&self) -> bool {
        (0..self.table.len() as u32).all(|number| {
            let digest = self.digest(number);
            self.read(number).is_ok_and(|bytes| digest.function().digest(&bytes) == digest)
        })
    }

    pub(super) fn set_damaged(&self) {
        self.is_damaged.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Best effort: who may not move the time only makes it go sooner.
    pub(super) fn touch(&self) {
        let _ = seal::touch(&self.file, self.name);
    }
}

/// Time of last use, in seconds and nanoseconds.
pub(super) fn used(found: &Metadata) -> (i64, i64) {
    (found.mtime(), found.mtime_nsec())
}
