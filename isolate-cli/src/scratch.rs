//! A directory that goes away with its owner, whatever a command did to the permissions in it.

use crate::Error;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};
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
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open_up(self.path());
        // What is still left is removed by the inner directory, or stays because the system does not let us.
        let _ = fs::remove_dir_all(self.path());
    }
}

/// Lets us delete from every directory below, and follows no link.
fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
