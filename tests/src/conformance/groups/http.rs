//! The plain HTTP cache: `/cas/HASH` and `/ac/HASH`.

use super::{
    blob::Blob,
    expect::{Outcome, same, same_bytes, that},
    rule::rule,
    server::failed,
};
use crate::conformance::{
    Rule, Server,
    http::{Answer, Http},
    rule::Needs,
};
use hyper::Method;
use prost::Message as _;
use proto::{DigestFunction::Sha256, reapi::ActionResult};

pub(super) const RULES: &[Rule] = &[
    rule!(
        "http.round-trip",
        "a blob that was PUT below /cas/ can be read with GET",
        "Bazel, moon and ccache over HTTP",
        [Needs::Http, Needs::Function(Sha256)],
        round_trip
    ),
    rule!(
        "http.one-store",
        "blobs are the same over HTTP and gRPC",
        "teams whose clients speak either",
        [Needs::Http, Needs::Function(Sha256)],
        one_store
    ),
    rule!(
        "http.missing",
        "a blob or result that is not there is 404",
        "Bazel, moon and ccache over HTTP",
        [Needs::Http],
        missing
    ),
    rule!(
        "http.head",
        "HEAD tells whether a blob is there",
        "bazel-remote: HTTP API; ccache asks with HEAD",
        [Needs::Http, Needs::Function(Sha256)],
        head
    ),
    rule!(
        "http.wrong-content",
        "bytes of another hash are a 4xx, and the blob does not appear",
        "REAPI: ContentAddressableStorage; every way in is verified",
        [Needs::Http],
        wrong_content
    ),
    rule!(
        "http.empty",
        "GET of the empty blob is 200 and has no bytes",
        "buildbox-casd reads it first and ends when it is 404",
        [Needs::Http, Needs::Function(Sha256)],
        empty
    ),
    rule!(
        "http.instance",
        "an instance name may stand before /cas/",
        "bazel-remote: HTTP API",
        [Needs::Http, Needs::Function(Sha256)],
        instance
    ),
    rule!(
        "http.empty-instance",
        "an empty instance name before /cas/ or /ac/, as in //cas/, is none",
        "moon over HTTP, when the instance name is empty",
        [Needs::Http, Needs::Function(Sha256)],
        empty_instance
    ),
    rule!(
        "http.result",
        "an ActionResult that was PUT below /ac/ is served as it was",
        "Bazel over HTTP",
        [Needs::Http, Needs::Function(Sha256), Needs::ActionCacheUpdates],
        result
    ),
    rule!(
        "http.result-json",
        "an ActionResult in JSON is taken, and served as JSON to who asks for it",
        "moon over HTTP",
        [Needs::Http, Needs::Function(Sha256), Needs::ActionCacheUpdates],
        result_json
    ),
    rule!(
        "http.status",
        "GET /status is 200 and JSON",
        "bazel-remote: HTTP API; moon asks it first",
        [Needs::Http],
        status
    ),
];

/// Where the server speaks HTTP. The rules need it.
pub(super) fn of(server: &Server) -> Outcome<&Http> {
    server.http().ok_or_else(|| failed("HTTP/1.1", "none"))
}

/// A blob under SHA-256, which is what HTTP paths mean.
pub(super) fn fresh(server: &Server, size: usize) -> Blob {
    server.fresh_by(Sha256, size)
}

pub(super) fn path(blob: &Blob) -> String {
    format!("/cas/{}", blob.digest.hash)
}

async fn get(server: &Server, path: &str) -> Outcome<Answer> {
    of(server)?.request(Method::GET, path, &[], &[]).await
}

/// Fails unless a PUT succeeds.
pub(super) async fn put(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome {
    let answer = of(server)?.request(Method::PUT, path, headers, body).await?;
    that((200..300).contains(&answer.status), format!("PUT {path}: 2xx"), answer.status.to_string())
}

/// Fails unless a GET gives these bytes.
pub(super) async fn gives(server: &Server, path: &str, bytes: &[u8]) -> Outcome {
    let answer = get(server, path).await?;
    same(&format!("GET {path}:"), &200, &answer.status)?;
    same_bytes("the body", bytes, &answer.body)
}

async fn round_trip(server: &Server) -> Outcome {
    for size in [1, 11_000, 3_000_000] {
        let blob = fresh(server, size);
        put(server, &path(&blob), &[], &blob.data).await?;
        gives(server, &path(&blob), &blob.data).await?;
    }
    Ok(())
}

async fn one_store(server: &Server) -> Outcome {
    let blob = fresh(server, 11_000);
    put(server, &path(&blob), &[], &blob.data).await?;
    server.serves(&blob).await?;
    let blob = fresh(server, 11_000);
    server.store(&blob).await?;
    gives(server, &path(&blob), &blob.data).await
}

async fn missing(server: &Server) -> Outcome {
    let hash = fresh(server, 100).digest.hash;
    for path in [format!("/cas/{hash}"), format!("/ac/{hash}")] {
        same(&format!("GET {path}:"), &404, &get(server, &path).await?.status)?;
    }
    Ok(())
}

async fn head(server: &Server) -> Outcome {
    let (there, gone) = (fresh(server, 11_000), fresh(server, 11_000));
    server.store(&there).await?;
    let answer = of(server)?.request(Method::HEAD, &path(&there), &[], &[]).await?;
    same("HEAD of a blob that is there:", &200, &answer.status)?;
    same("Content-Length", &"11000", &answer.header("content-length"))?;
    let answer = of(server)?.request(Method::HEAD, &path(&gone), &[], &[]).await?;
    same("HEAD of a blob that is not there:", &404, &answer.status)
}

async fn wrong_content(server: &Server) -> Outcome {
    let (blob, other) = (fresh(server, 1000), fresh(server, 1000));
    let answer = of(server)?.request(Method::PUT, &path(&blob), &[], &other.data).await?;
    that((400..500).contains(&answer.status), "PUT: 4xx", answer.status.to_string())?;
    same("GET:", &404, &get(server, &path(&blob)).await?.status)
}

async fn empty(server: &Server) -> Outcome {
    gives(server, &path(&Blob::new(Sha256, vec![])), &[]).await
}

async fn instance(server: &Server) -> Outcome {
    let blob = fresh(server, 1000);
    let path = format!("/some/instance{}", path(&blob));
    put(server, &path, &[], &blob.data).await?;
    gives(server, &path, &blob.data).await
}

async fn empty_instance(server: &Server) -> Outcome {
    let blob = fresh(server, 1000);
    let path = path(&blob);
    put(server, &format!("/{path}"), &[], &blob.data).await?;
    gives(server, &format!("/{path}"), &blob.data).await?;
    gives(server, &path, &blob.data).await
}

/// A result that is complete, and the path of it.
async fn action(server: &Server) -> Outcome<(ActionResult, String)> {
    let (action, output) = (fresh(server, 100), fresh(server, 1000));
    server.store(&output).await?;
    let result = ActionResult { exit_code: 3, stdout_digest: Some(output.digest), ..ActionResult::default() };
    let instance = if server.instance().is_empty() { "" } else { "/" };
    let path = format!("{instance}{}/ac/{}", server.instance(), action.digest.hash);
    Ok((result, path))
}

async fn result(server: &Server) -> Outcome {
    let (result, path) = action(server).await?;
    put(server, &path, &[], &result.encode_to_vec()).await?;
    let answer = get(server, &path).await?;
    same("GET:", &200, &answer.status)?;
    let served =
        ActionResult::decode(answer.body).map_err(|error| failed("an ActionResult", error.to_string()))?;
    same("the result", &result, &ActionResult { execution_metadata: None, ..served })
}

async fn result_json(server: &Server) -> Outcome {
    let (result, path) = action(server).await?;
    let stdout = result.stdout_digest.unwrap_or_default();
    let json = serde_json::json!({
        "exitCode": 3,
        "stdoutDigest": { "hash": stdout.hash, "sizeBytes": stdout.size_bytes.to_string() },
    });
    let kind = "application/json";
    put(server, &path, &[("content-type", kind)], json.to_string().as_bytes()).await?;
    let answer = of(server)?.request(Method::GET, &path, &[("accept", kind)], &[]).await?;
    same("GET:", &200, &answer.status)?;
    that(answer.header("content-type").starts_with(kind), kind, answer.header("content-type"))?;
    let served: serde_json::Value =
        serde_json::from_slice(&answer.body).map_err(|error| failed("JSON", error.to_string()))?;
    same("exitCode", &json["exitCode"], &served["exitCode"])?;
    same("stdoutDigest", &json["stdoutDigest"]["hash"], &served["stdoutDigest"]["hash"])
}

async fn status(server: &Server) -> Outcome {
    let answer = get(server, "/status").await?;
    same("GET /status:", &200, &answer.status)?;
    let parsed = serde_json::from_slice::<serde_json::Value>(&answer.body);
    that(parsed.is_ok(), "JSON", format!("{} bytes of something else", answer.body.len()))
}
