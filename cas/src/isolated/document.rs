//! A manifest as it stands in its file: what it does not define is told apart from what it defines as empty, which
//! matters when manifests are merged.

use super::{Entry, Include, IsolatedError, ReadOnly, Version, parse};
use proto::{DigestFunction, RelPath, limits};
use std::collections::BTreeMap;

/// One file of a tree of includes.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) function: DigestFunction,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) files: BTreeMap<RelPath, Entry>,
    /// `Some(None)` is the root, written as `.`.
    pub(crate) relative_cwd: Option<Option<RelPath>>,
    pub(crate) read_only: Option<ReadOnly>,
    pub(crate) includes: Vec<Include>,
    pub(crate) version: Version,
}

impl Document {
    /// Reads one file. What lies below what is left to [`check_layout`](super::check_layout), after merging.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, IsolatedError> {
        let size = bytes.len() as u64;
        if size > limits::MAX_MANIFEST_BYTES {
            return Err(IsolatedError::TooLarge { size, limit: limits::MAX_MANIFEST_BYTES });
        }
        parse::document(bytes)
    }

    /// Merges a file that comes later in the order of includes (depth first, left to right): whatever is defined
    /// already stays.
    pub(crate) fn merge(&mut self, later: Document) {
        for (path, entry) in later.files {
            self.files.entry(path).or_insert(entry);
        }
        self.command = self.command.take().or(later.command);
        self.relative_cwd = self.relative_cwd.take().or(later.relative_cwd);
        self.read_only = self.read_only.or(later.read_only);
    }
}
