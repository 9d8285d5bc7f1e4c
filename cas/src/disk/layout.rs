//! Names of files in the cache.

use proto::{Digest, DigestFunction};
use std::path::{Path, PathBuf};

/// Where things are below the cache's directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn usage(&self) -> PathBuf {
        self.root.join("usage")
    }

    /// The directory that blobs of this name share.
    pub(super) fn shard(&self, digest: Digest) -> PathBuf {
        self.blobs().join(&digest.hex()[..2])
    }

    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        self.shard(digest).join(file_name(digest))
    }
}

/// `FUNCTION-HEX-SIZE`.
pub(super) fn file_name(digest: Digest) -> String {
    format!("{}-{}-{}", function_name(digest.function()), digest.hex(), digest.size())
}

/// The blob of a file name; `None` for a file that is none of ours.
pub(super) fn parse_file_name(name: &str) -> Option<Digest> {
    let mut parts = name.split('-');
    let (function, hash, size) = (parts.next()?, parts.next()?, parts.next()?);
    let function = DigestFunction::KNOWN.into_iter().find(|f| function_name(*f) == function)?;
    let digest = Digest::from_hex(function, hash, size.parse().ok()?).ok()?;
    (file_name(digest) == name).then_some(digest)
}

/// Without the dash of the name in text, which separates here.
fn function_name(function: DigestFunction) -> &'static str {
    match function {
        DigestFunction::Blake3 => "blake3",
        DigestFunction::Sha256 => "sha256",
        DigestFunction::Sha1 => "sha1",
        DigestFunction::Md5 => "md5",
        DigestFunction::Sha384 => "sha384",
        DigestFunction::Sha512 => "sha512",
    }
}

/// What a file of this size takes on a disk, in whole blocks: what budgets are counted in.
pub(super) fn footprint(size: u64) -> u64 {
    const BLOCK: u64 = 4096;
    size.div_ceil(BLOCK) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_round_trip_and_foreign_ones_are_none() {
        for function in DigestFunction::KNOWN {
            let digest = function.digest(b"abc");
            assert_eq!(parse_file_name(&file_name(digest)), Some(digest));
        }
        for foreign in [
            "",
            "usage",
            "blake3-00-1",
            "blake3",
            "sha-1",
            ".tmpA",
            "sha1-a9993e364706816aba3e25717850c26c9cd0d89d-03",
        ] {
            assert_eq!(parse_file_name(foreign), None, "{foreign}");
        }
    }
}
