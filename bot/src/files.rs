//! Files in directories that tests can write, too: nothing here goes through what they may have planted there, a link, a
//! FIFO or a device, and nothing is read without a limit.

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

/// Most bytes of a file that a runner has made: the list of its tests, results.
pub(crate) const MOST: u64 = 64 * 1024 * 1024;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory at or below `root`, whose parent is trusted. Makes what is missing.
pub(crate) fn directory(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, format!("{} is elsewhere", path.display()));
    let below = path.strip_prefix(root).map_err(|_| outside())?;
    // A test may have removed it.
    let mut open = step(CWD, root.as_os_str())?;
    for component in below.components() {
        let Component::Normal(name) = component else { return Err(outside()) };
        open = step(&open, name)?;
    }
    Ok(open)
}

fn step(parent: impl rustix::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(openat(&parent, name, DIRECTORY, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

/// A new file in the place of whatever is at `path`, below `root`.
pub(crate) fn create(root: &Path, path: &Path) -> io::Result<File> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = directory(root, parent)?;
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(&parent, name, flags, Mode::from_raw_mode(0o666))?.into())
}

/// Writes files, and makes directories, each below one of `roots`.
pub(crate) fn write(
    roots: [&Path; 2],
    files: &[(PathBuf, Vec<u8>)],
    directories: &[PathBuf],
) -> io::Result<()> {
    let root = |path: &Path| roots.into_iter().find(|root| path.starts_with(root)).unwrap_or(roots[0]);
    directories.iter().try_for_each(|path| directory(root(path), path).map(drop))?;
    files.iter().try_for_each(|(path, content)| create(root(path), path)?.write_all(content))
}

/// What is in a regular file of no more than `most` bytes, if it is there.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(wrong(path, &io::Error::from(error).to_string())),
    };
    if !file.metadata()?.is_file() {
        return Err(wrong(path, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(wrong(path, &format!("it has more than {most} bytes")));
    }
    Ok(Some(bytes))
}

fn wrong(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("cannot make use of {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn what_is_planted_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, victim) = (dir.path().join("tmp"), dir.path().join("victim"));
        fs::create_dir(&root).unwrap();
        fs::write(&victim, "precious").unwrap();
        for path in ["link", "hard", "new/deep"].map(|name| root.join(name)) {
            match path.file_name().unwrap().to_str().unwrap() {
                "link" => symlink(&victim, &path).unwrap(),
                "hard" => fs::hard_link(&victim, &path).unwrap(),
                _ => {}
            }
            write([&root, &root], &[(path.clone(), b"ours".to_vec())], &[]).unwrap();
            assert_eq!(read(&path, 4).unwrap().unwrap(), b"ours");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        symlink(dir.path(), root.join("elsewhere")).unwrap();
        write([&root, &root], &[(root.join("elsewhere/victim"), vec![])], &[]).unwrap_err();
        write([&root, &root], &[], &[root.join("elsewhere/made")]).unwrap_err();
        write([&root, &root], &[], &[root.join("../made")]).unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!dir.path().join("made").exists());
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "12345").unwrap();
        symlink(path("file"), path("link")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, path("fifo"), fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read(&path("file"), 5).unwrap().unwrap(), b"12345");
        assert_eq!(read(&path("none"), 5).unwrap(), None);
        for (name, most) in [("file", 4), ("link", 5), ("fifo", 5), ("", 5)] {
            read(&path(name), most).unwrap_err();
        }
    }
}
