//! `ByteStream.Read`.

use super::{
    expect::{Outcome, ok, refused, same_bytes, that},
    rule::rule,
};
use crate::conformance::{Rule, Server};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "read.whole",
        "a read without offset and limit gives the whole blob",
        "google.bytestream: Read",
        [],
        whole
    ),
    rule!(
        "read.offset",
        "a read begins at read_offset",
        "google.bytestream: ReadRequest.read_offset",
        [],
        offset
    ),
    rule!(
        "read.limit",
        "a read ends after read_limit bytes",
        "google.bytestream: ReadRequest.read_limit",
        [],
        limit
    ),
    rule!(
        "read.limit-above-remainder",
        "a read_limit beyond the end gives what is there",
        "google.bytestream: ReadRequest.read_limit",
        [],
        limit_above_remainder
    ),
    rule!(
        "read.limit-negative",
        "a negative read_limit is refused",
        "google.bytestream: ReadRequest.read_limit",
        [],
        limit_negative
    ),
    rule!(
        "read.offset-at-end",
        "a read_offset equal to the size is OK and gives nothing",
        "google.bytestream: ReadRequest.read_offset",
        [],
        offset_at_end
    ),
    rule!(
        "read.offset-beyond-end",
        "a read_offset beyond the size is OUT_OF_RANGE",
        "google.bytestream: ReadRequest.read_offset",
        [],
        offset_beyond_end
    ),
    rule!(
        "read.offset-negative",
        "a negative read_offset is OUT_OF_RANGE",
        "google.bytestream: ReadRequest.read_offset",
        [],
        offset_negative
    ),
    rule!("read.missing", "a blob that is not there is NOT_FOUND", "REAPI: ByteStream.Read", [], missing),
    rule!(
        "read.wrong-size",
        "the right hash with a wrong size is refused, whatever the range",
        "REAPI: Digest; the size is part of the name",
        [],
        wrong_size
    ),
    rule!(
        "read.metadata",
        "the name of a read ends with the size",
        "REAPI: ByteStream resource names; only uploads have metadata",
        [],
        metadata
    ),
    rule!(
        "read.message-size",
        "no message of a read is larger than 4 MiB",
        "gRPC clients refuse larger messages unless told otherwise",
        [],
        message_size
    ),
];

const SIZE: usize = 11_000;

/// Fails unless a read of a blob of 11,000 bytes with this offset and limit gives this part.
async fn gives(server: &Server, offset: usize, limit: usize, part: std::ops::Range<usize>) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let (from, most) = (offset.try_into().unwrap_or(i64::MAX), limit.try_into().unwrap_or(i64::MAX));
    let what = format!("Read of {SIZE} bytes with offset {offset} and limit {limit}");
    let read = ok(&what, server.read(&server.read_name(&blob), from, most).await)?;
    same_bytes(&format!("bytes {part:?}"), &blob.data[part], &read)
}

/// Fails unless such a read is refused.
async fn refuses(server: &Server, offset: i64, limit: i64, codes: &[Code]) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let what = format!("Read of {SIZE} bytes with offset {offset} and limit {limit}");
    refused(&what, codes, server.read(&server.read_name(&blob), offset, limit).await)
}

async fn whole(server: &Server) -> Outcome {
    gives(server, 0, 0, 0..SIZE).await
}

async fn offset(server: &Server) -> Outcome {
    gives(server, 1, 0, 1..SIZE).await?;
    gives(server, SIZE - 1, 0, SIZE - 1..SIZE).await
}

async fn limit(server: &Server) -> Outcome {
    gives(server, 0, 100, 0..100).await?;
    gives(server, 5000, 100, 5000..5100).await
}

async fn limit_above_remainder(server: &Server) -> Outcome {
    gives(server, 0, SIZE + 1, 0..SIZE).await?;
    gives(server, 5000, SIZE, 5000..SIZE).await
}

async fn limit_negative(server: &Server) -> Outcome {
    refuses(server, 0, -1, &[Code::InvalidArgument, Code::OutOfRange]).await
}

async fn offset_at_end(server: &Server) -> Outcome {
    gives(server, SIZE, 0, SIZE..SIZE).await
}

async fn offset_beyond_end(server: &Server) -> Outcome {
    refuses(server, 11_001, 0, &[Code::OutOfRange]).await
}

async fn offset_negative(server: &Server) -> Outcome {
    refuses(server, -1, 0, &[Code::OutOfRange]).await
}

async fn missing(server: &Server) -> Outcome {
    let name = server.read_name(&server.fresh(SIZE));
    refused("Read", &[Code::NotFound], server.read(&name, 0, 0).await)
}

async fn wrong_size(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    for by in [-10_995, -1, 1] {
        let name = server.name("blobs", blob.function, &blob.resized(by));
        let answer = server.read(&name, 0, 0).await.map(|bytes| format!("{} bytes", bytes.len()));
        refused(&format!("Read of {name}"), &[Code::NotFound, Code::InvalidArgument], answer)?;
    }
    Ok(())
}

async fn metadata(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let name = format!("{}/foo.txt", server.read_name(&blob));
    let answer = server.read(&name, 0, 0).await.map(|bytes| format!("{} bytes", bytes.len()));
    refused(&format!("Read of {name}"), &[Code::InvalidArgument, Code::NotFound], answer)
}

async fn message_size(server: &Server) -> Outcome {
    const MOST: usize = (4 << 20) - 16;
    let blob = server.stored(9_000_000).await?;
    let messages = ok("Read", server.read_messages(&server.read_name(&blob), 0, 0).await)?;
    let largest = messages.iter().map(Vec::len).max().unwrap_or_default();
    that(largest <= MOST, format!("at most {MOST} bytes in a message"), largest.to_string())?;
    same_bytes("the blob", &blob.data, &messages.concat())
}
