//! `SplitBlob`: a blob as chunks that it shares with others.

use super::{
    blob::Blob,
    expect::{Outcome, ok, refused, same, same_bytes, that},
    rule::rule,
    server::{failed, number, within},
};
use crate::conformance::{Rule, Server, rule::Needs};
use fastcdc::v2020::{FastCDC, Normalization};
use proto::reapi::{Digest, SplitBlobRequest, SplitBlobResponse, chunking_function::Value};
use tonic::{Code, Status};

pub(super) const RULES: &[Rule] = &[
    rule!(
        "split.whole",
        "the chunks of a blob are there, and in their order they are the blob",
        "REAPI 2.12: SplitBlob",
        [Needs::Split],
        whole
    ),
    rule!(
        "split.no-function",
        "a request that leaves the chunking to the server is served",
        "REAPI 2.12: ChunkingFunction.UNKNOWN is always accepted",
        [Needs::Split],
        no_function
    ),
    rule!(
        "split.missing",
        "a blob that is not there is NOT_FOUND",
        "REAPI 2.12: SplitBlob",
        [Needs::Split],
        missing
    ),
    rule!(
        "split.fast-cdc",
        "chunks by FAST_CDC_2020 end where the algorithm says with the listed parameters",
        "REAPI 2.12: FastCdc2020Params; the crate fastcdc is named as an implementation",
        [Needs::Split, Needs::FastCdc],
        fast_cdc
    ),
    rule!(
        "split.small",
        "a blob below the largest chunk is not cut",
        "REAPI 2.12: FastCdc2020Params",
        [Needs::Split, Needs::FastCdc],
        small
    ),
];

/// Several chunks at the recommended parameters.
const SIZE: usize = 6_000_000;

pub(super) async fn split(
    server: &Server,
    blob: &Blob,
    function: Value,
) -> Result<SplitBlobResponse, Status> {
    let request = SplitBlobRequest {
        instance_name: server.instance().to_owned(),
        blob_digest: Some(blob.digest.clone()),
        digest_function: number(blob.function),
        chunking_function: function as i32,
    };
    let mut client = server.cas();
    within(server.deadline(), client.split_blob(request)).await.map(tonic::Response::into_inner)
}

/// Fails unless the server has these chunks, and they are the blob.
async fn are(server: &Server, chunks: &[Digest], blob: &Blob) -> Outcome {
    let missing = ok("FindMissingBlobs", server.missing(number(blob.function), chunks.to_vec()).await)?;
    same("missing chunks", &vec![], &missing)?;
    let mut whole = Vec::new();
    for chunk in chunks {
        let name = server.name("blobs", blob.function, chunk);
        whole.extend(ok("Read of a chunk", server.read(&name, 0, 0).await)?);
    }
    same_bytes("the blob", &blob.data, &whole)
}

/// A function that the server lists.
fn listed(server: &Server) -> Value {
    let cache = server.cache();
    match (cache.fast_cdc_2020_params, cache.rep_max_cdc_params) {
        (Some(_), _) => Value::FastCdc2020,
        (None, Some(_)) => Value::RepMaxCdc,
        (None, None) => Value::Unknown,
    }
}

async fn whole(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let answer = ok("SplitBlob", split(server, &blob, listed(server)).await)?;
    are(server, &answer.chunk_digests, &blob).await
}

async fn no_function(server: &Server) -> Outcome {
    let blob = server.stored(SIZE).await?;
    let answer = ok("SplitBlob", split(server, &blob, Value::Unknown).await)?;
    are(server, &answer.chunk_digests, &blob).await
}

async fn missing(server: &Server) -> Outcome {
    refused("SplitBlob", &[Code::NotFound], split(server, &server.fresh(SIZE), Value::Unknown).await)
}

async fn fast_cdc(server: &Server) -> Outcome {
    let params = server.cache().fast_cdc_2020_params.unwrap_or_default();
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let average = size(params.avg_chunk_size_bytes);
    let blob = server.stored((average * 12).max(SIZE)).await?;
    let answer = ok("SplitBlob", split(server, &blob, Value::FastCdc2020).await)?;
    same("chunking_function", &(Value::FastCdc2020 as i32), &answer.chunking_function)?;
    let chunker = FastCDC::with_level_and_seed(
        &blob.data,
        average / 4,
        average,
        average * 4,
        Normalization::Level2,
        params.seed.into(),
    );
    let expected: Vec<_> = chunker.map(|chunk| chunk.length as i64).collect();
    let seen: Vec<_> = answer.chunk_digests.iter().map(|digest| digest.size_bytes).collect();
    same("chunk sizes", &expected, &seen)?;
    are(server, &answer.chunk_digests, &blob).await
}

async fn small(server: &Server) -> Outcome {
    let average = server.cache().fast_cdc_2020_params.unwrap_or_default().avg_chunk_size_bytes;
    let below = usize::try_from(average * 4 - 1)
        .map_err(|_| failed("a size that a blob can have", average.to_string()))?;
    let blob = server.stored(below).await?;
    match split(server, &blob, Value::FastCdc2020).await {
        Ok(answer) => {
            let chunks = answer.chunk_digests.len();
            that(chunks == 1, "one chunk, or NOT_FOUND", format!("{chunks} chunks"))
        }
        answer => refused("SplitBlob", &[Code::NotFound], answer),
    }
}
