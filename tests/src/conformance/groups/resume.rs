//! `QueryWriteStatus`, and uploads that go on where they broke off.

use super::{
    blob::{Blob, message, messages},
    expect::{Outcome, ok, refused, same, that},
    rule::rule,
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::bytestream::QueryWriteStatusResponse;
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "resume.unknown",
        "an upload that never began has committed 0 bytes and is not complete",
        "Bazel begins at 0 then, and gives up after NOT_FOUND",
        [],
        unknown
    ),
    rule!(
        "resume.complete",
        "an upload of a blob that is there is complete and has committed the blob's size",
        "google.bytestream: QueryWriteStatusResponse; Bazel sends nothing then",
        [],
        complete
    ),
    rule!(
        "resume.keeps",
        "what came of an upload that broke off is kept",
        "google.bytestream: QueryWriteStatus; Bazel's deadline covers the whole upload, so a slow one never ends otherwise",
        [],
        keeps
    ),
    rule!(
        "resume.goes-on",
        "an upload goes on from committed_size and commits the whole",
        "google.bytestream: WriteRequest.write_offset",
        [],
        goes_on
    ),
    rule!(
        "resume.grows",
        "committed_size of an upload never becomes less",
        "google.bytestream: QueryWriteStatusResponse.committed_size",
        [],
        grows
    ),
    rule!(
        "resume.begins-again",
        "an upload that broke off can begin again at 0 under the same name",
        "Buck2 repeats uploads like that",
        [],
        begins_again
    ),
    rule!(
        "resume.beyond",
        "an upload cannot go on from beyond committed_size",
        "google.bytestream: WriteRequest.write_offset",
        [],
        beyond
    ),
    rule!(
        "resume.wrong-content",
        "an upload whose parts do not make the blob is INVALID_ARGUMENT, and can be made good afterwards",
        "REAPI: ByteStream.Write",
        [],
        wrong_content
    ),
    rule!(
        "resume.nonsense",
        "a question about a name of another form is refused",
        "google.bytestream: QueryWriteStatus",
        [],
        nonsense
    ),
    rule!(
        "resume.zstd.unknown",
        "a compressed upload that never began has committed 0 bytes and is not complete",
        "Bazel begins at 0 then",
        [Needs::Zstd],
        zstd_unknown
    ),
    rule!(
        "resume.zstd.complete",
        "a compressed upload of a blob that is there is complete",
        "REAPI: compressed-blobs; Bazel sends nothing then",
        [Needs::Zstd],
        zstd_complete
    ),
];

const SIZE: usize = 3_000_000;

async fn query(server: &Server, name: &str) -> Outcome<(usize, bool)> {
    let QueryWriteStatusResponse { committed_size, complete } =
        ok("QueryWriteStatus", server.query(name).await)?;
    let committed = usize::try_from(committed_size);
    let committed = committed.ok().filter(|size| *size <= SIZE);
    let committed = committed.ok_or_else(|| {
        super::server::failed("a committed_size from 0 to the blob's size", committed_size.to_string())
    })?;
    Ok((committed, complete))
}

/// An upload that broke off after two thirds, and how much of it the server has kept.
async fn broken(server: &Server) -> Outcome<(Blob, String, usize)> {
    let blob = server.fresh(SIZE);
    let name = server.write_name(&blob);
    server.write_broken(&name, 0, &blob.data[..SIZE / 3 * 2]).await;
    let (committed, complete) = query(server, &name).await?;
    that(!complete, "complete: false", "complete: true")?;
    let sent = SIZE / 3 * 2;
    that(committed <= sent, format!("at most the {sent} bytes that were sent"), committed.to_string())?;
    Ok((blob, name, committed))
}

/// The rest of an upload.
fn rest(blob: &Blob, name: &str, from: usize) -> Vec<proto::bytestream::WriteRequest> {
    let mut upload = messages(name, &blob.data[from..], 500_000);
    upload.iter_mut().for_each(|message| message.write_offset += from.try_into().unwrap_or(i64::MAX));
    upload
}

async fn unknown(server: &Server) -> Outcome {
    let name = server.write_name(&server.fresh(SIZE));
    same("committed_size and complete", &(0, false), &query(server, &name).await?)
}

async fn complete(server: &Server) -> Outcome {
    for size in [11_000, SIZE] {
        let blob = server.stored(size).await?;
        let status = query(server, &server.write_name(&blob)).await?;
        same("committed_size and complete", &(size, true), &status)?;
    }
    Ok(())
}

async fn keeps(server: &Server) -> Outcome {
    let (_, _, committed) = broken(server).await?;
    that(committed > 0, "some of the 2,000,000 bytes that were sent", "committed_size 0")
}

async fn goes_on(server: &Server) -> Outcome {
    let (blob, name, committed) = broken(server).await?;
    let what = format!("Write from offset {committed}");
    let committed = ok(&what, server.write(rest(&blob, &name, committed)).await)?;
    same("committed_size", &blob.digest.size_bytes, &committed)?;
    server.serves(&blob).await?;
    same("committed_size and complete", &(SIZE, true), &query(server, &name).await?)
}

async fn grows(server: &Server) -> Outcome {
    let (blob, name, first) = broken(server).await?;
    let offset = first.try_into().unwrap_or(i64::MAX);
    server.write_broken(&name, offset, &blob.data[first..SIZE - 1]).await;
    let (second, _) = query(server, &name).await?;
    that(second >= first, format!("committed_size {first} or more"), second.to_string())
}

async fn begins_again(server: &Server) -> Outcome {
    let blob = server.fresh(SIZE);
    let name = server.write_name(&blob);
    server.write_broken(&name, 0, &blob.data[..SIZE / 3 * 2]).await;
    let committed = ok("Write from offset 0", server.write(rest(&blob, &name, 0)).await)?;
    same("committed_size", &blob.digest.size_bytes, &committed)?;
    server.serves(&blob).await
}

async fn beyond(server: &Server) -> Outcome {
    let (blob, name, committed) = broken(server).await?;
    let answer = server.write(rest(&blob, &name, committed + 1)).await;
    let what = format!("Write from offset {} of which {committed} are committed", committed + 1);
    refused(&what, &[Code::InvalidArgument, Code::OutOfRange, Code::FailedPrecondition], answer)?;
    server.lacks(&blob).await
}

async fn wrong_content(server: &Server) -> Outcome {
    let (blob, name, committed) = broken(server).await?;
    let other = blob.with(server.fresh(SIZE).data);
    refused("Write", &[Code::InvalidArgument], server.write(rest(&other, &name, committed)).await)?;
    server.lacks(&blob).await?;
    ok("Write from offset 0", server.write(rest(&blob, &name, 0)).await)?;
    server.serves(&blob).await
}

async fn nonsense(server: &Server) -> Outcome {
    for name in ["", "nonsense", "uploads/u/blobs/zz/5"] {
        let codes = [Code::InvalidArgument, Code::NotFound];
        refused(&format!("QueryWriteStatus of `{name}`"), &codes, server.query(name).await)?;
    }
    Ok(())
}

async fn zstd_unknown(server: &Server) -> Outcome {
    let name = server.zstd_write_name(&server.fresh(SIZE));
    same("committed_size and complete", &(0, false), &query(server, &name).await?)
}

async fn zstd_complete(server: &Server) -> Outcome {
    let blob = server.stored(11_000).await?;
    let status = ok("QueryWriteStatus", server.query(&server.zstd_write_name(&blob)).await)?;
    same("complete", &true, &status.complete)?;
    // A client that sends all the same is answered as if it had been the first.
    let frame = super::blob::compress(&blob.data);
    let upload = vec![message(&server.zstd_write_name(&blob), 0, &frame, true)];
    ok("compressed Write", server.write(upload).await).map(|_| ())
}
