//! Bytes to test with.

use crate::ByteStream;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::DigestFunction;

/// `length` bytes that look random and are the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let block = |counter: u64| {
        let mut input = seed.to_le_bytes().to_vec();
        input.extend(counter.to_le_bytes());
        DigestFunction::Sha512.digest(&input).hash().to_vec()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(64) as u64).flat_map(block).collect();
    bytes.truncate(length);
    bytes.into()
}

/// The bytes as a stream of chunks of `chunk` bytes.
pub fn stream_of(bytes: Bytes, chunk: usize) -> ByteStream {
    let starts: Vec<usize> = (0..bytes.len()).step_by(chunk).collect();
    let chunks = starts.into_iter().map(move |at| Ok(bytes.slice(at..bytes.len().min(at + chunk))));
    stream::iter(chunks).boxed()
}
