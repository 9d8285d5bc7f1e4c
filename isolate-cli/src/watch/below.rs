//! Directories below a root: opened, never by way of a symlink, and those that are in them.

use proto::RelPath;
use rustix::{
    fd::{AsFd, AsRawFd as _, OwnedFd},
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::{Errno, Result},
};
use std::path::{Path, PathBuf};

/// Enough to watch it and to list it.
const TO_READ: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Enough to see which one it is, and to reach what is below it.
const TO_KNOW: OFlags = TO_READ.union(OFlags::PATH);

pub(super) fn root(path: &Path) -> Result<OwnedFd> {
    openat(CWD, path, TO_KNOW, Mode::empty())
}

pub(super) fn open(root: &OwnedFd, place: &str) -> Result<OwnedFd> {
    open_with(root, place, TO_READ)
}

fn open_with(root: &OwnedFd, place: &str, flags: OFlags) -> Result<OwnedFd> {
    let place = if place.is_empty() { "." } else { place };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(root, place, flags, Mode::empty(), resolve) {
        // The kernel, or a sandbox, does not know that call.
        Err(Errno::NOSYS | Errno::PERM) => openat(root, place, flags, Mode::empty()),
        opened => opened,
    }
}

/// Device and inode.
pub(super) fn identity(directory: impl AsFd) -> Result<(u64, u64)> {
    fstat(directory).map(|found| (found.st_dev, found.st_ino))
}

/// Whether one directory is at both places, as by a bind mount; not if it was renamed from one to the other.
pub(super) fn is_at_both(root: &OwnedFd, one: &str, other: &str) -> bool {
    let at = |place| open_with(root, place, TO_KNOW).and_then(identity).ok();
    let first = at(one);
    first.is_some() && at(other) == first && at(one) == first
}

/// The path of what is open.
pub(super) fn path_of(directory: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_raw_fd()).into()
}

/// Names of the directories in a directory, and of what may be one. Of those whose names cannot be told nothing is archived.
pub(super) fn names(directory: OwnedFd) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = match entry {
            // It is gone by now.
            Err(Errno::NOENT) => break,
            entry => entry?,
        };
        let is_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        let name = entry.file_name().to_str().ok().filter(|name| RelPath::new(name).is_ok());
        if let Some(name) = name.filter(|name| is_directory && !matches!(*name, "." | "..")) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
