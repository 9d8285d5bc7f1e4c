//! How long requests take, by method, as a metric.

use crate::Clock;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
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
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: String,
}

/// Measures the time from a request's head to its answer's head.
#[derive(Clone, Debug)]
pub struct Latency {
    clock: Arc<dyn Clock>,
    seconds: Family<Labels, Histogram>,
    known: &'static [&'static str],
}

impl Latency {
    /// Registers the metric `request_seconds`. `known` bounds its labels whatever clients send: paths of gRPC methods
    /// (`/package.Service/Method`, labelled `Method`) and first segments of HTTP paths (`/cas`, labelled `GET /cas`).
    pub fn new(clock: Arc<dyn Clock>, registry: &mut Registry, known: &'static [&'static str]) -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let help = "Time from a request's head to its answer's head";
        registry.register_with_unit("request", help, Unit::Seconds, seconds.clone());
        Self { clock, seconds, known }
    }

    /// `router`, measured.
    pub fn around(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, measure))
    }

    fn label(&self, request: &Request) -> String {
        let path = request.uri().path();
        let method = |grpc: &str| grpc.rsplit('/').next().unwrap_or(grpc).to_owned();
        if let Some(grpc) = self.known.iter().find(|known| **known == path && path.matches('/').count() == 2)
        {
            return method(grpc);
        }
        let verb = request.method().as_str();
        let first = path.split('/').nth(1).unwrap_or_default();
        let http = ["/metrics", "/healthz"].iter().chain(self.known).find(|known| known[1..] == *first);
        match http {
            Some(known) if ["GET", "HEAD", "PUT"].contains(&verb) => format!("{verb} {known}"),
            _ => "other".to_owned(),
        }
    }
}

async fn measure(State(latency): State<Latency>, request: Request, next: Next) -> Response {
    let method = latency.label(&request);
    let start = latency.clock.elapsed();
    let response = next.run(request).await;
    let took = latency.clock.elapsed().saturating_sub(start);
    latency.seconds.get_or_create(&Labels { method }).observe(took.as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[tokio::test]
    async fn labels_are_bounded_whatever_clients_send() {
        let known = &["/p.S/Get", "/cas"];
        let latency = Latency::new(SystemClock::shared(), &mut Registry::default(), known);
        let label = |verb: &str, path: &str| {
            latency.label(&Request::builder().method(verb).uri(path).body(Default::default()).unwrap())
        };
        assert_eq!(label("POST", "/p.S/Get"), "Get");
        assert_eq!(label("PUT", "/cas/abc"), "PUT /cas");
        assert_eq!(label("GET", "/metrics"), "GET /metrics");
        for (verb, path) in [("POST", "/p.S/Other"), ("BREW", "/cas/abc"), ("GET", "/"), ("GET", "/casual")] {
            assert_eq!(label(verb, path), "other", "{verb} {path}");
        }
    }
}
