//! Directories to manifests' entries: every file hashed, or known from before.

use super::{
    Error, HashCache, Sources,
    hashes::Stamp,
    walk::{Walked, walk},
};
use crate::{Monitor, Progress, isolated::Entry};
use proto::{Digest, DigestFunction, RelPath};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Builder,
};

/// Bytes that are read at once.
const READ: usize = 256 * 1024;

/// What to archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Everything below the root.
    Everything,
    /// A file, or a directory with everything below it.
    Path(RelPath),
}

/// Tells what to leave out inside directories: given a path relative to the root, of a file or of a directory. What is an
/// input itself is never left out.
#[derive(Clone)]
pub struct Exclude(Arc<dyn Fn(&RelPath) -> bool + Send + Sync>);

impl Exclude {
    /// Leaves out what `excluded` says.
    pub fn new(excluded: impl Fn(&RelPath) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(excluded))
    }

    /// Whether it leaves `path` out.
    pub fn excludes(&self, path: &RelPath) -> bool {
        (self.0)(path)
    }
}

impl fmt::Debug for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exclude")
    }
}

/// What becomes of symlinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Those that stay inside of the root stay symlinks, and what they point to is archived too. The others are followed.
    #[default]
    Keep,
    /// All are followed.
    Follow,
    /// Those that stay inside of the root stay symlinks, and what they point to is archived too. The others are
    /// [`Broken`]: for trees that somebody not trusted has left, who may point anywhere.
    Within,
}

/// What becomes of inputs that do not exist, symlinks that point to nothing, or out of the root where they must stay
/// [within](Symlinks::Within), sockets, devices, and names that no manifest
/// can carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    /// They are errors.
    #[default]
    Refuse,
    /// They are left out and listed.
    Skip,
}

/// How to archive.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// Names the blobs.
    pub function: DigestFunction,
    /// Left out inside of directories.
    pub exclude: Option<Exclude>,
    /// What becomes of symlinks.
    pub symlinks: Symlinks,
    /// What becomes of what cannot be archived.
    pub broken: Broken,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            function: DigestFunction::Blake3,
            exclude: None,
            symlinks: Symlinks::default(),
            broken: Broken::default(),
        }
    }
}

impl SnapshotOptions {
    pub(super) fn excludes(&self, path: &RelPath) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| exclude.excludes(path))
    }
}

/// A tree as it was.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The entries of a manifest.
    pub files: BTreeMap<RelPath, Entry>,
    /// Where the bytes of the files are.
    pub sources: Sources,
    /// What was left out because it was broken.
    pub skipped: Vec<PathBuf>,
}

impl Snapshot {
    /// Adds another one, whose entries win.
    pub fn extend(&mut self, other: Snapshot) {
        self.files.extend(other.files);
        self.sources.extend(other.sources);
        self.skipped.extend(other.skipped);
    }
}

/// Archives `inputs` below `root`. Blocks; reads files on as many threads as there are cores.
pub fn snapshot(
    root: &Path,
    inputs: &[Input],
    options: &SnapshotOptions,
    hashes: &HashCache,
    monitor: &dyn Monitor,
) -> Result<Snapshot, Error> {
    let Walked { files, symlinks, skipped } = walk(root, inputs, options)?;
    monitor.progress(Progress::Planned { files: files.len() as u64, bytes: 0 });
    let files: Vec<RelPath> = files.into_iter().collect();
    let hashed = hash_all(root, &files, options, hashes, monitor)?;
    if let Err(error) = hashes.save() {
        tracing::warn!(%error, "cannot save the digests of files");
    }
    let mut snapshot = Snapshot { skipped, ..Snapshot::default() };
    for (path, Hashed { digest, mode, .. }) in files.into_iter().zip(hashed) {
        snapshot.sources.add_file(digest, root.join(path.as_path()));
        snapshot.files.insert(path, Entry::File { digest, mode: Some(mode) });
    }
    let symlinks = symlinks.into_iter().map(|(path, target)| (path, Entry::Symlink { target }));
    snapshot.files.extend(symlinks);
    Ok(snapshot)
}

/// One file.
struct Hashed {
    digest: Digest,
    mode: u32,
    stamp: Stamp,
    /// Whether it was read, and so may be worth remembering.
    fresh: bool,
}

/// All files, in the order given.
fn hash_all(
    root: &Path,
    files: &[RelPath],
    options: &SnapshotOptions,
    hashes: &HashCache,
    monitor: &dyn Monitor,
) -> Result<Vec<Hashed>, Error> {
    let now = hashes.now();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let results = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        let mut done = Vec::new();
        let mut buffer = vec![0; READ];
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(at) else { break };
            let hashed = hash(&root.join(path.as_path()), options, hashes, &mut buffer);
            match &hashed {
                Ok(file) => monitor.progress(Progress::Hashed { files: 1, bytes: file.digest.size() }),
                Err(_) => stop.store(true, Ordering::Relaxed),
            }
            done.push((at, hashed));
        }
        results.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no more threads are to be had, those that are there do it all.
            let _ = Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(at, _)| *at);
    let hashed: Vec<Hashed> = results.into_iter().map(|(_, hashed)| hashed).collect::<Result<_, _>>()?;
    let fresh = files.iter().zip(&hashed).filter(|(_, file)| file.fresh);
    hashes.put(now, fresh.map(|(path, file)| (root.join(path.as_path()), file.stamp, file.digest)));
    Ok(hashed)
}

fn hash(
    path: &Path,
    options: &SnapshotOptions,
    hashes: &HashCache,
    buffer: &mut [u8],
) -> Result<Hashed, Error> {
    let failed = |error: io::Error| match error.kind() {
        // It was there a moment ago.
        io::ErrorKind::NotFound => Error::Changed { path: path.to_owned() },
        _ => Error::io(path, error),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let mode = mode(&metadata);
    let stamp = Stamp::of(&metadata);
    if let Some(digest) = hashes.get(path, options.function, stamp) {
        return Ok(Hashed { digest, mode, stamp, fresh: false });
    }
    // Should a pipe have taken the file's place, opening it must not wait for a writer.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    let mut hasher = options.function.hasher();
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        if hasher.size() > metadata.len() {
            break;
        }
    }
    let digest = hasher.finish();
    let after = Stamp::of(&file.metadata().map_err(failed)?);
    if after != stamp || digest.size() != metadata.len() {
        return Err(Error::Changed { path: path.to_owned() });
    }
    Ok(Hashed { digest, mode, stamp, fresh: true })
}

/// The permissions that a manifest keeps: the user's, and that the group may read. The group may execute where the user may
/// and the group may read. What the command may write to is decided where it runs.
fn mode(metadata: &Metadata) -> u32 {
    let mode = metadata.mode() & 0o740;
    if mode & 0o140 == 0o140 { mode | 0o010 } else { mode }
}
