//! `ByteStream.Read` of `compressed-blobs/zstd`.

use super::{
    blob::{Blob, decompress},
    expect::{Outcome, ok, refused, same_bytes, that},
    rule::rule,
};
use crate::conformance::{Rule, Server, rule::Needs};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "read.zstd.whole",
        "a compressed read gives zstd frames of the whole blob",
        "REAPI: compressed-blobs; every blob is served in every listed compressor",
        [Needs::Zstd],
        whole
    ),
    rule!(
        "read.zstd.offset",
        "read_offset counts uncompressed bytes, and what comes are new frames from there on",
        "REAPI: compressed-blobs; clients go on with a read that broke off",
        [Needs::Zstd],
        offset
    ),
    rule!(
        "read.zstd.offset-at-end",
        "a read_offset equal to the size is OK and decompresses to nothing",
        "REAPI: compressed-blobs",
        [Needs::Zstd],
        offset_at_end
    ),
    rule!(
        "read.zstd.offset-beyond-end",
        "a read_offset beyond the uncompressed size is OUT_OF_RANGE",
        "google.bytestream: ReadRequest.read_offset",
        [Needs::Zstd],
        offset_beyond_end
    ),
    rule!(
        "read.zstd.limit",
        "a read_limit with compression is INVALID_ARGUMENT",
        "REAPI: compressed-blobs",
        [Needs::Zstd],
        limit
    ),
    rule!(
        "read.zstd.empty",
        "the empty blob is a valid zstd frame",
        "REAPI: compressed-blobs; decoders fail on no bytes at all",
        [Needs::Zstd],
        empty
    ),
    rule!(
        "read.zstd.missing",
        "a blob that is not there is NOT_FOUND",
        "REAPI: ByteStream.Read",
        [Needs::Zstd],
        missing
    ),
];

const SIZE: usize = 3_000_000;

async fn read(server: &Server, blob: &Blob, offset: usize) -> Outcome<Vec<u8>> {
    let what = format!("compressed Read of {} bytes with offset {offset}", blob.data.len());
    let offset = offset.try_into().unwrap_or(i64::MAX);
    ok(&what, server.read(&server.zstd_read_name(blob), offset, 0).await)
}

async fn whole(server: &Server) -> Outcome {
    for size in [1, 1000, SIZE] {
        let blob = server.stored(size).await?;
        let frames = read(server, &blob, 0).await?;
        same_bytes("the blob", &blob.data, &decompress(&frames, size)?)?;
    }
    Ok(())
}

async fn offset(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    for offset in [1, 1_048_577, SIZE - 1] {
        let frames = read(server, &blob, offset).await?;
        same_bytes(
            &format!("what follows byte {offset}"),
            &blob.data[offset..],
            &decompress(&frames, SIZE)?,
        )?;
    }
    Ok(())
}

async fn offset_at_end(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let frames = read(server, &blob, SIZE).await?;
    same_bytes("nothing", &[], &decompress(&frames, SIZE)?)
}

async fn offset_beyond_end(server: &Server) -> Outcome {
    let blob = server.stored(1000).await?;
    refused("Read", &[Code::OutOfRange], server.read(&server.zstd_read_name(&blob), 1001, 0).await)
}

async fn limit(server: &Server) -> Outcome {
    let blob = server.stored(1000).await?;
    refused("Read", &[Code::InvalidArgument], server.read(&server.zstd_read_name(&blob), 0, 100).await)
}

async fn empty(server: &Server) -> Outcome {
    let frames = read(server, &Blob::new(server.function(), Vec::new()), 0).await?;
    that(!frames.is_empty(), "a zstd frame", "no bytes")?;
    same_bytes("the empty blob", &[], &decompress(&frames, 100)?)
}

async fn missing(server: &Server) -> Outcome {
    let name = server.zstd_read_name(&server.fresh(1000));
    refused("Read", &[Code::NotFound], server.read(&name, 0, 0).await)
}
