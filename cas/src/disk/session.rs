//! Where one open cache stages its files, and how those of dead processes are told and removed.

use super::layout::Layout;
use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A staging directory that is locked as long as this lives, and removed afterwards.
#[derive(Debug)]
pub(super) struct Session {
    dir: tempfile::TempDir,
    /// Holds the lock on the directory.
    _lock: File,
}

impl Session {
    /// A new one. The caller holds the cache's lock, so that nobody takes the directory for a dead one before it is
    /// locked.
    pub(super) fn create(layout: &Layout) -> Result<Self> {
        let staging = layout.staging();
        let create = || {
            let dir = tempfile::Builder::new().prefix("session-").tempdir_in(&staging)?;
            let lock = File::open(dir.path())?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(Self { dir, _lock: lock })
        };
        create().map_err(|error| Error::io(&staging, error))
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what dead processes left, and tells how many there were: they may not have counted what they published. The caller
/// holds the cache's lock.
pub(super) fn remove_dead(layout: &Layout) -> Result<u64> {
    let staging = layout.staging();
    let mut found = 0;
    for entry in fs::read_dir(&staging).map_err(|error| Error::io(&staging, error))? {
        let path = entry.map_err(|error| Error::io(&staging, error))?.path();
        if is_dead(&path) {
            found += 1;
            // A file that cannot be removed now is tried again by whoever opens the cache next.
            if let Err(error) = remove(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove what a dead process left");
            }
        }
    }
    Ok(found)
}

fn is_dead(path: &PathBuf) -> bool {
    match File::open(path) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
