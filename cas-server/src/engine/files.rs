//! Large blobs: a file each, `large/ab/FUNCTION-HASH-SIZE.SEGMENT-OFFSET`.
//!
//! The blob's bytes come first; behind them stands a sum for every [`PIECE`] of them, so that a part can be verified
//! without reading the whole. Of a compressed blob ([`FramedFile`]) frames and their table take the place of both.

use super::{
    codec::{Encoding, Position},
    framed::FramedFile,
    frames::Table,
    record::{SUM_LEN, sum},
    segments::{ReadError, sync_dir},
    staging::Staged,
};
use bytes::Bytes;
use proto::Digest;
use rustix::{buffer::spare_capacity, io::Errno};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use twox_hash::XxHash3_64;

/// Bytes under one sum.
pub(crate) const PIECE: u64 = 256 * 1024;

/// The directory of large blobs.
#[derive(Debug)]
pub(crate) struct Files {
    large: PathBuf,
}

impl Files {
    /// Opens the directory, making it if need be.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let large = data.join("large");
        // The last one tells that all are there.
        if !large.join("ff").exists() {
            for bucket in 0..=u8::MAX {
                fs::create_dir_all(large.join(format!("{bucket:02x}")))?;
            }
            sync_dir(&large)?;
        }
        sync_dir(data)?;
        Ok(Self { large })
    }

    /// The directory, which has one for each first byte of a hash.
    pub(crate) fn dir(&self) -> &Path {
        &self.large
    }

    /// Bytes on disk of a blob with a file of its own.
    pub(crate) fn disk_len(digest: &Digest, encoding: Encoding) -> u64 {
        match encoding {
            Encoding::Plain => digest.size() + digest.size().div_ceil(PIECE) * SUM_LEN as u64,
            Encoding::Zstd(stored) => stored.saturating_add(Table::disk_len(digest.size())),
        }
    }

    /// The name of the file relative to the directory of large blobs.
    pub(crate) fn name(digest: &Digest, position: Position) -> String {
        let hex = digest.hex();
        let Position { segment, offset } = position;
        format!("{}/{}-{hex}-{}.{segment:08x}-{offset:08x}", &hex[..2], digest.function(), digest.size())
    }

    /// Where the blob is.
    pub(crate) fn path(&self, digest: &Digest, position: Position) -> PathBuf {
        self.large.join(Self::name(digest, position))
    }

    /// Gives a staged blob its final name. The name is durable after [`Files::sync`].
    pub(crate) fn publish(&self, staged: Staged, position: Position) -> io::Result<()> {
        staged.publish(self, position)
    }

    /// Makes the name of a blob durable.
    pub(crate) fn sync(&self, digest: &Digest) -> io::Result<()> {
        sync_dir(&self.large.join(&digest.hex()[..2]))
    }

    /// Deletes the file of this name, as [`Files::name`] made it.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.large.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Opens a blob for reading.
    pub(crate) fn read(
        &self,
        digest: &Digest,
        position: Position,
        encoding: Encoding,
    ) -> Result<LargeFile, ReadError> {
        let file = File::open(self.path(digest, position))?;
        if file.metadata()?.len() != Self::disk_len(digest, encoding) {
            return Err(ReadError::Damaged);
        }
        Ok(match encoding {
            Encoding::Plain => LargeFile::Plain(PlainFile { file, size: digest.size() }),
            Encoding::Zstd(stored) => LargeFile::Framed(FramedFile::new(file, digest.size(), stored)?),
        })
    }
}

/// A large blob that is being read.
#[derive(Debug)]
pub(crate) enum LargeFile {
    Plain(PlainFile),
    Framed(FramedFile),
}

impl LargeFile {
    /// Bytes `start..end`, verified. Reads whole pieces or frames, so that callers do best to keep to their borders.
    pub(crate) fn read(&self, start: u64, end: u64) -> Result<Bytes, ReadError> {
        match self {
            Self::Plain(file) => file.read(start, end),
            Self::Framed(file) => file.read(start, end),
        }
    }
}

/// One that is stored as it is.
#[derive(Debug)]
pub(crate) struct PlainFile {
    file: File,
    size: u64,
}

impl PlainFile {
    fn read(&self, start: u64, end: u64) -> Result<Bytes, ReadError> {
        let first = start / PIECE;
        let last = end.div_ceil(PIECE);
        let from = first * PIECE;
        let bytes = read_at(&self.file, from, (last * PIECE).min(self.size) - from)?;
        let sums = read_at(&self.file, self.size + first * SUM_LEN as u64, (last - first) * SUM_LEN as u64)?;
        let pieces = bytes.chunks(usize::try_from(PIECE).unwrap_or(usize::MAX));
        // Before format 3 it was the sum of records.
        let fits = |(piece, expected): (&[u8], &[u8])| piece_sum(piece) == expected || sum(piece) == expected;
        if !pieces.zip(sums.chunks(SUM_LEN)).all(fits) {
            return Err(ReadError::Damaged);
        }
        let at = |offset: u64| usize::try_from(offset - from).unwrap_or(usize::MAX);
        Ok(Bytes::from(bytes).slice(at(start)..at(end)))
    }
}

/// The sum of a piece: XXH3 with 64 bits, because it is made of every byte that comes or goes. Detects damage, not forgery.
pub(crate) fn piece_sum(piece: &[u8]) -> [u8; SUM_LEN] {
    XxHash3_64::oneshot(piece).to_be_bytes()
}

/// `len` bytes of a file, into memory that nobody clears first.
pub(crate) fn read_at(file: &File, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
    let len = usize::try_from(len).map_err(|_| ReadError::Damaged)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| ReadError::Damaged)?;
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(ReadError::Damaged),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    // The allocator may have given more than was asked for.
    bytes.truncate(len);
    Ok(bytes)
}
