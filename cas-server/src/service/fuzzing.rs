//! Names and compressed bodies, as fuzz targets see them.

use super::{
    resource::{Compressor, Resource, ResourceError, parse_read, parse_write},
    zstd::{Zstd, decompress_blob},
};
use bytes::Bytes;
use cas::{ByteStream, Result};
use proto::Digest;

/// What a read names, and whether it is to be compressed.
pub fn read_name(name: &str) -> Result<(Digest, bool), String> {
    told(parse_read(name))
}

/// What a write names, and whether it comes compressed.
pub fn write_name(name: &str) -> Result<(Digest, bool), String> {
    told(parse_write(name))
}

fn told(parsed: Result<Resource, ResourceError>) -> Result<(Digest, bool), String> {
    let resource = parsed.map_err(|error| error.to_string())?;
    Ok((resource.digest, resource.compressor == Compressor::Zstd))
}

/// The bytes of a compressed upload.
pub async fn inflate(source: ByteStream) -> Result<ByteStream> {
    Zstd::new(0).decompress(source).await
}

/// The bytes of a blob in a batch.
pub fn inflate_at_once(compressed: &[u8], size: usize) -> Result<Bytes> {
    decompress_blob(compressed, size)
}
