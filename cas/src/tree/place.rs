//! The directory that a tree is laid out in, and how each thing in it is made.

use super::{Error, plan::FileToMake};
use crate::{
    disk::{DiskCache, LENDABLE, Lent, SMALL, Trust},
    isolated::ReadOnly,
};
use proto::{Digest, Hasher, RelPath};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, fchmod, fgetxattr, fstat, mkdirat, openat, symlinkat},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// What directories are made in with this bit gives them its group, and they give it on.
const SET_GROUP: u32 = 0o2000;

/// Permissions of directories, before they may become read-only.
const DIR_MODE: u32 = 0o755;

/// Permissions of files whose manifest has none.
const FILE_MODE: u32 = 0o640;

pub(super) const DIR_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Where it is made.
#[derive(Debug)]
pub(super) struct Place {
    target: PathBuf,
    root: OwnedFd,
    cache: DiskCache,
    read_only: ReadOnly,
    /// Permissions that what is made may lack, so that they have to be set once more.
    withheld: u32,
    /// [`SET_GROUP`], or nothing.
    set_group: u32,
    cannot_clone: AtomicBool,
    /// Found out at the first file that could be.
    cannot_lend: AtomicBool,
}

impl Place {
    pub(super) fn new(target: &Path, root: OwnedFd, cache: &DiskCache, read_only: ReadOnly) -> Self {
        let set_group = fstat(&root).map_or(0, |found| found.st_mode & SET_GROUP);
        let (withheld, has_default_acl) = withheld(root.as_fd());
        // What is made there has an ACL of its own, which what is lent has not.
        let (cannot_clone, cannot_lend) = (AtomicBool::new(false), AtomicBool::new(has_default_acl));
        let (target, cache) = (target.to_owned(), cache.clone());
        Self { target, root, cache, read_only, withheld, set_group, cannot_clone, cannot_lend }
    }

    pub(super) fn read_only(&self) -> ReadOnly {
        self.read_only
    }

    /// Whether it is known that files cannot be cloned here.
    pub(super) fn copies(&self) -> bool {
        self.cannot_clone.load(Ordering::Relaxed)
    }

    /// Finds out ahead of time whether files share blocks here with those of the cache: where they do none is lent.
    pub(super) fn try_clone(&self) {
        // Not on every file system: the first file that is made tells.
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let Ok(made) = openat(&self.root, ".", flags, Mode::RUSR) else { return };
        let Ok(source) = self.cache.probe() else { return };
        let cloned = reflink_copy::reflink_file(&source, &File::from(made));
        self.cannot_clone.store(cloned.is_err(), Ordering::Relaxed);
    }

    fn failed(&self, path: &RelPath, error: impl Into<io::Error>) -> Error {
        Error::io(self.target.join(path.as_path()), error.into())
    }

    /// Enters a directory component by component, through no symlink.
    pub(super) fn enter(&self, directory: Option<&RelPath>) -> Result<OwnedFd, Error> {
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let mut entered = openat(&self.root, ".", flags, Mode::empty())
            .map_err(|error| Error::io(&self.target, error.into()))?;
        let Some(directory) = directory else { return Ok(entered) };
        for component in directory.components() {
            entered = openat(&entered, component, flags, Mode::empty())
                .map_err(|error| self.failed(directory, error))?;
        }
        Ok(entered)
    }

    pub(super) fn make_directory(&self, path: &RelPath) -> Result<(), Error> {
        let parent = self.enter(path.parent().as_ref())?;
        let make = || -> Result<(), Errno> {
            mkdirat(&parent, path.file_name(), Mode::from_raw_mode(DIR_MODE))?;
            if DIR_MODE & self.withheld == 0 {
                return Ok(());
            }
            let made = openat(&parent, path.file_name(), DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
            fchmod(&made, Mode::from_raw_mode(DIR_MODE | self.set_group))
        };
        make().map_err(|error| self.failed(path, error))
    }

    pub(super) fn make_symlink(&self, path: &RelPath, link: &str) -> Result<(), Error> {
        let parent = self.enter(path.parent().as_ref())?;
        symlinkat(link, &parent, path.file_name()).map_err(|error| self.failed(path, error))
    }

    pub(super) fn fill_directory(
        &self,
        directory: Option<&RelPath>,
        files: &[FileToMake],
    ) -> Result<(), Error> {
        let entered = self.enter(directory)?;
        let mut files = files.iter().filter(|file| !file.is_made.load(Ordering::Relaxed));
        files.try_for_each(|file| self.make_file(entered.as_fd(), file))
    }

    /// Makes a file that was not made yet of its bytes.
    pub(super) fn write_file(
        &self,
        directory: &OwnedFd,
        file: &FileToMake,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let write = |made: &mut File| made.write_all(bytes).map_err(|error| self.failed(&file.path, error));
        self.create(directory.as_fd(), file, self.mode(file.mode), write)?;
        file.is_made.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn make_file(&self, directory: BorrowedFd<'_>, file: &FileToMake) -> Result<(), Error> {
        let mode = self.mode(file.mode);
        if self.lend(directory, file, mode)? {
            return Ok(());
        }
        self.create(directory, file, mode, |made| match file.digest.is_empty() {
            true => Ok(()),
            false => self.copy(file, made),
        })
    }

    fn create(
        &self,
        directory: BorrowedFd<'_>,
        file: &FileToMake,
        mode: u32,
        fill: impl FnOnce(&mut File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(directory, file.path.file_name(), flags, Mode::from_raw_mode(mode))
            .map_err(|error| self.failed(&file.path, error))?;
        let mut made = File::from(made);
        fill(&mut made)?;
        if mode & self.withheld == 0 {
            return Ok(());
        }
        fchmod(&made, Mode::from_raw_mode(mode)).map_err(|error| self.failed(&file.path, error))
    }

    /// Has the cache's own file linked here, where that is worth it, nothing is meant to be written to it, and it could not be
    /// cloned.
    fn lend(&self, directory: BorrowedFd<'_>, file: &FileToMake, mode: u32) -> Result<bool, Error> {
        let is_copied = !self.lends(file.digest)
            || !self.cannot_clone.load(Ordering::Relaxed)
            || self.cannot_lend.load(Ordering::Relaxed);
        if is_copied {
            return Ok(false);
        }
        let lent = self.cache.lend(file.digest, directory, file.path.file_name(), mode);
        match lent.map_err(|error| self.failed(&file.path, error))? {
            Lent::Linked => Ok(true),
            Lent::NotNow => Ok(false),
            Lent::Never => {
                self.cannot_lend.store(true, Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    /// Whether the file of this blob may be linked.
    pub(super) fn lends(&self, digest: Digest) -> bool {
        self.read_only != ReadOnly::Writable && digest.size() >= LENDABLE
    }

    fn copy(&self, file: &FileToMake, made: &mut File) -> Result<(), Error> {
        let digest = file.digest;
        if let Some(bytes) = self.cache.packed(digest)? {
            return made.write_all(&bytes).map_err(|error| self.failed(&file.path, error));
        }
        let (mut source, trust) = self.cache.source(digest)?.ok_or_else(|| lost(digest))?;
        if trust == Trust::Hash {
            let hashed =
                copy_hashed(&mut source, made, digest).map_err(|error| self.failed(&file.path, error))?;
            if hashed != digest {
                self.cache.forget(digest)?;
                return Err(lost(digest).into());
            }
            return Ok(());
        }
        // One that is too short is being written anew: the copy shows it.
        let is_whole = || source.metadata().is_ok_and(|found| found.len() == digest.size());
        let is_large = digest.size() > SMALL;
        if is_large && !self.cannot_clone.load(Ordering::Relaxed) && is_whole() {
            match reflink_copy::reflink_file(&source, made) {
                Ok(()) => return Ok(()),
                Err(_) => self.cannot_clone.store(true, Ordering::Relaxed),
            }
        }
        let copied = if is_large {
            // The kernel copies, without the bytes passing through here.
            io::copy(&mut source, made)
        } else {
            // That takes fewer calls.
            copy_small(&mut source, made, digest.size())
        };
        if copied.map_err(|error| self.failed(&file.path, error))? != digest.size() {
            return Err(lost(digest).into());
        }
        Ok(())
    }

    /// What the manifest says, as far as it makes sense here: readable by its owner, no set-user-ID, no sticky bit.
    fn mode(&self, mode: Option<u32>) -> u32 {
        let mode = mode.unwrap_or(FILE_MODE) & 0o777 | 0o400;
        match self.read_only {
            ReadOnly::Writable => mode,
            ReadOnly::Files | ReadOnly::FilesAndDirs => mode & !0o222,
        }
    }

    /// Takes the write permission from all directories, the lower ones first.
    pub(super) fn seal(&self, directories: &BTreeSet<RelPath>) -> Result<(), Error> {
        let mode = Mode::from_raw_mode(DIR_MODE & !0o222 | self.set_group);
        for directory in directories.iter().rev() {
            let entered = self.enter(Some(directory))?;
            fchmod(&entered, mode).map_err(|error| self.failed(directory, error))?;
        }
        fchmod(&self.root, mode).map_err(|error| Error::io(&self.target, error.into()))
    }
}

/// Copies a file that should have so many bytes: how many it has, those beyond one more not counted.
fn copy_small(source: &mut File, made: &mut File, size: u64) -> io::Result<u64> {
    let mut bytes = vec![0; size as usize + 1];
    let mut filled = 0;
    // A file that is as long as it should be leaves one byte free: it takes one call more only where that was short.
    while filled < size as usize {
        match source.read(&mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    made.write_all(&bytes[..filled])?;
    Ok(filled as u64)
}

/// Copies a file that somebody may be writing to, and tells what came.
fn copy_hashed(source: &mut File, made: &mut File, digest: Digest) -> io::Result<Digest> {
    let mut hasher: Hasher = digest.function().hasher();
    let mut buffer = vec![0; 1024 * 1024];
    while hasher.size() <= digest.size() {
        match source.read(&mut buffer)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                made.write_all(&buffer[..count])?;
            }
        }
    }
    Ok(hasher.finish())
}

/// Permissions that may be taken away from what is made in a directory, and whether it gives an ACL to that.
fn withheld(directory: BorrowedFd<'_>) -> (u32, bool) {
    // With a default ACL, which all directories below inherit, it decides and not the umask. Its size does not matter.
    match fgetxattr(directory, "system.posix_acl_default", &mut [0; 0][..]) {
        Err(Errno::NODATA | Errno::NOTSUP) => (umask(), false),
        _ => (0o777, true),
    }
}

/// Permissions that this process takes away from what it makes; all of them where that cannot be known.
fn umask() -> u32 {
    let known = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let text = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(text.trim(), 8).ok()
    };
    known().unwrap_or(0o777)
}

/// The cache had it when it was fetched: no fault of the store or the manifest.
fn lost(digest: Digest) -> crate::Error {
    let reason = format!("{digest} was taken out of the local cache while it was in use: try again");
    crate::Error::Internal { reason }
}
