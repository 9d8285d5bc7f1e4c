//! Where the journal is, and opening it.

use super::{Candidate, Journal, JournalError, Place, PostgresJournal, PostgresUrl, RocksJournal};
use proto::Timestamp;
use std::{path::PathBuf, sync::Arc};

/// Where the journal is.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    /// RocksDB, for one scheduler at a time.
    Directory(PathBuf),
    /// PostgreSQL, for several schedulers of which one has it.
    Postgres { url: Box<PostgresUrl>, ca_cert: Option<PathBuf>, candidate: Candidate },
}

/// What is known of the journal that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    AtStart,
    /// It must be shown that it can be written before it counts as open.
    AfterFailure,
}

/// A journal that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    /// When, by the clock that all who open it share. None: they are on one host and have its clock.
    pub(crate) at: Option<Timestamp>,
}

impl Location {
    /// How messages name it.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Directory(dir) => Place::in_directory(dir),
            Self::Postgres { url, .. } => url.place(),
        }
    }

    /// Opens the journal, or starts one. Blocks.
    pub(crate) fn open(&self, opening: Opening) -> Result<Opened, JournalError> {
        match self {
            Self::Directory(dir) => {
                let journal = RocksJournal::open(dir)?;
                if opening == Opening::AfterFailure {
                    journal.probe()?;
                }
                Ok(Opened { journal: Arc::new(journal), at: None })
            }
            // To take it over is to write.
            Self::Postgres { url, ca_cert, candidate } => {
                let journal = PostgresJournal::open(url, ca_cert.as_deref(), candidate)?;
                let at = Some(journal.opened());
                Ok(Opened { journal: Arc::new(journal), at })
            }
        }
    }
}
