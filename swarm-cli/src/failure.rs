//! Which exit code an error means. The message says what to do; the code lets scripts tell cases apart.

use crate::{remote::CallError, up::EndedEarly};
use runtime::{Exit, connect::ConnectError};
use std::io;

/// The command line or a file that it names is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Something that was named does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotFound(pub String);

/// Something did not happen in the time that it was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TimedOut(pub String);

/// The exit code for an error, by the first cause in its chain that is known.
pub fn exit_code(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Internal)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if cause.is::<Usage>() {
        return Some(Exit::Usage);
    }
    if cause.is::<NotFound>() {
        return Some(Exit::NotFound);
    }
    if cause.is::<TimedOut>() {
        return Some(Exit::Unavailable);
    }
    if let Some(error) = cause.downcast_ref::<CallError>() {
        return Some(of_call(error));
    }
    if let Some(error) = cause.downcast_ref::<cas::Error>() {
        return Some(of_store(error));
    }
    if let Some(error) = cause.downcast_ref::<ConnectError>() {
        return Some(match error {
            ConnectError::Address { .. } | ConnectError::Certificates { .. } | ConnectError::Tls { .. } => {
                Exit::Usage
            }
        });
    }
    if let Some(ended) = cause.downcast_ref::<EndedEarly>() {
        return Some(of_program(ended));
    }
    cause.downcast_ref::<io::Error>().map(of_io)
}

fn of_call(error: &CallError) -> Exit {
    match error {
        CallError::NotFound { .. } => Exit::NotFound,
        CallError::Invalid { .. } => Exit::Usage,
        CallError::Exhausted { .. } => Exit::NoSpace,
        CallError::Unavailable { .. } => Exit::Unavailable,
        CallError::Internal { .. } => Exit::Internal,
    }
}

fn of_store(error: &cas::Error) -> Exit {
    match error {
        cas::Error::NotFound { .. } => Exit::NotFound,
        cas::Error::Invalid { .. } | cas::Error::Denied { .. } => Exit::Usage,
        cas::Error::Exhausted { .. } => Exit::NoSpace,
        cas::Error::Unavailable { .. } => Exit::Unavailable,
        cas::Error::Mismatch { .. } | cas::Error::Internal { .. } => Exit::Internal,
        cas::Error::Io { source, .. } => of_io(source),
    }
}

/// A program of ours says by its exit code that it could not start as it was told, or that a disk is full.
fn of_program(ended: &EndedEarly) -> Exit {
    let same = |exit: &Exit| ended.status.code() == Some(i32::from(exit.code()));
    [Exit::Usage, Exit::NoSpace].into_iter().find(same).unwrap_or(Exit::Internal)
}

/// The exit code for a file or pipe that did not work.
pub(crate) fn of_io(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoSpace,
        _ => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_exit_code_comes_from_the_cause_below_any_context() {
        let code =
            |error: anyhow::Error| exit_code(&Err::<(), _>(error).context("cannot do it").unwrap_err());
        assert_eq!(code(CallError::NotFound { reason: "no such run".into() }.into()), Exit::NotFound);
        assert_eq!(code(CallError::Exhausted { reason: "disk".into() }.into()), Exit::NoSpace);
        assert_eq!(code(ConnectError::Address { given: "x".into() }.into()), Exit::Usage);
        assert_eq!(code(cas::Error::Unavailable { reason: "gone".into() }.into()), Exit::Unavailable);
        assert_eq!(code(io::Error::from(io::ErrorKind::StorageFull).into()), Exit::NoSpace);
        assert_eq!(code(Usage("bad".into()).into()), Exit::Usage);
        assert_eq!(code(anyhow::anyhow!("who knows")), Exit::Internal);
    }
}
