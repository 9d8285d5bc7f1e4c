//! Blobs that no server has seen, and how they are written on the wire.

use super::expect::{Mismatch, Outcome};
use proto::{DigestFunction, bytestream::WriteRequest, reapi};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use runtime::Entropy;
use std::{io::Read as _, sync::Arc};

/// Bytes and their name.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) function: DigestFunction,
    pub(super) data: Vec<u8>,
    pub(super) digest: reapi::Digest,
}

impl Blob {
    pub(super) fn new(function: DigestFunction, data: Vec<u8>) -> Self {
        let digest = function.digest(&data);
        let digest = reapi::Digest { hash: digest.hex(), size_bytes: size(&data) };
        Self { function, data, digest }
    }

    /// A digest that names nothing: the hash of this blob with another size.
    pub(super) fn resized(&self, by: i64) -> reapi::Digest {
        reapi::Digest { hash: self.digest.hash.clone(), size_bytes: self.digest.size_bytes + by }
    }

    /// The same blob with other bytes below its name.
    pub(super) fn with(&self, data: Vec<u8>) -> Self {
        Self { data, ..self.clone() }
    }
}

/// Random bytes, never the same twice.
#[derive(Debug)]
pub(super) struct Source(Arc<dyn Entropy>);

impl Source {
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self(entropy)
    }

    /// Half of them are such that a compressor has something to do.
    pub(super) fn bytes(&self, length: usize) -> Vec<u8> {
        let mut random = StdRng::seed_from_u64(self.0.next());
        let mut bytes = vec![0; length];
        random.fill_bytes(&mut bytes);
        for run in bytes.chunks_mut(64).skip(1).step_by(2) {
            run.fill(b'.');
        }
        bytes
    }

    /// A UUID of version 4.
    pub(super) fn uuid(&self) -> String {
        let (high, low) = (self.0.next(), self.0.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }
}

/// A length as the wire has it.
pub(super) fn size(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// One message of an upload.
pub(super) fn message(name: &str, offset: i64, data: &[u8], finish_write: bool) -> WriteRequest {
    WriteRequest { resource_name: name.to_owned(), write_offset: offset, finish_write, data: carry(data) }
}

/// A whole upload in messages of at most `chunk` bytes, of which the first has the name.
pub(super) fn messages(name: &str, data: &[u8], chunk: usize) -> Vec<WriteRequest> {
    let mut messages = vec![];
    let mut offset = 0;
    for part in data.chunks(chunk) {
        let name = if offset == 0 { name } else { "" };
        messages.push(message(name, offset, part, false));
        offset += size(part);
    }
    match messages.last_mut() {
        Some(last) => last.finish_write = true,
        None => messages.push(message(name, 0, &[], true)),
    }
    messages
}

/// Bytes as the generated messages have them.
pub(super) fn carry<T: From<Vec<u8>>>(bytes: &[u8]) -> T {
    T::from(bytes.to_vec())
}

/// A zstd frame.
pub(super) fn compress(data: &[u8]) -> Vec<u8> {
    // Writing into memory does not fail.
    zstd::encode_all(data, 3).unwrap_or_default()
}

/// What zstd frames hold, `most` bytes of it.
pub(super) fn decompress(frames: &[u8], most: usize) -> Outcome<Vec<u8>> {
    let invalid = |error: std::io::Error| Mismatch {
        expected: "valid zstd frames".to_owned(),
        seen: format!("{} bytes: {error}", frames.len()),
    };
    let mut data = Vec::new();
    let decoder = zstd::Decoder::new(frames).map_err(invalid)?;
    decoder.take(most as u64 + 1).read_to_end(&mut data).map_err(invalid)?;
    Ok(data)
}
