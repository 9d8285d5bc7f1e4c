//! Blobs compressed with zstd on the wire. The work is done on blocking threads, with bounded memory: each stream holds
//! one context and at most one step of output, and only so many streams are under way as memory has room for.

use crate::engine::{Engine, Stored};
use bytes::Bytes;
use cas::{ByteStream, Error, Result};
use futures::{StreamExt as _, stream};
use proto::{Digest, limits};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation as _, OutBuffer};

/// The fastest one: the wire is mostly faster than a better one would be.
const LEVEL: i32 = 1;

/// Windows of senders are at most 8 MiB, which is what every decoder is asked to take.
const WINDOW_LOG: u32 = 23;

/// What a stream that is decompressed is taken to have in memory: the largest window, and steps before and behind it.
const DECODER_BYTES: u64 = 10 << 20;

/// The same for one that is compressed, whose window the level bounds.
const ENCODER_BYTES: u64 = 3 << 20;

/// Bytes that come out of a decoder at a time, however many came in.
const STEP: usize = limits::STREAM_CHUNK;

/// How long a stream waits for others to end before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Below this a frame is about as long as what is in it.
const WORTHWHILE: usize = 128;

/// Compresses and decompresses. Clones share the bound.
#[derive(Clone, Debug)]
pub(super) struct Zstd {
    streams: Arc<Semaphore>,
}

impl Zstd {
    /// With as many streams at a time as `max_memory` has room for.
    pub(super) fn new(max_memory: u64) -> Self {
        let units = usize::try_from(max_memory.max(DECODER_BYTES) >> 20).unwrap_or(usize::MAX);
        Self { streams: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))) }
    }

    async fn permit(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let unavailable =
            || Error::Unavailable { reason: "too many compressed streams are on their way at a time".into() };
        let units = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        let permit =
            tokio::time::timeout(PATIENCE, Arc::clone(&self.streams).acquire_many_owned(units)).await;
        permit.map_err(|_| unavailable())?.map_err(|_| unavailable())
    }

    /// A blob from `offset` on, in frames: those that are stored, if it is stored compressed.
    pub(super) async fn read(&self, engine: &Engine, digest: Digest, offset: u64) -> Result<ByteStream> {
        match engine.read_stored(digest, offset).await? {
            Stored::Zstd(frames) => Ok(frames),
            Stored::Plain(bytes) => self.compress(bytes, digest.size() - offset).await,
        }
    }

    /// One frame of the `size` bytes of `source`.
    async fn compress(&self, source: ByteStream, size: u64) -> Result<ByteStream> {
        let permit = self.permit(ENCODER_BYTES).await?;
        let begin = || {
            let mut encoder = Encoder::new(LEVEL)?;
            encoder.set_pledged_src_size(Some(size))?;
            // What the API expects to be checked is the blob, by its digest.
            encoder.set_parameter(CParameter::ChecksumFlag(false))?;
            Ok(encoder)
        };
        let encoder = begin().map_err(broken)?;
        let state = Compressing { encoder: Some(encoder), source, _permit: permit };
        Ok(stream::try_unfold(state, Compressing::next).boxed())
    }

    /// The bytes in the frames of `source`. Whoever reads them stops when there are more than there should be: no more
    /// than a step is ever decompressed ahead.
    pub(super) async fn decompress(&self, source: ByteStream) -> Result<ByteStream> {
        let permit = self.permit(DECODER_BYTES).await?;
        let mut decoder = Decoder::new().map_err(broken)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(broken)?;
        let state = Decompressing {
            decoder,
            input: Bytes::new(),
            source,
            within: true,
            pending: false,
            _permit: permit,
        };
        Ok(stream::try_unfold(state, Decompressing::next).boxed())
    }
}

/// Runs `work` where it may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = |error: tokio::task::JoinError| Error::Internal { reason: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

struct Compressing {
    /// `None`: the frame has ended.
    encoder: Option<Encoder<'static>>,
    source: ByteStream,
    _permit: OwnedSemaphorePermit,
}

impl Compressing {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while let Some(encoder) = self.encoder.take() {
            let chunk = self.source.next().await.transpose()?;
            let (encoder, bytes) = blocking(move || encode(encoder, chunk).map_err(broken)).await?;
            self.encoder = encoder;
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
        }
        Ok(None)
    }
}

/// Takes the next chunk in, or ends the frame.
fn encode(
    mut encoder: Encoder<'static>,
    chunk: Option<Bytes>,
) -> std::io::Result<(Option<Encoder<'static>>, Bytes)> {
    let chunk_len = chunk.as_ref().map_or(0, Bytes::len);
    let mut output = Vec::with_capacity(zstd::zstd_safe::compress_bound(chunk_len).max(64 * 1024));
    let Some(chunk) = chunk else {
        loop {
            let at = output.len();
            output.reserve(64 * 1024);
            if encoder.finish(&mut OutBuffer::around_pos(&mut output, at), true)? == 0 {
                return Ok((None, output.into()));
            }
        }
    };
    let mut input = InBuffer::around(&chunk);
    while input.pos() < chunk.len() {
        let at = output.len();
        output.reserve(64 * 1024);
        encoder.run(&mut input, &mut OutBuffer::around_pos(&mut output, at))?;
    }
    Ok((Some(encoder), output.into()))
}

struct Decompressing {
    decoder: Decoder<'static>,
    /// Came and was not taken in yet.
    input: Bytes,
    source: ByteStream,
    /// A frame has begun and not ended, or none has begun yet.
    within: bool,
    /// The decoder has more to give without being given any.
    pending: bool,
    _permit: OwnedSemaphorePermit,
}

impl Decompressing {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            if self.input.is_empty() && !self.pending {
                match self.source.next().await.transpose()? {
                    Some(chunk) => self.input = chunk,
                    None if self.within => return Err(invalid("the compressed stream ends within a frame")),
                    None => return Ok(None),
                }
                continue;
            }
            let (state, bytes) = blocking(move || self.step()).await?;
            self = state;
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
        }
    }

    /// Decompresses until a step is full or the input is used up.
    fn step(mut self) -> Result<(Self, Bytes)> {
        let mut output = Vec::with_capacity(STEP);
        loop {
            let at = output.len();
            let mut input = InBuffer::around(&self.input);
            let hint = self.decoder.run(&mut input, &mut OutBuffer::around_pos(&mut output, at));
            let hint = hint.map_err(|error| invalid(&format!("not a zstd stream: {error}")))?;
            let taken = input.pos();
            self.input = self.input.slice(taken..);
            self.within = hint != 0;
            self.pending = self.within && output.len() == STEP;
            let stuck = taken == 0 && output.len() == at;
            if output.len() == STEP || self.input.is_empty() || stuck {
                return Ok((self, output.into()));
            }
        }
    }
}

/// A whole blob, if it gets smaller by that.
pub(super) fn compress_blob(bytes: &[u8]) -> Option<Vec<u8>> {
    let compressed = (bytes.len() >= WORTHWHILE).then(|| zstd::bulk::compress(bytes, LEVEL).ok()).flatten();
    compressed.filter(|compressed| compressed.len() < bytes.len())
}

/// A whole blob of at most `size` bytes.
pub(super) fn decompress_blob(compressed: &[u8], size: usize) -> Result<Bytes> {
    let bytes = zstd::bulk::decompress(compressed, size);
    bytes.map(Bytes::from).map_err(|error| invalid(&format!("not a blob of {size} bytes in zstd: {error}")))
}

fn invalid(reason: &str) -> Error {
    Error::Invalid { reason: reason.to_owned() }
}

fn broken(error: std::io::Error) -> Error {
    Error::Internal { reason: format!("zstd: {error}") }
}

#[cfg(test)]
mod tests;
