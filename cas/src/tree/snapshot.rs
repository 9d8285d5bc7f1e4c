//! Directories to manifests' entries: every file hashed, or known from before.

use super::{
    Error, HashCache, Outlet, Reach, Sources,
    hashing::{Job, hash_all},
    walk::{Walked, walk},
};
use crate::{Monitor, isolated::Entry};
use proto::{DigestFunction, RelPath};
use std::{
    collections::BTreeMap,
    fmt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::Builder,
};

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
pub struct Exclude {
    excluded: Arc<dyn Fn(&RelPath) -> bool + Send + Sync>,
    rule: Option<Arc<str>>,
}

impl Exclude {
    /// Leaves out what `excluded` says.
    pub fn new(excluded: impl Fn(&RelPath) -> bool + Send + Sync + 'static) -> Self {
        Self { excluded: Arc::new(excluded), rule: None }
    }

    /// The same, where `rule` says what that is: two with the same rule leave out the same.
    pub fn by_rule(rule: String, excluded: impl Fn(&RelPath) -> bool + Send + Sync + 'static) -> Self {
        Self { rule: Some(rule.into()), ..Self::new(excluded) }
    }

    /// What it leaves out, where that was said.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// Whether it leaves `path` out.
    pub fn excludes(&self, path: &RelPath) -> bool {
        (self.excluded)(path)
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
    /// Where the bytes of the files are that are not on their way.
    pub sources: Sources,
    /// What was left out because it was broken.
    pub skipped: Vec<PathBuf>,
    /// Where the walk began, if from that alone follows which paths it comes to.
    pub reach: Option<Reach>,
}

impl Snapshot {
    /// Adds another one, whose entries win.
    pub fn extend(&mut self, other: Snapshot) {
        self.files.extend(other.files);
        self.sources.extend(other.sources);
        self.skipped.extend(other.skipped);
        // Of two walks.
        self.reach = None;
    }
}

/// Archives `inputs` below `root`. Blocks; reads files on as many threads as there are cores. Small files that it had to read
/// go into `outlet`, a batch at a time, and are no sources any more if it takes all; those that fill none are among the sources
/// with their bytes.
pub fn snapshot(
    root: &Path,
    inputs: &[Input],
    options: &SnapshotOptions,
    hashes: &HashCache,
    outlet: Option<&Outlet>,
    monitor: &dyn Monitor,
) -> Result<Snapshot, Error> {
    let now = hashes.now();
    let job = Job { root: root.into(), options, hashes, outlet, monitor };
    let (walked, hashed) = hash_all(&job, |files| walk(root, inputs, options, files))?;
    let Walked { symlinks, skipped, reach } = walked;
    let symlinks = symlinks.into_iter().map(|(path, target)| (path, Entry::Symlink { target }));
    let linked = hashed.iter().flat_map(|thread| &thread.linked).map(RelPath::to_string).collect();
    let reach = reach.and_then(|reach| reach.with_linked(linked));
    let (mut all, mut sources, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for thread in hashed {
        all.push(thread.files);
        sources.push(thread.sources);
        fresh.push(thread.fresh);
    }
    let remember = || {
        hashes.put(now, fresh.into_iter().flatten());
        if let Err(error) = hashes.save() {
            tracing::warn!(%error, "cannot save the digests of files");
        }
    };
    // Runs that are in order already, which is what both trees are quickly made of.
    let files = || all.into_iter().flatten().chain(symlinks).collect();
    let sources = || sources.into_iter().flatten().collect();
    let ((files, sources), ()) = both(|| both(files, sources), remember);
    Ok(Snapshot { files, sources, skipped, reach })
}

/// Does two things at a time. Where no other thread is to be had, one after the other.
fn both<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    let other = Mutex::new(Some(other));
    let other = || {
        let taken = other.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(|other| other())
    };
    std::thread::scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, other);
        let one = one();
        let done = thread
            .map_or_else(|_| other(), |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (one, done.expect("it is taken once, here or there"))
    })
}
