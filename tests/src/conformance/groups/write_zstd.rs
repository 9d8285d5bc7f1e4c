//! `ByteStream.Write` of `compressed-blobs/zstd`.

use super::{
    blob::{Blob, compress, messages, size},
    expect::{Outcome, ok, refused, that},
    rule::rule,
};
use crate::conformance::{Rule, Server, rule::Needs};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "write.zstd.whole",
        "a compressed upload commits its compressed bytes, and the blob is served uncompressed",
        "REAPI: compressed-blobs; Bazel and Buck2 compare committed_size with what they sent, or -1",
        [Needs::Zstd],
        whole
    ),
    rule!(
        "write.zstd.frames",
        "several frames in a row are one blob",
        "RFC 8878: zstd data is one or more frames; LUCI and parallel compressors send several",
        [Needs::Zstd],
        frames
    ),
    rule!(
        "write.zstd.again",
        "an upload of a blob that is there commits its compressed bytes or -1",
        "REAPI: compressed-blobs, early answers",
        [Needs::Zstd],
        again
    ),
    rule!(
        "write.zstd.early-answer",
        "an upload of a blob that is there is answered before all of it has come",
        "REAPI: compressed-blobs, early answers (-1)",
        [Needs::Zstd],
        early_answer
    ),
    rule!(
        "write.zstd.wrong-content",
        "frames of other bytes are INVALID_ARGUMENT",
        "REAPI: ByteStream.Write",
        [Needs::Zstd],
        wrong_content
    ),
    rule!(
        "write.zstd.nonsense",
        "bytes that are no frames are INVALID_ARGUMENT",
        "REAPI: compressed-blobs",
        [Needs::Zstd],
        nonsense
    ),
    rule!(
        "write.zstd.cut-short",
        "a frame that ends too early is INVALID_ARGUMENT",
        "REAPI: compressed-blobs",
        [Needs::Zstd],
        cut_short
    ),
    rule!(
        "write.zstd.too-long",
        "frames of more bytes than the size says are INVALID_ARGUMENT",
        "REAPI: ByteStream.Write; a small upload must not fill a server",
        [Needs::Zstd],
        too_long
    ),
];

const SIZE: usize = 3_000_000;

/// The committed size of an upload of these bytes below the name of `blob`.
async fn upload(server: &Server, blob: &Blob, bytes: &[u8]) -> Result<i64, tonic::Status> {
    server.write(messages(&server.zstd_write_name(blob), bytes, 100_000)).await
}

async fn commits(server: &Server, blob: &Blob, frames: &[u8]) -> Outcome {
    let committed = ok("compressed Write", upload(server, blob, frames).await)?;
    let sent = size(frames);
    that([sent, -1].contains(&committed), format!("committed_size {sent} or -1"), committed.to_string())?;
    server.serves(blob).await
}

async fn refuses(server: &Server, blob: &Blob, bytes: &[u8]) -> Outcome {
    refused("compressed Write", &[Code::InvalidArgument], upload(server, blob, bytes).await)?;
    server.lacks(blob).await
}

async fn whole(server: &Server) -> Outcome {
    for size in [1, 1000, SIZE] {
        let blob = server.fresh(size);
        commits(server, &blob, &compress(&blob.data)).await?;
    }
    Ok(())
}

async fn frames(server: &Server) -> Outcome {
    let blob = server.fresh(SIZE);
    let frames: Vec<_> = blob.data.chunks(700_000).map(compress).collect();
    commits(server, &blob, &frames.concat()).await
}

async fn again(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    commits(server, &blob, &compress(&blob.data)).await
}

async fn early_answer(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let mut upload = messages(&server.zstd_write_name(&blob), &compress(&blob.data), 10_000);
    upload.truncate(1);
    let committed = ok("compressed Write of which one message has come", server.write_open(upload).await)?;
    that(committed == -1, "committed_size -1", committed.to_string())
}

async fn wrong_content(server: &Server) -> Outcome {
    refuses(server, &server.fresh(SIZE), &compress(&server.fresh(SIZE).data)).await
}

async fn nonsense(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    refuses(server, &blob, &blob.data).await
}

async fn cut_short(server: &Server) -> Outcome {
    let blob = server.fresh(SIZE);
    let frame = compress(&blob.data);
    refuses(server, &blob, &frame[..frame.len() - 1000]).await
}

async fn too_long(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let longer = [&blob.data[..], &vec![0; 100_000_000]].concat();
    refuses(server, &blob, &compress(&longer)).await
}
