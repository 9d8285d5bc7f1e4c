//! What HTTP can ask of a blob beside all of it as it is: a part (`Range`), or less bytes on the wire (zstd).

use super::zstd::Zstd;
use crate::engine::Engine;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use cas::{BlobStore as _, ByteStream, Error, Range, Result};
use futures::{StreamExt as _, stream};
use proto::Digest;

/// Bytes of the blob itself, where the body is compressed or has no length.
const SIZE: HeaderName = HeaderName::from_static("x-digest-sizebytes");

/// What a client asks to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Compressed,
    Part(Range),
    /// A part that is not there.
    Nothing,
}

/// The blob as these headers of a request ask for it.
pub(super) async fn get(engine: &Engine, zstd: &Zstd, digest: Digest, asked: &HeaderMap) -> Result<Response> {
    let size = digest.size();
    let (status, range, encoding) = match wanted(asked, size) {
        Wanted::Whole => (StatusCode::OK, Range::ALL, None),
        Wanted::Compressed => (StatusCode::OK, Range::ALL, Some("zstd")),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range, None),
        Wanted::Nothing => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    let bytes = match encoding {
        Some(_) => zstd.read(engine, digest, 0).await?,
        None => engine.read(digest, range).await?,
    };
    let len = if encoding.is_none() { Some(range.limit.unwrap_or(size)) } else { None };
    let mut response = body(bytes, len).await?.into_response();
    *response.status_mut() = status;
    describe(response.headers_mut(), &digest, range, encoding);
    Ok(response)
}

/// A body of `len` bytes. What comes in one piece goes out together with the head, and what fails at its beginning is
/// answered by a status.
async fn body(mut bytes: ByteStream, len: Option<u64>) -> Result<Body> {
    let Some(first) = bytes.next().await.transpose()? else { return Ok(Body::empty()) };
    if len == Some(first.len() as u64) {
        return Ok(Body::from(first));
    }
    Ok(Body::from_stream(stream::iter([Ok(first)]).chain(bytes)))
}

/// What the answer to a `HEAD` says.
pub(super) fn head(digest: &Digest) -> Response {
    let mut response = Body::empty().into_response();
    describe(response.headers_mut(), digest, Range::ALL, None);
    response
}

fn describe(headers: &mut HeaderMap, digest: &Digest, range: Range, encoding: Option<&'static str>) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let size = digest.size();
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        headers.insert(SIZE, size.into());
        return;
    }
    headers.insert(header::CONTENT_LENGTH, range.limit.unwrap_or(size).into());
    if let Range { offset, limit: Some(limit) } = range
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {offset}-{}/{size}", offset + limit - 1))
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

fn wanted(asked: &HeaderMap, size: u64) -> Wanted {
    let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // Blobs have no validators that a condition could be about.
    let range = text(header::RANGE).filter(|_| !asked.contains_key(header::IF_RANGE));
    if let Some(range) = range.and_then(|range| part(range, size)) {
        return range;
    }
    let encodings = asked.get_all(header::ACCEPT_ENCODING);
    if encodings.iter().filter_map(|value| value.to_str().ok()).any(accepts_zstd) {
        return Wanted::Compressed;
    }
    Wanted::Whole
}

/// One range. `None`: something else, which is to be ignored.
fn part(range: &str, size: u64) -> Option<Wanted> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    // The grammar has neither signs nor spaces.
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (offset, end) = match (first, last) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last): (u64, u64) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(match end.checked_sub(offset) {
        Some(limit) if limit > 0 => Wanted::Part(Range { offset, limit: Some(limit) }),
        _ => Wanted::Nothing,
    })
}

/// Whether one of the encodings is zstd, with a weight that is not zero.
fn accepts_zstd(encodings: &str) -> bool {
    encodings.split(',').any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("zstd"));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        named && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

/// Bytes of the blob that an upload with these headers brings, if they tell.
pub(super) fn upload_size(headers: &HeaderMap) -> Option<u64> {
    let number = |name| headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    number(SIZE).or_else(|| is_identity(headers).then(|| number(header::CONTENT_LENGTH)).flatten())
}

fn is_identity(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// The blob in the body of an upload with these headers.
pub(super) async fn decode(zstd: &Zstd, headers: &HeaderMap, body: ByteStream) -> Result<ByteStream> {
    match headers.get(header::CONTENT_ENCODING) {
        _ if is_identity(headers) => Ok(body),
        Some(encoding) if encoding == "zstd" => zstd.decompress(body).await,
        _ => Err(Error::Invalid { reason: "of content encodings this server takes zstd only".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_by(name: HeaderName, value: &str) -> Wanted {
        wanted(&HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]), 100)
    }

    #[test]
    fn one_range_is_understood_and_what_is_none_ignored() {
        let part = |offset, limit| Wanted::Part(Range { offset, limit: Some(limit) });
        for (range, expected) in [
            ("bytes=0-", part(0, 100)),
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=90-18446744073709551615", part(90, 10)),
            ("bytes=-30", part(70, 30)),
            ("bytes=-300", part(0, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=200-300", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=1-2,4-5", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=1", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted_by(header::RANGE, range), expected, "{range}");
        }
    }

    #[test]
    fn zstd_is_sent_to_those_who_take_it() {
        for encodings in ["zstd", "gzip, zstd", "gzip;q=1.0, ZSTD;q=0.5"] {
            assert_eq!(wanted_by(header::ACCEPT_ENCODING, encodings), Wanted::Compressed, "{encodings}");
        }
        for encodings in ["", "gzip", "zstd;q=0", "zstd;q=0.0, br", "*", "zstdx", "zstd;q=much"] {
            assert_eq!(wanted_by(header::ACCEPT_ENCODING, encodings), Wanted::Whole, "{encodings}");
        }
    }
}
