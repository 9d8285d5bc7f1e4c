//! A tree that is watched: the kernel's queue, what it said so far, and which directories it tells of.

use super::{
    below,
    events::{Event, events},
    journal::{Journal, Told},
    message::Identity,
    watches::Watches,
};
use proto::RelPath;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::{Errno, ioctl_fionread},
};
use std::{
    collections::BTreeSet,
    io, mem,
    os::fd::OwnedFd,
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
    .union(WatchFlags::ONLYDIR);

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

/// Whether one directory was seen at two places below the root. A watch is of one place: at the other one nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twice {
    Never,
    /// It may be that it was just being moved.
    Once,
    /// Nothing is certain here.
    Often,
}

/// A directory, and all that happens below it.
#[derive(Debug)]
pub(crate) struct Watched {
    root: PathBuf,
    /// Which directory that is.
    identity: Identity,
    queue: OwnedFd,
    watches: Watches,
    /// Directories that this process may not read. Nobody tells whether it may by now.
    refused: BTreeSet<String>,
    twice: Twice,
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
            refused: BTreeSet::new(),
            twice: Twice::Never,
            journal: Journal::new(name, most),
            buffer: vec![0; STEP],
        };
        watched.begin_anew()?;
        match watched.refused.contains("") {
            true => Err(failed(root, Errno::ACCESS)),
            false => Ok(watched),
        }
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether whoever finds that at the root's path asks about this directory.
    pub(super) fn is(&self, found: &Identity) -> bool {
        self.identity == *found
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
        self.try_again()?;
        if self.twice == Twice::Often {
            self.journal.everything();
        }
        Ok(self.journal.since(token))
    }

    /// What cannot be watched may have changed; perhaps it can be watched from now on.
    fn try_again(&mut self) -> Result<(), WatchError> {
        for place in self.refused.clone() {
            self.journal.changed(&place);
            if !self.watch_below(place)? {
                return self.begin_anew();
            }
        }
        Ok(())
    }

    /// Takes in what is in the queue now. What is added meanwhile may be left for the next time, so that this ends: `false`.
    pub(super) fn read(&mut self) -> Result<bool, WatchError> {
        let failed = |errno| failed(Path::new("the queue of changes"), errno);
        let mut left = ioctl_fionread(&self.queue).map_err(failed)?;
        let mut is_empty = left == 0;
        let mut buffer = mem::take(&mut self.buffer);
        while left > 0 {
            let count = match rustix::io::read(&self.queue, &mut *buffer) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    is_empty = true;
                    break;
                }
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
        Ok(is_empty)
    }

    /// As if the kernel had told that.
    #[cfg(test)]
    pub(super) fn lose(&mut self, event: &Event<'_>) -> Result<(), WatchError> {
        assert!(!self.take(event)?);
        self.begin_anew()
    }

    /// As if one had been found at two places.
    #[cfg(test)]
    pub(super) fn find_twice(&mut self) -> Result<(), WatchError> {
        if self.is_known_to_be_twice() { Ok(()) } else { self.begin_anew() }
    }

    /// `false`: what is watched is not certain, as after events were lost.
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
        let path = name.map(|name| in_directory(&directory, name));
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
            }
            // It came, or may be read only now, or another one has its name already, as when two change places.
            return self.watch_below(path);
        }
        Ok(true)
    }

    /// Something happened to a directory itself. Those below the root are told about where they are.
    fn itself(&mut self, directory: &str, what: ReadFlags) -> Result<bool, WatchError> {
        if directory.is_empty() {
            if what.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
                return Err(WatchError::Gone);
            }
            // Perhaps it may be read no longer, or all below it only now.
            return Ok(false);
        }
        Ok(true)
    }

    /// Forgets all, as nothing is certain. Directories that are found again keep their watches.
    fn begin_anew(&mut self) -> Result<(), WatchError> {
        loop {
            self.watches = Watches::default();
            self.refused.clear();
            self.journal.everything();
            if self.watch_below(String::new())? {
                return Ok(());
            }
        }
    }

    /// Watches `place` and the directories below it, each before it is listed. `false`: one has been found at two places, for the
    /// first time, and what is watched is not certain.
    fn watch_below(&mut self, place: String) -> Result<bool, WatchError> {
        let root = below::root(&self.root).map_err(|_| WatchError::Gone)?;
        let mut pending = vec![place];
        while let Some(place) = pending.pop() {
            let directory = match self.watch(&root, &place) {
                Ok(Some(directory)) => directory,
                Ok(None) => return Ok(false),
                // Whoever asks is told that it may have changed.
                Err(Errno::ACCESS | Errno::PERM) => {
                    self.refused.insert(place);
                    continue;
                }
                Err(Errno::NOSPC) => return Err(WatchError::TooMany),
                // It went, which is told.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !place.is_empty() => {
                    self.refused.remove(&place);
                    continue;
                }
                Err(errno) => return Err(failed(&self.root.join(place), errno)),
            };
            self.refused.remove(&place);
            let names = below::names(directory).map_err(|errno| failed(&self.root.join(&place), errno))?;
            pending.extend(names.iter().map(|name| in_directory(&place, name)));
        }
        Ok(true)
    }

    /// Watches this one, and gives it for its names to be read. `None`: see [`Self::watch_below`].
    fn watch(&mut self, root: &OwnedFd, place: &str) -> Result<Option<OwnedFd>, Errno> {
        let flags = if place.is_empty() { OF_DIRECTORY.union(OF_ROOT) } else { OF_DIRECTORY };
        let directory = below::open(root, place)?;
        let number = inotify::add_watch(&self.queue, below::path_of(&directory), flags)?;
        let is_twice = self
            .watches
            .put(number, place)
            .is_some_and(|before| self.twice != Twice::Often && below::is_at_both(root, place, &before));
        Ok((!is_twice || self.is_known_to_be_twice()).then_some(directory))
    }

    /// One is at two places, which is known if it is not the first time.
    fn is_known_to_be_twice(&mut self) -> bool {
        let is_known = self.twice != Twice::Never;
        self.twice = if is_known { Twice::Often } else { Twice::Once };
        is_known
    }
}

/// The place of what has this name in a directory below the root, which is empty.
fn in_directory(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn queue() -> Result<OwnedFd, WatchError> {
    inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
        Errno::MFILE => WatchError::TooManyWatchers,
        errno => WatchError::Io { path: "changes".into(), source: errno.into() },
    })
}

fn failed(path: &Path, errno: Errno) -> WatchError {
    WatchError::Io { path: path.to_owned(), source: errno.into() }
}

fn identity(root: &Path) -> Result<Identity, WatchError> {
    Identity::of(root).map_err(|_| WatchError::Gone)
}
