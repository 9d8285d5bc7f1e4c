//! Where the journal is, and opening it.

use super::{Journal, JournalError, Place, RocksJournal};
use std::{path::PathBuf, sync::Arc};

/// Where the journal is.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    /// RocksDB, for one scheduler at a time.
    Directory(PathBuf),
}

/// What is known of the journal that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    AtStart,
    /// It must be shown that it can be written before it counts as open.
    AfterFailure,
}

impl Location {
    /// How messages name it.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Directory(dir) => Place::in_directory(dir),
        }
    }

    /// Opens the journal, or starts one. Blocks.
    pub(crate) fn open(&self, opening: Opening) -> Result<Arc<dyn Journal>, JournalError> {
        match self {
            Self::Directory(dir) => {
                let journal = RocksJournal::open(dir)?;
                if opening == Opening::AfterFailure {
                    journal.probe()?;
                }
                Ok(Arc::new(journal))
            }
        }
    }
}
