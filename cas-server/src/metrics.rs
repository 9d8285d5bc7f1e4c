//! How long requests take.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use runtime::Clock;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: String,
}

/// Measures the time from a request's head to its answer's head, by method.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    clock: Arc<dyn Clock>,
    seconds: Family<Method, Histogram>,
}

impl Latencies {
    pub(crate) fn new(clock: Arc<dyn Clock>, registry: &mut Registry) -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let help = "Time from a request's head to its answer's head";
        registry.register_with_unit("request", help, Unit::Seconds, seconds.clone());
        Self { clock, seconds }
    }
}

/// The middleware around everything.
pub(crate) async fn measure(State(latencies): State<Latencies>, request: Request, next: Next) -> Response {
    let method = method(&request);
    let start = latencies.clock.elapsed();
    let response = next.run(request).await;
    let took = latencies.clock.elapsed().saturating_sub(start);
    latencies.seconds.get_or_create(&Method { method }).observe(took.as_secs_f64());
    response
}

/// A label out of a bounded set, whatever the client sends.
fn method(request: &Request) -> String {
    const GRPC: [&str; 9] = [
        "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities",
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree",
        "/google.bytestream.ByteStream/QueryWriteStatus",
        "/google.bytestream.ByteStream/Read",
        "/google.bytestream.ByteStream/Write",
        "/grpc.health.v1.Health/Check",
    ];
    let path = request.uri().path();
    let verb = request.method();
    let known = ["GET", "HEAD", "PUT"].contains(&verb.as_str());
    match GRPC.contains(&path) {
        true => path.rsplit('/').next().unwrap_or(path).to_owned(),
        false if known && path.starts_with("/cas/") => format!("{verb} /cas"),
        false if known && ["/metrics", "/healthz"].contains(&path) => format!("{verb} {path}"),
        false => "other".to_owned(),
    }
}
