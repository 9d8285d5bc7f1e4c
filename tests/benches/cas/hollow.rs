//! Servers without a store: what the protocol alone costs.
//!
//! - *ceiling*: our own stack (`runtime::serve` with hyper and axum, tonic, prost, the latency metric, the limits and windows
//!   of `cas-server`) over a store that keeps nothing. It parses every digest and verifies every byte that comes in, as a CAS
//!   must, then drops it. Reads give bytes of the size asked for, from memory. Every second digest is missing.
//! - *echo*: a bare tonic server with the same messages, which looks at nothing.

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use prometheus_client::registry::Registry;
use proto::{
    Digest, DigestFunction,
    bytestream::{self, byte_stream_server::ByteStreamServer},
    limits::{MAX_MESSAGE_BYTES, STREAM_CHUNK},
    reapi::{self, content_addressable_storage_server::ContentAddressableStorageServer},
    rpc,
};
use runtime::{
    Latency, Shutdown, SystemClock,
    serve::{Listen, Server},
};
use std::net::SocketAddr;
use tonic::{Request, Response, Status, Streaming, service::Routes};

/// Serves until it is told to stop.
pub(crate) async fn serve(kind: &str, address: SocketAddr) {
    let shutdown = Shutdown::on_signals().unwrap();
    if kind == "--echo" {
        let echo = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(cas(Hollow { verifies: false }))
            .add_service(streams(Hollow { verifies: false }));
        echo.serve_with_shutdown(address, async move { shutdown.requested().await }).await.unwrap();
        return;
    }
    let routes = Routes::new(cas(Hollow { verifies: true })).add_service(streams(Hollow { verifies: true }));
    let latency = Latency::new(SystemClock::shared(), &mut Registry::default(), METHODS);
    let listen = Listen { address, tls_cert: None, tls_key: None, insecure: false };
    let server = Server::bind(listen).await.unwrap();
    server.run(latency.around(routes.into_axum_router()), shutdown).await;
}

const METHODS: &[&str] = &[
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
    "/google.bytestream.ByteStream/Read",
    "/google.bytestream.ByteStream/Write",
];

fn cas(hollow: Hollow) -> ContentAddressableStorageServer<Hollow> {
    ContentAddressableStorageServer::new(hollow)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn streams(hollow: Hollow) -> ByteStreamServer<Hollow> {
    ByteStreamServer::new(hollow)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[derive(Clone, Debug)]
struct Hollow {
    verifies: bool,
}

impl Hollow {
    fn parse(&self, wire: &reapi::Digest) -> Result<Option<Digest>, Status> {
        if !self.verifies {
            return Ok(None);
        }
        let digest = Digest::from_hex(DigestFunction::Sha256, &wire.hash, wire.size_bytes.cast_unsigned());
        digest.map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// The digest that a resource name ends with.
fn named(name: &str) -> Result<Digest, Status> {
    let mut parts = name.rsplit('/');
    let (size, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let size = size.parse().map_err(|_| Status::invalid_argument("no size"))?;
    Digest::from_hex(DigestFunction::Sha256, hash, size).map_err(|e| Status::invalid_argument(e.to_string()))
}

fn ok() -> Option<rpc::Status> {
    Some(rpc::Status::default())
}

#[tonic::async_trait]
impl reapi::content_addressable_storage_server::ContentAddressableStorage for Hollow {
    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<reapi::FindMissingBlobsResponse>, Status> {
        let digests = request.into_inner().blob_digests;
        for digest in &digests {
            self.parse(digest)?;
        }
        let missing_blob_digests = digests.into_iter().skip(1).step_by(2).collect();
        Ok(Response::new(reapi::FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<reapi::BatchUpdateBlobsResponse>, Status> {
        let take = |blob: reapi::batch_update_blobs_request::Request| {
            let wire = blob.digest.unwrap_or_default();
            if let Some(digest) = self.parse(&wire)?
                && digest.function().digest(&blob.data) != digest
            {
                return Err(Status::invalid_argument("other bytes"));
            }
            Ok(reapi::batch_update_blobs_response::Response { digest: Some(wire), status: ok() })
        };
        let responses: Result<_, Status> = request.into_inner().requests.into_iter().map(take).collect();
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses: responses? }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<reapi::BatchReadBlobsResponse>, Status> {
        let give = |wire: reapi::Digest| {
            self.parse(&wire)?;
            let data = vec![1; usize::try_from(wire.size_bytes).unwrap_or_default()];
            Ok(reapi::batch_read_blobs_response::Response {
                digest: Some(wire),
                data: data.into(),
                status: ok(),
                ..Default::default()
            })
        };
        let responses: Result<_, Status> = request.into_inner().digests.into_iter().map(give).collect();
        Ok(Response::new(reapi::BatchReadBlobsResponse { responses: responses? }))
    }

    type GetTreeStream = BoxStream<'static, Result<reapi::GetTreeResponse, Status>>;

    async fn get_tree(
        &self,
        _: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        Err(not_measured())
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(not_measured())
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(not_measured())
    }

    type GetChunkMappingStream = BoxStream<'static, Result<reapi::GetChunkMappingResponse, Status>>;

    async fn get_chunk_mapping(
        &self,
        _: Request<reapi::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(not_measured())
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Result<Response<reapi::RegisterChunkMappingResponse>, Status> {
        Err(not_measured())
    }
}

#[tonic::async_trait]
impl bytestream::byte_stream_server::ByteStream for Hollow {
    type ReadStream = BoxStream<'static, Result<bytestream::ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<bytestream::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let size = usize::try_from(named(&request.into_inner().resource_name)?.size()).unwrap_or_default();
        let memory = Bytes::from(vec![1; STREAM_CHUNK.min(size)]);
        let steps = stream::iter((0..size).step_by(STREAM_CHUNK));
        let give = move |from: usize| {
            Ok(bytestream::ReadResponse { data: memory.slice(..STREAM_CHUNK.min(size - from)) })
        };
        Ok(Response::new(steps.map(give).boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<bytestream::WriteRequest>>,
    ) -> Result<Response<bytestream::WriteResponse>, Status> {
        let mut messages = request.into_inner();
        let mut hasher = DigestFunction::Sha256.hasher();
        let mut digest = None;
        while let Some(message) = messages.message().await? {
            if digest.is_none() {
                digest = Some(named(&message.resource_name)?);
            }
            hasher.update(&message.data);
            if message.finish_write {
                break;
            }
        }
        let actual = hasher.finish();
        if digest.is_some_and(|digest| digest != actual) {
            return Err(Status::invalid_argument("other bytes"));
        }
        Ok(Response::new(bytestream::WriteResponse { committed_size: actual.size().cast_signed() }))
    }

    async fn query_write_status(
        &self,
        request: Request<bytestream::QueryWriteStatusRequest>,
    ) -> Result<Response<bytestream::QueryWriteStatusResponse>, Status> {
        let committed_size = named(&request.into_inner().resource_name)?.size().cast_signed();
        Ok(Response::new(bytestream::QueryWriteStatusResponse { committed_size, complete: true }))
    }
}

fn not_measured() -> Status {
    Status::unimplemented("not measured")
}
