//! Why a tree could not be archived or laid out.

use crate::isolated::IsolatedError;
use proto::{Digest, PathError, RelPath};
use std::{io, path::PathBuf};

/// What went wrong, by what has to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An input is not there.
    #[error("{} does not exist, or is a symlink that points to nothing", path.display())]
    NoSuchInput {
        /// The file, or the symlink that points to nothing.
        path: PathBuf,
    },
    /// An input is not something that can be archived.
    #[error("cannot archive {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// An input has a name that a manifest cannot carry.
    #[error("cannot archive {}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        source: PathError,
    },
    /// An input was written to while it was archived.
    #[error("{} changed while it was archived: archive again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The manifest is refused. Trying again does not help.
    #[error("manifest {digest} is refused")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: IsolatedError,
    },
    /// Two manifests that are laid out together have something at the same place.
    #[error(transparent)]
    Collision(Box<Collision>),
    /// The store does not have (any more) what the manifest names. Archive the inputs again.
    #[error("{count} blobs are not in the store (any more), archive the inputs again: {}", list(digests, *count))]
    Missing {
        /// The first ones.
        digests: Vec<Digest>,
        /// How many there are in all.
        count: usize,
    },
    /// The directory to fill is not empty.
    #[error("{} is not an empty directory", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// The store, the local cache or a file failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

/// What two manifests have at the same place, or one below a file of the other.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{path}` of manifest {manifest} cannot lie beside `{other}` of {}: give each a directory of its own",
    other_manifest.map_or_else(|| "the input".to_owned(), |digest| format!("manifest {digest}"))
)]
pub struct Collision {
    /// A file or directory.
    pub path: RelPath,
    /// Whose it is.
    pub manifest: Digest,
    /// What is there already.
    pub other: RelPath,
    /// Whose that is; none: the one that the others are grafted onto.
    pub other_manifest: Option<Digest>,
}

impl Error {
    /// Whether the same call may succeed when it is made again a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// An I/O error on `path`; a full disk is told as such.
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Store(crate::Error::io(path, source))
    }
}

/// As many digests as an error names.
pub(super) const NAMED: usize = 10;

fn list(digests: &[Digest], count: usize) -> String {
    let mut text: Vec<String> = digests.iter().map(Digest::to_string).collect();
    if count > digests.len() {
        text.push(format!("and {} more", count - digests.len()));
    }
    text.join(", ")
}
