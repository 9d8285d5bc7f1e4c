//! Several manifests as one tree: what each names lies in a directory of its own, beside the files of the first.

use super::{
    Error,
    error::Collision,
    fetch::{Tally, Way},
    includes::{self, Loaded},
};
use crate::{
    Silent,
    isolated::{Entry, Isolated, IsolatedError, check_layout},
};
use proto::{Digest, DigestFunction, RelPath, limits};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OwnedMutexGuard;

/// The files of a manifest in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graft {
    /// None: no files, and the directory is empty.
    pub manifest: Option<Digest>,
    /// None: the root of the tree.
    pub into: Option<RelPath>,
}

/// Loads `base` and all grafts as one, together with what they are known by and what lets others wait who want the same: see
/// [`fetch_into`](super::fetch_into()).
pub(super) async fn load(
    way: Way<'_>,
    base: Option<Digest>,
    grafts: &[Graft],
) -> Result<(Digest, Loaded, OwnedMutexGuard<()>), Error> {
    let Way { store, cache, monitor } = way;
    if let (Some(base), []) = (base, grafts) {
        let alone = cache.flight(base).await;
        return Ok((base, includes::load(store, cache, base, monitor).await?, alone));
    }
    let mut manifests: Vec<Digest> =
        base.into_iter().chain(grafts.iter().filter_map(|graft| graft.manifest)).collect();
    let lead = manifests.first().copied().unwrap_or_else(|| Digest::empty(DigestFunction::Blake3));
    let bytes = manifests.iter().fold(0, |sum: u64, one| sum.saturating_add(one.size()));
    manifests.sort_unstable();
    manifests.dedup();
    if bytes > limits::MAX_MANIFEST_BYTES {
        let source = IsolatedError::TooLarge { size: bytes, limit: limits::MAX_MANIFEST_BYTES };
        return Err(Error::Manifest { digest: lead, source });
    }
    let alone = cache.flight(lead).await;
    // All in few calls: they are small.
    let pins = cache.pin(manifests.iter().copied());
    let (cold, _) = Way { monitor: &Silent, ..way }.bring(manifests).await?;
    let loaded = match base {
        Some(base) => includes::load(store, cache, base, monitor).await?,
        None => Loaded {
            isolated: Isolated::new(lead.function()),
            directories: BTreeSet::new(),
            pins: Vec::new(),
            cold: Tally::default(),
            hot: Tally::default(),
        },
    };
    let mut union = Union { loaded, owners: BTreeMap::new() };
    for graft in grafts {
        if let Some(manifest) = graft.manifest {
            let loaded = includes::load(store, cache, manifest, monitor).await?;
            union.add(manifest, loaded, graft.into.as_ref())?;
            let size = union.loaded.hot.plus(union.loaded.cold).bytes();
            if size > limits::MAX_MANIFEST_BYTES {
                let source = IsolatedError::TooLarge { size, limit: limits::MAX_MANIFEST_BYTES };
                return Err(Error::Manifest { digest: manifest, source });
            }
        }
    }
    union.check(lead, grafts)?;
    let Union { mut loaded, .. } = union;
    loaded.directories = grafts.iter().filter_map(|graft| graft.into.clone()).collect();
    loaded.pins.push(pins);
    // They were there when they were loaded, because they had just been brought.
    loaded.hot = loaded.hot.without(cold);
    loaded.cold = loaded.cold.plus(cold);
    Ok((lead, loaded, alone))
}

/// A tree to which others are added.
struct Union {
    loaded: Loaded,
    /// Of the files of grafts.
    owners: BTreeMap<RelPath, Digest>,
}

impl Union {
    fn add(&mut self, manifest: Digest, graft: Loaded, into: Option<&RelPath>) -> Result<(), Error> {
        let refuse = |source| Error::Manifest { digest: manifest, source };
        let Loaded { isolated, directories: _, pins, cold, hot } = graft;
        self.loaded.pins.extend(pins);
        self.loaded.cold = self.loaded.cold.plus(cold);
        self.loaded.hot = self.loaded.hot.plus(hot);
        for (path, entry) in isolated.files {
            let path = match into {
                Some(into) => into.join(&path).map_err(|error| refuse(error.into()))?,
                None => path,
            };
            match self.loaded.isolated.files.get(&path) {
                Some(there) if *there == entry => {}
                Some(_) => return Err(self.collision(path.clone(), manifest, path)),
                None => {
                    self.owners.insert(path.clone(), manifest);
                    self.loaded.isolated.files.insert(path, entry);
                }
            }
        }
        Ok(())
    }

    fn collision(&self, path: RelPath, manifest: Digest, other: RelPath) -> Error {
        let other_manifest = self.owners.get(&other).copied();
        Error::Collision(Box::new(Collision { path, manifest, other, other_manifest }))
    }

    /// Refuses what lies below a file of another manifest, and links that lead out by way of another one.
    fn check(&self, lead: Digest, grafts: &[Graft]) -> Result<(), Error> {
        let files: &BTreeMap<RelPath, Entry> = &self.loaded.isolated.files;
        check_layout(files).map_err(|source| match source {
            IsolatedError::Below { path, parent, .. } => {
                let manifest = self.owners.get(&path).copied().unwrap_or(lead);
                self.collision(path, manifest, parent)
            }
            source => Error::Manifest { digest: lead, source },
        })?;
        for graft in grafts {
            let above = std::iter::successors(graft.into.clone(), RelPath::parent);
            if let (Some(into), Some(file)) =
                (&graft.into, above.into_iter().find(|path| files.contains_key(path)))
            {
                return Err(self.collision(into.clone(), graft.manifest.unwrap_or(lead), file));
            }
        }
        Ok(())
    }
}
