//! What is kept of the archive of a root that came last: what it was made from, where the walk began, when the store had all of
//! it, and up to when changes below the root were told.
//!
//! A small file beside the digests of the root's files, replaced as a whole: a line that names the format, a line with the
//! BLAKE3 hash of the rest, the rest as JSON. Whatever is not that counts as none.

use super::Reach;
use crate::tree::{Error, LastManifest, hashes};
use proto::{Digest, DigestFunction, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Changes with the format, and with what is put into manifests: what is kept as unchanged is not looked at.
const MAGIC: &str = "isoswarm-again-2\n";

/// For so long a store is taken to have what it said that it has. Far below an hour, for which ours keeps that by default
/// (`lease`): who then wants it has the rest of the hour.
pub const TRUSTED: Duration = Duration::from_secs(10 * 60);

/// As much as is read of the file.
const MOST: u64 = 128 * 1024 * 1024;

/// Protects the file, and tells what an archive was made from.
const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// The archive of a root that came last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What tells it from archives of something else, or somewhere else.
    made_from: Digest,
    /// Its manifest.
    pub(super) manifest: Digest,
    /// When the store was first asked for all of its blobs, in microseconds.
    confirmed: u64,
    /// What changed later is told from here on.
    token: String,
    pub(super) reach: Reach,
}

impl Kept {
    #[cfg(test)]
    pub(super) fn new(
        made_from: Digest,
        manifest: Digest,
        confirmed: Timestamp,
        token: &str,
        reach: Reach,
    ) -> Self {
        Self { made_from, manifest, confirmed: confirmed.as_micros(), token: token.to_owned(), reach }
    }

    /// What whoever watches the root wants to know, to tell what changed.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same, but that its manifest is this one, and that changes are told from `token` on.
    pub(super) fn renewed(self, manifest: Digest, token: String) -> Self {
        Self { manifest, token, ..self }
    }
}

/// Where that is kept of one root.
#[derive(Clone, Debug)]
pub struct Again {
    file: PathBuf,
    made_from: Digest,
    pub(super) last: LastManifest,
}

impl Again {
    /// Kept in `dir` for files below `root`, of archives that are made from what `made_from` says: all that a manifest depends on
    /// beside the files themselves, and the store.
    pub fn of(dir: &Path, root: &Path, made_from: &[u8]) -> Self {
        let file = hashes::file_of(dir, root).with_extension("again");
        Self { file, made_from: FUNCTION.digest(made_from), last: LastManifest::of(dir, root) }
    }

    /// The directory that it is kept in.
    pub(super) fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// What is kept, if it is of the same and the store still has it for certain. Blocks.
    pub fn read(&self, now: Timestamp) -> Option<Kept> {
        let mut bytes = Vec::new();
        File::open(&self.file).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        let rest = bytes.strip_prefix(MAGIC.as_bytes())?;
        let (hash, json) = rest.split_at_checked(2 * FUNCTION.hash_len())?;
        let json = json.strip_prefix(b"\n").filter(|json| FUNCTION.digest(json).hex().as_bytes() == hash)?;
        let kept: Kept = serde_json::from_slice(json).ok()?;
        let age = now.as_micros().checked_sub(kept.confirmed)?;
        let is_trusted = u128::from(age) < TRUSTED.as_micros();
        (kept.made_from == self.made_from && is_trusted).then_some(kept)
    }

    /// Keeps an archive whose blobs the store all had, or was given, from `confirmed` on. `token` was given before anybody looked at
    /// the files. Blocks.
    pub fn keep(
        &self,
        (manifest, bytes): (Digest, &[u8]),
        confirmed: Timestamp,
        token: String,
        reach: Reach,
    ) -> Result<(), Error> {
        if !LastManifest::is_for(manifest) {
            return Ok(());
        }
        if self.last.digest() != Some(manifest) {
            self.last.save(manifest, bytes)?;
        }
        let (made_from, confirmed) = (self.made_from, confirmed.as_micros());
        self.save(&Kept { made_from, manifest, confirmed, token, reach })
    }

    pub(super) fn save(&self, kept: &Kept) -> Result<(), Error> {
        let json = serde_json::to_vec(kept).expect("texts and numbers always serialise");
        let hash = format!("{}\n", FUNCTION.digest(&json).hex());
        hashes::replace(&self.file, &[MAGIC.as_bytes(), hash.as_bytes(), &json])
    }
}
