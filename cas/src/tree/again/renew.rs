//! The shell: looks at what changed, sends it, then the manifest as a patch of the one before.

use super::{
    Again, Kept, Reach,
    splice::{Spliced, splice},
};
use crate::{
    BlobStore, Monitor,
    blocking::blocking,
    tree::{
        Error, HashCache, Input, Snapshot, SnapshotOptions, Source, Sources, Uploaded,
        early::{collect, kept},
        snapshot, upload,
    },
};
use bytes::Bytes;
use proto::{Digest, RelPath};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where more changed, looking at everything takes hardly longer.
const MOST: usize = 20_000;

/// Bytes of changed files that are kept to be sent; others are read again.
const MAX_KEPT: usize = 64 * 1024 * 1024;

/// What somebody who watches a tree says of it.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Tells what is changed later.
    pub token: String,
    /// What may have changed since the token before, and what is below it. `None`: anything.
    pub paths: Option<Vec<RelPath>>,
}

/// A tree that was archived without looking at all of it.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The manifest's name.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Bytes,
    /// Files and symlinks in it.
    pub files: u64,
    /// Sum of the sizes of the files.
    pub bytes: u64,
    /// What the store had to be sent. What did not change counts as there, equal files as often as they appear.
    pub uploaded: Uploaded,
}

/// What is archived once more.
struct Renewal<'a> {
    store: &'a dyn BlobStore,
    root: &'a Path,
    options: &'a SnapshotOptions,
    again: &'a Again,
    monitor: Arc<dyn Monitor>,
}

/// Archives once more what `kept` is of, `changes` being told since its token, and keeps the outcome in its place. `None`: everything has to
/// be looked at; the store may have got some of the blobs.
pub async fn renew(
    store: &dyn BlobStore,
    root: &Path,
    options: &SnapshotOptions,
    (again, kept): (&Again, Kept),
    changes: Changes,
    monitor: Arc<dyn Monitor>,
) -> Result<Option<Renewed>, Error> {
    let renewal = Renewal { store, root, options, again, monitor };
    match renewal.run(kept, changes).await {
        // Nor would it be there for everything.
        Err(Error::Store(error)) if error.is_transient() => Err(error.into()),
        Err(error) => {
            tracing::debug!(%error, "cannot archive only what changed");
            Ok(None)
        }
        renewed => renewed,
    }
}

impl Renewal<'_> {
    async fn run(self, kept: Kept, changes: Changes) -> Result<Option<Renewed>, Error> {
        let Changes { token, paths: Some(paths) } = changes else { return Ok(None) };
        let is_told = !paths.is_empty();
        let changed = kept.reach.of_interest(paths, self.options);
        let Some(changed) = changed.filter(|changed| changed.len() <= MOST) else { return Ok(None) };
        let (last, before) = (self.again.last.clone(), kept.manifest);
        let read = blocking(move || Ok(last.read().filter(|(digest, _)| *digest == before)));
        let (old, looked) = futures::try_join!(read, self.look(changed.clone(), &kept.reach))?;
        let Some(((_, old), Looked { snapshot, sources })) = old.zip(looked) else { return Ok(None) };

        let is_pinned = changed.iter().any(|path| kept.reach.begins_at(path));
        let (root, function) = (self.root.to_owned(), self.options.function);
        let splicing = blocking(move || {
            let spliced = splice(&old, function.hash_len(), &changed, &snapshot.files);
            let spliced = spliced.filter(|spliced| {
                // An input that is gone is an error, as is a symlink that leads nowhere any more.
                let leads = |link: &RelPath| root.join(link.as_path()).exists();
                let is_same = spliced.only_rewritten || !is_pinned;
                !is_told || is_same && spliced.links.iter().all(leads)
            });
            Ok::<_, Error>(spliced.map(|spliced| (function.digest(&spliced.manifest), spliced)))
        });
        let (spliced, uploaded) = futures::try_join!(splicing, self.send(&sources))?;
        match spliced {
            Some((digest, spliced)) => self.finish(kept, token, digest, spliced, uploaded).await,
            None => Ok(None),
        }
    }

    async fn send(&self, sources: &Sources) -> Result<Uploaded, Error> {
        match sources.is_empty() {
            true => Ok(Uploaded::default()),
            false => upload(self.store, sources, &*self.monitor).await,
        }
    }

    /// Sends the manifest. That the store takes it as a patch says that it is the one that had the manifest before.
    async fn finish(
        &self,
        kept: Kept,
        token: String,
        digest: Digest,
        spliced: Spliced,
        mut uploaded: Uploaded,
    ) -> Result<Option<Renewed>, Error> {
        let Some(patch) = spliced.patch else { return Ok(None) };
        let manifest = Bytes::from(spliced.manifest);
        let (before, sent) = (kept.manifest, patch.len() as u64);
        let saving = async {
            if digest == before {
                return Ok(());
            }
            // Kept while it goes up: if it does not get there, it is not what `kept` names.
            let (last, manifest) = (self.again.last.clone(), manifest.clone());
            blocking(move || last.save(digest, &manifest)).await
        };
        let (written, saved) = futures::join!(self.store.write_patch(before, digest, patch), saving);
        if let Err(error) = written {
            tracing::debug!(%error, "the store does not take the manifest as a patch");
            return Ok(None);
        }
        let (again, kept) = (self.again.clone(), kept.renewed(digest, token));
        let keep = async { saved.and(blocking(move || again.save(&kept)).await) };
        if let Err(error) = keep.await {
            tracing::warn!(%error, "cannot keep what was archived for the next time");
        }
        let is_new = digest != before;
        uploaded += Uploaded {
            uploaded_blobs: is_new.into(),
            uploaded_bytes: if is_new { sent } else { 0 },
            present_blobs: spliced.same + u64::from(!is_new),
            present_bytes: spliced.same_bytes + if is_new { 0 } else { digest.size() },
        };
        let Spliced { entries: files, bytes, .. } = spliced;
        Ok(Some(Renewed { digest, manifest, files, bytes, uploaded }))
    }

    /// Looks at what changed as at any input. `None`: there is something else than files.
    async fn look(&self, changed: Vec<RelPath>, before: &Reach) -> Result<Option<Looked>, Error> {
        let (outlet, inlet) = kept();
        let (root, options) = (self.root.to_owned(), self.options.clone());
        let (again, monitor) = (self.again.clone(), Arc::clone(&self.monitor));
        let has_linked = before.has_linked();
        let looking = blocking(move || {
            let Some(There { inputs, any_directory }) = there(&root, changed)? else { return Ok(None) };
            // Most files in a directory that was renamed are as they were, and so are those with other names.
            let hashes = match any_directory || has_linked {
                true => HashCache::open(again.dir(), &root),
                false => HashCache::disabled(),
            };
            snapshot(&root, &inputs, &options, &hashes, Some(&outlet), &*monitor).map(Some)
        });
        let (snapshot, blobs) = futures::join!(looking, collect(inlet, MAX_KEPT));
        // Of a file that got another name nobody may tell the next time.
        let is_plain = |reach: &Reach| reach.has_no_other_linked(before);
        let plain = snapshot?.filter(|snapshot| snapshot.reach.as_ref().is_some_and(is_plain));
        Ok(plain.map(|mut snapshot| {
            let mut sources = std::mem::take(&mut snapshot.sources);
            sources.extend(blobs.into_iter().map(|(digest, bytes)| (digest, Source::Bytes(bytes))).collect());
            Looked { snapshot, sources }
        }))
    }
}

/// What changed, as it is now.
struct Looked {
    snapshot: Snapshot,
    sources: Sources,
}

/// Changed paths that are there.
struct There {
    inputs: Vec<Input>,
    any_directory: bool,
}

/// `None`: one is something else than a file or directory.
fn there(root: &Path, changed: Vec<RelPath>) -> Result<Option<There>, Error> {
    let mut there = There { inputs: Vec::with_capacity(changed.len()), any_directory: false };
    for path in changed {
        let place: PathBuf = root.join(path.as_path());
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_file() || found.is_dir() => {
                there.any_directory |= found.is_dir();
                there.inputs.push(Input::Path(path));
            }
            Ok(_) => return Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Error::io(&place, error)),
        }
    }
    Ok(Some(there))
}
