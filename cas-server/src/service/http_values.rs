//! Results of actions and bytes under keys, over plain HTTP.
//!
//! Results are messages of the Remote Execution API, binary or in the JSON of protobuf, and checked like those that come
//! over gRPC. With the check switched off they are any bytes. The path has no size, which is part of an action's digest:
//! results that came over HTTP are apart from those that came over gRPC.
//!
//! Keys are for tools with a WebDAV client (sccache) or a bare HTTP one (ccache). Collections exist as far as such tools
//! ask for them: any can be made, none is listed.

use super::{
    actions::Actions,
    digest::implied,
    http::{Refusal, bad_request},
    http_body::Bodies,
};
use crate::engine::{Engine, MAX_VALUE_BYTES, ValueName};
use axum::{
    body::Bytes,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prost::Message as _;
use proto::{Digest, DigestFunction, limits::MAX_MESSAGE_BYTES, reapi::ActionResult};
use std::sync::Arc;

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";

/// What is served.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) engine: Arc<Engine>,
    pub(super) actions: Actions,
    pub(super) bodies: Bodies,
    /// Whether what comes as a result must be one.
    pub(super) validate: bool,
}

impl Values {
    /// `GET`, `HEAD` and `PUT` of a result.
    pub(super) async fn action(
        &self,
        instance: &str,
        function: Option<&str>,
        hash: &str,
        request: Request,
    ) -> Result<Response, Refusal> {
        let function: Option<DigestFunction> = function.map(str::parse).transpose().map_err(bad_request)?;
        let function = function.unwrap_or_else(|| implied(hash));
        // No action is this small.
        let digest = Digest::from_hex(function, hash, 1).map_err(bad_request)?;
        if !self.validate {
            let name = ValueName::Action { instance: instance.to_owned(), digest };
            return self.plain(name, request).await;
        }
        match request.method().as_str() {
            "GET" | "HEAD" => {
                let result = self.actions.get(instance, digest).await?;
                let missing =
                    || not_found(format!("there is no result of {function}:{hash}, or no complete one"));
                encode(&result.ok_or_else(missing)?, request.headers())
            }
            "PUT" => {
                let json = mentions(request.headers(), header::CONTENT_TYPE);
                let body = self.bodies.whole(request, MAX_MESSAGE_BYTES as u64).await?;
                let result = decode(body.bytes(), json)?;
                self.actions.put(instance, digest, result).await?;
                Ok(StatusCode::OK.into_response())
            }
            _ => Err(not_allowed("GET, HEAD, PUT")),
        }
    }

    /// Everything that can be done with a key.
    pub(super) async fn key(&self, path: &str, request: Request) -> Result<Response, Refusal> {
        let name = ValueName::Opaque { path: path.to_owned() };
        match request.method().as_str() {
            "DELETE" if self.engine.delete_value(&name).await? => Ok(StatusCode::NO_CONTENT.into_response()),
            "DELETE" => Err(not_found(format!("there is no {path}"))),
            "MKCOL" => Ok(StatusCode::CREATED.into_response()),
            "PROPFIND" => {
                let value = self.engine.get_value(&name).await?;
                let value = value.ok_or_else(|| not_found(format!("there is no {path}")))?;
                Ok(properties(request.uri().path(), value.len()))
            }
            "GET" | "HEAD" | "PUT" => self.plain(name, request).await,
            "OPTIONS" => Ok(([(header::ALLOW, METHODS), (header::HeaderName::from_static("dav"), "1")], ())
                .into_response()),
            _ => Err(not_allowed(METHODS)),
        }
    }

    /// `GET`, `HEAD` and `PUT` of a value that is just bytes.
    async fn plain(&self, name: ValueName, request: Request) -> Result<Response, Refusal> {
        match request.method().as_str() {
            "GET" | "HEAD" => {
                let value = self.engine.get_value(&name).await?;
                let value =
                    value.ok_or_else(|| not_found(format!("there is no {}", request.uri().path())))?;
                Ok(([(header::CONTENT_TYPE, BINARY)], value).into_response())
            }
            "PUT" => {
                let body = self.bodies.whole(request, MAX_VALUE_BYTES).await?;
                self.engine.put_value(name, body.bytes()).await?;
                Ok(StatusCode::CREATED.into_response())
            }
            _ => Err(not_allowed("GET, HEAD, PUT")),
        }
    }
}

const METHODS: &str = "GET, HEAD, PUT, DELETE, MKCOL, PROPFIND, OPTIONS";

fn not_found(reason: String) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, reason)
}

fn not_allowed(methods: &str) -> Refusal {
    Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("use {methods}"))
}

/// Whether a header is about JSON.
fn mentions(headers: &HeaderMap, name: header::HeaderName) -> bool {
    headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(JSON)))
}

fn decode(bytes: Bytes, json: bool) -> Result<ActionResult, Refusal> {
    let hint = "this is no ActionResult (servers with `http_ac_validation = false` take any bytes)";
    if json {
        return serde_json::from_slice(&bytes).map_err(|error| bad_request(format!("{hint}: {error}")));
    }
    ActionResult::decode(bytes).map_err(|error| bad_request(format!("{hint}: {error}")))
}

fn encode(result: &ActionResult, headers: &HeaderMap) -> Result<Response, Refusal> {
    if !mentions(headers, header::ACCEPT) {
        return Ok(([(header::CONTENT_TYPE, BINARY)], result.encode_to_vec()).into_response());
    }
    let internal = |error: serde_json::Error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let body = serde_json::to_vec(result).map_err(internal)?;
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// What WebDAV says of a file. When it was written is not known; clients insist on a date.
fn properties(path: &str, size: usize) -> Response {
    // Paths of requests have none of the characters that XML has a meaning for but this one.
    let path = path.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        concat!(
            r#"<?xml version="1.0" encoding="utf-8"?>"#,
            r#"<D:multistatus xmlns:D="DAV:"><D:response><D:href>{}</D:href><D:propstat><D:prop>"#,
            "<D:getcontentlength>{}</D:getcontentlength>",
            "<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified><D:resourcetype/>",
            "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>\n",
        ),
        path, size
    );
    (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, "application/xml; charset=utf-8")], body)
        .into_response()
}
