//! What happens to blobs that turn out damaged: their entries go, so that they can be uploaded again.

use super::{
    codec::{Entry, Location},
    index::Durability,
    shared::Shared,
};
use cas::Result;
use proto::Digest;

impl Shared {
    /// Forgets a blob whose bytes are not what they were.
    pub(crate) fn drop_damaged(&self, digest: Digest, location: Location) -> Result<()> {
        let removed = self.index.remove(&[(digest, location)], Durability::Synced)?;
        if !removed.is_empty() {
            self.metrics.corrupt.inc();
            tracing::error!(%digest, ?location, "dropped a damaged blob");
            self.delete_files(&removed)?;
            self.recount();
        }
        Ok(())
    }

    /// Deletes the files of blobs that the index has durably forgotten.
    pub(crate) fn delete_files(&self, removed: &[(Digest, Entry)]) -> Result<()> {
        let names = removed.iter().filter_map(|(digest, entry)| match entry.location {
            Location::File(position) => Some(super::files::Files::name(digest, position)),
            Location::Packed(_) => None,
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
