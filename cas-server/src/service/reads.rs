//! `ByteStream.Read`, answered with the bytes as they were read: tonic's own answer copies each message into one piece.

use super::bytestream::ByteStreamService;
use axum::{Router, body::Body, extract::State, routing::any};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, LengthLimitError, Limited, StreamBody};
use prost::Message as _;
use proto::{
    bytestream::{ReadRequest, ReadResponse, byte_stream_server::ByteStream as _},
    framing::{PREFIX, READ, READ_DATA, prefix},
};
use std::convert::Infallible;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

/// What begins `data` of a [`ReadResponse`]: its number, and that bytes follow.
const DATA: u8 = (READ_DATA << 3) as u8 | 2;

/// Bytes of a request, which has little more than a name.
const MAX_REQUEST: usize = 64 * 1024;

/// The method alone; the others of its service are tonic's.
pub(super) fn routes(reads: ByteStreamService) -> Router {
    let call = async |State(reads): State<ByteStreamService>, request: Request<Body>| {
        read(&reads, request).await.unwrap_or_else(Status::into_http)
    };
    Router::new().route(READ, any(call)).with_state(reads)
}

async fn read(reads: &ByteStreamService, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let message = Limited::new(body, MAX_REQUEST).collect().await.map_err(|error| match error
        .is::<LengthLimitError>()
    {
        true => Status::invalid_argument(format!("a request has at most {MAX_REQUEST} bytes")),
        false => Status::from_error(error),
    })?;
    let metadata = MetadataMap::from_headers(parts.headers);
    let request = tonic::Request::from_parts(metadata, parts.extensions, parse(message.to_bytes())?);
    let (metadata, messages, extensions) = reads.read(request).await?.into_parts();
    let mut response = Response::new(Body::new(StreamBody::new(frames(messages).map(Ok::<_, Infallible>))));
    *response.headers_mut() = metadata.into_headers();
    *response.extensions_mut() = extensions;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// The one message of a request.
fn parse(mut bytes: Bytes) -> Result<ReadRequest, Status> {
    let other = || Status::invalid_argument("this method takes one message");
    let compressed = bytes.try_get_u8().map_err(|_| other())?;
    let length = bytes.try_get_u32().map_err(|_| other())?;
    if compressed != 0 {
        let mut status = Status::unimplemented("compressed messages are not taken");
        // As gRPC demands, so that who calls may go on without.
        status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
        return Err(status);
    }
    if usize::try_from(length) != Ok(bytes.len()) {
        return Err(other());
    }
    ReadRequest::decode(bytes).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// An answer: what stands before the bytes of each message, and these; then how it ended.
fn frames<S>(messages: S) -> impl Stream<Item = Frame<Bytes>> + Send
where
    S: Stream<Item = Result<ReadResponse, Status>> + Send + Unpin,
{
    let next = |messages: Option<S>| async {
        let mut messages = messages?;
        let end = match messages.next().await {
            Some(Ok(ReadResponse { data })) => {
                return Some((vec![Frame::data(before(data.len())), Frame::data(data)], Some(messages)));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        Some((vec![Frame::trailers(trailers(&end))], None))
    };
    stream::unfold(Some(messages), next).flat_map(stream::iter)
}

/// What stands before so many bytes of a blob.
fn before(data: usize) -> Bytes {
    let field_len = 1 + prost::length_delimiter_len(data);
    let mut field = BytesMut::with_capacity(PREFIX + field_len);
    field.put_slice(&prefix(field_len + data));
    field.put_u8(DATA);
    // There is room.
    let _ = prost::encode_length_delimiter(data, &mut field);
    field.freeze()
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // A message that cannot be sent: the code can.
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(i32::from(Code::Internal)));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_those_of_others_and_their_bytes_are_not_copied() {
        for length in [1, 127, 128, 300_000] {
            let data = Bytes::from(vec![7; length]);
            let message = ReadResponse { data: data.clone() }.encode_to_vec();
            let all: Vec<_> = frames(stream::iter([Ok(ReadResponse { data: data.clone() })])).collect().await;
            let [prefix, sent, end] = <[_; 3]>::try_from(all).unwrap();
            let (prefix, sent) = (prefix.into_data().unwrap(), sent.into_data().unwrap());
            assert_eq!((prefix[0], (&prefix[1..]).get_u32() as usize), (0, message.len()));
            assert_eq!([&prefix[PREFIX..], &sent[..]].concat(), message);
            assert_eq!(sent.as_ptr(), data.as_ptr());
            assert_eq!(end.into_trailers().unwrap()["grpc-status"], "0");
        }
    }

    #[tokio::test]
    async fn an_error_ends_an_answer() {
        let messages = [Err(Status::not_found("no\nmore")), Ok(ReadResponse::default())];
        let all: Vec<_> = frames(stream::iter(messages)).collect().await;
        let [end] = <[_; 1]>::try_from(all).unwrap();
        let end = Status::from_header_map(&end.into_trailers().unwrap()).unwrap();
        assert_eq!((end.code(), end.message()), (Code::NotFound, "no\nmore"));
    }

    #[test]
    fn a_request_is_one_message() {
        let request = ReadRequest { resource_name: "blobs/a/1".into(), ..ReadRequest::default() };
        let message = request.encode_to_vec();
        let whole = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
        assert_eq!(parse(whole.clone().into()).unwrap(), request);
        let code = |bytes: Vec<u8>| parse(bytes.into()).unwrap_err().code();
        assert_eq!(code(whole[..3].to_vec()), Code::InvalidArgument);
        assert_eq!(code(whole[..9].to_vec()), Code::InvalidArgument);
        assert_eq!(code([&whole[..], &whole].concat()), Code::InvalidArgument);
        assert_eq!(code([&[1][..], &whole[1..]].concat()), Code::Unimplemented);
        assert_eq!(code(vec![0, 0, 0, 0, 1, 0xff]), Code::InvalidArgument);
    }
}
