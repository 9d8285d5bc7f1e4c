//! Large blobs as lists of chunks (`SplitBlob`, `SpliceBlob`), cut by content with FastCDC 2020, so that two versions
//! of a blob share most of them. Neither direction holds more than a few chunks in memory.

use super::digest::to_wire;
use bytes::{Bytes, BytesMut};
use cas::{BlobStore, BlobStoreExt as _, ByteStream, Error, Range, status::to_status};
use fastcdc::v2020::{FastCDC, Normalization};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::{Digest, DigestFunction, limits, reapi};
use std::{collections::HashSet, sync::Arc};
use tonic::Status;

/// Bytes of a chunk on average: what the Remote Execution API recommends. Clients cut with the same parameters.
pub(super) const AVERAGE: usize = 512 << 10;
const MIN: usize = AVERAGE / 4;
/// Smaller blobs stay whole.
const MAX: usize = AVERAGE * 4;
const _: () = assert!(MAX as u64 <= limits::MAX_BATCH_BYTES);
/// No exchange of the gear table.
pub(super) const SEED: u32 = 0;

/// Most chunks of one blob: as many digests as fit into a message.
const MAX_CHUNKS: usize = 50_000;

/// Chunks that are read ahead when they are put together.
const AHEAD: usize = 4;

/// Finds the cuts in bytes that come piece by piece.
#[derive(Debug)]
struct Chunker {
    function: DigestFunction,
    /// Not cut yet; less than [`MAX`] between pieces.
    rest: BytesMut,
}

impl Chunker {
    fn new(function: DigestFunction) -> Self {
        Self { function, rest: BytesMut::new() }
    }

    /// The chunks that end within what came so far. At the end, all of them. Takes a while.
    fn push(&mut self, piece: &[u8], end: bool) -> Vec<(Digest, Bytes)> {
        self.rest.extend_from_slice(piece);
        let mut chunks = Vec::new();
        // A cut depends on the next MAX bytes, or on fewer where the blob ends.
        while self.rest.len() >= MAX || (end && !self.rest.is_empty()) {
            let mut cuts = FastCDC::with_level(&self.rest, MIN, AVERAGE, MAX, Normalization::Level2);
            let len = cuts.next().map_or(self.rest.len(), |chunk| chunk.length);
            let chunk = self.rest.split_to(len).freeze();
            chunks.push((self.function.digest(&chunk), chunk));
        }
        chunks
    }
}

/// Splits a blob: its chunks are in the store when this returns, and in use like the blob.
pub(super) async fn split(store: Arc<dyn BlobStore>, blob: Digest) -> Result<Vec<Digest>, Status> {
    let failed = |error: Error| to_status(&error);
    if blob.size() < MAX as u64 {
        let there = store.contains(blob).await.map_err(failed)?;
        return if there { Ok(vec![blob]) } else { Err(to_status(&Error::NotFound { digest: blob })) };
    }
    let mut pieces = store.read(blob, Range::ALL).await.map_err(failed)?;
    let mut chunker = Chunker::new(blob.function());
    let mut digests = Vec::new();
    loop {
        let piece = pieces.try_next().await.map_err(failed)?;
        let end = piece.is_none();
        let cut = tokio::task::spawn_blocking(move || {
            let chunks = chunker.push(&piece.unwrap_or_default(), end);
            (chunker, chunks)
        });
        let (back, chunks) = cut.await.map_err(|error| Status::internal(error.to_string()))?;
        chunker = back;
        digests.extend(chunks.iter().map(|(digest, _)| *digest));
        if digests.len() > MAX_CHUNKS {
            let reason = format!("{blob} has more than {MAX_CHUNKS} chunks: read it as a whole");
            return Err(Status::resource_exhausted(reason));
        }
        keep(&*store, chunks).await.map_err(failed)?;
        if end {
            return Ok(digests);
        }
    }
}

/// Stores the chunks that are not there yet.
async fn keep(store: &dyn BlobStore, chunks: Vec<(Digest, Bytes)>) -> cas::Result<()> {
    let digests: Vec<Digest> = chunks.iter().map(|(digest, _)| *digest).collect();
    let missing: HashSet<Digest> = store.find_missing(&digests).await?.into_iter().collect();
    let new = chunks.into_iter().filter(|(digest, _)| missing.contains(digest)).collect();
    store.write_batch(new).await?.into_iter().collect()
}

/// Puts a blob together from its chunks. It is verified as a whole before anybody sees it.
pub(super) async fn splice(
    store: Arc<dyn BlobStore>,
    blob: Digest,
    chunks: Vec<Digest>,
) -> Result<(), Status> {
    let failed = |error: Error| to_status(&error);
    let total = chunks.iter().map(Digest::size).fold(0, u64::saturating_add);
    if total != blob.size() {
        let reason = format!("the chunks have {total} bytes, and not those of {blob}");
        return Err(Status::invalid_argument(reason));
    }
    // Which is a use of the chunks, also when the blob is there already.
    if let Some(digest) = store.find_missing(&chunks).await.map_err(failed)?.first() {
        return Err(to_status(&Error::NotFound { digest: *digest }));
    }
    let reader = Arc::clone(&store);
    let pieces =
        stream::iter(chunks).map(move |chunk| open(Arc::clone(&reader), chunk)).buffered(AHEAD).try_flatten();
    store.write(blob, pieces.boxed()).await.map_err(failed)
}

async fn open(store: Arc<dyn BlobStore>, chunk: Digest) -> cas::Result<ByteStream> {
    store.read(chunk, Range::ALL).await
}

/// As `SplitBlob` answers.
pub(super) fn answer(chunks: &[Digest]) -> reapi::SplitBlobResponse {
    reapi::SplitBlobResponse {
        chunk_digests: chunks.iter().map(to_wire).collect(),
        chunking_function: reapi::chunking_function::Value::FastCdc2020 as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cas::{memory::MemoryStore, testing::noise};

    /// FastCDC as the paper has it, a byte at a time, with the gear table from its definition.
    fn cuts_by_the_book(bytes: &[u8]) -> Vec<usize> {
        let gear: Vec<u64> = (0..=255u8)
            .map(|byte| {
                let md5 = DigestFunction::Md5.digest(&[byte; 64]);
                u64::from_be_bytes(md5.hash()[..8].try_into().unwrap())
            })
            .collect();
        // 2^19 bytes on average, two bits more before and two bits less after them.
        let masks = (fastcdc::v2020::MASKS[21], fastcdc::v2020::MASKS[17]);
        let (mut lens, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let window = &rest[..rest.len().min(MAX)];
            let mut hash = 0u64;
            let cut = (MIN..window.len() / 2 * 2).find(|&at| {
                hash = (hash << 1).wrapping_add(gear[usize::from(window[at])]);
                hash & if at < AVERAGE.min(window.len()) / 2 * 2 { masks.0 } else { masks.1 } == 0
            });
            let len = cut.unwrap_or(window.len());
            lens.push(len);
            rest = &rest[len..];
        }
        lens
    }

    fn chunk(bytes: &[u8], piece: usize) -> Vec<(Digest, Bytes)> {
        let mut chunker = Chunker::new(DigestFunction::Sha256);
        let mut chunks: Vec<_> = bytes.chunks(piece).flat_map(|piece| chunker.push(piece, false)).collect();
        chunks.extend(chunker.push(b"", true));
        chunks
    }

    #[test]
    fn cuts_are_those_of_the_algorithm_however_the_bytes_come() {
        for (seed, len) in [(1, 20_000_000), (2, 9_000_001), (3, MAX), (4, MIN)] {
            let bytes = noise(seed, len);
            let expected = cuts_by_the_book(&bytes);
            for piece in [999_999, 1 << 20, 30_000_000] {
                let lens: Vec<usize> = chunk(&bytes, piece).iter().map(|(_, chunk)| chunk.len()).collect();
                assert_eq!(lens, expected);
            }
        }
        // Nothing but zeroes has no cut.
        let zeroes = vec![0; 5_000_000];
        let lens: Vec<usize> = chunk(&zeroes, 1 << 20).iter().map(|(_, chunk)| chunk.len()).collect();
        assert_eq!(lens, [MAX, MAX, 5_000_000 - 2 * MAX]);
    }

    #[tokio::test]
    async fn versions_of_a_blob_share_their_chunks() {
        let store: Arc<dyn BlobStore> = Arc::new(MemoryStore::new());
        let old = noise(1, 20_000_000);
        let mut new = old.to_vec();
        new.splice(9_000_000..9_000_000, *b"a few bytes more");
        let old = store.put(DigestFunction::Blake3, old).await.unwrap();
        let new = store.put(DigestFunction::Blake3, new.into()).await.unwrap();
        let old: HashSet<Digest> = split(Arc::clone(&store), old).await.unwrap().into_iter().collect();
        let new = split(Arc::clone(&store), new).await.unwrap();
        assert!(new.len() > 20, "{} chunks", new.len());
        assert!(new.iter().filter(|chunk| !old.contains(chunk)).count() <= 3);
    }
}
