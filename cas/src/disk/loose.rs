//! Blobs that are files of their own.

use super::{cache::TOUCH_AFTER, lend, seal};
use crate::{Error, Result};
use proto::Digest;
use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Whether the file of a blob is there and as it should be; then it counts as used. `now` is in seconds.
pub(super) fn has(path: &Path, digest: Digest, now: i64) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == digest.size() => {
            let is_known = seal::is_sealed(&found, digest) && found.mtime() >= now - TOUCH_AFTER;
            if is_known || use_now(path, digest)? {
                return Ok(true);
            }
        }
        // It is being written, or was when somebody was killed. Whoever has all of it puts that in its place.
        Ok(found) if found.is_file() && found.len() < digest.size() => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(path, error)),
    }
    drop_damaged(path)?;
    Ok(false)
}

/// Makes this the time of last use of a blob whose file has the right size; hashes it first if it has no seal. `false`: it
/// is not what it should be.
fn use_now(path: &Path, digest: Digest) -> Result<bool> {
    let checked = || -> io::Result<bool> {
        let file = File::open(path)?;
        // Nobody gets and changes it between our hashing and our sealing.
        let held = lend::keep(&file, digest);
        let found = file.metadata()?;
        if !seal::is_sealed(&found, digest) && !is_whole(&file, digest)? {
            return Ok(false);
        }
        if held && found.nlink() <= 1 {
            // Best effort: who may not move the time only makes the blob go sooner.
            let _ = seal::touch(&file, digest);
        }
        Ok(true)
    };
    match checked() {
        // Trimmed just now, or closed by a tree that it was lent to.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(false)
        }
        checked => checked.map_err(|error| Error::io(path, error)),
    }
}

/// Reads it all.
fn is_whole(mut file: &File, digest: Digest) -> io::Result<bool> {
    let mut hasher = digest.function().hasher();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == digest),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Removes a file that is not what it should be.
pub(super) fn drop_damaged(path: &Path) -> Result<()> {
    tracing::warn!(path = %path.display(), "dropped a file from the local cache that was changed or damaged");
    remove(path)
}

/// Removes a file, or what is in the place of one, unless it is gone.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}
