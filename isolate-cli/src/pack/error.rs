//! Why something cannot be packed, with the remedy.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Why something cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is neither a program nor a library.
    #[error("{} is not an ELF program: name the binary itself, not a script around it", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: goblin::error::Error,
    },
    /// Libraries that are nowhere.
    #[error("libraries are not found, add their directories with --library-path: {}", list(missing))]
    Missing {
        /// Their names, and a file that needs each.
        missing: BTreeMap<String, PathBuf>,
    },
    /// A program that has to be there, and is not.
    #[error("`{program}` is not in PATH: {remedy}")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// A program that was asked and failed; what it says has gone to stderr.
    #[error("`{command}` failed: mend what it says above")]
    Failed {
        /// Its command line.
        command: String,
    },
    /// A program that was asked and says what nobody understands.
    #[error("`{command}` has answered with something unknown: is it of another version?")]
    Answer {
        /// Its command line.
        command: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// What is there is not what can be packed.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// What it is about.
        path: PathBuf,
        /// What is wrong, and the remedy.
        reason: &'static str,
    },
}

impl PackError {
    /// An I/O error on `path`.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

fn list(missing: &BTreeMap<String, PathBuf>) -> String {
    let items = missing.iter().map(|(name, by)| format!("{name} (for {})", by.display()));
    items.collect::<Vec<_>>().join(", ")
}
