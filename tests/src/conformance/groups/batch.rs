//! `BatchUpdateBlobs` and `BatchReadBlobs`.

use super::{
    blob::Blob,
    expect::{Outcome, ok, refused, same, same_bytes, that},
    rule::rule,
    server::{entry, failed, number},
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::reapi::{self, batch_read_blobs_response, batch_update_blobs_request};
use std::collections::BTreeMap;
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "batch.round-trip",
        "a batch that was written can be read",
        "REAPI: BatchUpdateBlobs",
        [],
        round_trip
    ),
    rule!(
        "batch.status",
        "every entry of an answer has a status, also when it is OK",
        "Pants takes a status that is not set for an unknown error",
        [],
        status
    ),
    rule!(
        "batch.read-missing",
        "one blob that is missing is NOT_FOUND, and the others are read",
        "REAPI: BatchReadBlobsResponse.Response.status",
        [],
        read_missing
    ),
    rule!(
        "batch.update-mismatch",
        "one blob with the wrong bytes is INVALID_ARGUMENT, and the others are stored",
        "REAPI: BatchUpdateBlobsResponse.Response.status",
        [],
        update_mismatch
    ),
    rule!(
        "batch.twice",
        "a digest that is in a batch twice is answered",
        "REAPI: BatchReadBlobs; clients do not always remove duplicates",
        [],
        twice
    ),
    rule!("batch.nothing", "a batch of no blobs is OK", "REAPI: BatchUpdateBlobs", [], nothing),
    rule!(
        "batch.at-limit",
        "a batch of exactly max_batch_total_size_bytes is taken and read",
        "REAPI: CacheCapabilities.max_batch_total_size_bytes",
        [Needs::BatchLimit],
        at_limit
    ),
    rule!(
        "batch.read-above-limit",
        "a read of more than max_batch_total_size_bytes is INVALID_ARGUMENT as a whole",
        "REAPI: BatchReadBlobs",
        [Needs::BatchLimit],
        read_above_limit
    ),
    rule!(
        "batch.update-above-limit",
        "an update of more than max_batch_total_size_bytes is INVALID_ARGUMENT as a whole",
        "REAPI: BatchUpdateBlobs",
        [Needs::BatchLimit],
        update_above_limit
    ),
    rule!(
        "batch.unlisted-compressor",
        "a compressor that is not listed for batches is refused",
        "REAPI: CacheCapabilities.supported_batch_update_compressors",
        [],
        unlisted_compressor
    ),
];

/// Codes by hash of an update.
async fn update(
    server: &Server,
    requests: Vec<batch_update_blobs_request::Request>,
) -> Outcome<BTreeMap<String, Option<i32>>> {
    let answer = ok("BatchUpdateBlobs", server.update(number(server.function()), requests).await)?;
    let entry = |r: reapi::batch_update_blobs_response::Response| {
        (r.digest.unwrap_or_default().hash, r.status.map(|status| status.code))
    };
    Ok(answer.responses.into_iter().map(entry).collect())
}

async fn read(
    server: &Server,
    digests: Vec<reapi::Digest>,
) -> Outcome<Vec<batch_read_blobs_response::Response>> {
    let answer = server.read_batch(number(server.function()), digests, vec![]).await;
    Ok(ok("BatchReadBlobs", answer)?.responses)
}

/// The entry of a blob in an answer.
fn of<'a>(
    blob: &Blob,
    responses: &'a [batch_read_blobs_response::Response],
) -> Outcome<&'a batch_read_blobs_response::Response> {
    let found = responses.iter().find(|response| response.digest.as_ref() == Some(&blob.digest));
    found.ok_or_else(|| failed("an entry for each digest", "one digest has none"))
}

async fn round_trip(server: &Server) -> Outcome {
    let blobs: Vec<_> = (1..20).map(|number| server.fresh(number * 100)).collect();
    let codes = update(server, blobs.iter().map(entry).collect()).await?;
    for blob in &blobs {
        same("code", &Some(&Some(0)), &codes.get(&blob.digest.hash))?;
    }
    let responses = read(server, blobs.iter().map(|blob| blob.digest.clone()).collect()).await?;
    same("entries", &blobs.len(), &responses.len())?;
    for blob in &blobs {
        same_bytes("the blob", &blob.data, &of(blob, &responses)?.data)?;
    }
    Ok(())
}

async fn status(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let codes = update(server, vec![entry(&blob)]).await?;
    same("codes of the update", &vec![Some(0)], &codes.into_values().collect())?;
    let responses = read(server, vec![blob.digest]).await?;
    let codes: Vec<_> = responses.iter().map(|r| r.status.as_ref().map(|status| status.code)).collect();
    same("codes of the read", &vec![Some(0)], &codes)
}

async fn read_missing(server: &Server) -> Outcome {
    let (present, absent) = (server.stored(1000).await?, server.fresh(1000));
    let responses = read(server, vec![absent.digest.clone(), present.digest.clone()]).await?;
    let code = of(&absent, &responses)?.status.as_ref().map(|status| status.code);
    same("code of the missing blob", &Some(Code::NotFound as i32), &code)?;
    same_bytes("the other blob", &present.data, &of(&present, &responses)?.data)
}

async fn update_mismatch(server: &Server) -> Outcome {
    let (right, hash, size) = (server.fresh(1000), server.fresh(1000), server.fresh(1000));
    let wrong_hash = hash.with(server.fresh(1000).data);
    let wrong_size = size.with(size.data[1..].to_vec());
    let codes = update(server, [&wrong_hash, &right, &wrong_size].map(entry).to_vec()).await?;
    let expected = [
        (right.digest.hash.clone(), Some(0)),
        (hash.digest.hash.clone(), Some(Code::InvalidArgument as i32)),
        (size.digest.hash.clone(), Some(Code::InvalidArgument as i32)),
    ];
    same("codes", &BTreeMap::from(expected), &codes)?;
    server.serves(&right).await?;
    server.lacks(&hash).await?;
    server.lacks(&size).await
}

async fn twice(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let codes = update(server, vec![entry(&blob), entry(&blob)]).await?;
    same("codes of the update", &vec![Some(0)], &codes.into_values().collect())?;
    let responses = read(server, vec![blob.digest.clone(), blob.digest.clone()]).await?;
    that(!responses.is_empty(), "one or two entries", "none")?;
    responses.iter().try_for_each(|response| same_bytes("the blob", &blob.data, &response.data))
}

async fn nothing(server: &Server) -> Outcome {
    same("entries of the update", &0, &update(server, vec![]).await?.len())?;
    same("entries of the read", &0, &read(server, vec![]).await?.len())
}

async fn at_limit(server: &Server) -> Outcome {
    let (half, limit) = (server.batch_limit() / 2, server.batch_limit());
    let blobs = [server.fresh(half), server.fresh(limit - half)];
    let codes = update(server, blobs.iter().map(entry).collect()).await?;
    same("codes of the update", &vec![Some(0); 2], &codes.into_values().collect())?;
    let responses = read(server, blobs.iter().map(|blob| blob.digest.clone()).collect()).await?;
    for blob in &blobs {
        same_bytes("the blob", &blob.data, &of(blob, &responses)?.data)?;
    }
    Ok(())
}

async fn read_above_limit(server: &Server) -> Outcome {
    let blobs = [server.stored(server.batch_limit()).await?, server.stored(1).await?];
    let digests = blobs.map(|blob| blob.digest).to_vec();
    let answer = server.read_batch(number(server.function()), digests, vec![]).await;
    let entries = answer.map(|answer| format!("{} entries", answer.responses.len()));
    refused("BatchReadBlobs of one byte too many", &[Code::InvalidArgument], entries)
}

async fn update_above_limit(server: &Server) -> Outcome {
    let blobs = [server.fresh(server.batch_limit()), server.fresh(1)];
    let answer = server.update(number(server.function()), blobs.iter().map(entry).collect()).await;
    refused("BatchUpdateBlobs of one byte too many", &[Code::InvalidArgument], answer)
}

async fn unlisted_compressor(server: &Server) -> Outcome {
    let blob = server.fresh(1000);
    let request = batch_update_blobs_request::Request { compressor: 4711, ..entry(&blob) };
    match server.update(number(blob.function), vec![request]).await {
        Err(status) => refused("BatchUpdateBlobs", &[Code::InvalidArgument], Err::<(), _>(status))?,
        Ok(answer) => {
            let codes: Vec<_> = answer.responses.iter().map(|r| r.status.as_ref().map(|s| s.code)).collect();
            same("codes", &vec![Some(Code::InvalidArgument as i32)], &codes)?;
        }
    }
    server.lacks(&blob).await
}
