//! A manifest becomes files in an empty directory, and nothing anywhere else.
//!
//! Files are clones (on file systems that share blocks) or copies of what is in the cache, never links to it: whatever
//! is done to them, the cache stays what it is. Directories are made and entered one by one without following symlinks,
//! and symlinks are made last.

use super::{Error, Fetched};
use crate::{
    disk::DiskCache,
    isolated::{Entry, Isolated, ReadOnly, check_layout},
};
use proto::{Digest, RelPath};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, fchmod, mkdirat, openat, symlinkat},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Builder,
};

/// Permissions of directories, before they may become read-only.
const DIR_MODE: u32 = 0o755;

/// Permissions of files whose manifest has none.
const FILE_MODE: u32 = 0o640;

/// Files of up to so many bytes are read and written by us: that takes fewer calls of the kernel than to have it copy.
const SMALL: u64 = 128 * 1024;

/// Lays `fetched` out in `target`, an empty directory that is made when it is not there. Blocks; copies on as many threads
/// as there are cores. What it made stays when it fails.
pub fn materialize(fetched: &Fetched, cache: &DiskCache, target: &Path) -> Result<(), Error> {
    let isolated = &fetched.isolated;
    // A manifest that was parsed is fine already; one that was made by hand may not be.
    check_layout(&isolated.files)
        .map_err(|source| Error::Manifest { digest: Digest::empty(isolated.function), source })?;
    let root = open_root(target)?;
    let layout = Layout::of(isolated);
    let cannot_clone = AtomicBool::new(false);
    let place = Place { target, root: root.as_fd(), cache, isolated, umask: umask(), cannot_clone };
    for directory in &layout.directories {
        place.make_directory(directory)?;
    }
    place.fill(&layout.files)?;
    for (path, link) in &layout.symlinks {
        place.make_symlink(path, link)?;
    }
    if isolated.read_only == ReadOnly::FilesAndDirs {
        place.seal(&layout.directories)?;
    }
    Ok(())
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

fn open_root(target: &Path) -> Result<OwnedFd, Error> {
    let prepare = || {
        fs::create_dir_all(target)?;
        let root = openat(rustix::fs::CWD, target, DIR_FLAGS, Mode::empty())?;
        Ok((root, fs::read_dir(target)?.next().is_some()))
    };
    match prepare().map_err(|error| Error::io(target, error))? {
        (_, true) => Err(Error::Occupied { path: target.to_owned() }),
        (root, false) => Ok(root),
    }
}

const DIR_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// What is to be made, ordered so that parents come before what is in them.
struct Layout<'a> {
    directories: BTreeSet<RelPath>,
    /// By directory, `None` being the root.
    files: Vec<(Option<RelPath>, Vec<FileToMake<'a>>)>,
    symlinks: Vec<(&'a RelPath, &'a str)>,
}

struct FileToMake<'a> {
    path: &'a RelPath,
    digest: Digest,
    mode: Option<u32>,
}

impl<'a> Layout<'a> {
    fn of(isolated: &'a Isolated) -> Self {
        let mut directories = BTreeSet::new();
        let mut files: BTreeMap<Option<RelPath>, Vec<FileToMake<'a>>> = BTreeMap::new();
        let mut symlinks = Vec::new();
        // Where the command starts is made even if no file lies there, unless the manifest has something else there.
        let starting = isolated.relative_cwd.iter().filter(|path| !is_taken(isolated, path)).cloned();
        let parents = isolated.files.keys().filter_map(RelPath::parent);
        for mut directory in starting.chain(parents) {
            while directories.insert(directory.clone()) {
                let Some(parent) = directory.parent() else { break };
                directory = parent;
            }
        }
        for (path, entry) in &isolated.files {
            match entry {
                Entry::File { digest, mode } => {
                    let file = FileToMake { path, digest: *digest, mode: *mode };
                    files.entry(path.parent()).or_default().push(file);
                }
                // Its files stand beside it since it was fetched.
                Entry::Tar { .. } => {}
                Entry::Symlink { target } => symlinks.push((path, target.as_str())),
            }
        }
        Self { directories, files: files.into_iter().collect(), symlinks }
    }
}

/// Whether the path, or one above it, is a file or symlink.
fn is_taken(isolated: &Isolated, path: &RelPath) -> bool {
    std::iter::successors(Some(path.clone()), RelPath::parent).any(|path| isolated.files.contains_key(&path))
}

/// Where it is made.
struct Place<'a> {
    target: &'a Path,
    root: BorrowedFd<'a>,
    cache: &'a DiskCache,
    isolated: &'a Isolated,
    /// Only where it takes something away, permissions have to be set once more.
    umask: u32,
    /// Found out at the first file.
    cannot_clone: AtomicBool,
}

impl Place<'_> {
    fn failed(&self, path: &RelPath, error: impl Into<io::Error>) -> Error {
        Error::io(self.target.join(path.as_path()), error.into())
    }

    /// Enters a directory component by component, through no symlink.
    fn enter(&self, directory: Option<&RelPath>) -> Result<OwnedFd, Error> {
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let mut entered = openat(self.root, ".", flags, Mode::empty())
            .map_err(|error| Error::io(self.target, error.into()))?;
        let Some(directory) = directory else { return Ok(entered) };
        for component in directory.components() {
            entered = openat(&entered, component, flags, Mode::empty())
                .map_err(|error| self.failed(directory, error))?;
        }
        Ok(entered)
    }

    fn make_directory(&self, path: &RelPath) -> Result<(), Error> {
        let parent = self.enter(path.parent().as_ref())?;
        let make = || -> Result<(), Errno> {
            mkdirat(&parent, path.file_name(), Mode::from_raw_mode(DIR_MODE))?;
            let made = openat(&parent, path.file_name(), DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
            // The umask may have taken something away.
            fchmod(&made, Mode::from_raw_mode(DIR_MODE))
        };
        make().map_err(|error| self.failed(path, error))
    }

    fn make_symlink(&self, path: &RelPath, link: &str) -> Result<(), Error> {
        let parent = self.enter(path.parent().as_ref())?;
        symlinkat(link, &parent, path.file_name()).map_err(|error| self.failed(path, error))
    }

    /// Makes all files, directory by directory.
    fn fill(&self, directories: &[(Option<RelPath>, Vec<FileToMake<'_>>)]) -> Result<(), Error> {
        const AT_ONCE: usize = 64;
        let work: Vec<(Option<&RelPath>, &[FileToMake<'_>])> = directories
            .iter()
            .flat_map(|(directory, files)| files.chunks(AT_ONCE).map(|part| (directory.as_ref(), part)))
            .collect();
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let run = || {
            while let Some((directory, files)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.fill_directory(*directory, files) {
                    // The others find nothing more to do.
                    next.store(work.len(), Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(work.len());
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Where no more threads are to be had, those that are there do it all.
                let _ = Builder::new().spawn_scoped(scope, run);
            }
            run();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fill_directory(&self, directory: Option<&RelPath>, files: &[FileToMake<'_>]) -> Result<(), Error> {
        let entered = self.enter(directory)?;
        files.iter().try_for_each(|file| self.make_file(entered.as_fd(), file))
    }

    fn make_file(&self, directory: BorrowedFd<'_>, file: &FileToMake<'_>) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = self.mode(file.mode);
        let made = openat(directory, file.path.file_name(), flags, Mode::from_raw_mode(mode))
            .map_err(|error| self.failed(file.path, error))?;
        let mut made = File::from(made);
        if !file.digest.is_empty() {
            self.copy(file, &mut made)?;
        }
        if mode & self.umask == 0 {
            return Ok(());
        }
        fchmod(&made, Mode::from_raw_mode(mode)).map_err(|error| self.failed(file.path, error))
    }

    fn copy(&self, file: &FileToMake<'_>, made: &mut File) -> Result<(), Error> {
        let path = self.cache.path(file.digest);
        let mut source = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => lost(file.digest),
            _ => crate::Error::io(&path, error),
        })?;
        if !self.cannot_clone.load(Ordering::Relaxed) {
            match reflink_copy::reflink_file(&source, made) {
                Ok(()) => return Ok(()),
                Err(_) => self.cannot_clone.store(true, Ordering::Relaxed),
            }
        }
        let copied = if file.digest.size() <= SMALL {
            copy_small(&mut source, made, file.digest.size())
        } else {
            // The kernel copies, without the bytes passing through here.
            io::copy(&mut source, made)
        };
        let copied = copied.map_err(|error| self.failed(file.path, error))?;
        if copied != file.digest.size() {
            return Err(lost(file.digest).into());
        }
        Ok(())
    }

    /// What the manifest says, as far as it makes sense here: readable by its owner, no set-user-ID, no sticky bit.
    fn mode(&self, mode: Option<u32>) -> u32 {
        let mode = mode.unwrap_or(FILE_MODE) & 0o777 | 0o400;
        match self.isolated.read_only {
            ReadOnly::Writable => mode,
            ReadOnly::Files | ReadOnly::FilesAndDirs => mode & !0o222,
        }
    }

    /// Takes the write permission from all directories, the lower ones first.
    fn seal(&self, directories: &BTreeSet<RelPath>) -> Result<(), Error> {
        let mode = Mode::from_raw_mode(DIR_MODE & !0o222);
        for directory in directories.iter().rev() {
            let entered = self.enter(Some(directory))?;
            fchmod(&entered, mode).map_err(|error| self.failed(directory, error))?;
        }
        fchmod(self.root, mode).map_err(|error| Error::io(self.target, error.into()))
    }
}
