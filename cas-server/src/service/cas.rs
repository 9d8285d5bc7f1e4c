//! `ContentAddressableStorage`: presence, and small blobs in batches.

use super::{
    chunks,
    digest::{Named, to_wire},
    tree, zstd,
};
use crate::engine::{Engine, Stored};
use bytes::Bytes;
use cas::{BlobStore as _, status::to_status};
use futures::{StreamExt as _, stream::BoxStream};
use proto::{Digest, DigestError, limits, reapi, rpc};
use reapi::{
    BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest, BatchUpdateBlobsResponse,
    FindMissingBlobsRequest, FindMissingBlobsResponse, batch_read_blobs_response, batch_update_blobs_request,
    batch_update_blobs_response, compressor::Value,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct CasService {
    engine: Arc<Engine>,
}

impl CasService {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

/// A blob as it goes.
type Going = (Value, Bytes);

impl CasService {
    /// The blobs as they go: compressed where the client takes that and it is of use, or is there already.
    async fn read(&self, digests: &[Digest], zstd: bool) -> Result<Vec<cas::Result<Going>>, Status> {
        if !zstd {
            let outcomes = self.engine.read_batch(digests).await.map_err(|error| to_status(&error))?;
            return Ok(outcomes
                .into_iter()
                .map(|outcome| outcome.map(|bytes| (Value::Identity, bytes)))
                .collect());
        }
        let outcomes = self.engine.read_batch_stored(digests).await.map_err(|error| to_status(&error))?;
        let go = |stored: Stored<Bytes>| match stored {
            Stored::Zstd(frames) => (Value::Zstd, frames),
            Stored::Plain(bytes) => match zstd::compress_blob(&bytes) {
                Some(compressed) => (Value::Zstd, compressed.into()),
                None => (Value::Identity, bytes),
            },
        };
        let all = move || outcomes.into_iter().map(|outcome| outcome.map(go)).collect();
        tokio::task::spawn_blocking(all).await.map_err(|error| Status::internal(error.to_string()))
    }
}

type Stream<T> = futures::stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl reapi::content_addressable_storage_server::ContentAddressableStorage for CasService {
    async fn find_missing_blobs(
        &self,
        request: Request<FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let request = request.into_inner();
        let named = Named::parse(request.digest_function).map_err(invalid)?;
        let digests: Result<Vec<_>, _> = request.blob_digests.iter().map(|wire| named.digest(wire)).collect();
        let missing =
            self.engine.find_missing(&digests.map_err(invalid)?).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(FindMissingBlobsResponse {
            missing_blob_digests: missing.iter().map(to_wire).collect(),
        }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        let request = request.into_inner();
        let named = Named::parse(request.digest_function).map_err(invalid)?;
        self.engine.received(request.requests.iter().map(|blob| blob.data.len()).sum());
        let parsed: Vec<_> = request.requests.iter().map(|blob| parse_update(named, blob)).collect();
        let coming = request.requests.iter().zip(&parsed).map(|(blob, parsed)| match parsed {
            Ok((digest, Value::Zstd)) => digest.size().max(blob.data.len() as u64),
            _ => blob.data.len() as u64,
        });
        check_total(coming)?;
        let mut responses = Vec::with_capacity(request.requests.len());
        let mut taken = Vec::new();
        for (place, (blob, parsed)) in request.requests.into_iter().zip(parsed).enumerate() {
            let status = match parsed {
                Ok((digest, compressor)) => {
                    taken.push((place, digest, compressor, blob.data));
                    None
                }
                Err(status) => Some(to_rpc(&status)),
            };
            let digest = Some(blob.digest.unwrap_or_default());
            responses.push(batch_update_blobs_response::Response { digest, status });
        }
        let (mut blobs, mut places) = (Vec::new(), Vec::new());
        for (place, digest, bytes) in decompress(taken).await? {
            match bytes {
                Ok(bytes) => {
                    blobs.push((digest, bytes));
                    places.push(place);
                }
                Err(error) => responses[place].status = Some(to_rpc(&to_status(&error))),
            }
        }
        let outcomes = self.engine.write_batch(blobs).await.map_err(|error| to_status(&error))?;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            let status = outcome.map_or_else(|error| to_rpc(&to_status(&error)), |()| rpc::Status::default());
            responses[place].status = Some(status);
        }
        Ok(Response::new(BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        let request = request.into_inner();
        let named = Named::parse(request.digest_function).map_err(invalid)?;
        let parsed: Vec<_> = request.digests.iter().map(|wire| named.digest(wire)).collect();
        let digests: Vec<Digest> = parsed.iter().filter_map(|digest| digest.as_ref().ok().copied()).collect();
        check_total(digests.iter().map(Digest::size))?;
        let zstd = request.acceptable_compressors.contains(&(Value::Zstd as i32));
        let mut outcomes = self.read(&digests, zstd).await?.into_iter();
        let respond = |(wire, digest): (reapi::Digest, Result<Digest, DigestError>)| {
            let unanswered = || Err(cas::Error::Internal { reason: "no answer about this blob".into() });
            let outcome = match digest {
                Ok(_) => outcomes.next().unwrap_or_else(unanswered).map_err(|error| to_status(&error)),
                Err(error) => Err(invalid(error)),
            };
            let (compressor, data, status) = match outcome {
                Ok((compressor, data)) => (compressor, data, rpc::Status::default()),
                Err(status) => (Value::Identity, Bytes::new(), to_rpc(&status)),
            };
            batch_read_blobs_response::Response {
                digest: Some(wire),
                data,
                compressor: compressor as i32,
                status: Some(status),
            }
        };
        let responses = request.digests.into_iter().zip(parsed).map(respond).collect();
        Ok(Response::new(BatchReadBlobsResponse { responses }))
    }

    type GetTreeStream = BoxStream<'static, Result<reapi::GetTreeResponse, Status>>;

    async fn get_tree(
        &self,
        request: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        let pages = tree::pages(Arc::clone(&self.engine) as _, request.get_ref()).await?;
        Ok(Response::new(pages.boxed()))
    }

    async fn split_blob(
        &self,
        request: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        let request = request.into_inner();
        let named = Named::parse(request.digest_function).map_err(invalid)?;
        let blob = named.required(request.blob_digest.as_ref()).map_err(invalid)?;
        let chunks = chunks::split(Arc::clone(&self.engine) as _, blob).await?;
        Ok(Response::new(chunks::answer(&chunks)))
    }

    async fn splice_blob(
        &self,
        request: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        let request = request.into_inner();
        let named = Named::parse(request.digest_function).map_err(invalid)?;
        let blob = named.required(request.blob_digest.as_ref()).map_err(invalid)?;
        let parts: Result<Vec<_>, _> = request.chunk_digests.iter().map(|wire| named.digest(wire)).collect();
        chunks::splice(Arc::clone(&self.engine) as _, blob, parts.map_err(invalid)?).await?;
        Ok(Response::new(reapi::SpliceBlobResponse { blob_digest: request.blob_digest }))
    }

    type GetChunkMappingStream = Stream<reapi::GetChunkMappingResponse>;

    async fn get_chunk_mapping(
        &self,
        _: Request<reapi::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(Status::unimplemented("this server keeps no chunk mappings"))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<tonic::Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Result<Response<reapi::RegisterChunkMappingResponse>, Status> {
        Err(Status::unimplemented("this server keeps no chunk mappings"))
    }
}

/// What one blob of an update is, and how it comes. One that is larger than a batch may be is refused alone, lest its
/// size, which may be anything, costs the others.
fn parse_update(named: Named, blob: &batch_update_blobs_request::Request) -> Result<(Digest, Value), Status> {
    let digest = match &blob.digest {
        Some(wire) => named.digest(wire),
        None => named.digest(&reapi::Digest::default()),
    };
    let digest = digest.map_err(invalid)?;
    match Value::try_from(blob.compressor) {
        Ok(Value::Zstd) if digest.size() > limits::MAX_BATCH_BYTES => {
            Err(Status::invalid_argument(format!("{digest} is too large for a batch: use ByteStream")))
        }
        Ok(compressor @ (Value::Identity | Value::Zstd)) => Ok((digest, compressor)),
        _ => Err(Status::invalid_argument("this server takes no compressor but zstd")),
    }
}

/// Blobs of a batch, each with its place in the request, as they come.
type Coming = Vec<(usize, Digest, Value, Bytes)>;

/// The blobs themselves.
async fn decompress(coming: Coming) -> Result<Vec<(usize, Digest, cas::Result<Bytes>)>, Status> {
    let any = coming.iter().any(|(_, _, compressor, _)| *compressor == Value::Zstd);
    let decompress = move || {
        let blob = |(place, digest, compressor, bytes): (usize, Digest, Value, Bytes)| match compressor {
            // Its size is within that of a batch.
            Value::Zstd => {
                let size = usize::try_from(digest.size()).unwrap_or(0);
                (place, digest, zstd::decompress_blob(&bytes, size))
            }
            _ => (place, digest, Ok(bytes)),
        };
        coming.into_iter().map(blob).collect()
    };
    if !any {
        return Ok(decompress());
    }
    tokio::task::spawn_blocking(decompress).await.map_err(|error| Status::internal(error.to_string()))
}

/// A batch must fit into one message of the default size.
fn check_total(sizes: impl Iterator<Item = u64>) -> Result<(), Status> {
    let total = sizes.fold(0, u64::saturating_add);
    if total <= limits::MAX_BATCH_BYTES {
        return Ok(());
    }
    let limit = limits::MAX_BATCH_BYTES;
    Err(Status::invalid_argument(format!(
        "a batch of {total} bytes is above the limit of {limit}: split it, or use ByteStream"
    )))
}

fn invalid(error: DigestError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn to_rpc(status: &Status) -> rpc::Status {
    rpc::Status { code: status.code() as i32, message: status.message().to_owned(), details: Vec::new() }
}
