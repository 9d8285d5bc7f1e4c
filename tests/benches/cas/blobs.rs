//! Blobs and the messages that carry them, made before the clock starts. SHA-256, which every peer has.

use bytes::Bytes;
use cas::testing::noise;
use futures::{Stream, StreamExt as _, stream};
use proto::{Digest, DigestFunction, bytestream::WriteRequest, reapi};
use std::sync::Arc;

/// Bytes in one message of a stream: between what Bazel sends and what our own clients send.
const CHUNK: usize = 256 * 1024;

/// Blobs in one batch.
pub(crate) const BATCH: usize = 100;

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// As the API writes it.
pub(crate) fn wire(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}

/// A batch of blobs of `size` bytes that no other batch has.
pub(crate) fn batch(number: u64, blobs: usize, size: usize) -> reapi::BatchUpdateBlobsRequest {
    let shared = noise(number, size + blobs);
    let request = |blob: usize| {
        let mut data = shared[blob..blob + size].to_vec();
        let place = (number << 16 | blob as u64).to_le_bytes();
        data[..8].copy_from_slice(&place);
        let digest = Some(wire(&FUNCTION.digest(&data)));
        reapi::batch_update_blobs_request::Request { digest, data: data.into(), ..Default::default() }
    };
    reapi::BatchUpdateBlobsRequest {
        requests: (0..blobs).map(request).collect(),
        digest_function: i32::from(FUNCTION.number()),
        ..Default::default()
    }
}

/// The blobs of a batch by name.
pub(crate) fn names(batch: &reapi::BatchUpdateBlobsRequest) -> Vec<reapi::Digest> {
    batch.requests.iter().filter_map(|request| request.digest.clone()).collect()
}

/// Asks which of them are missing.
pub(crate) fn find(blob_digests: Vec<reapi::Digest>) -> reapi::FindMissingBlobsRequest {
    let digest_function = i32::from(FUNCTION.number());
    reapi::FindMissingBlobsRequest { blob_digests, digest_function, ..Default::default() }
}

/// Asks for their bytes.
pub(crate) fn read(digests: Vec<reapi::Digest>) -> reapi::BatchReadBlobsRequest {
    let digest_function = i32::from(FUNCTION.number());
    reapi::BatchReadBlobsRequest { digests, digest_function, ..Default::default() }
}

/// A large blob: all of one size share all of their bytes but the last, so that they cost no memory.
#[derive(Clone, Debug)]
pub(crate) struct Large {
    body: Bytes,
    tail: [u8; 16],
    pub(crate) digest: Digest,
}

/// Blobs of `size` bytes that no other call has, if `seed` is another one.
pub(crate) fn large(seed: u64, count: usize, size: usize) -> Arc<Vec<Large>> {
    let body = noise(1, (size - 16).min(1 << 20));
    let body = Bytes::from(body.iter().copied().cycle().take(size - 16).collect::<Vec<_>>());
    let mut hashed = FUNCTION.hasher();
    hashed.update(&body);
    let blob = |number: u64| {
        let mut tail = [0; 16];
        tail[..8].copy_from_slice(&seed.to_le_bytes());
        tail[8..].copy_from_slice(&number.to_le_bytes());
        let mut hasher = hashed.clone();
        hasher.update(&tail);
        Large { body: body.clone(), tail, digest: hasher.finish() }
    };
    Arc::new((0..count as u64).map(blob).collect())
}

impl Large {
    /// What `ByteStream` calls it for a read.
    pub(crate) fn name(&self) -> String {
        format!("blobs/{}/{}", self.digest.hex(), self.digest.size())
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.body[..], &self.tail].concat()
    }

    /// The messages of its upload.
    pub(crate) fn upload(&self) -> impl Stream<Item = WriteRequest> + Send + use<> {
        let (body, tail) = (self.body.clone(), self.tail);
        let name = format!(
            "uploads/00000000-0000-4000-8000-{:012x}/{}",
            u64::from(self.digest.hash()[0]),
            self.name()
        );
        let last = body.len() / CHUNK;
        stream::iter(0..=last).map(move |chunk| {
            let from = chunk * CHUNK;
            let mut data = Vec::with_capacity(CHUNK + tail.len());
            data.extend_from_slice(&body[from..body.len().min(from + CHUNK)]);
            if chunk == last {
                data.extend_from_slice(&tail);
            }
            let resource_name = if chunk == 0 { name.clone() } else { String::new() };
            let write_offset = (from as u64).cast_signed();
            WriteRequest { resource_name, write_offset, finish_write: chunk == last, data: data.into() }
        })
    }
}

/// The messages of the upload of these bytes.
pub(crate) fn upload(digest: &reapi::Digest, data: Bytes) -> impl Stream<Item = WriteRequest> + Send + use<> {
    let name = format!("uploads/00000000-0000-4000-8000-000000000001/blobs/{}/{}", digest.hash, data.len());
    let starts = (0..data.len()).step_by(CHUNK);
    stream::iter(starts).map(move |from| {
        let to = data.len().min(from + CHUNK);
        WriteRequest {
            resource_name: if from == 0 { name.clone() } else { String::new() },
            write_offset: (from as u64).cast_signed(),
            finish_write: to == data.len(),
            data: data.slice(from..to),
        }
    })
}
