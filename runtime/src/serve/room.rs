//! How many connections there may be, and what those hear that are too many.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Connections that are told so at a time; those beyond are cut.
const REFUSALS: usize = 4;

/// What a client that is one too many is told.
const CROWDED: &str = "the server has too many connections: come back in a moment";

/// Room for connections.
#[derive(Debug)]
pub(super) struct Room {
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    /// Connections that there was no room for.
    refused: Counter,
}

/// What becomes of a connection, for as long as it is held.
#[derive(Debug)]
pub(super) enum Place {
    /// It is served.
    Served(OwnedSemaphorePermit),
    /// It is told that there is no room.
    Refused(OwnedSemaphorePermit),
}

impl Room {
    pub(super) fn new(connections: usize) -> Self {
        let connections = connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            refused: Counter::default(),
        }
    }

    /// A place for one more. `None`: it is not even told.
    pub(super) fn take(&self) -> Option<Place> {
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            return Some(Place::Served(permit));
        }
        if self.refused.inc() == 0 {
            tracing::warn!(
                "more connections than there is room for: raise the limit of open files (ulimit -n)"
            );
        }
        Arc::clone(&self.refusals).try_acquire_owned().ok().map(Place::Refused)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Connections that there was no room for";
        registry.register("refused_connections", help, self.refused.clone());
    }
}

/// Answers everything with the same words, over gRPC and over HTTP.
pub(super) fn refusing() -> Router {
    Router::new().fallback(async |request: Request| -> Response {
        let kind = request.headers().get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            return Status::unavailable(CROWDED).into_http::<Body>();
        }
        let headers = [(header::RETRY_AFTER, "1")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{CROWDED}\n")).into_response()
    })
}
