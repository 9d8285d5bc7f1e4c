//! A manifest and everything it includes, as one.

use super::{Error, fetch::Tally};
use crate::{
    BlobStore, BlobStoreExt as _, Monitor, Progress,
    blocking::blocking,
    disk::{DiskCache, Pins, Trust},
    isolated::{Document, Include, Isolated, IsolatedError, check_layout},
};
use bytes::Bytes;
use proto::{Digest, RelPath, limits};
use std::collections::{BTreeSet, HashSet};

/// Most manifests that one may include, directly or not.
const MAX_INCLUDES: usize = 1000;

/// A manifest with its includes merged into it.
pub(super) struct Loaded {
    pub(super) isolated: Isolated,
    /// Directories that are made though no file may be in them.
    pub(super) directories: BTreeSet<RelPath>,
    /// Keeps the manifests in the cache.
    pub(super) pins: Vec<Pins>,
    /// Manifests that came from the store.
    pub(super) cold: Tally,
    /// Manifests that the cache had.
    pub(super) hot: Tally,
}

/// A manifest, its includes merged into it, and none of its files. No call is made for what the cache has.
pub async fn manifest(
    store: &dyn BlobStore,
    cache: &DiskCache,
    digest: Digest,
    monitor: &dyn Monitor,
) -> Result<Isolated, Error> {
    Ok(load(store, cache, digest, monitor).await?.isolated)
}

/// Loads manifests through the cache, depth first and left to right: what is defined first stays. Together they are no
/// larger than one may be.
pub(super) async fn load(
    store: &dyn BlobStore,
    cache: &DiskCache,
    manifest: Digest,
    monitor: &dyn Monitor,
) -> Result<Loaded, Error> {
    let mut loading =
        Loading { store, cache, monitor, pins: Vec::new(), cold: Tally::default(), hot: Tally::default() };
    let mut merged = loading.document(manifest).await?;
    let mut seen = HashSet::from([manifest]);
    let mut bytes = manifest.size();
    let mut pending: Vec<Include> = merged.includes.drain(..).rev().collect();
    while let Some(include) = pending.pop() {
        let refuse = |source| Error::Manifest { digest: manifest, source };
        let digest = include.digest().map_err(refuse)?;
        if !seen.insert(digest) {
            return Err(refuse(IsolatedError::Recursion { hash: digest.hex() }));
        }
        // The one that includes them is among them.
        if seen.len() > MAX_INCLUDES + 1 {
            let reason = format!("there are more than {MAX_INCLUDES}");
            return Err(refuse(IsolatedError::Key { key: "includes".into(), reason }));
        }
        bytes = bytes.saturating_add(digest.size());
        if bytes > limits::MAX_MANIFEST_BYTES {
            let reason = format!("with them the manifest has more than {} bytes", limits::MAX_MANIFEST_BYTES);
            return Err(refuse(IsolatedError::Key { key: "includes".into(), reason }));
        }
        let mut later = loading.document(digest).await?;
        pending.extend(later.includes.drain(..).rev());
        merged.merge(later);
    }
    check_layout(&merged.files).map_err(|source| Error::Manifest { digest: manifest, source })?;
    let Loading { pins, cold, hot, .. } = loading;
    Ok(Loaded { isolated: merged.into(), directories: BTreeSet::new(), pins, cold, hot })
}

struct Loading<'a> {
    store: &'a dyn BlobStore,
    cache: &'a DiskCache,
    monitor: &'a dyn Monitor,
    pins: Vec<Pins>,
    cold: Tally,
    hot: Tally,
}

impl Loading<'_> {
    async fn document(&mut self, digest: Digest) -> Result<Document, Error> {
        let bytes = self.bytes(digest).await?;
        let parse = move || {
            let refuse = |source| Error::Manifest { digest, source };
            let document = Document::parse(&bytes).map_err(refuse)?;
            if document.function != digest.function() {
                let (algo, named) = (document.function, digest.function());
                let reason = format!("{algo} in a manifest that is named by {named}: archive it again");
                return Err(refuse(IsolatedError::Key { key: "algo".into(), reason }));
            }
            Ok(document)
        };
        blocking(parse).await
    }

    async fn bytes(&mut self, digest: Digest) -> Result<Bytes, Error> {
        if digest.size() > limits::MAX_MANIFEST_BYTES {
            let source = IsolatedError::TooLarge { size: digest.size(), limit: limits::MAX_MANIFEST_BYTES };
            return Err(Error::Manifest { digest, source });
        }
        self.pins.push(self.cache.pin([digest]));
        let cache = self.cache.clone();
        if let Some(bytes) = blocking(move || cache.read(digest)).await? {
            self.monitor.progress(Progress::Cached { files: 1, bytes: digest.size() });
            self.hot.add(&[digest]);
            return Ok(bytes);
        }
        let bytes = self.store.get(digest).await.map_err(|error| match error {
            crate::Error::NotFound { digest } => Error::Missing { digests: vec![digest], count: 1 },
            error => error.into(),
        })?;
        let (cache, copy, trust) = (self.cache.clone(), bytes.clone(), Trust::of(self.store));
        blocking(move || cache.insert_as(digest, &copy, trust)).await?;
        self.monitor.progress(Progress::Fetched { files: 1, bytes: digest.size() });
        self.cold.add(&[digest]);
        Ok(bytes)
    }
}
