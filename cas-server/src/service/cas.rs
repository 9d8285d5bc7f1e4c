//! `ContentAddressableStorage`: presence, and small blobs in batches.

use super::{
    chunks,
    digest::{Named, to_wire},
    tree,
};
use crate::engine::Engine;
use bytes::Bytes;
use cas::{BlobStore as _, status::to_status};
use futures::{StreamExt as _, stream::BoxStream};
use proto::{Digest, DigestError, limits, reapi, rpc};
use reapi::{
    BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest, BatchUpdateBlobsResponse,
    FindMissingBlobsRequest, FindMissingBlobsResponse, batch_read_blobs_response,
    batch_update_blobs_response,
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
        check_total(request.requests.iter().map(|blob| blob.data.len() as u64))?;
        let mut responses = Vec::with_capacity(request.requests.len());
        let (mut blobs, mut places) = (Vec::new(), Vec::new());
        for (place, blob) in request.requests.into_iter().enumerate() {
            let wire = blob.digest.unwrap_or_default();
            let status = match (blob.compressor, named.digest(&wire)) {
                (0, Ok(digest)) => {
                    blobs.push((digest, Bytes::from(blob.data)));
                    places.push(place);
                    None
                }
                (0, Err(error)) => Some(to_rpc(&invalid(error))),
                _ => Some(to_rpc(&Status::invalid_argument("this server takes no compressed blobs"))),
            };
            responses.push(batch_update_blobs_response::Response { digest: Some(wire), status });
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
        let outcomes = self.engine.read_batch(&digests).await.map_err(|error| to_status(&error))?;
        let mut outcomes = outcomes.into_iter();
        let respond = |(wire, digest): (reapi::Digest, Result<Digest, DigestError>)| {
            let unanswered = || Err(cas::Error::Internal { reason: "no answer about this blob".into() });
            let outcome = match digest {
                Ok(_) => outcomes.next().unwrap_or_else(unanswered).map_err(|error| to_status(&error)),
                Err(error) => Err(invalid(error)),
            };
            let (data, status) = match outcome {
                Ok(bytes) => (bytes.into(), rpc::Status::default()),
                Err(status) => (Vec::new(), to_rpc(&status)),
            };
            batch_read_blobs_response::Response {
                digest: Some(wire),
                data,
                status: Some(status),
                ..Default::default()
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
