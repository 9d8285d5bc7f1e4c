//! What happens to blobs and values that turn out damaged: their entries go, so that they can be uploaded again. Damage is
//! bytes that are there and wrong, or files that are cut short or gone. A disk that gives an error is none.

use super::{
    codec::{Entry, Location},
    endings::Cause,
    index::Durability,
    io::failed,
    key::Key,
    shared::Shared,
};
use cas::{Error, Result};
use std::{io, path::PathBuf};

impl Shared {
    /// Forgets something whose bytes are not what they were.
    pub(crate) fn drop_damaged(&self, key: impl Into<Key>, location: Location) -> Result<()> {
        let key = key.into();
        let removed = self.index.remove(&[(key, location)], Durability::Synced)?;
        if !removed.is_empty() {
            self.metrics.corrupt.inc();
            self.endings.note(&removed, Cause::Damaged, self.clock.now());
            tracing::error!(%key, ?location, "dropped damaged bytes");
            self.delete_files(&removed)?;
            self.recount();
        }
        Ok(())
    }

    /// What it means to the caller that the disk does not give bytes. Nobody knows whether they are damaged: the entry
    /// stays, and is there again when the disk is.
    pub(crate) fn disk_failed(&self, what: impl Into<PathBuf>, error: io::Error) -> Error {
        let what = what.into();
        self.metrics.disk_errors.inc();
        tracing::error!(what = %what.display(), %error, "the disk does not give bytes");
        failed(what, error)
    }

    /// Counts what the disk did not take.
    pub(crate) fn count_disk_error(&self, error: &Error) {
        if matches!(error, Error::Io { .. }) {
            self.metrics.disk_errors.inc();
        }
    }

    /// Deletes the files of what the index has durably forgotten.
    pub(crate) fn delete_files(&self, removed: &[(Key, Entry)]) -> Result<()> {
        let names = removed.iter().filter_map(|(_, entry)| match entry.location {
            Location::File(position, _) => Some(super::files::Files::name(&entry.content, position)),
            Location::Packed(..) => None,
        });
        self.delete_named(names.collect())
    }

    /// Deletes files by name and forgets their names.
    pub(crate) fn delete_named(&self, names: Vec<String>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        for name in &names {
            self.files.remove(name).map_err(|error| cas::Error::io(name, error))?;
        }
        self.index.pardon(&names)
    }
}
