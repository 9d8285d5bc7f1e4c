//! What can go wrong with a call, told apart by what the caller does next.

use tonic::{Code, Status};

/// Why the scheduler gave no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It has no such run, shard or output. Look the name up.
    #[error("{reason}")]
    NotFound {
        /// What is missing.
        reason: String,
    },
    /// It refuses the request. Change it.
    #[error("the scheduler refuses the request: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// It is full. Wait, or free space.
    #[error("the scheduler has no room: {reason}")]
    Exhausted {
        /// What is full.
        reason: String,
    },
    /// It cannot be reached or is overloaded. Try again.
    #[error(
        "cannot reach the scheduler at {address}: {reason} (is it running? name another one with --scheduler URL, or start one here with `swarm up`)"
    )]
    Unavailable {
        /// Where it should be.
        address: String,
        /// What happened.
        reason: String,
    },
    /// A defect on its side, or on ours.
    #[error("the scheduler gives no usable answer: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl CallError {
    /// Whether the same call may succeed when it is made again a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// What to make of a status.
    pub(super) fn from_status(status: &Status, address: &str) -> Self {
        let unavailable = || Self::Unavailable { address: address.to_owned(), reason: root_cause(status) };
        let reason = match status.message() {
            "" => status.code().description().to_owned(),
            message => message.to_owned(),
        };
        match status.code() {
            Code::NotFound => Self::NotFound { reason },
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated => Self::Invalid { reason },
            Code::ResourceExhausted => Self::Exhausted { reason },
            Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled => unavailable(),
            // tonic reports a connection that breaks in the middle of a call as unknown or internal, with the
            // cause as its source.
            Code::Unknown | Code::Internal if std::error::Error::source(status).is_some() => unavailable(),
            // HTTP/2 errors of a server that was killed reach us without a source.
            Code::Unknown | Code::Internal if status.message().contains("h2 protocol error") => unavailable(),
            _ => Self::Internal { reason },
        }
    }
}

/// The innermost cause: `transport error` tells nobody that the connection was refused.
fn root_cause(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { status.code().description().to_owned() } else { text }
}

impl From<super::decode::Malformed> for CallError {
    fn from(malformed: super::decode::Malformed) -> Self {
        Self::Internal { reason: malformed.to_string() }
    }
}
