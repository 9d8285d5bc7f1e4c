//! Why a bot does not run.

use crate::{executor::CgroupError, hooks::HooksError, workdir::DataDirError};
use proto::{BotId, DimensionError, IdError};
use runtime::{Exit, connect::ConnectError};

/// Why a bot cannot start, or has to stop.
#[derive(Debug, thiserror::Error)]
pub enum BotError {
    /// Its name, or the host's, cannot be one.
    #[error("choose another --id")]
    Id(#[from] IdError),
    /// No slots.
    #[error("a bot without slots runs nothing: give --slots 1 or more")]
    Slots,
    /// A dimension that is none.
    #[error(transparent)]
    Dimension(#[from] DimensionError),
    /// A server's address or certificates.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The data directory.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The cache in the data directory.
    #[error("cannot use the input cache")]
    Cache(#[from] cas::Error),
    /// Another process runs under this bot's name.
    #[error("bot {id} was started elsewhere: give each bot an --id of its own ({reason})")]
    Replaced {
        /// The name.
        id: BotId,
        /// What the scheduler said.
        reason: String,
    },
    /// The hooks.
    #[error(transparent)]
    Hooks(#[from] HooksError),
    /// Limits cannot be set.
    #[error(transparent)]
    Cgroups(#[from] CgroupError),
    /// A limit that nothing could run in.
    #[error("{key} = {given} lets nothing run: {remedy}")]
    Limit {
        /// Which.
        key: &'static str,
        /// What was given.
        given: String,
        /// What makes sense.
        remedy: &'static str,
    },
    /// The sandbox is not installed.
    #[error(
        "sandbox = bubblewrap needs the program bwrap in the PATH: install it (Debian: apt install bubblewrap)"
    )]
    Bubblewrap,
    /// Work that was handed to another thread was lost.
    #[error("internal error")]
    Internal(#[from] tokio::task::JoinError),
}

impl BotError {
    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Id(_)
            | Self::Slots
            | Self::Dimension(_)
            | Self::Connect(_)
            | Self::Hooks(_)
            | Self::Cgroups(_)
            | Self::Limit { .. }
            | Self::Bubblewrap
            | Self::Replaced { .. } => Exit::Usage,
            Self::Data(DataDirError::InUse { .. } | DataDirError::Name { .. }) => Exit::Usage,
            Self::Data(DataDirError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Exit::NoSpace
            }
            Self::Cache(cas::Error::Exhausted { .. }) => Exit::NoSpace,
            Self::Data(_) | Self::Cache(_) | Self::Internal(_) => Exit::Internal,
        }
    }
}
