//! A server over a store in memory, which may misbehave, behind a wire that may break.

use crate::{
    BlobStore as _, Error, Range, memory::MemoryStore, remote::RemoteStore, status::to_status, testing::noise,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use proto::{
    Digest, DigestFunction,
    bytestream::{
        QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
        WriteResponse,
        byte_stream_server::{ByteStream, ByteStreamServer},
    },
    limits, reapi, rpc,
    v1::{
        WritePatchRequest, WritePatchResponse,
        patches_server::{Patches, PatchesServer},
    },
};
use reapi::{
    BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest, BatchUpdateBlobsResponse,
    FindMissingBlobsRequest, FindMissingBlobsResponse, batch_read_blobs_response,
    batch_update_blobs_response,
    content_addressable_storage_server::{ContentAddressableStorage, ContentAddressableStorageServer},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{
    Request, Response, Status, Streaming,
    service::InterceptorLayer,
    transport::{Certificate, Identity, ServerTlsConfig},
};

/// What is wrong with a server's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mischief {
    None,
    /// Other bytes of the same length.
    Other,
    /// One byte less than there is.
    Shorter,
    /// One byte more than there is.
    Longer,
    /// Nothing about the blobs of a batch.
    Silence,
    /// None to who does not say who calls: with a certificate, a header and for which of its stores.
    Strict,
    /// None to messages that are larger than gRPC takes by default, and to services beside the public protocols.
    Default,
}

/// Stopped when dropped.
pub(super) struct Server {
    pub(super) store: Arc<MemoryStore>,
    address: SocketAddr,
    is_strict: bool,
    pub(super) finds: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(mischief: Mischief) -> Self {
        let store = Arc::new(MemoryStore::new());
        let finds: Arc<AtomicUsize> = Arc::default();
        let service = Service { store: store.clone(), mischief, finds: finds.clone() };
        let most = if mischief == Mischief::Default { 4 << 20 } else { limits::MAX_MESSAGE_BYTES };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = stream::unfold(listener, async |listener| {
            let accepted = listener.accept().await.map(|(connection, _)| connection);
            Some((accepted, listener))
        });
        let patches = (mischief != Mischief::Default).then(|| PatchesServer::new(service.clone()));
        let (is_strict, mut builder) = (mischief == Mischief::Strict, tonic::transport::Server::builder());
        if is_strict {
            builder = builder.tls_config(asks_for_certificates()).unwrap();
        }
        let serving = builder
            .layer(InterceptorLayer::new(
                move |request| if is_strict { knows_the_key(request) } else { Ok(request) },
            ))
            .add_optional_service(patches)
            .add_service(
                ContentAddressableStorageServer::new(service.clone()).max_decoding_message_size(most),
            )
            .add_service(ByteStreamServer::new(service))
            .serve_with_incoming(incoming);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { serving.await.unwrap() });
        Self { store, address, is_strict, finds, tasks }
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.is_strict { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(super) fn client(&self) -> RemoteStore {
        client(self.address)
    }

    /// A client whose connections each break when so many bytes came over them from the server.
    pub(super) async fn client_with_breaks(&mut self, after: u64) -> RemoteStore {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap(), self.address);
        self.tasks.spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(target).await.unwrap();
                let (mut from_near, mut to_near) = near.split();
                let (from_far, mut to_far) = far.split();
                let mut from_far = from_far.take(after);
                // Whichever ends first takes the other and both connections with it.
                tokio::select! {
                    _ = copy(&mut from_near, &mut to_far) => {}
                    _ = copy(&mut from_far, &mut to_near) => {}
                }
            }
        });
        client(address)
    }
}

/// The certificate that a strict server shows, and also trusts, and its key.
pub(super) fn certificate() -> [PathBuf; 2] {
    let dir = runtime::testing::package().join("../cas-server/tests/server/tls");
    ["cert.pem", "key.pem"].map(|name| dir.join(name))
}

fn asks_for_certificates() -> ServerTlsConfig {
    let [certificate, key] = certificate().map(|path| std::fs::read(path).unwrap());
    let trusted = Certificate::from_pem(&certificate);
    ServerTlsConfig::new().identity(Identity::from_pem(certificate, key)).client_ca_root(trusted)
}

fn knows_the_key(request: Request<()>) -> Result<Request<()>, Status> {
    let key = request.metadata().get("x-api-key").and_then(|value| value.to_str().ok());
    if key == Some("a=b") { Ok(request) } else { Err(Status::unauthenticated("who are you?")) }
}

fn client(address: SocketAddr) -> RemoteStore {
    RemoteStore::new(runtime::connect::channel(&address.to_string(), None).unwrap(), "")
}

#[derive(Clone)]
struct Service {
    store: Arc<MemoryStore>,
    mischief: Mischief,
    finds: Arc<AtomicUsize>,
}

impl Service {
    /// Whether it has the store that is asked for: where a strict one has one, all have.
    fn instance(&self, name: &str) -> Result<(), Status> {
        match self.mischief == Mischief::Strict && name != "main" {
            true => Err(Status::invalid_argument(format!("there is no store `{name}`"))),
            false => Ok(()),
        }
    }

    fn resource(&self, name: &str) -> Result<Digest, Status> {
        self.instance(name.split('/').next().unwrap_or_default())?;
        resource(name)
    }

    fn spoil(&self, bytes: Bytes) -> Bytes {
        match self.mischief {
            Mischief::None | Mischief::Silence | Mischief::Strict | Mischief::Default => bytes,
            Mischief::Other => noise(u64::MAX, bytes.len()),
            Mischief::Shorter => bytes.slice(1..),
            Mischief::Longer => [&bytes[..], b"!"].concat().into(),
        }
    }
}

fn failed(error: Error) -> Status {
    to_status(&error)
}

fn status<T>(outcome: &crate::Result<T>) -> Option<rpc::Status> {
    let status = outcome.as_ref().err().map(to_status);
    Some(status.map_or_else(rpc::Status::default, |status| rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    }))
}

fn parse(function: i32, wire: &reapi::Digest) -> Result<Digest, Status> {
    let function =
        DigestFunction::from_number(function).ok_or_else(|| Status::invalid_argument("function"))?;
    let size = u64::try_from(wire.size_bytes).map_err(|_| Status::invalid_argument("size"))?;
    Digest::from_hex(function, &wire.hash, size).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// `…blobs/[blake3/]HASH/SIZE`.
fn resource(name: &str) -> Result<Digest, Status> {
    let invalid = || Status::invalid_argument(format!("`{name}` is not a resource"));
    let mut parts = name.rsplit('/');
    let size = parts.next().and_then(|size| size.parse().ok()).ok_or_else(invalid)?;
    let hash = parts.next().ok_or_else(invalid)?;
    let function = match (parts.next(), hash.len()) {
        (Some("blake3"), _) => DigestFunction::Blake3,
        (_, 40) => DigestFunction::Sha1,
        (_, 64) => DigestFunction::Sha256,
        (_, 96) => DigestFunction::Sha384,
        _ => DigestFunction::Sha512,
    };
    Digest::from_hex(function, hash, size).map_err(|_| invalid())
}

type Never<T> = stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl ContentAddressableStorage for Service {
    async fn find_missing_blobs(
        &self,
        request: Request<FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let request = request.into_inner();
        self.instance(&request.instance_name)?;
        self.finds.fetch_add(1, Ordering::Relaxed);
        let digests = request.blob_digests.iter().map(|wire| parse(request.digest_function, wire));
        let digests = digests.collect::<Result<Vec<_>, _>>()?;
        let missing = self.store.find_missing(&digests).await.map_err(failed)?;
        let missing_blob_digests = missing.into_iter().map(super::super::batch::to_wire).collect();
        Ok(Response::new(FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        let request = request.into_inner();
        self.instance(&request.instance_name)?;
        let mut responses = Vec::new();
        for blob in request.requests {
            let wire = blob.digest.unwrap_or_default();
            let digest = parse(request.digest_function, &wire)?;
            let outcome = self.store.write_batch(vec![(digest, blob.data)]).await.map_err(failed)?.remove(0);
            let status = status(&outcome);
            responses.push(batch_update_blobs_response::Response { digest: Some(wire), status });
        }
        if self.mischief == Mischief::Silence {
            responses.clear();
        }
        // In an order of its own, as the protocol allows.
        responses.reverse();
        Ok(Response::new(BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        let request = request.into_inner();
        self.instance(&request.instance_name)?;
        let mut responses = Vec::new();
        for wire in request.digests {
            let digest = parse(request.digest_function, &wire)?;
            let outcome = self.store.read_batch(&[digest]).await.map_err(failed)?.remove(0);
            let status = status(&outcome);
            let data = outcome.map(|bytes| self.spoil(bytes)).unwrap_or_default();
            responses.push(batch_read_blobs_response::Response {
                digest: Some(wire),
                data,
                status,
                ..Default::default()
            });
        }
        if self.mischief == Mischief::Silence {
            responses.clear();
        }
        responses.reverse();
        Ok(Response::new(BatchReadBlobsResponse { responses }))
    }

    type GetTreeStream = Never<reapi::GetTreeResponse>;

    async fn get_tree(
        &self,
        _: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type GetChunkMappingStream = Never<reapi::GetChunkMappingResponse>;

    async fn get_chunk_mapping(
        &self,
        _: Request<reapi::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Result<Response<reapi::RegisterChunkMappingResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl ByteStream for Service {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let digest = self.resource(&request.resource_name)?;
        let (offset, limit) = (request.read_offset.cast_unsigned(), request.read_limit.cast_unsigned());
        let range = Range { offset, limit: (limit > 0).then_some(limit) };
        let whole = self.store.read_batch(&[digest]).await.map_err(failed)?.remove(0).map_err(failed)?;
        let part = self.spoil(range.of(&whole).map_err(failed)?);
        let chunks = (0..part.len()).step_by(100_000).map(move |at| {
            let data = part.slice(at..part.len().min(at + 100_000));
            Ok(ReadResponse { data })
        });
        Ok(Response::new(stream::iter(chunks.collect::<Vec<_>>()).boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let mut messages = request.into_inner();
        let mut digest = None;
        let mut whole = Vec::new();
        let mut finished = false;
        while let Some(message) = messages.message().await? {
            if digest.is_none() {
                digest = Some(self.resource(&message.resource_name)?);
            }
            if finished || message.write_offset != whole.len() as i64 {
                return Err(Status::invalid_argument("out of order"));
            }
            whole.extend(message.data);
            finished = message.finish_write;
        }
        let digest = digest.filter(|_| finished).ok_or_else(|| Status::invalid_argument("unfinished"))?;
        self.store
            .write_batch(vec![(digest, whole.into())])
            .await
            .map_err(failed)?
            .remove(0)
            .map_err(failed)?;
        let short = i64::from(self.mischief == Mischief::Shorter);
        Ok(Response::new(WriteResponse { committed_size: digest.size().cast_signed() - short }))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl Patches for Service {
    async fn write_patch(
        &self,
        request: Request<WritePatchRequest>,
    ) -> Result<Response<WritePatchResponse>, Status> {
        let WritePatchRequest { base, target, patch, .. } = request.into_inner();
        let [base, target] = [base, target].map(|wire| Digest::try_from(&wire.unwrap()).unwrap());
        self.store.write_patch(base, target, patch).await.map_err(failed)?;
        Ok(Response::new(WritePatchResponse {}))
    }
}
