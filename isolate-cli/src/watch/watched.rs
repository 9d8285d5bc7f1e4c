//! A tree that is watched: the kernel's queue, what it said so far, and which directories it tells of.

use super::{
    events::{Event, events},
    journal::{Journal, Told},
    watches::Watches,
};
use proto::RelPath;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::{Errno, ioctl_fionread},
};
use std::{
    fs,
    io::{self, ErrorKind},
    mem,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// Bytes that are read of the queue at once: several hundred events.
const STEP: usize = 64 * 1024;

/// What is told of a directory: all that may change what is archived of it, but not that it was looked at.
const OF_DIRECTORY: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

/// And of the root, which nobody tells about above it.
const OF_ROOT: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

/// Why a tree cannot be watched (any more).
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Too many directories.
    #[error(
        "the kernel watches no more directories: raise fs.inotify.max_user_watches (`sudo sysctl fs.inotify.max_user_watches=1048576`), or watch a directory with fewer below it"
    )]
    TooMany,
    /// Too many that watch.
    #[error(
        "this user watches too much already: stop others, or raise fs.inotify.max_user_instances (`sudo sysctl fs.inotify.max_user_instances=1024`)"
    )]
    TooManyWatchers,
    /// The root is not there any more, or is another directory now.
    #[error("it is not there any more, or is another directory now")]
    Gone,
    /// Something cannot be read.
    #[error("cannot watch {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A directory, and all that happens below it.
#[derive(Debug)]
pub(crate) struct Watched {
    root: PathBuf,
    /// Which directory that is.
    identity: (u64, u64),
    queue: OwnedFd,
    watches: Watches,
    journal: Journal,
    buffer: Vec<u8>,
}

impl Watched {
    /// Watches all directories below `root`, an absolute path without symlinks. `name` tells its tokens from others'; it keeps
    /// `most` changed paths.
    pub(crate) fn begin(root: &Path, name: String, most: usize) -> Result<Self, WatchError> {
        let mut watched = Self {
            root: root.to_owned(),
            identity: identity(root)?,
            queue: queue()?,
            watches: Watches::default(),
            journal: Journal::new(name, most),
            buffer: vec![0; STEP],
        };
        watched.watch_below(String::new())?;
        Ok(watched)
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Readable when something changed.
    pub(super) fn queue(&self) -> io::Result<OwnedFd> {
        self.queue.try_clone()
    }

    /// Directories that are watched, and changed paths that are kept.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.watches.len(), self.journal.len())
    }

    /// What changed since `token` was given, up to now.
    pub(super) fn changes(&mut self, token: Option<&str>) -> Result<Told, WatchError> {
        self.read()?;
        // A directory above the root may have got another name: nobody tells about that.
        if identity(&self.root)? != self.identity {
            return Err(WatchError::Gone);
        }
        Ok(self.journal.since(token))
    }

    /// Takes in what is in the queue now. What is added meanwhile may be left for the next time, so that this ends.
    pub(super) fn read(&mut self) -> Result<(), WatchError> {
        let failed =
            |errno: Errno| WatchError::Io { path: "the queue of changes".into(), source: errno.into() };
        let mut left = ioctl_fionread(&self.queue).map_err(failed)?;
        let mut buffer = mem::take(&mut self.buffer);
        while left > 0 {
            let count = match rustix::io::read(&self.queue, &mut *buffer) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(failed(errno)),
            };
            left = left.saturating_sub(count as u64);
            let mut is_whole = true;
            for event in events(&buffer[..count]) {
                is_whole &= self.take(&event)?;
            }
            if !is_whole {
                self.begin_anew()?;
                break;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// As if the kernel had told that.
    #[cfg(test)]
    pub(super) fn lose(&mut self, event: &Event<'_>) -> Result<(), WatchError> {
        assert!(!self.take(event)?);
        self.begin_anew()
    }

    /// `false`: events were lost.
    fn take(&mut self, event: &Event<'_>) -> Result<bool, WatchError> {
        let what = event.what;
        if what.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT) {
            return Ok(false);
        }
        if what.contains(ReadFlags::IGNORED) {
            self.watches.ended(event.watch);
            return Ok(true);
        }
        // Of a watch that was ended: what it was of counts as changed.
        let Some(directory) = self.watches.path(event.watch).cloned() else { return Ok(true) };
        if event.name.is_empty() {
            return self.itself(&directory, what);
        }
        let name = std::str::from_utf8(event.name).ok();
        let path = name.map(|name| match &*directory {
            "" => name.to_owned(),
            directory => format!("{directory}/{name}"),
        });
        let Some(path) = path.filter(|path| RelPath::new(path).is_ok()) else {
            // Nobody can be told this name. Whoever looks at the directory will see.
            self.journal.changed(&directory);
            return Ok(true);
        };
        self.journal.changed(&path);
        if what.contains(ReadFlags::ISDIR) {
            if what.contains(ReadFlags::MOVED_FROM) {
                for number in self.watches.take_below(&path) {
                    // The directory may be gone, and its watch with it.
                    let _ = inotify::remove_watch(&self.queue, number);
                }
            } else if !what.contains(ReadFlags::DELETE) {
                // It came, or may be read only now.
                self.watch_below(path)?;
            }
        }
        Ok(true)
    }

    /// Something happened to a directory itself. Those below the root are told about where they are.
    fn itself(&mut self, directory: &str, what: ReadFlags) -> Result<bool, WatchError> {
        if directory.is_empty() {
            if what.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
                return Err(WatchError::Gone);
            }
            self.journal.everything();
        }
        Ok(true)
    }

    /// Forgets all, as nothing is certain. Directories that are found again keep their watches.
    fn begin_anew(&mut self) -> Result<(), WatchError> {
        self.watches = Watches::default();
        self.journal.everything();
        self.watch_below(String::new())
    }

    /// Watches `place` and the directories below it, each before it is listed.
    fn watch_below(&mut self, place: String) -> Result<(), WatchError> {
        let mut pending = vec![place];
        while let Some(place) = pending.pop() {
            let path = if place.is_empty() { self.root.clone() } else { self.root.join(&place) };
            let flags = if place.is_empty() { OF_DIRECTORY.union(OF_ROOT) } else { OF_DIRECTORY };
            match inotify::add_watch(&self.queue, &*path, flags) {
                Ok(number) => self.watches.put(number, &place),
                Err(Errno::NOSPC) => return Err(WatchError::TooMany),
                // It went, which is told, or nobody may read it, until that changes, which is told, too.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) if !place.is_empty() => {
                    continue;
                }
                Err(errno) => return Err(WatchError::Io { path, source: errno.into() }),
            }
            match directories(&path) {
                Ok(names) => pending.extend(names.into_iter().map(|name| match &*place {
                    "" => name,
                    place => format!("{place}/{name}"),
                })),
                Err(error) if has_gone(&error) && !place.is_empty() => {}
                Err(source) => return Err(WatchError::Io { path, source }),
            }
        }
        Ok(())
    }
}

fn queue() -> Result<OwnedFd, WatchError> {
    inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
        Errno::MFILE => WatchError::TooManyWatchers,
        errno => WatchError::Io { path: "changes".into(), source: errno.into() },
    })
}

fn identity(root: &Path) -> Result<(u64, u64), WatchError> {
    match fs::symlink_metadata(root) {
        Ok(found) if found.is_dir() => Ok((found.dev(), found.ino())),
        _ => Err(WatchError::Gone),
    }
}

/// Names of the directories in a directory. Of those whose names cannot be told nothing is archived.
fn directories(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let is_directory = match entry.file_type() {
            Ok(kind) => kind.is_dir(),
            Err(error) if has_gone(&error) => false,
            Err(error) => return Err(error),
        };
        if is_directory {
            names.extend(entry.file_name().into_string().ok().filter(|name| RelPath::new(name).is_ok()));
        }
    }
    Ok(names)
}

fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
