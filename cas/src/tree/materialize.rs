//! A manifest becomes files in an empty directory, and nothing anywhere else.
//!
//! Files are clones (on file systems that share blocks) or copies of what is in the cache: whatever is done to them, the
//! cache stays what it is. Large ones that nothing is meant to be written to are lent where they cannot be cloned: see
//! `disk::lend`. Directories are made and entered one by one without following symlinks, and symlinks are made last.

use super::{
    Error, Fetched,
    place::{DIR_FLAGS, Place},
};
use crate::{
    disk::DiskCache,
    isolated::{Entry, Isolated, ReadOnly, check_layout},
    parallel::in_parts,
};
use proto::{Digest, RelPath};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{Mode, openat},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Lays `fetched` out in `target`, an empty directory that is made when it is not there. Blocks; copies on as many threads
/// as there are cores. What it made stays when it fails.
pub fn materialize(fetched: &Fetched, cache: &DiskCache, target: &Path) -> Result<(), Error> {
    let isolated = &fetched.isolated;
    // A manifest that was parsed is fine already; one that was made by hand may not be.
    check_layout(&isolated.files)
        .map_err(|source| Error::Manifest { digest: Digest::empty(isolated.function), source })?;
    let root = open_root(target)?;
    let layout = Layout::of(fetched);
    let place = Place::new(target, root.as_fd(), cache, isolated.read_only);
    for directory in &layout.directories {
        place.make_directory(directory)?;
    }
    let mut digests = layout.files.iter().flat_map(|(_, files)| files).map(|file| *file.digest);
    if let Some(digest) = digests.find(|digest| place.lends(*digest)) {
        place.try_clone(digest)?;
    }
    fill(&place, &layout.files)?;
    for (path, link) in &layout.symlinks {
        place.make_symlink(path, link)?;
    }
    if isolated.read_only == ReadOnly::FilesAndDirs {
        place.seal(&layout.directories)?;
    }
    Ok(())
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

/// What is to be made, ordered so that parents come before what is in them.
struct Layout<'a> {
    directories: BTreeSet<RelPath>,
    /// By directory, `None` being the root.
    files: Vec<(Option<RelPath>, Vec<FileToMake<'a>>)>,
    symlinks: Vec<(&'a RelPath, &'a str)>,
}

pub(super) struct FileToMake<'a> {
    pub(super) path: &'a RelPath,
    pub(super) digest: &'a Digest,
    /// As the manifest has it.
    pub(super) mode: Option<u32>,
}

impl<'a> Layout<'a> {
    fn of(fetched: &'a Fetched) -> Self {
        let isolated = &fetched.isolated;
        let mut directories = BTreeSet::new();
        let mut files: BTreeMap<Option<RelPath>, Vec<FileToMake<'a>>> = BTreeMap::new();
        let mut symlinks = Vec::new();
        // Where the command starts is made even if no file lies there, unless the manifest has something else there.
        let starting = isolated.relative_cwd.iter().filter(|path| !is_taken(isolated, path)).cloned();
        let parents = isolated.files.keys().filter_map(RelPath::parent);
        for mut directory in starting.chain(parents).chain(fetched.directories.iter().cloned()) {
            while directories.insert(directory.clone()) {
                let Some(parent) = directory.parent() else { break };
                directory = parent;
            }
        }
        for (path, entry) in &isolated.files {
            match entry {
                Entry::File { digest, mode } => {
                    let file = FileToMake { path, digest, mode: *mode };
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

/// Makes all files. Threads are in different directories for as long as there are several: each is locked when something is
/// made in it.
fn fill(place: &Place<'_>, directories: &[(Option<RelPath>, Vec<FileToMake<'_>>)]) -> Result<(), Error> {
    const AT_ONCE: usize = 512;
    let work: Vec<(Option<&RelPath>, &[FileToMake<'_>])> = directories
        .iter()
        .flat_map(|(directory, files)| files.chunks(AT_ONCE).map(|part| (directory.as_ref(), part)))
        .collect();
    in_parts(&work, 1, |_, part| {
        part.iter().try_for_each(|(directory, files)| place.fill_directory(*directory, files))
    })
}
