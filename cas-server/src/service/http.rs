//! Blobs over plain HTTP: `GET`, `HEAD` and `PUT` of `/cas/HASH` and `/cas/FUNCTION/HASH`.
//!
//! The size is not in the URL: for `PUT` it is the `Content-Length`, for the others the index knows it.

use super::digest::implied;
use crate::engine::Engine;
use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
    routing::get,
};
use cas::{BlobStore as _, Error, Range};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{Digest, DigestFunction};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// An upload that says nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// Bytes of an upload that are read although nobody needs them.
const MAX_DRAINED: u64 = 1 << 30;

type Name = Path<Vec<(String, String)>>;

/// The routes of blobs.
pub(super) fn routes(engine: Arc<Engine>) -> Router {
    let blob = get(read).head(head).put(write);
    Router::new().route("/cas/{hash}", blob.clone()).route("/cas/{function}/{hash}", blob).with_state(engine)
}

/// What goes wrong, as HTTP says it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.0, format!("{}\n", self.1)).into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::NotFound { .. } => StatusCode::NOT_FOUND,
            Error::Mismatch { .. } | Error::Invalid { .. } => StatusCode::BAD_REQUEST,
            Error::Exhausted { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Error::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Error::Denied { .. } => StatusCode::FORBIDDEN,
            Error::Io { .. } | Error::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, error.to_string())
    }
}

fn bad_request(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, error.to_string())
}

/// The function and the hash in a path.
fn parse(name: &[(String, String)]) -> Result<(DigestFunction, &str), Refusal> {
    let part = |wanted: &str| name.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let hash = part("hash").unwrap_or_default();
    let function = part("function").map(str::parse).transpose().map_err(bad_request)?;
    Ok((function.unwrap_or_else(|| implied(hash)), hash))
}

/// The blob that a path names, if the store has it.
async fn find(engine: &Engine, name: &[(String, String)]) -> Result<Digest, Refusal> {
    let (function, hash) = parse(name)?;
    // A size that no blob has stands for the one that is not known; the hash is checked all the same.
    let asked = Digest::from_hex(function, hash, 0).or_else(|_| Digest::from_hex(function, hash, 1));
    let asked = asked.map_err(bad_request)?;
    let found = engine.find_hash(function, asked.hash().to_vec()).await?;
    found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("blob {function}:{hash} is not in the store")))
}

async fn read(State(engine): State<Arc<Engine>>, Path(name): Name) -> Result<Response, Refusal> {
    let digest = find(&engine, &name).await?;
    let bytes = engine.read(digest, Range::ALL).await?;
    Ok((headers(&digest), Body::from_stream(bytes)).into_response())
}

async fn head(State(engine): State<Arc<Engine>>, Path(name): Name) -> Result<Response, Refusal> {
    let digest = find(&engine, &name).await?;
    if !engine.find_missing(&[digest]).await?.is_empty() {
        return Err(Error::NotFound { digest }.into());
    }
    Ok((headers(&digest), ()).into_response())
}

async fn write(
    State(engine): State<Arc<Engine>>,
    Path(name): Name,
    version: Version,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let written = take(&engine, &name, &headers, Arc::clone(&body)).await;
    // Over HTTP/1 the answer reaches a client that is still sending only if all that it sends is read, unless it asked
    // before it sent anything.
    if version < Version::HTTP_2 && !headers.contains_key(header::EXPECT) {
        drain(&body).await;
    }
    written.map(|()| StatusCode::OK)
}

async fn take(
    engine: &Engine,
    name: &[(String, String)],
    headers: &HeaderMap,
    body: Arc<Mutex<BodyDataStream>>,
) -> Result<(), Refusal> {
    let (function, hash) = parse(name)?;
    let size = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let size = size.ok_or_else(|| {
        Refusal(
            StatusCode::LENGTH_REQUIRED,
            "an upload needs its Content-Length, which is part of the blob's name".into(),
        )
    })?;
    let digest = Digest::from_hex(function, hash, size).map_err(bad_request)?;
    let bytes = futures::stream::try_unfold(body, |body| async move {
        let chunk = next(&mut *body.lock().await).await?;
        Ok(chunk.map(|chunk| (chunk, body)))
    });
    engine.write(digest, bytes.boxed()).await?;
    Ok(())
}

async fn next(body: &mut BodyDataStream) -> cas::Result<Option<Bytes>> {
    let unavailable = |reason: String| Error::Unavailable { reason };
    let chunk = tokio::time::timeout(IDLE, body.try_next()).await;
    let chunk = chunk.map_err(|_| unavailable("the upload stands still".into()))?;
    chunk.map_err(|error| unavailable(error.to_string()))
}

/// Reads what is left of an upload.
async fn drain(body: &Mutex<BodyDataStream>) {
    let mut body = body.lock().await;
    let mut drained = 0;
    while drained < MAX_DRAINED
        && let Ok(Some(chunk)) = next(&mut body).await
    {
        drained += chunk.len() as u64;
    }
}

fn headers(digest: &Digest) -> [(header::HeaderName, String); 2] {
    [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, digest.size().to_string()),
    ]
}
