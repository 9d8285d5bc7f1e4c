//! What a failed call to the file system means to the caller.

use cas::Error;
use rustix::io::Errno;
use std::{io, path::PathBuf};

/// As [`Error::io`], but running out of file descriptors passes: the caller may come back.
pub(crate) fn failed(path: impl Into<PathBuf>, error: io::Error) -> Error {
    let errno = Errno::from_io_error(&error);
    if errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE) {
        return Error::Unavailable {
            reason: "the server has too many open files: raise its limit (ulimit -n)".into(),
        };
    }
    Error::io(path, error)
}
