//! Where a named cache goes in a tree that a command may have done anything to.

use crate::{Error, Result};
use proto::NamedCache;
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Makes the directories above a cache's place, and the place vacant. Nothing is there then.
pub(super) fn make(tree: &Path, cache: &NamedCache) -> Result<PathBuf> {
    let taken = |path: &Path| Error::Invalid {
        reason: format!(
            "the cache {} cannot be at {}: the input has {} there",
            cache.name,
            cache.path,
            path.strip_prefix(tree).unwrap_or(path).display()
        ),
    };
    let mut at = tree.to_owned();
    let mut components = cache.path.components().peekable();
    while let Some(component) = components.next() {
        let parent = at.clone();
        at.push(component);
        let is_place = components.peek().is_none();
        match fs::symlink_metadata(&at) {
            Ok(found) if !found.is_dir() => return Err(taken(&at)),
            Ok(_) if !is_place => {}
            Ok(_) => {
                writable(&parent)?;
                fs::remove_dir(&at).map_err(|error| match error.kind() {
                    io::ErrorKind::DirectoryNotEmpty => taken(&at),
                    _ => Error::io(&at, error),
                })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                writable(&parent)?;
                if !is_place {
                    fs::create_dir(&at).map_err(|error| Error::io(&at, error))?;
                }
            }
            Err(error) => return Err(Error::io(at, error)),
        }
    }
    Ok(at)
}

/// Trees may be read-only.
fn writable(dir: &Path) -> Result<()> {
    let open = || {
        let mode = fs::symlink_metadata(dir)?.permissions().mode();
        if mode & 0o200 == 0 {
            fs::set_permissions(dir, Permissions::from_mode(mode | 0o200))
        } else {
            Ok(())
        }
    };
    open().map_err(|error| Error::io(dir, error))
}

/// The directory that is at a cache's place, come to through directories only.
pub(super) fn find(tree: &Path, cache: &NamedCache) -> Result<Option<PathBuf>> {
    let mut at = tree.to_owned();
    for component in cache.path.components() {
        // A command may have closed it, and the next one has to be moved out of it.
        let opened = fs::symlink_metadata(&at).and_then(|found| {
            fs::set_permissions(&at, Permissions::from_mode(found.permissions().mode() | 0o700))
        });
        opened.map_err(|error| Error::io(&at, error))?;
        at.push(component);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(at, error)),
        }
    }
    Ok(Some(at))
}

/// Sum of the sizes of the files below; `None` if there is nothing at all. What cannot be looked at counts as nothing.
pub(super) fn bytes(dir: &Path) -> Option<u64> {
    let (mut bytes, mut anything) = (0_u64, false);
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            anything = true;
            match entry.metadata() {
                Ok(found) if found.is_dir() => pending.push(entry.path()),
                Ok(found) => bytes = bytes.saturating_add(found.len()),
                Err(_) => {}
            }
        }
    }
    anything.then_some(bytes)
}
