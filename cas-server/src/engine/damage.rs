//! What happens to blobs and values that turn out damaged: their entries go, so that they can be uploaded again.

use super::{
    codec::{Entry, Location},
    endings::Cause,
    index::Durability,
    key::Key,
    shared::Shared,
};
use cas::Result;

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
