//! Batches with compression.

use super::{
    blob::{Blob, carry, compress, decompress},
    expect::{Outcome, ok, same, same_bytes, that},
    rule::rule,
    server::{entry, number},
};
use crate::conformance::{
    Rule, Server,
    rule::{Needs, ZSTD},
};
use proto::reapi::batch_update_blobs_request::Request;
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "batch.identity-only",
        "a read that accepts no compressor is answered without",
        "REAPI: BatchReadBlobsRequest.acceptable_compressors",
        [],
        identity_only
    ),
    rule!(
        "batch.zstd.update",
        "a compressed blob in an update is stored",
        "REAPI: BatchUpdateBlobsRequest.Request.compressor",
        [Needs::ZstdBatches],
        update
    ),
    rule!(
        "batch.zstd.update-nonsense",
        "a compressed blob that does not decompress to its digest is INVALID_ARGUMENT",
        "REAPI: BatchUpdateBlobs",
        [Needs::ZstdBatches],
        update_nonsense
    ),
    rule!(
        "batch.zstd.read",
        "a read that accepts zstd is answered with the blob, compressed or not, and says which",
        "REAPI: BatchReadBlobsResponse.Response.compressor",
        [Needs::Zstd],
        read
    ),
];

fn compressed(blob: &Blob, bytes: &[u8]) -> Request {
    Request { compressor: ZSTD, data: carry(bytes), ..entry(blob) }
}

async fn codes(server: &Server, requests: Vec<Request>) -> Outcome<Vec<Option<i32>>> {
    let answer = ok("BatchUpdateBlobs", server.update(number(server.function()), requests).await)?;
    Ok(answer.responses.into_iter().map(|r| r.status.map(|status| status.code)).collect())
}

async fn identity_only(server: &Server) -> Outcome {
    let blob = server.stored(10_000).await?;
    let answer = server.read_batch(number(blob.function), vec![blob.digest], vec![]).await;
    for response in ok("BatchReadBlobs", answer)?.responses {
        same("compressor", &0, &response.compressor)?;
        same_bytes("the blob", &blob.data, &response.data)?;
    }
    Ok(())
}

async fn update(server: &Server) -> Outcome {
    let (packed, plain) = (server.fresh(100_000), server.fresh(1000));
    let requests = vec![compressed(&packed, &compress(&packed.data)), entry(&plain)];
    same("codes", &vec![Some(0); 2], &codes(server, requests).await?)?;
    server.serves(&packed).await?;
    server.serves(&plain).await
}

async fn update_nonsense(server: &Server) -> Outcome {
    let blobs = [server.fresh(1000), server.fresh(1000), server.fresh(1000)];
    let longer = [&blobs[2].data[..], &vec![0; 20_000_000]].concat();
    let requests = vec![
        compressed(&blobs[0], &blobs[0].data),
        compressed(&blobs[1], &compress(&server.fresh(1000).data)),
        compressed(&blobs[2], &compress(&longer)),
    ];
    let refused = vec![Some(Code::InvalidArgument as i32); 3];
    same("codes", &refused, &codes(server, requests).await?)?;
    for blob in &blobs {
        server.lacks(blob).await?;
    }
    Ok(())
}

async fn read(server: &Server) -> Outcome {
    let blob = server.stored(100_000).await?;
    let answer = server.read_batch(number(blob.function), vec![blob.digest], vec![ZSTD]).await;
    let responses = ok("BatchReadBlobs", answer)?.responses;
    same("entries", &1, &responses.len())?;
    for response in responses {
        let compressor = response.compressor;
        that([0, ZSTD].contains(&compressor), "IDENTITY or ZSTD", compressor.to_string())?;
        let data = response.data.to_vec();
        let data = if compressor == ZSTD { decompress(&data, 100_000)? } else { data };
        same_bytes("the blob", &blob.data, &data)?;
    }
    Ok(())
}
