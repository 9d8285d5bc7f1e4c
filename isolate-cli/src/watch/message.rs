//! What is asked and answered: a line of JSON each way, one question for each connection.

use super::below;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Which directory is at a path, and among which mounts: in a container that may be another one, and what is below it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    mounts: String,
}

impl Identity {
    /// As this process sees it now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let (device, inode) = below::identity(below::root(path)?)?;
        let mounts = fs::read_link("/proc/self/ns/mnt")?.display().to_string();
        Ok(Self { device, inode, mounts })
    }
}

/// A question of another version is not understood, and so not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Question {
    /// What changed since this token?
    Changes {
        /// One that was given before, if any was.
        token: Option<String>,
        /// What whoever asks finds at the path that is watched.
        of: Identity,
    },
    /// How is it?
    Status,
    /// End.
    Stop,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Answer {
    /// To [`Question::Changes`].
    Changes {
        /// What to ask with next time.
        token: String,
        /// What may have changed; `None`: anything.
        paths: Option<Vec<String>>,
    },
    /// To [`Question::Changes`]: another directory of this path is watched.
    Another,
    /// To [`Question::Status`] and [`Question::Stop`].
    Status(Status),
}

/// How somebody who watches is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    /// The directory that is watched.
    pub(crate) root: PathBuf,
    /// The process.
    pub(crate) process: u32,
    /// Directories in there.
    pub(crate) directories: usize,
    /// Changed paths that are kept.
    pub(crate) changed: usize,
}
