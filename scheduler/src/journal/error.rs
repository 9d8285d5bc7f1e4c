//! What can be wrong with a journal.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a journal is, for messages: `in DIRECTORY`, `at URL`. Never with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(Arc<str>);

impl Place {
    pub(crate) fn in_directory(dir: &Path) -> Self {
        Self(format!("in {}", dir.display()).into())
    }

    /// The URL must show no password.
    pub(crate) fn at_url(url: &impl fmt::Display) -> Self {
        Self(format!("at {url}").into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record that cannot be read, or is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) sequence: u64,
    pub(crate) problem: String,
}

/// Why a journal cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum JournalError {
    /// Two schedulers, one directory.
    #[error("the journal {place} is in use: one scheduler at a time can open it")]
    InUse { place: Place },
    /// The disk is full.
    #[error("no space left for the journal {place}: free some, the scheduler goes on by itself")]
    NoSpace { place: Place },
    /// A record that cannot be read. Going on without it would be a guess.
    #[error(
        "record {} of the journal {place} is damaged: {}; restore the journal from a backup or start with an empty one",
        damage.sequence, damage.problem
    )]
    Damaged { place: Place, damage: Damage },
    /// Runs that have not ended have secrets that cannot be opened.
    #[error(
        "secrets in the journal {place} were sealed with another key than that in {}: restore that file, or name the right one with --secret-key",
        key.display()
    )]
    WrongKey { place: Place, key: PathBuf },
    /// It is another scheduler's, which is alive.
    #[error("this scheduler is on standby: the one at {owner} has the journal {place}, ask that one")]
    Standby { place: Place, owner: String },
    /// It was this scheduler's until another one took it over. Nothing is told any more of what was decided since.
    #[error("another scheduler has taken the journal {place} over")]
    Fenced { place: Place },
    /// Its tables are of a later version.
    #[error(
        "the journal {place} was written by a newer scheduler: its tables have version {found}, this one knows {known}; upgrade this scheduler"
    )]
    Outdated { place: Place, found: i32, known: usize },
    /// The server refuses us.
    #[error("the journal {place} cannot be opened: {reason}")]
    Refused { place: Place, reason: String },
    /// The server is away.
    #[error("the journal {place} cannot be reached: {reason}")]
    Unreachable { place: Place, reason: String },
    /// Anything else that the disk, RocksDB or PostgreSQL says.
    #[error("the journal {place} cannot be used: {reason}")]
    Store { place: Place, reason: String },
}
