//! Blobs that come down as streams, with a deadline for making progress instead of one for the whole.
//!
//! The call is made here and not by the generated client: that one puts a message together from the frames that it comes in,
//! and so copies all of a blob once more than there is need for.

use super::{
    parts::Parts,
    store::Wire,
    stream::{STALL, stalled},
};
use crate::{ByteStream, Error, Result, status};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{future::poll_fn, stream};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use proto::{Digest, bytestream::ReadRequest};
use tokio::time::timeout;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service as _, http},
    service::interceptor::ResponseBody,
};

/// The method.
const READ: &str = "/google.bytestream.ByteStream/Read";

/// Reads `expected` bytes of a blob.
pub(super) async fn read(
    wire: Wire,
    request: &ReadRequest,
    digest: Digest,
    expected: u64,
) -> Result<ByteStream> {
    let answer = timeout(STALL, call(wire, request)).await.map_err(|_| stalled(digest))?;
    let body = answer.map_err(|status| status::from_status(&status, Some(digest)))?;
    let state = Reading { body, parts: Parts::default(), frame: Bytes::new(), digest, expected };
    Ok(Box::pin(stream::try_unfold(state, Reading::next)))
}

/// An answer that has begun.
type Answer = ResponseBody<Body>;

async fn call(mut wire: Wire, request: &ReadRequest) -> Result<Answer, Status> {
    let mut message = BytesMut::with_capacity(5 + request.encoded_len());
    message.put_u8(0);
    message.put_u32(u32::try_from(request.encoded_len()).unwrap_or(u32::MAX));
    message.extend_from_slice(&request.encode_to_vec());
    let request = http::Request::post(READ)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(Full::new(message.freeze())));
    let request = request.map_err(|error| Status::internal(error.to_string()))?;
    poll_fn(|context| wire.poll_ready(context)).await.map_err(|error| Status::from_error(error.into()))?;
    let response = wire.call(request).await.map_err(|error| Status::from_error(error.into()))?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        None if response.status() != http::StatusCode::OK => Err(of_http(response.status())),
        _ => Ok(response.into_body()),
    }
}

/// What an answer of something that does not speak gRPC comes to, as gRPC's `http-grpc-status-mapping` has it.
fn of_http(status: http::StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("the server, or what is in front of it, answered {status}"))
}

struct Reading {
    body: Answer,
    parts: Parts,
    /// What came and was not given away.
    frame: Bytes,
    digest: Digest,
    expected: u64,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let digest = self.digest;
        loop {
            let part = self.parts.next(&mut self.frame).map_err(|error| Error::Internal {
                reason: format!("the answer about {digest} makes no sense: {error}"),
            })?;
            if let Some(part) = part {
                let rest = self.expected.checked_sub(part.len() as u64);
                self.expected = rest.ok_or_else(|| Error::Internal {
                    reason: format!("more bytes than asked for came of {digest}"),
                })?;
                return Ok(Some((part, self)));
            }
            let frame = timeout(STALL, self.body.frame()).await.map_err(|_| stalled(digest))?;
            let frame = frame.transpose().map_err(|status| status::from_status(&status, Some(digest)))?;
            match frame.map(|frame| frame.into_data().map_err(|frame| frame.into_trailers())) {
                Some(Ok(bytes)) => self.frame = bytes,
                Some(Err(Ok(trailers))) => {
                    return self.end(Status::from_header_map(&trailers)).map(|()| None);
                }
                Some(Err(Err(_))) => {}
                None => return self.end(None).map(|()| None),
            }
        }
    }

    /// What the end of an answer with this status, or none, means.
    fn end(&self, status: Option<Status>) -> Result<()> {
        let (digest, rest) = (self.digest, self.expected);
        match status {
            Some(status) if status.code() != Code::Ok => Err(status::from_status(&status, Some(digest))),
            Some(_) if rest == 0 && self.parts.is_whole() => Ok(()),
            // In good order, or cut by something in between, yet early: asking for the rest may give it.
            _ => Err(Error::Unavailable { reason: format!("{rest} bytes of {digest} did not come") }),
        }
    }
}
