//! `ByteStream.Write` of what is wrong: refused, and never visible.

use super::{
    blob::{message, messages},
    expect::{Outcome, refused, that},
    rule::rule,
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::{bytestream::WriteRequest, reapi};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "write.no-name",
        "an upload whose first message has no name is refused",
        "google.bytestream: WriteRequest.resource_name",
        [],
        no_name
    ),
    rule!(
        "write.first-offset",
        "an upload that begins behind what is committed is refused",
        "google.bytestream: WriteRequest.write_offset",
        [],
        first_offset
    ),
    rule!(
        "write.next-offset",
        "a message that leaves out or repeats bytes is refused",
        "google.bytestream: WriteRequest.write_offset",
        [],
        next_offset
    ),
    rule!(
        "write.wrong-content",
        "bytes of another hash are INVALID_ARGUMENT",
        "REAPI: ByteStream.Write; clients do not repeat such an upload",
        [],
        wrong_content
    ),
    rule!(
        "write.too-long",
        "more bytes than the size says are INVALID_ARGUMENT",
        "REAPI: ByteStream.Write",
        [],
        too_long
    ),
    rule!(
        "write.too-short",
        "fewer bytes than the size says are INVALID_ARGUMENT",
        "REAPI: ByteStream.Write",
        [],
        too_short
    ),
    rule!(
        "write.without-finish",
        "an upload that ends without finish_write is not complete",
        "google.bytestream: WriteRequest.finish_write",
        [],
        without_finish
    ),
    rule!(
        "write.after-finish",
        "what comes after finish_write is not part of the blob",
        "google.bytestream: WriteRequest.finish_write",
        [],
        after_finish
    ),
    rule!(
        "write.above-blob-limit",
        "a blob above max_cas_blob_size_bytes is INVALID_ARGUMENT as soon as its name is known",
        "REAPI: CacheCapabilities.max_cas_blob_size_bytes",
        [Needs::BlobLimit],
        above_blob_limit
    ),
];

/// Bytes in a message.
const CHUNK: usize = 1000;

/// Fails unless an upload of 5000 bytes that was changed like this is refused, and the blob is not there.
async fn refuses(server: &Server, codes: &[Code], change: impl FnOnce(&mut Vec<WriteRequest>)) -> Outcome {
    let blob = server.fresh(5000);
    let mut upload = messages(&server.write_name(&blob), &blob.data, CHUNK);
    change(&mut upload);
    refused("Write", codes, server.write(upload).await)?;
    server.lacks(&blob).await
}

async fn no_name(server: &Server) -> Outcome {
    refuses(server, &[Code::InvalidArgument], |upload| upload[0].resource_name.clear()).await
}

async fn first_offset(server: &Server) -> Outcome {
    let codes = [Code::InvalidArgument, Code::OutOfRange];
    refuses(server, &codes, |upload| {
        let name = upload.remove(0).resource_name;
        upload[0].resource_name = name;
    })
    .await
}

async fn next_offset(server: &Server) -> Outcome {
    let codes = [Code::InvalidArgument, Code::OutOfRange];
    refuses(server, &codes, |upload| upload[1].write_offset += 1).await?;
    refuses(server, &codes, |upload| upload[1].write_offset = 0).await
}

async fn wrong_content(server: &Server) -> Outcome {
    let (blob, other) = (server.fresh(5000), server.fresh(5000));
    let upload = messages(&server.write_name(&blob), &other.data, CHUNK);
    refused("Write", &[Code::InvalidArgument], server.write(upload).await)?;
    server.lacks(&blob).await?;
    server.lacks(&other).await
}

async fn too_long(server: &Server) -> Outcome {
    let blob = server.fresh(5000);
    let longer = [&blob.data[..], b"more"].concat();
    let upload = messages(&server.write_name(&blob), &longer, CHUNK);
    refused("Write", &[Code::InvalidArgument], server.write(upload).await)?;
    server.lacks(&blob).await
}

async fn too_short(server: &Server) -> Outcome {
    refuses(server, &[Code::InvalidArgument], |upload| {
        upload.truncate(2);
        upload[1].finish_write = true;
    })
    .await
}

async fn without_finish(server: &Server) -> Outcome {
    let blob = server.fresh(5000);
    let mut upload = messages(&server.write_name(&blob), &blob.data, CHUNK);
    upload.truncate(2);
    if let Ok(committed) = server.write(upload).await {
        that(committed < 5000, "an error, or a committed_size below 5000", committed.to_string())?;
    }
    server.lacks(&blob).await
}

async fn after_finish(server: &Server) -> Outcome {
    let blob = server.fresh(5000);
    let mut upload = messages(&server.write_name(&blob), &blob.data, CHUNK);
    upload.push(message("", 5000, b"more", true));
    match server.write(upload).await {
        Ok(committed) => {
            that(committed == 5000, "an error, or committed_size 5000", committed.to_string())?;
            server.serves(&blob).await
        }
        Err(status) => that(
            status.code() == Code::InvalidArgument,
            "INVALID_ARGUMENT, or committed_size 5000",
            super::expect::describe(&status),
        ),
    }
}

async fn above_blob_limit(server: &Server) -> Outcome {
    let size_bytes = server.cache().max_cas_blob_size_bytes.saturating_add(1);
    let digest = reapi::Digest { size_bytes, ..server.fresh(1).digest };
    let name = server.name(&format!("uploads/{}/blobs", server.uuid()), server.function(), &digest);
    let answer = server.write_open(vec![message(&name, 0, b"first bytes", false)]).await;
    refused(&format!("Write of {size_bytes} bytes"), &[Code::InvalidArgument], answer)
}
