//! Blobs that come down as streams, with a deadline for making progress instead of one for the whole.
//!
//! The call is made here and not by the generated client: that one puts a message together from the frames that it comes in,
//! and so copies all of a blob once more than there is need for.

use super::{
    parts::Parts,
    store::{STALL, Wire, stalled},
};
use crate::{ByteStream, Error, Result, status};
use bytes::Bytes;
use futures::{future::poll_fn, stream};
use http_body_util::{BodyExt as _, Full};
use proto::{
    Digest,
    bytestream::ReadRequest,
    framing::{READ, framed},
};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Body as HttpBody, Service as _, http},
    service::interceptor::ResponseBody,
};

/// Reads `expected` bytes of a blob.
pub(super) async fn read(
    wire: Wire,
    request: &ReadRequest,
    digest: Digest,
    expected: u64,
) -> Result<ByteStream> {
    let answer = timeout(STALL, call(wire, request)).await.map_err(|_| stalled(digest))?;
    let body = answer.map_err(|status| status::from_status(&status, Some(digest)))?;
    let reading = Reading::new(body, digest, expected, STALL);
    Ok(Box::pin(stream::try_unfold(reading, Reading::next)))
}

async fn call(mut wire: Wire, request: &ReadRequest) -> Result<ResponseBody<Body>, Status> {
    let request = http::Request::post(READ)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(Full::new(framed(request))));
    let request = request.map_err(|error| Status::internal(error.to_string()))?;
    // Without a cause: no other call would be served either, so this is none that passes.
    let gone = |error| Status::unknown(format!("there is no connection any more: {error}"));
    poll_fn(|context| wire.poll_ready(context)).await.map_err(gone)?;
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

/// An answer that has begun.
struct Reading<B> {
    body: B,
    parts: Parts,
    /// What came and was not given away.
    frame: Bytes,
    digest: Digest,
    expected: u64,
    /// How long it may stand still.
    patience: Duration,
}

impl<B: HttpBody<Data = Bytes, Error = Status> + Unpin> Reading<B> {
    fn new(body: B, digest: Digest, expected: u64, patience: Duration) -> Self {
        Self { body, parts: Parts::default(), frame: Bytes::new(), digest, expected, patience }
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let digest = self.digest;
        // Around all of it: what comes and is no part of the blob is no progress.
        let part = timeout(self.patience, self.part()).await.map_err(|_| stalled(digest))??;
        Ok(part.map(|part| (part, self)))
    }

    /// The next bytes of the blob. `None`: that was all.
    async fn part(&mut self) -> Result<Option<Bytes>> {
        let digest = self.digest;
        let internal = |reason| Error::Internal { reason };
        loop {
            let part = self.parts.next(&mut self.frame);
            let part =
                part.map_err(|why| internal(format!("the answer about {digest} makes no sense: {why}")))?;
            if let Some(part) = part {
                let rest = self.expected.checked_sub(part.len() as u64);
                self.expected =
                    rest.ok_or_else(|| internal(format!("more bytes than asked for came of {digest}")))?;
                return Ok(Some(part));
            }
            // Frames that are there already must not keep others, the deadline among them, from their turn.
            tokio::task::coop::consume_budget().await;
            let Some(frame) = self.body.frame().await else { return self.end(None) };
            let frame = frame.map_err(|status| status::from_status(&status, Some(digest)))?;
            match frame.into_data() {
                Ok(bytes) => self.frame = bytes,
                Err(frame) => {
                    // There is nothing else in HTTP so far.
                    if let Ok(trailers) = frame.into_trailers() {
                        return self.end(Status::from_header_map(&trailers));
                    }
                }
            }
        }
    }

    /// What the end of an answer with this status, or none, means.
    fn end(&self, status: Option<Status>) -> Result<Option<Bytes>> {
        let (digest, rest) = (self.digest, self.expected);
        match status {
            Some(status) if status.code() != Code::Ok => Err(status::from_status(&status, Some(digest))),
            Some(_) if !self.parts.is_whole() => Err(Error::Internal {
                reason: format!("the answer about {digest} ended in good order in the middle of a message"),
            }),
            Some(_) if rest == 0 => Ok(None),
            // In good order, or cut by something in between, yet early: asking for the rest may give it.
            _ => Err(Error::Unavailable {
                reason: format!("the answer about {digest} ended early, {rest} bytes before its end"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt as _;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proto::{DigestFunction, bytestream::ReadResponse};

    type Came = Result<Frame<Bytes>, Status>;

    /// A message with a part of the blob.
    fn part(bytes: &'static [u8]) -> Bytes {
        framed(&ReadResponse { data: Bytes::from_static(bytes) })
    }

    fn data(bytes: Bytes) -> Came {
        Ok(Frame::data(bytes))
    }

    fn trailers(status: Option<Status>) -> Came {
        let mut trailers = http::HeaderMap::new();
        if let Some(status) = status {
            status.add_header(&mut trailers).unwrap();
        }
        Ok(Frame::trailers(trailers))
    }

    fn ok() -> Came {
        trailers(Some(Status::ok("")))
    }

    /// What is made of an answer about `abc`.
    async fn read(frames: Vec<Came>) -> Result<Vec<u8>> {
        let digest = DigestFunction::Blake3.digest(b"abc");
        let reading = Reading::new(StreamBody::new(stream::iter(frames)), digest, 3, STALL);
        let parts: Vec<Bytes> = stream::try_unfold(reading, Reading::next).try_collect().await?;
        Ok(parts.concat())
    }

    #[tokio::test]
    async fn an_answer_that_is_whole_is_the_blob_however_it_is_cut() {
        let whole = part(b"abc");
        for cut in 0..=whole.len() {
            let frames = vec![data(whole.slice(..cut)), data(whole.slice(cut..)), ok()];
            assert_eq!(read(frames).await.unwrap(), b"abc", "cut at {cut}");
        }
        let messages = [part(b"a"), part(b""), part(b"bc")].concat();
        assert_eq!(read(vec![data(messages.into()), ok()]).await.unwrap(), b"abc");
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_is_asked_for_again_and_one_that_makes_no_sense_is_not() {
        let lost = || Err(Status::from_error("reset".into()));
        let early: [Vec<Came>; 6] = [
            vec![],
            vec![ok()],
            vec![data(part(b"ab")), ok()],
            vec![data(part(b"abc"))],
            vec![data(part(b"abc")), trailers(None)],
            vec![data(part(b"ab")), lost()],
        ];
        for (at, frames) in early.into_iter().enumerate() {
            let error = read(frames).await.unwrap_err();
            assert!(matches!(error, Error::Unavailable { .. }), "{at}: {error}");
        }
        let nonsense: [Vec<Came>; 4] = [
            vec![data(part(b"abcd")), ok()],
            vec![data(part(b"abc")), data(Bytes::from_static(&[0, 0])), ok()],
            vec![data(part(b"ab").slice(..7)), ok()],
            vec![data("<html>".into()), ok()],
        ];
        for (at, frames) in nonsense.into_iter().enumerate() {
            let error = read(frames).await.unwrap_err();
            assert!(matches!(error, Error::Internal { .. }), "{at}: {error}");
        }
    }

    #[tokio::test]
    async fn an_error_at_the_end_is_that_of_the_server() {
        let gone = trailers(Some(Status::not_found("evicted")));
        assert!(matches!(read(vec![data(part(b"ab")), gone]).await, Err(Error::NotFound { .. })));
        let busy = trailers(Some(Status::unavailable("stopping")));
        assert!(matches!(read(vec![data(part(b"abc")), busy]).await, Err(Error::Unavailable { .. })));
    }

    #[tokio::test]
    async fn an_answer_that_has_everything_but_the_blob_stands_still() {
        let digest = DigestFunction::Blake3.digest(b"abc");
        // Messages without anything in them, as many as anybody takes.
        let body = StreamBody::new(stream::iter(std::iter::repeat_with(|| data(part(b"")))));
        let patience = Duration::from_millis(50);
        let outcome = Reading::new(body, digest, 3, patience).next().await.map(drop);
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { reason } if reason.contains("no progress")), "{error}");
    }

    #[test]
    fn answers_of_what_does_not_speak_grpc_are_told_apart() {
        let error = |code| status::from_status(&of_http(http::StatusCode::from_u16(code).unwrap()), None);
        assert!([429, 502, 503, 504].iter().all(|code| matches!(error(*code), Error::Unavailable { .. })));
        assert!([401, 403].iter().all(|code| matches!(error(*code), Error::Denied { .. })));
        assert!(matches!(error(404), Error::Invalid { .. }));
        assert!([400, 500].iter().all(|code| matches!(error(*code), Error::Internal { .. })));
    }
}
