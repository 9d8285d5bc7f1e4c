//! [`Error`] on the wire and back. Codes are those that the Remote Execution API gives each case.

use crate::Error;
use proto::Digest;
use std::{error::Error as _, iter::successors};
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
    let reason = reason(status);
    match (status.code(), digest) {
        // A status with a cause was made on this side: the connection did not come up or broke in the middle of a call.
        // Codes that tonic gives to such breaks depend on where it noticed them.
        (Code::Unknown | Code::Internal | Code::ResourceExhausted, _) if status.source().is_some() => {
            Error::Unavailable { reason }
        }
        (Code::NotFound, Some(digest)) => Error::NotFound { digest },
        (Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented, _) => {
            Error::Invalid { reason }
        }
        (Code::ResourceExhausted, _) => Error::Exhausted { reason },
        (Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled, _) => {
            Error::Unavailable { reason }
        }
        (Code::PermissionDenied | Code::Unauthenticated, _) => Error::Denied { reason },
        _ => Error::Internal { reason },
    }
}

/// The message, with causes that it does not tell itself.
fn reason(status: &Status) -> String {
    let mut reason = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    for cause in successors(status.source(), |error| (*error).source()) {
        let cause = cause.to_string();
        if !reason.contains(&cause) {
            reason = format!("{reason}: {cause}");
        }
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::DigestFunction;

    /// What tonic gives for an error on this side: a status with the error as its source.
    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Transport(#[source] Status);

    #[test]
    fn a_connection_that_breaks_is_transient_whatever_code_tonic_gives_it() {
        for code in
            [Code::Unknown, Code::Internal, Code::ResourceExhausted, Code::Cancelled, Code::Unavailable]
        {
            let status = Status::from_error(Box::new(Transport(Status::new(code, "connection reset"))));
            assert_eq!(status.code(), code);
            let error = from_status(&status, None);
            assert!(error.is_transient(), "{error:?}");
            assert!(error.to_string().contains("connection reset"), "{error}");
        }
        let said_by_the_server = from_status(&Status::internal("broken"), None);
        assert!(matches!(said_by_the_server, Error::Internal { .. }));
    }

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
