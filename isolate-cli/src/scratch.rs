//! A directory that goes away with its owner, whatever a command did to the permissions in it.

use crate::Error;
use std::{fs, io, path::Path};
use tempfile::TempDir;

/// Gone when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// A new, empty directory in `parent` that only we can enter.
    pub(crate) fn create(parent: &Path) -> Result<Self, Error> {
        let create = || {
            fs::create_dir_all(parent)?;
            tempfile::Builder::new().prefix(".isolate-").tempdir_in(parent)
        };
        create().map(Self).map_err(|error| Error::io(parent, error))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Removes it, and tells when it stays.
    pub(crate) fn close(self) -> Result<(), Error> {
        let path = self.path().to_owned();
        self.remove().map_err(|error| Error::io(&path, error))
    }

    fn remove(&self) -> io::Result<()> {
        match (self.path().parent(), self.path().file_name()) {
            (Some(parent), Some(name)) => cas::remove(parent, name),
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is still left is removed by the inner directory, or stays because the system does not let us.
        let _ = self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    #[test]
    fn read_only_directories_go_away_too() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(parent.path()).unwrap();
        let below = scratch.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("file"), "x").unwrap();
        for dir in [below.clone(), scratch.path().join("a")] {
            fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
        }
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
