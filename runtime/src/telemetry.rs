//! Logs on stderr, metrics over HTTP.

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::registry::Registry;
use std::{fmt::Display, sync::Arc};
use tracing_subscriber::EnvFilter;

/// The environment variable that sets what is logged, in the syntax of `tracing_subscriber::EnvFilter`.
pub const LOG_VARIABLE: &str = "ISOSWARM_LOG";

/// Sends `tracing` events to stderr, one line each. Call once, from `main`.
pub fn init(default_filter: &str) {
    let asked = std::env::var(LOG_VARIABLE).ok().filter(|asked| !asked.is_empty());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let refused = parsed.as_ref().and_then(|parsed| parsed.as_ref().err()).map(ToString::to_string);
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(default_filter));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // An error means that a subscriber is set already, as in tests.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .try_init();
    if let Some(reason) = refused {
        tracing::warn!(
            reason,
            "{LOG_VARIABLE} is no filter and left aside: write for instance `debug` or `info,h2=warn`"
        );
    }
}

/// `GET /healthz` answers `ok`, or 503 and why the program is not (`check`); `GET /metrics` answers the registry in the
/// OpenMetrics text format.
pub fn routes<E: Display>(
    registry: Arc<Registry>,
    check: impl Fn() -> Result<(), E> + Clone + Send + Sync + 'static,
) -> Router {
    let metrics = move || async move {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => {
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, content_type)], text).into_response()
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    let healthz = move || async move {
        match check() {
            Ok(()) => "ok\n".into_response(),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        }
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz))
}
