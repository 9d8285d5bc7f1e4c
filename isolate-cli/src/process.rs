//! The process that a verb runs in: its threads and its end.

use crate::Error;
use runtime::Shutdown;
use std::{io, path::Path};
use tokio::task::JoinError;

/// What a thread for blocking work came to. A panic in it goes on here.
pub(crate) fn joined<T>(outcome: Result<T, JoinError>) -> Result<T, Error> {
    outcome.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Only the end of the runtime cancels such work.
        Err(_) => Error::Interrupted,
    })
}

/// What `work` comes to, or [`Error::Interrupted`] as soon as `shutdown` is requested.
pub(crate) async fn interruptible<T, E: Into<Error>>(
    shutdown: &Shutdown,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = shutdown.requested() => Err(Error::Interrupted),
        outcome = work => outcome.map_err(Into::into),
    }
}

/// Writes a file as a whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut staged = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(parent)?;
        io::Write::write_all(&mut staged, bytes)?;
        staged.persist(path)?;
        Ok(())
    };
    write().map_err(|error| Error::io(path, error))
}
