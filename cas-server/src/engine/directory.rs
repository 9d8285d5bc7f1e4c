//! The data directory itself: made durably, held by one process at a time, of a format that we know.

use super::{codec::DIRECTORY, options::OpenError, segments::sync_dir};
use rustix::fs::FlockOperation;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Makes the directory if need be and takes it. It is ours for as long as the file is open.
pub(crate) fn take(dir: &Path) -> Result<File, OpenError> {
    create(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    let lock = lock(dir)?;
    check_format(dir)?;
    Ok(lock)
}

/// Whether there is a store in it.
pub(crate) fn is_store(dir: &Path) -> bool {
    dir.join("format").exists()
}

/// Makes the directory and those that it lies in, each with a name that survives the machine.
fn create(dir: &Path) -> io::Result<()> {
    let named = dir.ancestors().filter(|path| !path.as_os_str().is_empty());
    let made: Vec<_> = named.take_while(|path| !path.exists()).collect();
    fs::create_dir_all(dir)?;
    made.into_iter().try_for_each(|path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    })
}

/// One process at a time.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { path: dir.to_owned() }),
        Err(error) => Err(OpenError::Io { path, source: error.into() }),
    }
}

/// `format` says in one line what wrote the directory.
fn check_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("format");
    let io = |source| OpenError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_format(dir, &path).map_err(io),
        Err(error) => Err(io(error)),
        Ok(text) => match text.trim().parse::<u8>() {
            Ok(found) if found > DIRECTORY => {
                Err(OpenError::Format { path: dir.to_owned(), found, known: DIRECTORY })
            }
            // All of it stays as it is; what is added keeps programs out that do not know it.
            Ok(found) if (1..DIRECTORY).contains(&found) => write_format(dir, &path).map_err(io),
            Ok(1..) => Ok(()),
            _ => Err(io(io::Error::new(io::ErrorKind::InvalidData, "it does not hold a number"))),
        },
    }
}

/// Whole or not at all: an empty one would keep everybody out for ever.
fn write_format(dir: &Path, path: &Path) -> io::Result<()> {
    let new = dir.join("format.new");
    let mut file = File::create(&new)?;
    writeln!(file, "{DIRECTORY}")?;
    file.sync_all()?;
    fs::rename(new, path)?;
    sync_dir(dir)
}
