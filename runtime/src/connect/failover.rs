//! Several servers of which one serves: a scheduler and those that stand by for it.

use super::{ConnectError, channel};
use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tonic::{Code, body::Body, transport::Channel};
use tower::{Service, ServiceExt as _};

/// Calls go to the server that answered last. When one cannot be reached or says UNAVAILABLE, the next call goes to the
/// next server: whoever repeats its calls finds the one that serves. Clones find it together.
#[derive(Clone, Debug)]
pub struct Failover {
    servers: Arc<[Channel]>,
    current: Arc<AtomicUsize>,
}

impl Failover {
    /// The servers at these addresses, separated by commas; each as [`channel`] takes it. Connects when it is used.
    pub fn new(addresses: &str, ca_cert: Option<&Path>) -> Result<Self, ConnectError> {
        let servers = addresses.split(',').map(|address| channel(address.trim(), ca_cert));
        Ok(Self { servers: servers.collect::<Result<_, _>>()?, current: Arc::default() })
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// One server could not answer. Of those who find that out at once, the first decides.
    fn leave(&self, server: usize) {
        let next = (server + 1) % self.servers.len();
        // An error means that somebody else has left it.
        let _ = self.current.compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

type Answer = Result<http::Response<Body>, tonic::transport::Error>;

impl Service<http::Request<Body>> for Failover {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    /// What has to be waited for is waited for in the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let servers = self.clone();
        Box::pin(async move {
            let current = servers.current.load(Ordering::Relaxed);
            let mut server = servers.servers[current].clone();
            let answer = match server.ready().await {
                Ok(ready) => ready.call(request).await,
                Err(error) => Err(error),
            };
            if !is_answer(&answer) {
                servers.leave(current);
            }
            answer
        })
    }
}

/// A call that fails at once has its status in the head of the answer.
fn is_answer(answer: &Answer) -> bool {
    let unavailable = |response: &http::Response<Body>| {
        let status = response.headers().get(tonic::Status::GRPC_STATUS);
        status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::Unavailable)
    };
    answer.as_ref().is_ok_and(|response| !unavailable(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::{Listen, Server};
    use axum::{Router, routing::post};
    use std::sync::atomic::AtomicU32;
    use tokio::task::JoinSet;

    /// A server that says `status` and counts its calls.
    async fn server(tasks: &mut JoinSet<()>, status: &'static str, calls: &Arc<AtomicU32>) -> String {
        let address = "127.0.0.1:0".parse().unwrap();
        let listen = Listen { address, tls_cert: None, tls_key: None, insecure: false };
        let server = Server::bind(listen).await.unwrap();
        let url = server.url();
        let calls = Arc::clone(calls);
        let answer = move || async move {
            calls.fetch_add(1, Ordering::Relaxed);
            ([("grpc-status", status)], "")
        };
        let router = Router::new().route("/call", post(answer));
        tasks.spawn(server.run(router, crate::Shutdown::new()));
        url
    }

    async fn call(servers: &mut Failover) -> Answer {
        servers.call(http::Request::post("/call").body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn calls_go_to_the_one_that_serves_once_the_others_have_been_tried() {
        let (standing_by, serving) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut tasks = JoinSet::new();
        let standby = server(&mut tasks, "14", &standing_by).await;
        let owner = server(&mut tasks, "0", &serving).await;
        // Nobody listens at the first address.
        let mut servers = Failover::new(&format!("127.0.0.1:1, {standby},{owner}"), None).unwrap();
        assert_eq!(servers.servers(), 3);
        assert!(call(&mut servers.clone()).await.is_err());
        assert!(!is_answer(&call(&mut servers).await));
        for _ in 0..5 {
            assert!(is_answer(&call(&mut servers.clone()).await));
        }
        assert_eq!((standing_by.load(Ordering::Relaxed), serving.load(Ordering::Relaxed)), (1, 5));
    }

    #[tokio::test]
    async fn one_that_refuses_a_request_has_answered() {
        let calls = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        let refusing = server(&mut tasks, "3", &calls).await;
        let mut servers = Failover::new(&format!("{refusing},127.0.0.1:1"), None).unwrap();
        for _ in 0..3 {
            assert!(call(&mut servers).await.is_ok());
        }
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn every_address_must_be_one() {
        for bad in ["a:1,", ",a:1", "a:1,b", "a:1;b:2"] {
            assert!(matches!(Failover::new(bad, None), Err(ConnectError::Address { .. })), "{bad}");
        }
    }
}
