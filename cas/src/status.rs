//! [`Error`] on the wire and back. Codes are those that the Remote Execution API gives each case.

use crate::Error;
use proto::Digest;
use tonic::{Code, Status};

/// What a server answers.
pub fn to_status(error: &Error) -> Status {
    let code = match error {
        Error::NotFound { .. } => Code::NotFound,
        Error::Mismatch { .. } | Error::Invalid { .. } => Code::InvalidArgument,
        Error::Exhausted { .. } => Code::ResourceExhausted,
        Error::Unavailable { .. } => Code::Unavailable,
        Error::Denied { .. } => Code::PermissionDenied,
        Error::Io { .. } | Error::Internal { .. } => Code::Internal,
    };
    match error {
        Error::NotFound { .. } | Error::Mismatch { .. } => Status::new(code, error.to_string()),
        Error::Invalid { reason }
        | Error::Exhausted { reason }
        | Error::Unavailable { reason }
        | Error::Denied { reason }
        | Error::Internal { reason } => Status::new(code, reason.clone()),
        // Paths of the server are its own business.
        Error::Io { source, .. } => Status::new(code, source.to_string()),
    }
}

/// What a client makes of an answer about `digest`, where it was about one.
pub fn from_status(status: &Status, digest: Option<Digest>) -> Error {
    let reason = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    match (status.code(), digest) {
        (Code::NotFound, Some(digest)) => Error::NotFound { digest },
        (Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented, _) => {
            Error::Invalid { reason }
        }
        (Code::ResourceExhausted, _) => Error::Exhausted { reason },
        (Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled, _) => {
            Error::Unavailable { reason }
        }
        (Code::PermissionDenied | Code::Unauthenticated, _) => Error::Denied { reason },
        // tonic reports a connection that breaks in the middle of a call as unknown, with the cause as its source.
        (Code::Unknown, _) if std::error::Error::source(status).is_some() => Error::Unavailable { reason },
        _ => Error::Internal { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::DigestFunction;

    proptest! {
        #[test]
        fn the_callers_next_move_survives_the_wire(kind in 0..7usize, reason in "[a-z ]{1,20}") {
            let digest = DigestFunction::Blake3.digest(reason.as_bytes());
            let error = match kind {
                0 => Error::NotFound { digest },
                1 => Error::Invalid { reason },
                2 => Error::Exhausted { reason },
                3 => Error::Unavailable { reason },
                4 => Error::Denied { reason },
                5 => Error::Internal { reason },
                _ => Error::Mismatch { expected: digest, actual: digest },
            };
            let back = from_status(&to_status(&error), Some(digest));
            match &error {
                // The client did not see the other digest; it must not repeat the call all the same.
                Error::Mismatch { .. } => {
                    let invalid = matches!(back, Error::Invalid { .. });
                    prop_assert!(invalid);
                }
                _ => prop_assert_eq!(back.to_string(), error.to_string()),
            }
        }
    }
}
