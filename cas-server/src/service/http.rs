//! Blobs over plain HTTP: `GET`, `HEAD` and `PUT` of `/cas/HASH` and `/cas/FUNCTION/HASH`.
//!
//! The size is not in the URL: for `PUT` it is the `Content-Length`, or `X-Digest-SizeBytes` where the body is compressed;
//! for the others the index knows it.

use super::{digest::implied, held::Room, http_encoding, zstd::Zstd};
use crate::engine::Engine;
use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
    routing::get,
};
use cas::{BlobStore as _, Error};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::{Digest, DigestFunction};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// An upload that says nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// Bytes of an upload that are read although nobody needs them.
const MAX_DRAINED: u64 = 1 << 30;

type Name = Path<Vec<(String, String)>>;

/// What the routes work with.
#[derive(Clone, Debug)]
struct Blobs {
    engine: Arc<Engine>,
    zstd: Zstd,
}

/// The routes of blobs.
pub(super) fn routes(engine: Arc<Engine>, zstd: Zstd) -> Router {
    let blob = get(read).head(head).put(write);
    Router::new()
        .route("/cas/{hash}", blob.clone())
        .route("/cas/{function}/{hash}", blob)
        .with_state(Blobs { engine, zstd })
}

/// What goes wrong, as HTTP says it.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

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

pub(super) fn bad_request(error: impl std::fmt::Display) -> Refusal {
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

async fn read(
    State(Blobs { engine, zstd }): State<Blobs>,
    Path(name): Name,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let digest = find(&engine, &name).await?;
    let room = engine.answer(digest).await?;
    let mut response = http_encoding::get(&engine, &zstd, digest, &headers).await?;
    response.extensions_mut().insert(Room(room));
    Ok(response)
}

async fn head(State(Blobs { engine, .. }): State<Blobs>, Path(name): Name) -> Result<Response, Refusal> {
    let digest = find(&engine, &name).await?;
    if !engine.find_missing(&[digest]).await?.is_empty() {
        return Err(Error::NotFound { digest }.into());
    }
    Ok(http_encoding::head(&digest))
}

async fn write(
    State(blobs): State<Blobs>,
    Path(name): Name,
    version: Version,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let written = take(&blobs, &name, &headers, Arc::clone(&body)).await;
    // Over HTTP/1 the answer reaches a client that is still sending only if all that it sends is read, unless it asked
    // before it sent anything.
    if version < Version::HTTP_2 && !headers.contains_key(header::EXPECT) {
        drain(&body).await;
    }
    written.map(|()| StatusCode::OK)
}

async fn take(
    Blobs { engine, zstd }: &Blobs,
    name: &[(String, String)],
    headers: &HeaderMap,
    body: Arc<Mutex<BodyDataStream>>,
) -> Result<(), Refusal> {
    let (function, hash) = parse(name)?;
    let size = http_encoding::upload_size(headers).ok_or_else(|| {
        Refusal(
            StatusCode::LENGTH_REQUIRED,
            "an upload needs its Content-Length, or X-Digest-SizeBytes when it is compressed: it is part of the blob's name"
                .into(),
        )
    })?;
    let digest = Digest::from_hex(function, hash, size).map_err(bad_request)?;
    let bytes = futures::stream::try_unfold(body, |body| async move {
        let chunk = next(&mut *body.lock().await).await?;
        Ok(chunk.map(|chunk| (chunk, body)))
    });
    let bytes = http_encoding::decode(zstd, headers, engine.receiving(bytes.boxed())).await?;
    engine.write(digest, bytes).await?;
    Ok(())
}

pub(super) async fn next(body: &mut BodyDataStream) -> cas::Result<Option<Bytes>> {
    let unavailable = |reason: String| Error::Unavailable { reason };
    let chunk = tokio::time::timeout(IDLE, body.try_next()).await;
    let chunk = chunk.map_err(|_| unavailable("the upload stands still".into()))?;
    chunk.map_err(|error| unavailable(error.to_string()))
}

/// Reads what is left of an upload.
pub(super) async fn drain(body: &Mutex<BodyDataStream>) {
    let mut body = body.lock().await;
    let mut drained = 0;
    while drained < MAX_DRAINED
        && let Ok(Some(chunk)) = next(&mut body).await
    {
        drained += chunk.len() as u64;
    }
}
