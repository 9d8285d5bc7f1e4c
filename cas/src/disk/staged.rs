//! A blob on its way into the cache.

use super::{cache::DiskCache, layout::footprint, limits::Count, seal::seal};
use crate::{BlobStore, Error, Result};
use proto::{Digest, Hasher};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
};
use tempfile::{Builder, NamedTempFile};

/// Of blobs: nobody writes to them.
pub(super) const MODE: u32 = 0o444;

/// Who says that bytes are those of their digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nobody: they are hashed.
    Hash,
    /// Whoever gave them has hashed them, see [`BlobStore::verifies_reads`].
    Verified,
}

impl Trust {
    /// In what this store gives.
    pub(crate) fn of(store: &dyn BlobStore) -> Self {
        if store.verifies_reads() { Self::Verified } else { Self::Hash }
    }

    /// Whether these are the bytes of a blob: as many as its name says, and hashed by somebody.
    pub(super) fn takes(self, digest: Digest, bytes: &[u8]) -> bool {
        bytes.len() as u64 == digest.size()
            && (self == Self::Verified || digest.function().digest(bytes) == digest)
    }
}

/// Bytes that are hashed as they are written, invisible until [`Staged::finish`], removed when dropped before. Blocks.
#[derive(Debug)]
pub struct Staged {
    cache: DiskCache,
    file: NamedTempFile,
    /// `None`: they were hashed already.
    hasher: Option<Hasher>,
    written: u64,
    digest: Digest,
}

/// Puts a blob of few bytes, known to be right, under its name at once: with one call that makes the file and one that fills
/// it. Until then, and for good where the process dies in between, its file is too short, which is as if there were none.
/// `false`: there is a file of this name already.
pub(super) fn put(cache: &DiskCache, digest: Digest, bytes: &[u8]) -> Result<bool> {
    let target = cache.layout().blob(digest);
    let create = || OpenOptions::new().write(true).create_new(true).mode(MODE).open(&target);
    let mut file = match in_shard(cache, digest, create) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        made => made.map_err(|error| full(target.clone(), error))?,
    };
    cache.publishing(Count { bytes: footprint(digest.size()), items: 1 });
    let filled = file.write_all(bytes).and_then(|()| finished(&file, digest));
    filled.map(|()| true).map_err(|error| {
        // Nobody wants a part of it. Another may have put all of it in its place by now, under the same name.
        let _ = file.set_len(0);
        full(target, error)
    })
}

/// Does something in the directory of a blob, which is made if it is not there.
fn in_shard<T>(cache: &DiskCache, digest: Digest, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(cache.layout().shard(digest))?;
            act()
        }
        done => done,
    }
}

/// A file with all of its bytes gets its permissions and its seal.
pub(super) fn finished(file: &File, digest: Digest) -> io::Result<()> {
    let made = file.metadata()?;
    if made.mode() & 0o7777 != MODE {
        // The umask has taken something away.
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
    }
    // Without a seal it is only hashed once more. A rename changes it once more, within what a seal allows.
    let _ = seal(file, &made, digest);
    Ok(())
}

impl Staged {
    pub(super) fn create(cache: DiskCache, digest: Digest, trust: Trust) -> Result<Self> {
        let dir = cache.session_dir();
        let file = Builder::new().permissions(fs::Permissions::from_mode(MODE)).tempfile_in(dir);
        let file = file.map_err(|error| Error::io(dir, error))?;
        let hasher = (trust == Trust::Hash).then(|| digest.function().hasher());
        Ok(Self { cache, file, hasher, written: 0, digest })
    }

    /// Adds the next bytes. More than the digest's size is refused as it comes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        if self.written > self.digest.size() {
            return Err(self.mismatch());
        }
        self.file.write_all(bytes).map_err(|error| full(self.file.path().to_owned(), error))
    }

    fn mismatch(&self) -> Error {
        match &self.hasher {
            Some(hasher) => Error::Mismatch { expected: self.digest, actual: hasher.clone().finish() },
            None => {
                let (written, digest) = (self.written, self.digest);
                Error::Internal { reason: format!("{written} bytes came of {digest}, as if they were right") }
            }
        }
    }

    /// Publishes the blob under its name, if its bytes are those that the name says.
    pub fn finish(self) -> Result<()> {
        let is_right = match &self.hasher {
            Some(hasher) => hasher.clone().finish() == self.digest,
            None => self.written == self.digest.size(),
        };
        if !is_right {
            return Err(self.mismatch());
        }
        let Self { cache, mut file, digest, .. } = self;
        let target = cache.layout().blob(digest);
        let publish = || {
            finished(file.as_file(), digest)?;
            in_shard(&cache, digest, || fs::rename(file.path(), &target))
        };
        // Counted before it is there: whoever is killed in between has counted too much, which a trim puts right.
        cache.publishing(Count { bytes: footprint(digest.size()), items: 1 });
        publish().map_err(|error| full(target.clone(), error))?;
        // Nothing has its old name any more.
        file.disable_cleanup(true);
        Ok(())
    }
}

/// Says what to do about a full disk.
pub(super) fn full(path: PathBuf, error: io::Error) -> Error {
    match Error::io(path, error) {
        Error::Exhausted { reason } => Error::Exhausted {
            reason: format!(
                "the local cache's disk is full, free space or make the cache smaller ({reason})"
            ),
        },
        other => other,
    }
}
