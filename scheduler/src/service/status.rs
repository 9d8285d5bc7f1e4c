//! How errors look on the wire.

use crate::{journal::JournalError, queue::Refusal, shell::CallError, wire::field::FieldError};
use tonic::Status;

impl From<FieldError> for Status {
    fn from(error: FieldError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Refused(refusal) => of_refusal(&refusal),
            CallError::Unavailable { .. } => Self::unavailable(message),
        }
    }
}

impl From<JournalError> for Status {
    fn from(error: JournalError) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// What the queue refuses.
pub(super) fn of_refusal(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::RequestReused { .. } => Status::already_exists(message),
        Refusal::UnknownRun { .. } | Refusal::UnknownShard { .. } | Refusal::UnknownBot { .. } => {
            Status::not_found(message)
        }
        Refusal::SessionReplaced { .. }
        | Refusal::ParentEnded { .. }
        | Refusal::NotEnded { .. }
        | Refusal::NotReady { .. }
        | Refusal::NoBot { .. }
        | Refusal::TooManyShards { .. }
        | Refusal::TooManyIncluded { .. } => Status::failed_precondition(message),
        Refusal::Gathering { .. } => Status::unavailable(message),
        Refusal::Full { .. } => Status::resource_exhausted(message),
    }
}
