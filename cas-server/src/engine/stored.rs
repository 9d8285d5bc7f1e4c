//! Blobs as they are stored, for those who take zstd: what is compressed goes out without being decompressed.

use super::{
    Engine,
    codec::{Encoding, Entry, Location},
    files::LargeFile,
    framed::FramedFile,
    frames::{Compressor, FRAME, frame_of},
    read::AHEAD,
    record::{Form, Header},
    shared::Shared,
};
use bytes::Bytes;
use cas::{BlobStore as _, ByteStream, Error, Range, Result};
use futures::{StreamExt as _, stream};
use proto::Digest;
use std::sync::Arc;

/// A blob, or the end of one, in the form in which it is at hand.
pub enum Stored<T> {
    /// As it is.
    Plain(T),
    /// In one or more frames of zstd.
    Zstd(T),
}

/// A compressed blob ready to be read.
enum Opened {
    Packed(Bytes),
    Large(FramedFile, Location),
}

/// What of a file goes out next.
enum Step {
    /// The end of a frame, in one of its own.
    Cut(std::ops::Range<u64>),
    /// Frames as they are.
    Frames(std::ops::Range<u64>),
}

impl Engine {
    /// The blob from `offset` on. It comes plain if it is stored so, and if it has one frame and the offset is within.
    pub async fn read_stored(&self, digest: Digest, offset: u64) -> Result<Stored<ByteStream>> {
        self.check([&digest])?;
        let shared = &self.uploader().shared;
        if offset < digest.size() {
            let opener = Arc::clone(shared);
            let open = move || {
                let entry = opener.look_up(&[digest])?.pop().flatten();
                opener.open_stored(digest, entry, offset)
            };
            match shared.bounds.run(open).await? {
                Some(Opened::Packed(frame)) => return Ok(Stored::Zstd(stream::iter([Ok(frame)]).boxed())),
                Some(Opened::Large(file, location)) => {
                    return Ok(Stored::Zstd(frames(shared, digest, file, location, offset)));
                }
                None => {}
            }
        }
        self.read(digest, Range { offset, limit: None }).await.map(Stored::Plain)
    }

    /// Whole blobs, each with its own outcome.
    pub async fn read_batch_stored(&self, digests: &[Digest]) -> Result<Vec<Result<Stored<Bytes>>>> {
        self.check(digests)?;
        let shared = &self.uploader().shared;
        let total = digests.iter().map(Digest::size).fold(0, u64::saturating_add);
        let _memory = shared.bounds.memory(total).await?;
        let (reader, digests) = (Arc::clone(shared), digests.to_vec());
        let read = move || {
            let entries = reader.look_up(&digests)?;
            let stored = |(digest, entry): (&Digest, _)| reader.read_stored(*digest, entry);
            Ok(digests.iter().zip(entries).map(stored).collect())
        };
        shared.bounds.run(read).await
    }
}

impl Shared {
    /// `None`: it is not there, or has to be read otherwise.
    fn open_stored(&self, digest: Digest, entry: Option<Entry>, offset: u64) -> Result<Option<Opened>> {
        if entry.is_none_or(|entry| entry.location.encoding() == Encoding::Plain) {
            return Ok(None);
        }
        let opened = self.find(digest, entry, |location| match location {
            Location::Packed(position, encoding @ Encoding::Zstd(_)) if offset == 0 => {
                let header = Header::blob(Form::Packed, digest, encoding);
                let payload = self.segments.read_payload(position, &header)?;
                Ok(Some(Opened::Packed(frame_of(&payload))))
            }
            Location::File(position, encoding) => match self.files.read(&digest, position, encoding)? {
                LargeFile::Framed(file) => Ok(Some(Opened::Large(file, location))),
                LargeFile::Plain(_) => Ok(None),
            },
            Location::Packed(..) => Ok(None),
        });
        match &opened {
            Ok(Some(_)) => {
                self.metrics.looked_up("read", 1, 0);
                self.metrics.passed_through.inc();
            }
            Ok(None) => {}
            Err(_) => self.metrics.looked_up("read", 0, 1),
        }
        opened
    }

    fn read_stored(&self, digest: Digest, entry: Option<Entry>) -> Result<Stored<Bytes>> {
        match self.open_stored(digest, entry, 0)? {
            Some(Opened::Packed(frame)) => Ok(Stored::Zstd(frame)),
            Some(Opened::Large(file, location)) => {
                let all = file.frames(0..file.table().len());
                all.map(Stored::Zstd).map_err(|error| self.read_failed(digest, location, error))
            }
            None => {
                let read = self.read_whole(digest, entry);
                self.metrics.looked_up("read", usize::from(read.is_ok()), usize::from(read.is_err()));
                read.map(Stored::Plain)
            }
        }
    }
}

/// The frames of a file from the one with `offset` on, of which only the end goes out.
fn frames(
    shared: &Arc<Shared>,
    digest: Digest,
    file: FramedFile,
    location: Location,
    offset: u64,
) -> ByteStream {
    let whole = offset.div_ceil(FRAME);
    let cut = (!offset.is_multiple_of(FRAME)).then(|| Step::Cut(offset..digest.size().min(whole * FRAME)));
    let groups = file.table().groups(whole).into_iter().map(Step::Frames);
    let (shared, file) = (Arc::clone(shared), Arc::new(file));
    let read = move |step| {
        let (reader, file) = (Arc::clone(&shared), Arc::clone(&file));
        let shared = Arc::clone(&shared);
        let read = move || {
            let failed = |error| reader.read_failed(digest, location, error);
            match step {
                Step::Frames(frames) => file.frames(frames).map_err(failed),
                Step::Cut(part) => {
                    let bytes = file.read(part.start, part.end).map_err(failed)?;
                    let frame = Compressor::new().and_then(|mut compressor| compressor.frame(&bytes));
                    let broken = |error| Error::Internal { reason: format!("zstd: {error}") };
                    frame.map(Bytes::from).map_err(broken)
                }
            }
        };
        async move { shared.bounds.run(read).await }
    };
    stream::iter(cut.into_iter().chain(groups)).map(read).buffered(AHEAD).boxed()
}
