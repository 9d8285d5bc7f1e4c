//! `ByteStream`: blobs of any size, and parts of them.

use super::resource::{ResourceError, parse_read, parse_write};
use crate::engine::Engine;
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
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status, Streaming};

/// An upload that says nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// The service.
#[derive(Clone, Debug)]
pub(super) struct ByteStreamService {
    engine: Arc<Engine>,
}

impl ByteStreamService {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl proto::bytestream::byte_stream_server::ByteStream for ByteStreamService {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let digest = parse_read(&request.resource_name).map_err(refuse)?;
        let range = range(&request, &digest)?;
        let bytes = self.engine.read(digest, range).await.map_err(|error| to_status(&error))?;
        let messages = bytes.map(|chunk| match chunk {
            Ok(chunk) => Ok(ReadResponse { data: chunk.into() }),
            Err(error) => Err(to_status(&error)),
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let mut messages = request.into_inner();
        let first = next(&mut messages).await.map_err(|error| to_status(&error))?;
        let first =
            first.ok_or_else(|| Status::invalid_argument("the first message must name the resource"))?;
        let digest = parse_write(&first.resource_name).map_err(refuse)?;
        let name = first.resource_name.clone();
        let upload = Upload { messages, name, first: Some(first), offset: 0, finished: false };
        self.engine.write(digest, upload.into_bytes()).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(WriteResponse { committed_size: digest.size().cast_signed() }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let digest = parse_write(&request.into_inner().resource_name).map_err(refuse)?;
        let complete = self.engine.contains(digest).await.map_err(|error| to_status(&error))?;
        // Unfinished uploads start over. Clients take zero for that, and not_found for a failure.
        let committed_size = if complete { digest.size().cast_signed() } else { 0 };
        Ok(Response::new(QueryWriteStatusResponse { committed_size, complete }))
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

/// The messages of one upload.
struct Upload {
    messages: Streaming<WriteRequest>,
    name: String,
    /// Came before the upload was known.
    first: Option<WriteRequest>,
    offset: u64,
    finished: bool,
}

impl Upload {
    /// The bytes in the messages, each checked to be the one that comes next.
    fn into_bytes(self) -> ByteStream {
        stream::try_unfold(self, |mut upload| async move {
            if upload.finished {
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
        Ok(Bytes::from(message.data))
    }
}

fn invalid(reason: String) -> Error {
    Error::Invalid { reason }
}
