//! Why bytes are not a manifest.

use proto::{DigestError, PathError, RelPath};

/// Why a manifest is refused. Whoever made it has to make it again; trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum IsolatedError {
    /// Too large to be parsed.
    #[error(
        "manifest of {size} bytes is larger than the {limit} bytes that are accepted: split it by includes"
    )]
    TooLarge {
        /// Its size.
        size: u64,
        /// What is accepted.
        limit: u64,
    },
    /// Not JSON, or JSON of another shape. The cause names the key and the place.
    #[error("not a valid .isolated file")]
    Syntax(#[source] serde_json::Error),
    /// A key whose value makes no sense.
    #[error("`{key}` is refused: {reason}")]
    Key {
        /// The key, with the path of the file for keys of files.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A path that does not stay inside.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A hash that is none.
    #[error("hash of `{place}` is refused")]
    Hash {
        /// The path of the file, or `includes`.
        place: String,
        /// What is wrong.
        source: DigestError,
    },
    /// Part of the format that we do not support.
    #[error("{what} is not supported: {remedy}")]
    Unsupported {
        /// What it is.
        what: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// An entry below another entry that is not a directory.
    #[error("`{path}` lies below `{parent}`, which is a {kind} in the same manifest")]
    Below {
        /// The lower one.
        path: RelPath,
        /// The upper one.
        parent: RelPath,
        /// What the upper one is.
        kind: &'static str,
    },
    /// A symlink that leads out.
    #[error("symlink `{path}` to `{target}` is refused: {reason}")]
    Symlink {
        /// The link.
        path: RelPath,
        /// Where it points.
        target: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Includes that lead back to themselves, or to one manifest twice.
    #[error("manifest {hash} is included twice or includes itself")]
    Recursion {
        /// Its hash.
        hash: String,
    },
}
