//! Where those who watch a directory are found: a socket with a name made of the directory's, among the user's caches, where
//! what was archived last is kept, too.

use crate::{Error, cli::cache_dir};
use proto::DigestFunction;
use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// Names sockets.
const NAME: DigestFunction = DigestFunction::Blake3;

/// Digits in a name: more than ever meet.
const DIGITS: usize = 32;

/// How the name of a socket ends.
const ENDING: &str = "socket";

/// The user's directory of sockets.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    /// `$XDG_CACHE_HOME/isoswarm/watch`, or the same below `~/.cache`.
    pub(crate) fn of_user() -> Result<Self, Error> {
        Ok(Self { dir: cache_dir(None, "watch", "XDG_CACHE_HOME")? })
    }

    #[cfg(test)]
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reaches who watches `root`, if somebody does. The stream does not block, nor does this.
    pub(super) fn connect(&self, root: &Path) -> io::Result<UnixStream> {
        self.open()?.connect(&name(root))
    }

    /// The socket of who watches `root` from now on. `None`: somebody does already. What killed processes left is removed.
    pub(super) fn listen(&self, root: &Path) -> io::Result<Option<Listening>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let open = self.open()?;
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            let is_socket = path.extension().is_some_and(|ending| ending == ENDING);
            if is_socket && open.connect(file).is_err_and(|error| is_nobody(&error)) {
                fs::remove_file(&path)?;
            }
        }
        let name = name(root);
        match UnixListener::bind(open.path(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            bound => {
                let socket = bound?;
                let path = self.dir.join(name);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                let inode = inode(&path)?;
                Ok(Some(Listening { socket, path, inode, place: self.clone() }))
            }
        }
    }

    /// Held by whoever puts a socket here or takes one away.
    fn lock(&self, how: FlockOperation) -> io::Result<File> {
        let lock = File::options().create(true).append(true).open(self.dir.join("lock"))?;
        flock(&lock, how)?;
        Ok(lock)
    }

    fn open(&self) -> io::Result<Open> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = openat(CWD, &self.dir, flags, Mode::empty())?;
        let found = fstat(&open)?;
        let others = Mode::RWXG | Mode::RWXO;
        if found.st_uid != geteuid().as_raw() || Mode::from_raw_mode(found.st_mode).intersects(others) {
            // Who watches would be believed whatever it says.
            let reason = "it is not this user's, or others may use it (its mode is to be 700)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        Ok(Open(open))
    }
}

/// The directory by its handle: paths of sockets may have 107 bytes only.
struct Open(OwnedFd);

impl Open {
    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()).into()
    }

    fn connect(&self, name: &str) -> io::Result<UnixStream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(self.path(name))?)?;
        Ok(socket.into())
    }
}

/// A socket, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) socket: UnixListener,
    path: PathBuf,
    /// Device and inode, which are nobody else's as long as the socket is open.
    inode: (u64, u64),
    place: Place,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Who has the lock may be stopped. Without it this is as good, unless somebody removes the socket by hand right now.
        let _lock = self.place.lock(FlockOperation::NonBlockingLockExclusive);
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Whether that means that there is nobody.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn name(root: &Path) -> String {
    format!("{}.{ENDING}", &NAME.digest(root.as_os_str().as_bytes()).hex()[..DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_one_socket_which_goes_with_its_owner_or_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(200));
        let place = Place::at(&long);
        let (root, other) = (Path::new("/a"), Path::new("/b"));
        assert_eq!(place.connect(root).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listening = place.listen(root).unwrap().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&long), mode(&listening.path)), (0o700, 0o600));
        assert!(place.connect(root).is_ok() && place.listen(root).unwrap().is_none());
        assert!(place.connect(other).is_err());
        // As if its process had been killed.
        let stale = long.join(name(other));
        drop(UnixListener::bind(place.open().unwrap().path(&name(other))).unwrap());
        assert!(place.connect(other).is_err_and(|error| is_nobody(&error)) && stale.exists());
        let third = place.listen(Path::new("/c")).unwrap().unwrap();
        assert!(!stale.exists() && place.connect(root).is_ok());
        drop((listening, third));
        let left: Vec<_> = fs::read_dir(&long).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    #[test]
    fn a_directory_that_others_may_use_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = dir.path().join("sockets");
        let place = Place::at(&sockets);
        let root = Path::new("/a");
        let listening = place.listen(root).unwrap().unwrap();
        for mode in [0o701, 0o710, 0o777, 0o755] {
            fs::set_permissions(&sockets, fs::Permissions::from_mode(mode)).unwrap();
            let kind = |error: io::Error| error.kind();
            assert_eq!(place.connect(root).map_err(kind).unwrap_err(), io::ErrorKind::PermissionDenied);
            assert_eq!(place.listen(root).map_err(kind).unwrap_err(), io::ErrorKind::PermissionDenied);
        }
        fs::set_permissions(&sockets, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(place.connect(root).is_ok());
        drop(listening);
    }

    #[test]
    fn who_ends_removes_no_socket_but_its_own_and_waits_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = dir.path().join("sockets");
        let place = Place::at(&sockets);
        let root = Path::new("/a");
        let first = place.listen(root).unwrap().unwrap();
        fs::remove_file(&first.path).unwrap();
        let second = place.listen(root).unwrap().unwrap();
        drop(first);
        assert!(place.connect(root).is_ok());
        let locked = place.lock(FlockOperation::LockExclusive).unwrap();
        drop(second);
        assert!(!sockets.join(name(root)).exists());
        drop(locked);
    }

    #[test]
    fn one_that_takes_no_connections_counts_as_there_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(&dir.path().join("sockets"));
        let root = Path::new("/a");
        let _stopped = place.listen(root).unwrap().unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match place.connect(root) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(place.listen(root).unwrap().is_none());
        assert!(place.listen(Path::new("/b")).unwrap().is_some());
    }
}
