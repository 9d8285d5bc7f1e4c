//! A large file of the cache becomes a file of a tree, as a hard link, and nothing is copied.
//!
//! - **To one at a time.** Only a file with no other link is lent, under a lock on it, so that no two trees ever share one;
//!   whoever needs the blob meanwhile gets a copy.
//! - **Hashed before it is used again.** A file that was lent has no seal (see [`seal`]), whatever becomes of it: it counts as
//!   changed in place until it was hashed, and goes when it was.
//! - **As if it had been made.** It is the user's own, has the permissions that were asked for and no extended attributes.
//! - **Left alone.** While a tree has it the cache touches neither its times nor its permissions.
//!
//! Whoever copies a file of this size holds a shared lock, and hashes what is copied if somebody has the file.

use super::{cache::DiskCache, seal, staged::Trust};
use crate::{Error, Result};
use proto::Digest;
use rustix::{
    fd::{AsRawFd as _, BorrowedFd},
    fs::{AtFlags, CWD, FlockOperation, Mode, fchmod, flistxattr, flock, fstat, linkat, unlinkat},
    io::Errno,
};
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
};

/// From so many bytes on: for less a copy costs no more than the calls for this.
pub(crate) const LENDABLE: u64 = 1024 * 1024;

/// The one extended attribute that every file has, where there is SELinux.
const LABEL: &[u8] = b"security.selinux\0";

/// Directories with this bit give their group to what is made in them.
const SET_GROUP: u32 = 0o2000;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lent {
    /// The file is there.
    Linked,
    /// This one has to be copied.
    NotNow,
    /// All files have to be.
    Never,
}

impl DiskCache {
    /// Links the file of a blob to `name` in `directory`, with these permissions.
    pub(crate) fn lend(
        &self,
        digest: Digest,
        directory: BorrowedFd<'_>,
        name: &str,
        mode: u32,
    ) -> io::Result<Lent> {
        let Ok(file) = File::open(self.path(digest)) else { return Ok(Lent::NotNow) };
        if digest.size() < LENDABLE || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(Lent::NotNow);
        }
        let found = file.metadata()?;
        let parent = fstat(directory)?;
        let gives_group = parent.st_mode & SET_GROUP != 0 && parent.st_gid != found.gid();
        if gives_group || !is_untouched(&found, digest) || !is_plain(&file, &found) {
            return Ok(Lent::NotNow);
        }
        // This very file, whatever has its name by now.
        let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
        match linkat(CWD, opened, directory, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
            // Trimmed just now, or linked as often as can be.
            Err(Errno::NOENT | Errno::MLINK) => return Ok(Lent::NotNow),
            // On another disk, or on one without links.
            Err(_) => return Ok(Lent::Never),
        }
        let prepare = || {
            fchmod(&file, Mode::from_raw_mode(mode))?;
            seal::break_off(&file, digest)
        };
        match prepare() {
            Ok(()) => Ok(Lent::Linked),
            Err(_) => Ok(unlinkat(directory, name, AtFlags::empty()).map(|()| Lent::Never)?),
        }
    }

    /// The file of a blob to copy from, if it is there, and whether what comes of it has to be hashed. Nobody is lent it while it
    /// is open.
    pub(crate) fn source(&self, digest: Digest) -> Result<Option<(File, Trust)>> {
        let path = self.path(digest);
        let open = || -> io::Result<_> {
            let file = File::open(&path)?;
            let trust = match digest.size() {
                0..LENDABLE => Trust::Verified,
                _ => hold(&file, digest)?,
            };
            Ok((file, trust))
        };
        match open() {
            Ok(opened) => Ok(Some(opened)),
            // Who has it has taken the permission away.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::io(path, error)),
        }
    }
}

/// Has nobody lent it while it is open, and tells whether somebody was.
fn hold(file: &File, digest: Digest) -> io::Result<Trust> {
    Ok(if keep(file, digest) && is_untouched(&file.metadata()?, digest) {
        Trust::Verified
    } else {
        Trust::Hash
    })
}

/// Has nobody lent it while it is open, if that can be had. Never waits: a tree that has the file may have locked it.
pub(super) fn keep(file: &File, digest: Digest) -> bool {
    digest.size() < LENDABLE || flock(file, FlockOperation::NonBlockingLockShared).is_ok()
}

/// Whether no tree has it, or had it since it was hashed.
fn is_untouched(found: &Metadata, digest: Digest) -> bool {
    found.nlink() <= 1 && seal::is_sealed(found, digest)
}

/// Whether it is like a file that this user has just made.
fn is_plain(file: &File, found: &Metadata) -> bool {
    let mut names = [0; LABEL.len() + 1];
    let has_own_attributes = match flistxattr(file, &mut names[..]) {
        Ok(length) => length > 0 && names[..length] != *LABEL,
        Err(error) => error != Errno::NOTSUP,
    };
    found.uid() == rustix::process::geteuid().as_raw()
        && found.gid() == rustix::process::getegid().as_raw()
        && !has_own_attributes
}
