//! `ByteStream.Write` of what is right.

use super::{
    blob::{Blob, message, messages},
    expect::{Outcome, ok, same, that},
    rule::rule,
};
use crate::conformance::{Rule, Server};

pub(super) const RULES: &[Rule] = &[
    rule!(
        "write.whole",
        "an upload in several messages commits the blob's size, and the blob is there at once",
        "google.bytestream: Write; Pants demands the exact size",
        [],
        whole
    ),
    rule!(
        "write.large",
        "an upload of 20 MB is stored as it was sent",
        "google.bytestream: Write",
        [],
        large
    ),
    rule!(
        "write.empty-messages",
        "messages without data are no errors, neither between others nor as the last",
        "google.bytestream: WriteRequest.data",
        [],
        empty_messages
    ),
    rule!(
        "write.again",
        "an upload of a blob that is there commits its size",
        "REAPI: ByteStream.Write; Pants demands the exact size",
        [],
        again
    ),
    rule!(
        "write.early-answer",
        "an upload of a blob that is there is answered before all of it has come",
        "REAPI: ByteStream.Write; Bazel and Buck2 stop sending then",
        [],
        early_answer
    ),
    rule!(
        "write.concurrent",
        "uploads of one blob at the same time all succeed",
        "REAPI: ByteStream.Write",
        [],
        concurrent
    ),
];

async fn upload(server: &Server, blob: &Blob, chunk: usize) -> Outcome {
    let committed = ok("Write", server.write(messages(&server.write_name(blob), &blob.data, chunk)).await)?;
    same("committed_size", &blob.digest.size_bytes, &committed)
}

async fn whole(server: &Server) -> Outcome {
    let blob = server.fresh(11_000);
    upload(server, &blob, 1000).await?;
    that(server.has(&blob).await?, "FindMissingBlobs does not list the blob", "it does")?;
    server.serves(&blob).await
}

async fn large(server: &Server) -> Outcome {
    let blob = server.fresh(20_000_000);
    upload(server, &blob, 1 << 20).await?;
    server.serves(&blob).await
}

async fn empty_messages(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let name = server.write_name(&blob);
    let upload = vec![
        message(&name, 0, &[], false),
        message("", 0, &blob.data[..400], false),
        message("", 400, &[], false),
        message("", 400, &blob.data[400..], false),
        message("", 1000, &[], true),
    ];
    same("committed_size", &1000, &ok("Write", server.write(upload).await)?)?;
    server.serves(&blob).await
}

async fn again(server: &Server) -> Outcome {
    let blob = server.stored(300_000).await?;
    upload(server, &blob, 10_000).await
}

async fn early_answer(server: &Server) -> Outcome {
    let blob = server.stored(300_000).await?;
    let mut upload = messages(&server.write_name(&blob), &blob.data, 10_000);
    upload.truncate(1);
    let committed = ok("Write of which one message has come", server.write_open(upload).await)?;
    same("committed_size", &blob.digest.size_bytes, &committed)
}

async fn concurrent(server: &Server) -> Outcome {
    let blob = server.fresh(2_000_000);
    let uploads = (0..4).map(|_| upload(server, &blob, 100_000));
    for outcome in futures::future::join_all(uploads).await {
        outcome?;
    }
    server.serves(&blob).await
}
