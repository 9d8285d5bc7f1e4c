//! HTTP beyond blobs: results, keys, `/status`, blobs of an instance, and what is not ours.

use super::{
    http::Refusal,
    http_paths::{Target, one_slash, target},
    http_values::Values,
};
use crate::{KeyPrefix, engine::Engine};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;
use std::sync::Arc;
use tonic::Status;
use tower::ServiceExt as _;

/// What the paths lead to.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub(super) values: Values,
    pub(super) prefixes: Vec<KeyPrefix>,
    /// The routes of blobs without an instance.
    pub(super) blobs: Router,
}

impl Dispatch {
    /// Adds all this to the routes that there are.
    pub(super) fn around(self, router: Router) -> Router {
        let status = get(status).with_state(Arc::clone(&self.values.engine));
        router
            .merge(self.blobs.clone())
            .route("/status", status)
            .fallback_service(Router::new().fallback(dispatch).with_state(self))
    }
}

async fn status(State(engine): State<Arc<Engine>>) -> Json<serde_json::Value> {
    let usage = engine.usage();
    Json(json!({
        "status": "ok",
        "version": runtime::VERSION,
        "entries": usage.entries,
        "bytes": usage.bytes,
        "limit": usage.limit,
    }))
}

async fn dispatch(State(dispatch): State<Dispatch>, request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        let status = Status::unimplemented(format!("this server does not have {}", request.uri().path()));
        return status.into_http::<axum::body::Body>();
    }
    let uri = request.uri().clone();
    let path = one_slash(uri.path());
    match target(path, &dispatch.prefixes) {
        Target::Blob(name) => blob(dispatch.blobs, name, request).await,
        Target::Action { instance, function, hash } => {
            dispatch.values.action(instance, function, hash, request).await.into_response()
        }
        Target::Key => dispatch.values.key(path, request).await.into_response(),
        Target::Nothing => {
            let known = "not found: blobs are at /cas/HASH, see also /status, /healthz and /metrics";
            Refusal(StatusCode::NOT_FOUND, known.into()).into_response()
        }
    }
}

/// As without the instance: all share one store of blobs.
async fn blob(blobs: Router, name: &str, mut request: Request) -> Response {
    match name.parse::<Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return Refusal(StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
    blobs.oneshot(request).await.unwrap_or_else(|never| match never {})
}
