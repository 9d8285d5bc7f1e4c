//! HTTP/1.1 to the server under test.

use super::expect::{Mismatch, Outcome};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::{net::TcpStream, task::JoinSet};

/// Where the server speaks HTTP.
#[derive(Debug)]
pub(super) struct Http {
    authority: String,
    deadline: Duration,
}

/// What it said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The text of a header; empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Http {
    /// `None` when the port does not answer HTTP/1.1, or hides it behind TLS.
    pub(super) async fn probe(address: &str, deadline: Duration) -> Option<Self> {
        let authority = match address.split_once("://") {
            Some(("https" | "grpcs", _)) => return None,
            Some((_, authority)) => authority,
            None => address,
        };
        let http = Self { authority: authority.trim_end_matches('/').to_owned(), deadline };
        http.exchange(&Method::GET, "/status", &[], &[]).await.ok()?;
        Some(http)
    }

    /// One request on a connection of its own.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<Answer> {
        self.exchange(&method, path, headers, body).await.map_err(|error| Mismatch {
            expected: format!("an answer to {method} {path}"),
            seen: format!("{error:#}"),
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let exchange = async {
            let stream = TcpStream::connect(&self.authority).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let mut tasks = JoinSet::new();
            tasks.spawn(connection);
            let mut request = Request::builder().method(method).uri(path).header("host", &self.authority);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(self.deadline, exchange).await?
    }
}
