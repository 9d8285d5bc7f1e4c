//! Where the bytes of blobs are that may have to be uploaded.

use super::LastManifest;
use bytes::Bytes;
use proto::{Digest, DigestFunction, RelPath};
use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

/// Where the bytes of one blob are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file, from its first byte to its last.
    File {
        /// A directory.
        root: Arc<Path>,
        /// The file, from there.
        path: RelPath,
    },
    /// Here.
    Bytes(Bytes),
}

/// Blobs, each once, in the order of their digests, and where to read them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    blobs: BTreeMap<Digest, Source>,
    /// Of manifests: where the one before it is.
    last: BTreeMap<Digest, LastManifest>,
}

/// Of a blob that comes more than once, the last source counts.
impl FromIterator<(Digest, Source)> for Sources {
    fn from_iter<T: IntoIterator<Item = (Digest, Source)>>(blobs: T) -> Self {
        Self { blobs: blobs.into_iter().collect(), last: BTreeMap::new() }
    }
}

impl Sources {
    /// Without any blob.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob that is in memory, for instance a manifest, and tells its name.
    pub fn add_bytes(&mut self, function: DigestFunction, bytes: Bytes) -> Digest {
        let digest = function.digest(&bytes);
        self.blobs.insert(digest, Source::Bytes(bytes));
        digest
    }

    /// Adds a manifest. It goes up as a patch of the `last` one, if it is large and the store takes that, and is then the last.
    pub fn add_manifest(
        &mut self,
        function: DigestFunction,
        bytes: Bytes,
        last: Option<LastManifest>,
    ) -> Digest {
        let digest = self.add_bytes(function, bytes);
        self.last.extend(last.filter(|_| LastManifest::is_for(digest)).map(|last| (digest, last)));
        digest
    }

    /// Manifests are as other blobs from now on: for a store that is not the one which they are patched for.
    pub fn forget_last(&mut self) {
        self.last.clear();
    }

    /// The bytes of a manifest, and where the one before it is.
    pub(super) fn manifest(&self, digest: Digest) -> Option<(Bytes, LastManifest)> {
        let last = self.last.get(&digest)?.clone();
        match self.get(digest)? {
            Source::Bytes(bytes) => Some((bytes.clone(), last)),
            Source::File { .. } => None,
        }
    }

    /// Adds all of another set.
    pub fn extend(&mut self, others: Sources) {
        self.blobs.extend(others.blobs);
        self.last.extend(others.last);
    }

    /// Leaves out blobs that are dealt with. Goes through the smaller one of both sets.
    pub fn remove_all(&mut self, digests: &HashSet<Digest>) {
        if digests.len() < self.blobs.len() {
            for digest in digests {
                self.blobs.remove(digest);
            }
        } else {
            self.blobs.retain(|digest, _| !digests.contains(digest));
        }
    }

    /// Where a blob is.
    pub fn get(&self, digest: Digest) -> Option<&Source> {
        self.blobs.get(&digest)
    }

    /// The blobs.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = Digest> {
        self.blobs.keys().copied()
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Bytes of those that are in memory.
    pub fn bytes_in_memory(&self) -> usize {
        let in_memory = |source: &Source| if let Source::Bytes(bytes) = source { bytes.len() } else { 0 };
        self.blobs.values().map(in_memory).sum()
    }

    /// Sum of their sizes.
    pub fn bytes(&self) -> u64 {
        self.digests().map(|digest| digest.size()).sum()
    }
}
