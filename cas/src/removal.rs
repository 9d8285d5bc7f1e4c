//! Removes a tree however it was left: without permissions, deeper than a path can be, with any number of files.
//!
//! Directories are moved up beside the tree as they are met, so that nothing is ever more than one level deep: neither
//! the length of a path nor the number of open files limits the depth. No symlink is followed.

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, openat, renameat, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{CStr, OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// How often a directory is read before it counts as one that cannot be emptied.
const PASSES: usize = 100;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `name`, a file or directory in `holder`. That it is not there is fine. `holder` must not be written to by
/// strangers meanwhile; the tree may.
pub fn remove(holder: &Path, name: &OsStr) -> io::Result<()> {
    let holder = match openat(CWD, holder, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut left = vec![name.to_owned()];
    while let Some(name) = left.pop() {
        match unlinkat(&holder, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(_) if is_directory(&holder, &name)? => remove_directory(&holder, &name, &mut left)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn is_directory<N: rustix::path::Arg>(parent: &OwnedFd, name: N) -> io::Result<bool> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes one directory of `holder`. The directories in it are moved to `holder`, under names added to `left`.
fn remove_directory(holder: &OwnedFd, name: &OsStr, left: &mut Vec<OsString>) -> io::Result<()> {
    chmodat(holder, name, Mode::RWXU, AtFlags::empty())?;
    let directory = openat(holder, name, DIRECTORY, Mode::empty())?;
    for _ in 0..PASSES {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                remove_entry(holder, &directory, entry.file_name(), left)?;
            }
        }
        match unlinkat(holder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Some file systems skip entries when others are removed between two reads.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

fn remove_entry(
    holder: &OwnedFd,
    directory: &OwnedFd,
    name: &CStr,
    left: &mut Vec<OsString>,
) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) if !is_directory(directory, name)? => return Err(errno.into()),
        Err(_) => {}
    }
    // Without write permission to itself a directory cannot be moved: its `..` changes.
    chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
    loop {
        let fresh = fresh_name();
        match renameat(directory, name, holder, &fresh) {
            Ok(()) => {
                left.push(fresh);
                return Ok(());
            }
            // From an interrupted removal.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn fresh_name() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    OsString::from_vec(format!(".removed-{}", NEXT.fetch_add(1, Ordering::Relaxed)).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn empty_after_removal(dir: &Path) {
        remove(dir, OsStr::new("tree")).unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    }

    #[test]
    fn directories_without_permissions_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("tree/closed/inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        for (path, mode) in [(inner.join("file"), 0), (inner, 0o500), (dir.path().join("tree/closed"), 0)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        empty_after_removal(dir.path());
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        let mut at = openat(CWD, dir.path().join("tree"), DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
            at = openat(&at, "deep", DIRECTORY, Mode::empty()).unwrap();
        }
        empty_after_removal(dir.path());
    }

    #[test]
    fn a_directory_with_many_files_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        (0..5000).for_each(|n| fs::write(dir.path().join("tree").join(n.to_string()), "").unwrap());
        empty_after_removal(dir.path());
    }

    #[test]
    fn symlinks_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("tree/link")).unwrap();
        empty_after_removal(dir.path());
        std::os::unix::fs::symlink(outside.path(), dir.path().join("tree")).unwrap();
        empty_after_removal(dir.path());
        assert!(outside.path().join("precious").exists());
        remove(dir.path(), OsStr::new("not there")).unwrap();
    }
}
