//! Everything that can stop `isolate`, and what it means for the exit code.

use crate::{
    isolate_file::{IsolateFileError, VariableError},
    watch::WatchError,
};
use cas::{isolated::IsolatedError, tree};
use proto::{Digest, NamedCacheError, PathError};
use runtime::{Exit, connect::ConnectError};
use std::{io, path::PathBuf};

/// Why a verb failed. The message and its causes name what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The description is wrong.
    #[error(transparent)]
    IsolateFile(#[from] IsolateFileError),
    /// A variable with an impossible name.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// Variables, and no description to put them into.
    #[error("variables are for .isolate files: add one with -i FILE, or leave --{flag} away")]
    NoIsolateFile {
        /// A flag that was given.
        flag: &'static str,
    },
    /// Something on the command line does not fit what is on the disk.
    #[error("{}: {reason}", path.display())]
    Argument {
        /// The path that was given.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        reason: &'static str,
    },
    /// A place among the user's caches, and no user.
    #[error("there is no home directory: name a directory with {flag}")]
    NoHome {
        /// The flag.
        flag: &'static str,
    },
    /// Named caches that cannot be used so.
    #[error("--named-cache: {source}")]
    NamedCache {
        /// What is wrong with them.
        source: NamedCacheError,
    },
    /// A path on the command line that leads out of the root.
    #[error("{} is not below the root {}: choose a --root that holds all inputs", path.display(), root.display())]
    Outside {
        /// The path that was given.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// A part of the tree that is none.
    #[error("--subdir {subdir}: {reason}")]
    Subdir {
        /// As it was given.
        subdir: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// A path that no manifest can carry.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A pattern for what is left out that is no regular expression.
    #[error("`{pattern}` is not a regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Where and why.
        source: regex::Error,
    },
    /// A state that was saved beside a manifest and cannot be used.
    #[error("{} cannot be used: {reason}: remove it, and give -i FILE and the variables again", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that describes one call of a batch.
    #[error("{}: {reason}", path.display())]
    GenJson {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest in a file, and not one.
    #[error("{} is not the manifest of a work item", path.display())]
    ManifestFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IsolatedError,
    },
    /// A program whose libraries cannot be found out.
    #[error(transparent)]
    Pack(#[from] crate::PackError),
    /// A directory that cannot be watched (any more).
    #[error("cannot watch {}", root.display())]
    Watch {
        /// The directory.
        root: PathBuf,
        /// Why.
        source: WatchError,
    },
    /// The command could not be traced.
    #[error("cannot trace the command: {reason}")]
    Trace {
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The server's address is wrong.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server did not answer.
    #[error("cannot reach the CAS at {address}: start it, or name another with --cas or ISOSWARM_CAS")]
    Unreachable {
        /// Its address.
        address: String,
        /// What happened.
        source: Box<Error>,
    },
    /// The tree could not be archived or laid out.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// The manifest that was asked for is too large, or none.
    #[error("{digest} is not the manifest of a work item")]
    Manifest {
        /// Its name.
        digest: Digest,
        /// What is wrong with it.
        source: IsolatedError,
    },
    /// The manifest that was asked for says nothing of a command.
    #[error("{digest} has no command: give one, `isolate run DIGEST -- COMMAND...`")]
    NoCommand {
        /// Its name.
        digest: Digest,
    },
    /// The command could not be started.
    #[error("cannot start `{program}`{hint}")]
    Start {
        /// Its first word.
        program: String,
        /// A remedy, if one is known.
        hint: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Stopped by a signal.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An I/O error on `path`; a full disk is told as such.
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        cas::Error::io(path, source).into()
    }

    /// The same, about the server at `address`, if it is about reaching one.
    pub(crate) fn about(self, address: &str) -> Self {
        match &self {
            Self::Tree(tree::Error::Store(cas::Error::Unavailable { .. })) => {
                Self::Unreachable { address: address.to_owned(), source: Box::new(self) }
            }
            _ => self,
        }
    }

    /// What else can be done about it, where the message does not say.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Tree(
                tree::Error::NoSuchInput { .. } | tree::Error::Unusable { .. } | tree::Error::Name { .. },
            ) => " (--ignore-broken-items leaves such inputs out)",
            Self::Tree(tree::Error::Store(cas::Error::Invalid { reason }))
                if reason.to_lowercase().contains("digest function") =>
            {
                " (name blobs otherwise: every REAPI server knows --function sha-256)"
            }
            _ => "",
        }
    }

    /// What to tell the shell.
    pub fn exit(&self) -> Exit {
        match self {
            Self::IsolateFile(_)
            | Self::Variable(_)
            | Self::NoIsolateFile { .. }
            | Self::Argument { .. }
            | Self::NoHome { .. }
            | Self::NamedCache { .. }
            | Self::Outside { .. }
            | Self::Subdir { .. }
            | Self::Path(_)
            | Self::Pattern { .. }
            | Self::State { .. }
            | Self::GenJson { .. }
            | Self::ManifestFile { .. }
            | Self::Trace { .. }
            | Self::Pack(_)
            | Self::Connect(_)
            | Self::Manifest { .. }
            | Self::NoCommand { .. }
            | Self::Start { .. } => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unavailable,
            Self::Watch { source: WatchError::Io { .. }, .. } => Exit::Internal,
            Self::Watch { .. } => Exit::Usage,
            Self::Tree(error) => exit_of_tree(error),
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

impl From<cas::Error> for Error {
    fn from(error: cas::Error) -> Self {
        Self::Tree(error.into())
    }
}

fn exit_of_tree(error: &tree::Error) -> Exit {
    match error {
        tree::Error::Missing { .. } | tree::Error::Store(cas::Error::NotFound { .. }) => Exit::NotFound,
        tree::Error::Store(cas::Error::Unavailable { .. }) => Exit::Unavailable,
        tree::Error::Store(cas::Error::Exhausted { .. }) => Exit::NoSpace,
        tree::Error::Store(cas::Error::Invalid { .. } | cas::Error::Denied { .. }) => Exit::Usage,
        tree::Error::Store(
            cas::Error::Mismatch { .. } | cas::Error::Io { .. } | cas::Error::Internal { .. },
        ) => Exit::Internal,
        tree::Error::NoSuchInput { .. }
        | tree::Error::Unusable { .. }
        | tree::Error::Name { .. }
        | tree::Error::Changed { .. }
        | tree::Error::Manifest { .. }
        | tree::Error::Collision(_)
        | tree::Error::Occupied { .. } => Exit::Usage,
    }
}
