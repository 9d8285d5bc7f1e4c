//! `ByteStream`: blobs of any size, and parts of them.

use super::{
    held::Room,
    resource::{Compressor, Resource, ResourceError, parse_read, parse_write},
    zstd::Zstd,
};
use crate::engine::{Engine, UploadName};
use bytes::Bytes;
use cas::{
    BlobStore as _, BlobStoreExt as _, ByteStream, Error, Range,
    status::{from_status, to_status},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use proto::{
    Digest,
    bytestream::{
        QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
        WriteResponse,
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

/// An upload that says nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// How long an upload has after its last byte to say something that it must not.
const END: Duration = Duration::from_secs(1);

/// Says before the message what the message is about, for those who route.
const NAME_HEADER: &str = "build.bazel.remote.execution.v2.resource-name";

/// The service.
#[derive(Clone, Debug)]
pub(super) struct ByteStreamService {
    engine: Arc<Engine>,
    zstd: Zstd,
    uploads: TaskTracker,
}

impl ByteStreamService {
    pub(super) fn new(engine: Arc<Engine>, zstd: Zstd, uploads: TaskTracker) -> Self {
        Self { engine, zstd, uploads }
    }

    /// The size that is committed.
    async fn take(&self, resource: Resource, upload: Upload) -> cas::Result<i64> {
        let digest = resource.digest;
        match resource.compressor {
            Compressor::Identity => {
                // What has its own length knows where it ends, so that an early answer is none that differs.
                let name = UploadName::new(&upload.name, digest);
                let offset = upload.offset;
                let bytes = self.engine.receiving(upload.into_bytes());
                self.engine.resume(name, offset, bytes).await?;
                Ok(digest.size().cast_signed())
            }
            Compressor::Zstd => {
                let whole = Arc::clone(&upload.whole);
                let bytes = self.engine.receiving(upload.into_bytes());
                let bytes = self.zstd.decompress(bytes).await?;
                self.engine.write(digest, bytes).await?;
                // Of an answer before the end the protocol demands that it be -1.
                Ok(match whole.load(Ordering::Relaxed) {
                    UNFINISHED => -1,
                    received => received.cast_signed(),
                })
            }
        }
    }
}

#[tonic::async_trait]
impl proto::bytestream::byte_stream_server::ByteStream for ByteStreamService {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    /// Called by [`reads`](super::reads), which writes the answer.
    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        check_header(request.metadata(), &request.get_ref().resource_name)?;
        let request = request.into_inner();
        let Resource { digest, compressor } = parse_read(&request.resource_name).map_err(refuse)?;
        let range = range(&request, &digest)?;
        if compressor == Compressor::Zstd && range.limit.is_some() {
            return Err(Status::invalid_argument("read_limit must be 0 for a compressed read"));
        }
        let room = self.engine.answer(digest).await.map_err(|error| to_status(&error))?;
        let bytes = match compressor {
            Compressor::Identity => self.engine.read(digest, range).await,
            Compressor::Zstd => self.zstd.read(&self.engine, digest, range.offset).await,
        };
        let messages = bytes.map_err(|error| to_status(&error))?.map(|chunk| match chunk {
            Ok(chunk) => Ok(ReadResponse { data: chunk }),
            Err(error) => Err(to_status(&error)),
        });
        let mut response = Response::new(messages.boxed());
        response.extensions_mut().insert(Room(room));
        Ok(response)
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let (metadata, _, mut messages) = request.into_parts();
        let first = next(&mut messages).await.map_err(|error| to_status(&error))?;
        let first =
            first.ok_or_else(|| Status::invalid_argument("the first message must name the resource"))?;
        check_header(&metadata, &first.resource_name)?;
        let resource = parse_write(&first.resource_name).map_err(refuse)?;
        let negative = |_| Status::invalid_argument("write_offset is negative");
        let begins = u64::try_from(first.write_offset).map_err(negative)?;
        let upload = Upload {
            messages,
            name: first.resource_name.clone(),
            // What came of a compressed upload is not kept.
            offset: if resource.compressor == Compressor::Identity { begins } else { 0 },
            first: Some(first),
            finished: false,
            whole: Arc::new(AtomicU64::new(UNFINISHED)),
        };
        // A call that breaks off is dropped, with all of it that nobody has read yet: as much as a window. Apart from the
        // call that is written, and is there for whoever goes on.
        let service = self.clone();
        let taken = self.uploads.spawn(async move { service.take(resource, upload).await });
        let taken = taken.await.unwrap_or_else(|error| Err(Error::Internal { reason: error.to_string() }));
        let committed_size = taken.map_err(|error| to_status(&error))?;
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        check_header(request.metadata(), &request.get_ref().resource_name)?;
        let name = request.into_inner().resource_name;
        let Resource { digest, compressor } = parse_write(&name).map_err(refuse)?;
        let status = async {
            // In this order: when the upload ends in between, the blob is there.
            let buffered = match compressor {
                Compressor::Identity => self.engine.buffered(UploadName::new(&name, digest)).await?,
                Compressor::Zstd => 0,
            };
            let complete = self.engine.contains(digest).await?;
            // Clients take zero for an upload that has to start over, and not_found for a failure.
            let committed_size = if complete { digest.size() } else { buffered }.cast_signed();
            Ok(QueryWriteStatusResponse { committed_size, complete })
        };
        status.await.map(Response::new).map_err(|error: Error| to_status(&error))
    }
}

fn check_header(metadata: &MetadataMap, name: &str) -> Result<(), Status> {
    match metadata.get(NAME_HEADER) {
        Some(header) if header.as_bytes() != name.as_bytes() => {
            Err(Status::invalid_argument(format!("the header {NAME_HEADER} names another resource")))
        }
        _ => Ok(()),
    }
}

/// The part that a read asks for.
fn range(request: &ReadRequest, digest: &Digest) -> Result<Range, Status> {
    let outside = || {
        let ReadRequest { read_offset, .. } = request;
        Status::out_of_range(format!("offset {read_offset} lies outside of {digest}"))
    };
    let offset = u64::try_from(request.read_offset)
        .ok()
        .filter(|offset| *offset <= digest.size())
        .ok_or_else(outside)?;
    let negative = |_| Status::invalid_argument("read_limit is negative");
    let limit = u64::try_from(request.read_limit).map_err(negative)?;
    Ok(Range { offset, limit: (limit > 0).then_some(limit) })
}

fn refuse(error: ResourceError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The next message. `None`: the client has sent all that it will.
async fn next(messages: &mut Streaming<WriteRequest>) -> cas::Result<Option<WriteRequest>> {
    let idle = |_| Error::Unavailable { reason: "the upload stands still".into() };
    let message = tokio::time::timeout(IDLE, messages.message()).await.map_err(idle)?;
    message.map_err(|status| from_status(&status, None))
}

/// The length of an upload that has not ended.
const UNFINISHED: u64 = u64::MAX;

/// The messages of one upload.
struct Upload {
    messages: Streaming<WriteRequest>,
    name: String,
    /// Came before the upload was known.
    first: Option<WriteRequest>,
    /// Where the next message has to begin.
    offset: u64,
    finished: bool,
    /// Bytes of all messages, when they have ended.
    whole: Arc<AtomicU64>,
}

impl Upload {
    /// The bytes in the messages, each checked to be the one that comes next.
    fn into_bytes(self) -> ByteStream {
        stream::try_unfold(self, |mut upload| async move {
            if upload.finished {
                upload.end().await?;
                return Ok(None);
            }
            let message = match upload.first.take() {
                Some(first) => Some(first),
                None => next(&mut upload.messages).await?,
            };
            let message = message.ok_or_else(|| invalid("the upload ended without finish_write".into()))?;
            Ok(Some((upload.accept(message)?, upload)))
        })
        .boxed()
    }

    /// The client has said that it has sent all. That it goes on is an error; that it goes away is none any more.
    async fn end(&mut self) -> cas::Result<()> {
        if let Ok(Ok(Some(_))) = tokio::time::timeout(END, self.messages.message()).await {
            return Err(invalid("a message came after finish_write".into()));
        }
        self.whole.store(self.offset, Ordering::Relaxed);
        Ok(())
    }

    fn accept(&mut self, message: WriteRequest) -> cas::Result<Bytes> {
        if !message.resource_name.is_empty() && message.resource_name != self.name {
            return Err(invalid("one upload names two resources".into()));
        }
        if u64::try_from(message.write_offset) != Ok(self.offset) {
            let WriteRequest { write_offset, .. } = message;
            return Err(invalid(format!("write_offset is {write_offset}, expected {}", self.offset)));
        }
        self.offset += message.data.len() as u64;
        self.finished = message.finish_write;
        Ok(message.data)
    }
}

fn invalid(reason: String) -> Error {
    Error::Invalid { reason }
}
