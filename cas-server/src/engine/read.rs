//! Reading blobs, verified.

use super::{
    codec::{Encoding, Entry, Location, Position},
    files::{LargeFile, PIECE},
    record::{Form, Header},
    segments::{ReadError, Wait},
    shared::Shared,
};
use bytes::Bytes;
use cas::{ByteStream, Error, Range, Result};
use futures::{StreamExt as _, stream};
use proto::{Digest, limits};
use std::sync::Arc;

/// Bytes that are read from a large blob at a time; whole pieces.
const STEP: u64 = 4 * PIECE;
const _: () = assert!(STEP == limits::STREAM_CHUNK as u64);

/// Bytes that are read and verified without leaving the caller's thread.
const READ_NOW: u64 = 128 * 1024;
/// The same, blobs.
const READS_NOW: usize = 256;

/// Steps that are read ahead of a client.
pub(super) const AHEAD: usize = 2;

/// A blob ready to be read.
enum Opened {
    Packed(Bytes),
    Large(LargeFile, Location),
}

impl Shared {
    /// Of these, what is not there. The blob without bytes always is.
    pub(crate) fn missing(&self, digests: &[Digest], entries: &[Option<Entry>]) -> Vec<Digest> {
        let absent = digests.iter().zip(entries).filter(|(d, entry)| entry.is_none() && !d.is_empty());
        let missing: Vec<_> = absent.map(|(digest, _)| *digest).collect();
        self.metrics.looked_up("find_missing", digests.len() - missing.len(), missing.len());
        missing
    }

    /// Whole blobs, if all are there, few, small, packed as they are, and in the kernel's memory: then a thread for
    /// them would cost more than they do. Otherwise `None`, and [`read_all`](Self::read_all) is to be called.
    pub(crate) fn read_now(&self, digests: &[Digest]) -> Option<Vec<Bytes>> {
        let bytes = digests.iter().map(Digest::size).fold(0, u64::saturating_add);
        if bytes > READ_NOW || digests.len() > READS_NOW {
            return None;
        }
        let entries = self.glance(digests)?;
        let records: Option<Vec<_>> = digests.iter().zip(entries).map(record).collect();
        let records = records?;
        if records.iter().any(|(_, header)| header.encoding != Encoding::Plain) {
            return None;
        }
        let read: Result<Vec<_>, _> = self.segments.read_all(&records, Wait::Not).into_iter().collect();
        let blobs = read.ok()?;
        self.metrics.looked_up("read", blobs.len(), 0);
        Some(blobs)
    }

    /// Whole blobs, each with its own outcome. Blocks.
    pub(crate) fn read_all(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        let entries = self.look_up(digests)?;
        let records: Vec<_> = digests.iter().zip(entries.iter().copied()).filter_map(record).collect();
        let mut packed = self.segments.read_all(&records, Wait::ForDisk).into_iter();
        let read = |(digest, entry): (&Digest, Option<Entry>)| {
            if let Some(Entry { location: Location::Packed(_, encoding), .. }) = entry
                && let Some(Ok(bytes)) = packed.next()
            {
                self.count_decompressed(encoding);
                return Ok(bytes);
            }
            // A file, or it moved, or it is damaged.
            self.read_whole(*digest, entry)
        };
        let outcomes: Vec<_> = digests.iter().zip(entries).map(read).collect();
        let hits = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.metrics.looked_up("read", hits, outcomes.len() - hits);
        Ok(outcomes)
    }

    pub(super) fn read_whole(&self, digest: Digest, entry: Option<Entry>) -> Result<Bytes> {
        match self.open(digest, entry)? {
            Opened::Packed(bytes) => Ok(bytes),
            Opened::Large(file, location) => {
                file.read(0, digest.size()).map_err(|error| self.read_failed(digest, location, error))
            }
        }
    }

    fn open(&self, digest: Digest, entry: Option<Entry>) -> Result<Opened> {
        if digest.is_empty() {
            return Ok(Opened::Packed(Bytes::new()));
        }
        self.find(digest, entry, |location| {
            self.count_decompressed(location.encoding());
            match location {
                Location::Packed(position, encoding) => {
                    self.segments.read(position, &digest, encoding).map(Opened::Packed)
                }
                Location::File(position, encoding) => {
                    self.files.read(&digest, position, encoding).map(|file| Opened::Large(file, location))
                }
            }
        })
    }

    fn count_decompressed(&self, encoding: Encoding) {
        if encoding != Encoding::Plain {
            self.metrics.decompressed.inc();
        }
    }

    /// Reads where the blob is.
    pub(super) fn find<T>(
        &self,
        digest: Digest,
        mut entry: Option<Entry>,
        read: impl Fn(Location) -> Result<T, ReadError>,
    ) -> Result<T> {
        // It may move while it is looked for; it does not do so again and again.
        for attempt in 0..3 {
            let Some(Entry { location, .. }) = entry else { return Err(Error::NotFound { digest }) };
            match read(location) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    entry = self.index.get(&[digest])?.pop().flatten();
                    let stays = entry.is_some_and(|entry| entry.location == location);
                    if stays || attempt == 2 {
                        return Err(self.read_failed(digest, location, error));
                    }
                }
            }
        }
        Err(Error::NotFound { digest })
    }

    /// What a failed read means to the caller. Damage is dropped.
    pub(super) fn read_failed(&self, digest: Digest, location: Location, error: ReadError) -> Error {
        match error {
            ReadError::Gone | ReadError::Damaged => {
                self.drop_damaged(digest, location).err().unwrap_or(Error::NotFound { digest })
            }
            ReadError::Io(error) => self.disk_failed(digest.to_string(), error),
        }
    }
}

/// The record that a blob is packed in, if it is.
fn record((digest, entry): (&Digest, Option<Entry>)) -> Option<(Position, Header)> {
    match entry?.location {
        Location::Packed(position, encoding) => {
            Some((position, Header::blob(Form::Packed, *digest, encoding)))
        }
        Location::File(..) => None,
    }
}

/// One blob, or a part of it, as a stream.
pub(crate) async fn stream(shared: &Arc<Shared>, digest: Digest, range: Range) -> Result<ByteStream> {
    let size = digest.size();
    if range.offset > size {
        let reason = format!("offset {} lies beyond the end of {digest}", range.offset);
        return Err(Error::Invalid { reason });
    }
    let (start, end) =
        (range.offset, range.limit.map_or(size, |limit| size.min(range.offset.saturating_add(limit))));
    if let Some(bytes) = shared.read_now(&[digest]).and_then(|mut blobs| blobs.pop()) {
        tokio::task::coop::consume_budget().await;
        return Ok(once(bytes.slice(to_usize(start)..to_usize(end))));
    }
    let open = {
        let shared = Arc::clone(shared);
        move || {
            let entry = shared.look_up(&[digest])?.pop().flatten();
            let opened = shared.open(digest, entry);
            shared.metrics.looked_up("read", usize::from(opened.is_ok()), usize::from(opened.is_err()));
            opened
        }
    };
    Ok(match shared.bounds.run(open).await? {
        Opened::Packed(bytes) => once(bytes.slice(to_usize(start)..to_usize(end))),
        Opened::Large(file, location) => {
            steps(Arc::clone(shared), digest, Arc::new(file), location, start..end)
        }
    })
}

fn steps(
    shared: Arc<Shared>,
    digest: Digest,
    file: Arc<LargeFile>,
    location: Location,
    bytes: std::ops::Range<u64>,
) -> ByteStream {
    let first = bytes.start / STEP;
    let last = if bytes.is_empty() { first } else { bytes.end.div_ceil(STEP) };
    let step = move |step: u64| {
        let (from, to) = (bytes.start.max(step * STEP), bytes.end.min((step + 1) * STEP));
        let (shared, file) = (Arc::clone(&shared), Arc::clone(&file));
        async move {
            let reader = Arc::clone(&shared);
            let read =
                move || file.read(from, to).map_err(|error| reader.read_failed(digest, location, error));
            shared.bounds.run(read).await
        }
    };
    stream::iter(first..last).map(step).buffered(AHEAD).boxed()
}

fn once(part: Bytes) -> ByteStream {
    stream::iter((!part.is_empty()).then_some(Ok(part))).boxed()
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
