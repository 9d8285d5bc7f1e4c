//! Files to digests, on all cores, while the tree is still being walked.

use super::{
    Error, HashCache, Outlet, SnapshotOptions, Source,
    groups::Groups,
    hashes::{Cursor, Stamp},
    pages::Pages,
    walk::Walked,
};
use crate::{
    Monitor, Progress,
    batches::{Batch, fits},
    isolated::Entry,
};
use bytes::Bytes;
use proto::{Digest, RelPath};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::Builder,
};

/// Bytes that are read at once of a file that is not kept as a whole.
const READ: usize = 256 * 1024;

/// A file of more bytes takes so long that the rest of its group goes to other threads.
const LONG: u64 = 1 << 20;

/// What every thread knows.
pub(super) struct Job<'a> {
    pub(super) root: Arc<Path>,
    pub(super) options: &'a SnapshotOptions,
    pub(super) hashes: &'a HashCache,
    /// Where the bytes of small files go.
    pub(super) outlet: Option<&'a Outlet>,
    pub(super) monitor: &'a dyn Monitor,
}

/// Files, and where their bytes are.
#[derive(Default)]
pub(super) struct Hashed {
    pub(super) files: Vec<(RelPath, Entry)>,
    /// Of files that did not go into an outlet that takes all, and of those that no longer filled a batch the bytes, which
    /// come last.
    pub(super) sources: Vec<(Digest, Source)>,
    /// What was read, and so may be worth remembering.
    pub(super) fresh: Vec<(RelPath, Stamp, Digest)>,
    /// Files that have another name.
    pub(super) linked: Vec<RelPath>,
}

impl Hashed {
    #[expect(
        clippy::unnecessary_sort_by,
        reason = "keys would be copied, which takes longer than comparing them"
    )]
    fn sort(&mut self) {
        self.files.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.sources.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
}

/// Hashes the files that `walk` gives away: what each thread has, in the order of paths and digests.
pub(super) fn hash_all(
    job: &Job<'_>,
    walk: impl FnOnce(&mut dyn FnMut(Vec<RelPath>)) -> Result<Walked, Error>,
) -> Result<(Walked, Vec<Hashed>), Error> {
    let (groups, results) = (Groups::default(), Mutex::new(Vec::new()));
    let walking = groups.bring();
    let work = || {
        let result = Worker::new(job).work(&groups);
        if result.is_err() {
            groups.stop();
        }
        results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    };
    let walked = std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            // Where no more threads are to be had, those that are there do it all.
            let _ = Builder::new().spawn_scoped(scope, work);
        }
        let walked = walk(&mut |group| {
            job.monitor.progress(Progress::Planned { files: group.len() as u64, bytes: 0 });
            groups.put(group);
        });
        if walked.is_err() {
            groups.stop();
        }
        drop(walking);
        work();
        walked
    })?;
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((walked, results.into_iter().collect::<Result<_, Error>>()?))
}

/// What is told of a file.
struct Looked {
    digest: Digest,
    /// Its permissions as a manifest keeps them.
    mode: u32,
    /// Its bytes are on their way.
    is_taken: bool,
}

/// One thread.
struct Worker<'a> {
    job: &'a Job<'a>,
    buffer: Vec<u8>,
    pages: Pages,
    done: Hashed,
    batch: Batch<(Digest, Bytes)>,
    cursor: Cursor,
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        Self {
            job,
            buffer: Vec::new(),
            pages: Pages::default(),
            done: Hashed::default(),
            batch: Batch::default(),
            cursor: Cursor::default(),
        }
    }

    fn work(mut self, groups: &Groups<Vec<RelPath>>) -> Result<Hashed, Error> {
        while let Some((group, _busy)) = groups.take() {
            self.group(group, groups)?;
        }
        // Copied: they may be kept for long, and a page is much larger than they are.
        let copied = |bytes: Bytes| Source::Bytes(Bytes::copy_from_slice(&bytes));
        let kept = self.batch.items.into_iter().map(|(digest, bytes)| (digest, copied(bytes)));
        self.done.sources.extend(kept);
        self.done.sort();
        Ok(self.done)
    }

    /// Files of one directory, which is opened once. What follows a large one is given back to `groups`.
    fn group(&mut self, paths: Vec<RelPath>, groups: &Groups<Vec<RelPath>>) -> Result<(), Error> {
        let root = &self.job.root;
        let parent = paths.first().and_then(RelPath::parent);
        let directory = parent.map_or_else(|| root.to_path_buf(), |parent| root.join(parent.as_path()));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory: OwnedFd = rustix::fs::openat(CWD, &directory, flags, Mode::empty())
            .map_err(|errno| failed(&directory, errno.into()))?;
        let (mut files, mut bytes) = (0, 0);
        let mut left = paths.into_iter();
        while let Some(path) = left.next() {
            if groups.is_stopped() {
                break;
            }
            let give_back = || {
                let rest: Vec<RelPath> = left.by_ref().collect();
                if !rest.is_empty() {
                    groups.put(rest);
                }
            };
            let Looked { digest, mode, is_taken } = self
                .file(directory.as_fd(), &path, give_back)
                .map_err(|error| failed(&root.join(path.as_path()), error))?;
            (files, bytes) = (files + 1, bytes + digest.size());
            if !is_taken {
                let source = Source::File { root: Arc::clone(root), path: path.clone() };
                self.done.sources.push((digest, source));
            }
            self.done.files.push((path, Entry::File { digest, mode: Some(mode) }));
        }
        self.job.monitor.progress(Progress::Hashed { files, bytes });
        Ok(())
    }

    /// Calls `before_long` before it reads a large one.
    fn file(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &RelPath,
        before_long: impl FnOnce(),
    ) -> io::Result<Looked> {
        let name = path.file_name();
        if let Some(known) = self.job.hashes.find(path, self.job.options.function, &mut self.cursor) {
            let stat = rustix::fs::statat(directory, name, AtFlags::empty())?;
            if let Some(digest) = known.digest_of(Stamp::of(&stat)) {
                self.note_names(path, &stat);
                return Ok(Looked { digest, mode: mode(&stat), is_taken: false });
            }
        }
        // Should a pipe have taken the file's place, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: File = rustix::fs::openat(directory, name, flags, Mode::empty())?.into();
        let stat = rustix::fs::fstat(&file)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(changed());
        }
        let (mode, stamp) = (mode(&stat), Stamp::of(&stat));
        if stamp.size() > LONG {
            before_long();
        }
        let (digest, bytes) = self.read(&file, stamp.size())?;
        if Stamp::of(&rustix::fs::fstat(&file)?) != stamp {
            return Err(changed());
        }
        let is_taken = match self.job.outlet.zip(bytes) {
            Some((outlet, bytes)) => {
                if self.batch.add(digest, (digest, bytes)).is_some_and(|full| !outlet.put(full)) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                outlet.takes_all()
            }
            None => false,
        };
        self.note_names(path, &stat);
        self.done.fresh.push((path.clone(), stamp, digest));
        Ok(Looked { digest, mode, is_taken })
    }

    fn note_names(&mut self, path: &RelPath, stat: &Stat) {
        if stat.st_nlink > 1 {
            self.done.linked.push(path.clone());
        }
    }

    /// The digest of a file of `size` bytes, and the bytes when they are to be kept. One that has more bytes than it says, as
    /// those of the kernel do, has changed.
    fn read(&mut self, file: &File, size: u64) -> io::Result<(Digest, Option<Bytes>)> {
        let function = self.job.options.function;
        if self.job.outlet.is_some() && fits(size) {
            let bytes = self.pages.read(file, usize::try_from(size).unwrap_or(0))?;
            let digest = function.digest(&bytes);
            return if digest.size() == size { Ok((digest, Some(bytes))) } else { Err(changed()) };
        }
        self.buffer.resize(READ, 0);
        let (mut hasher, mut file) = (function.hasher(), file.take(size + 1));
        while hasher.size() <= size {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let digest = hasher.finish();
        if digest.size() == size { Ok((digest, None)) } else { Err(changed()) }
    }
}

/// It was another file a moment ago.
fn changed() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        // It was there a moment ago.
        io::ErrorKind::NotFound => Error::Changed { path: path.to_owned() },
        _ => Error::io(path, error),
    }
}

/// The permissions that a manifest keeps: the user's, that the group may read, set-user-ID, set-group-ID and sticky. The group may
/// execute where the user may and the group may read. What the command may write to is decided where it runs.
fn mode(stat: &Stat) -> u32 {
    let mode = stat.st_mode & 0o7740;
    if mode & 0o140 == 0o140 { mode | 0o010 } else { mode }
}
