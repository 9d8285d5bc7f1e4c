//! What can be wrong with a journal.

use std::path::{Path, PathBuf};

/// Why a journal cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum JournalError {
    /// Two schedulers, one directory.
    #[error("the journal in {} is in use: one scheduler at a time can open it", dir.display())]
    InUse { dir: PathBuf },
    /// The disk is full.
    #[error("no space left for the journal in {}: free some, the scheduler goes on by itself", dir.display())]
    NoSpace { dir: PathBuf },
    /// A record that cannot be read. Going on without it would be a guess.
    #[error(
        "record {sequence} of the journal in {} is damaged: {problem}; restore the directory from a backup or start with an empty one",
        dir.display()
    )]
    Damaged { dir: PathBuf, sequence: u64, problem: String },
    /// Runs that have not ended have secrets that cannot be opened.
    #[error(
        "secrets in the journal in {} were sealed with another key than that in {}: restore that file, or name the right one with --secret-key",
        dir.display(), key.display()
    )]
    WrongKey { dir: PathBuf, key: PathBuf },
    /// Anything else that the disk or RocksDB says.
    #[error("the journal in {} cannot be used: {reason}", dir.display())]
    Store { dir: PathBuf, reason: String },
}

impl JournalError {
    /// What RocksDB says comes as text.
    pub(super) fn of_store(dir: &Path, reason: &str) -> Self {
        let dir = dir.to_owned();
        if reason.contains("No space left on device") || reason.contains("Disk quota exceeded") {
            Self::NoSpace { dir }
        } else if reason.contains("lock hold by current process") || reason.contains("While lock file") {
            Self::InUse { dir }
        } else {
            Self::Store { dir, reason: reason.to_owned() }
        }
    }
}
