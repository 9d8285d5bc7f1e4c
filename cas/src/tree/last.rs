//! The manifest that was sent last for a root, kept so that the next one can go up as a patch of it.
//!
//! One file beside the digests of the root's files ([`HashCache`](super::HashCache)), replaced when another manifest was sent:
//! a line that names the format, a line with the digest, the manifest. Whatever is not that counts as none.

use super::{Error, hashes};
use bytes::Bytes;
use proto::{Digest, limits};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Changes with the format.
const MAGIC: &str = "isoswarm-manifest-1\n";

/// Longest line with a digest.
const MAX_NAME: usize = 256;

/// As much as may come before the manifest.
const MAX_HEAD: usize = MAGIC.len() + MAX_NAME;

/// Smaller manifests go up whole, with other blobs in one call.
const WORTHWHILE: u64 = 256 * 1024;

/// Where the last manifest of one root is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastManifest {
    file: PathBuf,
}

impl LastManifest {
    /// Kept in `dir` for files below `root`.
    pub fn of(dir: &Path, root: &Path) -> Self {
        Self { file: hashes::file_of(dir, root).with_extension("manifest") }
    }

    #[cfg(test)]
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether one of that size is kept.
    pub(super) fn is_for(manifest: Digest) -> bool {
        (WORTHWHILE..=limits::MAX_MANIFEST_BYTES).contains(&manifest.size())
    }

    /// The manifest, hashed. Blocks.
    pub(super) fn read(&self) -> Option<(Digest, Bytes)> {
        let file = File::open(&self.file).ok()?;
        let most = limits::MAX_MANIFEST_BYTES + MAX_HEAD as u64;
        let length = file.metadata().ok().filter(|metadata| metadata.len() <= most)?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(length).ok()?);
        file.take(length).read_to_end(&mut bytes).ok()?;
        let (digest, head) = digest_in(&bytes)?;
        let manifest = Bytes::from(bytes).slice(head..);
        (digest.function().digest(&manifest) == digest).then_some((digest, manifest))
    }

    /// Which one is kept, as it says itself. Blocks.
    pub(super) fn digest(&self) -> Option<Digest> {
        let mut head = Vec::with_capacity(MAX_HEAD);
        File::open(&self.file).ok()?.take(MAX_HEAD as u64).read_to_end(&mut head).ok()?;
        Some(digest_in(&head)?.0)
    }

    /// Keeps this one from now on. Blocks.
    pub(super) fn save(&self, digest: Digest, manifest: &[u8]) -> Result<(), Error> {
        hashes::replace(&self.file, &[MAGIC.as_bytes(), format!("{digest}\n").as_bytes(), manifest])
    }
}

/// The manifest's name at the beginning of a file, and where the manifest begins.
fn digest_in(file: &[u8]) -> Option<(Digest, usize)> {
    let rest = file.strip_prefix(MAGIC.as_bytes())?;
    let end = rest.iter().take(MAX_NAME).position(|byte| *byte == b'\n')?;
    let digest = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((digest, MAGIC.len() + end + 1))
}
