//! A work item out of the store.

use crate::{
    Error,
    process::{interruptible, joined},
    scratch::Scratch,
};
use cas::{
    BlobStore, Monitor, Silent,
    disk::DiskCache,
    tree::{self, Fetched},
};
use proto::Digest;
use runtime::Shutdown;
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What was downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Files and symlinks.
    pub files: u64,
    /// Sum of the sizes of the files.
    pub bytes: u64,
    /// Blobs that came from the store.
    pub fetched_blobs: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Blobs that the local cache had.
    pub cached_blobs: u64,
    /// Their bytes.
    pub cached_bytes: u64,
}

impl From<&Fetched> for Downloaded {
    fn from(fetched: &Fetched) -> Self {
        Self {
            files: fetched.files,
            bytes: fetched.bytes,
            fetched_blobs: fetched.cold_items,
            fetched_bytes: fetched.cold_bytes,
            cached_blobs: fetched.hot_items,
            cached_bytes: fetched.hot_bytes,
        }
    }
}

/// Lays the work item out in `target`, which must not exist or be empty. One that does not exist appears as a whole or
/// not at all; one that does stays the directory that it is, somebody may be in it.
pub async fn download(
    store: &dyn BlobStore,
    cache: &DiskCache,
    digest: Digest,
    target: &Path,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Downloaded, Error> {
    check_vacant(target)?;
    let exists = target.is_dir();
    // A directory of somebody's has nothing in it before all has come: it would not be empty for who tries again.
    let held = match exists {
        true => Some(interruptible(shutdown, tree::fetch(store, cache, digest, monitor)).await?),
        false => None,
    };
    let monitor = if exists { &Silent } else { monitor };
    // In or beside the target, so that it is on the same disk and can be renamed.
    let scratch = Scratch::create(if exists { target } else { existing_above(target) })?;
    let (scratch, fetched) = laid_out(store, cache, digest, scratch, monitor, shutdown).await?;
    let downloaded = Downloaded::from(held.as_ref().unwrap_or(&fetched));
    if shutdown.is_requested() {
        return Err(Error::Interrupted);
    }
    let tree = tree_in(&scratch);
    let moved = if exists { fill(&tree, target) } else { place(&tree, target) };
    moved.map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => occupied(target),
        _ => Error::io(target, error),
    })?;
    Ok(downloaded)
}

/// The deepest directory above that is there.
fn existing_above(target: &Path) -> &Path {
    target.ancestors().skip(1).find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

/// Moves a directory to where nothing is, not even what it is to be in.
fn place(tree: &Path, target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), fs::create_dir_all)?;
    rename(tree, target)
}

/// Moves a directory, which may be read-only.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let permissions = fs::metadata(from)?.permissions();
    // Its entry for `..` changes, so that it must be writable while it moves.
    fs::set_permissions(from, Permissions::from_mode(0o700))?;
    fs::rename(from, to)?;
    fs::set_permissions(to, permissions)
}

/// Moves what is in `tree` into `target`.
fn fill(tree: &Path, target: &Path) -> io::Result<()> {
    fs::set_permissions(tree, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_type()?.is_dir() { rename(&entry.path(), &to)? } else { fs::rename(entry.path(), &to)? }
    }
    Ok(())
}

/// Where [`laid_out`] puts the tree.
pub(crate) fn tree_in(scratch: &Scratch) -> PathBuf {
    scratch.path().join("tree")
}

/// Fetches the work item and lays it out in `scratch`. From where nothing is fetched any more it is not to be cut short: gives the
/// directory back when nothing writes to it any more.
pub(crate) async fn laid_out(
    store: &dyn BlobStore,
    cache: &DiskCache,
    digest: Digest,
    scratch: Scratch,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<(Scratch, Fetched), Error> {
    let target = tree_in(&scratch);
    let fetching = tree::fetch_into(store, cache, (Some(digest), &[]), &target, monitor);
    let begun = interruptible(shutdown, fetching).await?;
    let work = tokio::task::spawn_blocking(move || {
        let fetched = begun.finish()?;
        Ok((scratch, fetched))
    });
    joined(work.await)?
}

/// Before anything is fetched for nothing.
pub(crate) fn check_vacant(target: &Path) -> Result<(), Error> {
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(occupied(target)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(occupied(target)),
        Err(error) => Err(Error::io(target, error)),
    }
}

fn occupied(target: &Path) -> Error {
    let reason = "must be a new or an empty directory: remove it, or choose another";
    Error::Argument { path: target.to_owned(), reason }
}
