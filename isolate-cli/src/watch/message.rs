//! What is asked and answered: a line of JSON each way, one question for each connection.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A question of another version is not understood, and so not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Question {
    /// What changed since this token?
    Changes {
        /// One that was given before, if any was.
        token: Option<String>,
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
