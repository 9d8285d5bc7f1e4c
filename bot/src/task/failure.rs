//! What a failure on the way means for the result: the input's fault or the bot's.

use super::command::CommandError;
use crate::{attempt::Ending, causes::explain, executor::ExecuteError};
use cas::tree;
use tokio::task::JoinError;

/// Why an attempt ends early.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) ending: Ending,
    pub(super) message: String,
}

impl Failure {
    /// Another bot would fail, too.
    pub(super) fn client(message: String) -> Self {
        Self { ending: Ending::ClientError, message }
    }

    /// Another bot might succeed.
    pub(super) fn internal(message: String) -> Self {
        Self { ending: Ending::InternalError, message }
    }

    /// Somebody asked for the end of the attempt before its command was started.
    pub(super) fn killed() -> Self {
        Self { ending: Ending::Killed, message: "killed before its command was started".into() }
    }

    /// The input could not be fetched or laid out.
    pub(super) fn of_input(error: tree::Error) -> Self {
        let message = format!("cannot set up the input: {}", explain(&error));
        match error {
            tree::Error::Missing { .. }
            | tree::Error::Manifest { .. }
            | tree::Error::Collision(_)
            | tree::Error::Store(cas::Error::NotFound { .. } | cas::Error::Invalid { .. }) => {
                Self::client(message)
            }
            _ => Self::internal(message),
        }
    }

    /// The outputs could not be archived.
    pub(super) fn of_outputs(error: tree::Error) -> Self {
        Self::internal(format!("cannot archive the outputs: {}", explain(&error)))
    }

    /// A thread was lost.
    pub(super) fn of_thread(error: JoinError) -> Self {
        Self::internal(format!("internal error: {error}"))
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::client(error.to_string())
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::NotStarted { .. } => Self::client(error.to_string()),
            ExecuteError::Failed { .. } => Self::internal(error.to_string()),
        }
    }
}
