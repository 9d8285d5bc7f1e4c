//! A large blob while it is uploaded: hashed as it comes, with the sums that its file ends with.

use super::{
    codec::{Encoding, Position},
    files::{Files, PIECE, piece_sum},
    framed::FramedStaging,
    io::failed,
    uploads::{Claim, Place, Uploads},
};
use cas::{Error, Result};
use proto::{Digest, Hasher};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    sync::Arc,
};

#[expect(clippy::cast_possible_truncation, reason = "256 KiB")]
const PIECE_LEN: usize = PIECE as usize;

/// A large blob that is being uploaded.
#[derive(Debug)]
pub(crate) struct Staging {
    file: File,
    place: Place,
    digest: Digest,
    hasher: Hasher,
    /// The beginning of a piece that is not complete yet.
    piece: Vec<u8>,
    sums: Vec<u8>,
    /// The same compressed, for as long as that pays.
    framed: Option<FramedStaging>,
}

/// A large blob that was uploaded, verified and synced.
#[derive(Debug)]
pub(crate) struct Staged {
    place: Place,
    pub(crate) digest: Digest,
    pub(crate) encoding: Encoding,
}

impl Staging {
    /// Begins an upload in a file of its own.
    pub(crate) fn private(uploads: &Uploads, digest: Digest, framed: Option<FramedStaging>) -> Result<Self> {
        let file = uploads.private().map_err(|error| failed(uploads.dir(), error))?;
        let (file, path) = file.into_parts();
        Ok(Self::new(file, Place::Private(path), digest, framed))
    }

    /// Begins an upload, or goes on with it: what is there already is read and hashed.
    pub(crate) fn claimed(claim: Arc<Claim>, digest: Digest, framed: Option<FramedStaging>) -> Result<Self> {
        let (path, begins) = (claim.path(), claim.begins);
        let io = |error| failed(path.clone(), error);
        let fresh = begins == 0;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(fresh)
            .truncate(fresh)
            .open(&path)
            .map_err(io)?;
        let mut staging = Self::new(file, Place::Claimed(claim), digest, framed);
        let mut buffer = vec![0; PIECE_LEN.min(usize::try_from(begins).unwrap_or(PIECE_LEN))];
        while staging.hasher.size() < begins {
            let rest = usize::try_from(begins - staging.hasher.size()).unwrap_or(PIECE_LEN);
            let want = &mut buffer[..rest.min(PIECE_LEN)];
            if let Err(error) = staging.file.read_exact(want) {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    return Err(staging.wrong());
                }
                return Err(io(error));
            }
            staging.hash(want);
        }
        // What stands behind was not told of.
        staging.file.set_len(begins).map_err(io)?;
        Ok(staging)
    }

    fn new(file: File, place: Place, digest: Digest, framed: Option<FramedStaging>) -> Self {
        let hasher = digest.function().hasher();
        Self { file, place, digest, hasher, piece: Vec::new(), sums: Vec::new(), framed }
    }

    /// Takes the next bytes. Refuses more of them than the digest names.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.hasher.size() + bytes.len() as u64 > self.digest.size() {
            self.hasher.update(bytes);
            return Err(self.wrong());
        }
        self.file.write_all(bytes).map_err(|error| self.failed(error))?;
        self.hash(bytes);
        self.place.buffered(self.hasher.size());
        Ok(())
    }

    fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        let mut rest = bytes;
        while self.piece.len() + rest.len() >= PIECE_LEN {
            let (head, tail) = rest.split_at(PIECE_LEN - self.piece.len());
            rest = tail;
            if self.piece.is_empty() {
                self.sums.extend(piece_sum(head));
            } else {
                self.piece.extend_from_slice(head);
                self.sums.extend(piece_sum(&self.piece));
                self.piece.clear();
            }
        }
        self.piece.extend_from_slice(rest);
        self.framed = self.framed.take().and_then(|framed| useful(framed.append(bytes)));
    }

    /// Makes durable what was written so far, when it is called. If that fails nobody goes on with the upload, which is
    /// held until then. `None`: as it stands the file will not be kept, or there is no descriptor for it.
    pub(crate) fn sync_so_far(&self) -> Option<impl FnOnce() -> Result<()> + Send + 'static> {
        if self.framed.is_some() {
            return None;
        }
        let file = self.file.try_clone().ok()?;
        let claim = self.place.claim();
        let name = format!("uploads/{}", self.digest);
        Some(move || {
            let synced = file.sync_data().map_err(|error| failed(name, error));
            synced.inspect_err(|_| claim.iter().for_each(|claim| claim.discard()))
        })
    }

    /// Compares with the digest and makes the bytes durable.
    pub(crate) fn finish(mut self) -> Result<Staged> {
        if self.hasher.clone().finish() != self.digest {
            return Err(self.wrong());
        }
        if let Some((path, stored)) = self.framed.take().and_then(|framed| useful(framed.finish())) {
            // What came stays until the blob is in the store, if somebody may go on with it.
            let (place, encoding) = (Place::Private(path), Encoding::Zstd(stored));
            return Ok(Staged { place, digest: self.digest, encoding });
        }
        if !self.piece.is_empty() {
            self.sums.extend(piece_sum(&self.piece));
        }
        self.file.write_all(&self.sums).map_err(|error| self.failed(error))?;
        if let Err(error) = self.file.sync_data() {
            // Also where the disk was only full: what the file has by now is anybody's guess.
            self.place.discard();
            return Err(self.failed(error));
        }
        Ok(Staged { place: self.place, digest: self.digest, encoding: Encoding::Plain })
    }

    /// The bytes are not those of the blob: the upload has to start over. If a part of them was found when the store
    /// opened, that part may be what is damaged, and the same bytes once more may be right.
    fn wrong(&self) -> Error {
        self.place.discard();
        if matches!(&self.place, Place::Claimed(claim) if claim.found) {
            let reason = format!("what was kept of the upload of {} is damaged: start over", self.digest);
            return Error::Unavailable { reason };
        }
        Error::Mismatch { expected: self.digest, actual: self.hasher.clone().finish() }
    }

    /// The disk did not take bytes. Unless it was only full, nobody goes on from those that it took before: a sync that
    /// succeeds later says nothing of what an earlier failure lost.
    fn failed(&self, error: io::Error) -> Error {
        let error = failed(format!("uploads/{}", self.digest), error);
        if matches!(error, Error::Io { .. }) {
            self.place.discard();
        }
        error
    }
}

/// What cannot be compressed, for whatever reason, is stored as it is.
fn useful<T>(compressed: io::Result<Option<T>>) -> Option<T> {
    compressed.unwrap_or_else(|error| {
        tracing::debug!(%error, "a blob is not compressed");
        None
    })
}

impl Staged {
    /// Gives the blob its final name, which is durable after [`Files::sync`].
    pub(crate) fn publish(self, files: &Files, position: Position) -> io::Result<()> {
        self.place.publish(&files.path(&self.digest, position))
    }
}
