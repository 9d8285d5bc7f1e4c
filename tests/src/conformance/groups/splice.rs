//! `SpliceBlob`: a blob from chunks that are there.

use super::{
    blob::Blob,
    expect::{Outcome, ok, refused, same, that},
    rule::rule,
    server::{number, within},
    split::split,
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::reapi::{Digest, SpliceBlobRequest, SpliceBlobResponse, chunking_function::Value};
use tonic::{Code, Status};

pub(super) const RULES: &[Rule] = &[
    rule!(
        "splice.whole",
        "a blob that was spliced from its chunks is served as if it had been uploaded",
        "REAPI 2.12: SpliceBlob",
        [Needs::Splice],
        whole
    ),
    rule!(
        "splice.again",
        "splicing a blob that is there is OK or ALREADY_EXISTS",
        "REAPI 2.12: SpliceBlob",
        [Needs::Splice],
        again
    ),
    rule!(
        "splice.mismatch",
        "chunks that are not the blob are INVALID_ARGUMENT, and the blob does not appear",
        "REAPI 2.12: SpliceBlob",
        [Needs::Splice],
        mismatch
    ),
    rule!(
        "splice.chunk-missing",
        "a chunk that is not there is NOT_FOUND",
        "REAPI 2.12: SpliceBlob",
        [Needs::Splice],
        chunk_missing
    ),
    rule!(
        "splice.no-digest",
        "a request that does not name the blob is INVALID_ARGUMENT",
        "REAPI 2.12: SpliceBlobRequest.blob_digest",
        [Needs::Splice],
        no_digest
    ),
    rule!(
        "splice.then-split",
        "a blob that was spliced can be split",
        "REAPI 2.12: SplitBlob",
        [Needs::Splice, Needs::Split],
        then_split
    ),
];

async fn splice(
    server: &Server,
    blob: Option<Digest>,
    chunks: &[Blob],
) -> Result<SpliceBlobResponse, Status> {
    let request = SpliceBlobRequest {
        instance_name: server.instance().to_owned(),
        blob_digest: blob,
        chunk_digests: chunks.iter().map(|chunk| chunk.digest.clone()).collect(),
        digest_function: number(server.function()),
        chunking_function: Value::Unknown as i32,
    };
    let mut client = server.cas();
    within(server.deadline(), client.splice_blob(request)).await.map(tonic::Response::into_inner)
}

/// Chunks that the server has, one of them twice, and the blob that they are.
async fn parts(server: &Server) -> Outcome<(Blob, Vec<Blob>)> {
    let first = server.stored(700_000).await?;
    let chunks = vec![first.clone(), server.stored(300_000).await?, first, server.stored(1).await?];
    let data: Vec<_> = chunks.iter().flat_map(|chunk| chunk.data.clone()).collect();
    Ok((Blob::new(server.function(), data), chunks))
}

async fn spliced(server: &Server) -> Outcome<(Blob, Vec<Blob>)> {
    let (blob, chunks) = parts(server).await?;
    let answer = ok("SpliceBlob", splice(server, Some(blob.digest.clone()), &chunks).await)?;
    same("blob_digest", &Some(blob.digest.clone()), &answer.blob_digest)?;
    Ok((blob, chunks))
}

async fn whole(server: &Server) -> Outcome {
    let (blob, _) = spliced(server).await?;
    that(server.has(&blob).await?, "the blob is present", "it is missing")?;
    server.serves(&blob).await
}

async fn again(server: &Server) -> Outcome {
    let (blob, chunks) = spliced(server).await?;
    match splice(server, Some(blob.digest), &chunks).await {
        Ok(_) => Ok(()),
        answer => refused("SpliceBlob", &[Code::AlreadyExists], answer),
    }
}

async fn mismatch(server: &Server) -> Outcome {
    let (blob, mut chunks) = parts(server).await?;
    chunks.swap(0, 1);
    let answer = splice(server, Some(blob.digest.clone()), &chunks).await;
    refused("SpliceBlob", &[Code::InvalidArgument], answer)?;
    server.lacks(&blob).await
}

async fn chunk_missing(server: &Server) -> Outcome {
    let (present, absent) = (server.stored(1000).await?, server.fresh(1000));
    let blob = Blob::new(server.function(), [&present.data[..], &absent.data].concat());
    let answer = splice(server, Some(blob.digest.clone()), &[present, absent]).await;
    refused("SpliceBlob", &[Code::NotFound], answer)?;
    server.lacks(&blob).await
}

async fn no_digest(server: &Server) -> Outcome {
    let (_, chunks) = parts(server).await?;
    refused("SpliceBlob", &[Code::InvalidArgument], splice(server, None, &chunks).await)
}

async fn then_split(server: &Server) -> Outcome {
    let (blob, _) = spliced(server).await?;
    let answer = ok("SplitBlob", split(server, &blob, Value::Unknown).await)?;
    let total: i64 = answer.chunk_digests.iter().map(|chunk| chunk.size_bytes).sum();
    same("bytes of the chunks", &blob.digest.size_bytes, &total)
}
