//! A manifest as the rest of the program uses it: always valid.

use super::{Document, Include, IsolatedError, check_layout, write};
use proto::{Digest, DigestFunction, RelPath};
use std::collections::BTreeMap;

/// Files by digest and the command that runs over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolated {
    /// The function of all digests in it.
    pub function: DigestFunction,
    /// The command line; empty for a plain set of files.
    pub command: Vec<String>,
    /// What lies where. Directories follow from the paths; empty ones do not exist.
    pub files: BTreeMap<RelPath, Entry>,
    /// Where the command starts; the root of the tree when `None`.
    pub relative_cwd: Option<RelPath>,
    /// What the command may write to.
    pub read_only: ReadOnly,
    /// Further manifests that are merged below this one when it is fetched.
    pub includes: Vec<Include>,
    /// How it is written.
    pub version: Version,
}

/// A version of the format that is written. What is read in an older version of the same major one is written in the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.6.
    #[default]
    V1,
    /// 2.0, which has no `read_only`: everything may be written to.
    V2,
}

impl Version {
    /// Every version, the default first.
    pub const ALL: [Version; 2] = [Self::V1, Self::V2];

    /// The text in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.6",
            Self::V2 => "2.0",
        }
    }
}

impl Isolated {
    /// Without files or command; to be filled by struct update.
    pub fn new(function: DigestFunction) -> Self {
        Self {
            function,
            command: Vec::new(),
            files: BTreeMap::new(),
            relative_cwd: None,
            read_only: ReadOnly::default(),
            includes: Vec::new(),
            version: Version::default(),
        }
    }

    /// Reads a manifest. Everything about it is checked: keys, types, hashes, paths, symlinks and what lies below what.
    pub fn parse(bytes: &[u8]) -> Result<Self, IsolatedError> {
        let isolated = Self::from(Document::parse(bytes)?);
        check_layout(&isolated.files)?;
        Ok(isolated)
    }

    /// The canonical form: equal manifests give equal bytes, and so equal digests. The same bytes that the original wrote.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::to_bytes(self)
    }

    /// Sum of the sizes of all files, counting equal files as often as they appear.
    pub fn total_bytes(&self) -> u64 {
        self.files.values().filter_map(Entry::digest).fold(0, |sum, digest| sum.saturating_add(digest.size()))
    }
}

impl From<Document> for Isolated {
    fn from(document: Document) -> Self {
        Self {
            function: document.function,
            command: document.command.unwrap_or_default(),
            files: document.files,
            relative_cwd: document.relative_cwd.flatten(),
            read_only: document.read_only.unwrap_or(ReadOnly::Writable),
            includes: document.includes,
            version: document.version,
        }
    }
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Its POSIX permissions, at most `0o7777`; unknown when it was archived on Windows.
        mode: Option<u32>,
    },
    /// An archive of small files, which are laid out from the directory that it lies in; itself it is not.
    Tar {
        /// Its content.
        digest: Digest,
        /// As it stands in the manifest. Means nothing: the files in the archive have their own.
        mode: Option<u32>,
    },
    /// A symlink.
    Symlink {
        /// Relative, and leading nowhere but below the root of the tree.
        target: String,
    },
}

impl Entry {
    /// The content, of a file or an archive.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::File { digest, .. } | Self::Tar { digest, .. } => Some(*digest),
            Self::Symlink { .. } => None,
        }
    }

    /// Whether other files are laid out in its place.
    pub(crate) fn is_archive(&self) -> bool {
        matches!(self, Self::Tar { .. })
    }
}

/// What the command may write to, of the files that it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadOnly {
    /// Files and directories may be written to.
    Writable,
    /// Files may not be written to; directories may, so that new files can be made.
    #[default]
    Files,
    /// Neither files nor directories may be written to.
    FilesAndDirs,
}

impl ReadOnly {
    /// The number in the file.
    pub fn number(self) -> u8 {
        match self {
            Self::Writable => 0,
            Self::Files => 1,
            Self::FilesAndDirs => 2,
        }
    }

    /// The meaning of a number in the file.
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Writable),
            1 => Some(Self::Files),
            2 => Some(Self::FilesAndDirs),
            _ => None,
        }
    }
}
