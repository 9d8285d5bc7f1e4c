//! Errors of every blob store, told apart by what the caller does next.

use proto::Digest;
use std::{io, path::PathBuf};

/// Result of a blob operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a blob operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not have the blob. Build or upload it again.
    #[error("blob {digest} is not in the store")]
    NotFound {
        /// Which one.
        digest: Digest,
    },
    /// The bytes are not those that the digest names. Do not try again with the same bytes.
    #[error("content does not match its name: expected {expected}, got {actual}")]
    Mismatch {
        /// The name.
        expected: Digest,
        /// The digest of what came; its size may be of the part that was read when it was too long.
        actual: Digest,
    },
    /// The request itself is wrong: a range beyond the end, a digest function that the store does not take.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// No room: the disk, the byte budget or a bound on memory. Free space, or try again later.
    #[error("no space: {reason}")]
    Exhausted {
        /// What is full.
        reason: String,
    },
    /// The store cannot be reached or is overloaded. Try again.
    #[error("store is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The caller may not do this.
    #[error("permission denied: {reason}")]
    Denied {
        /// What was refused.
        reason: String,
    },
    /// A file of ours or of the caller cannot be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A defect or damage on the store's side.
    #[error("internal error of the store: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed when it is made again a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Turns an I/O error on `path` into the variant that says what to do: a full disk is [`Error::Exhausted`].
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Exhausted { reason: format!("{}: {source}", path.display()) }
            }
            _ => Self::Io { path, source },
        }
    }
}
