//! Parts and compression over HTTP.

use super::{
    blob::{compress, decompress},
    expect::{Outcome, same, same_bytes, that},
    http::{fresh, of, path, put},
    rule::rule,
};
use crate::conformance::{Rule, Server, rule::Needs};
use hyper::Method;
use proto::DigestFunction::Sha256;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "http.range",
        "GET with a Range gives that part as 206, or the whole as 200",
        "RFC 9110: Range",
        [Needs::Http, Needs::Function(Sha256)],
        range
    ),
    rule!(
        "http.zstd.get",
        "a client that accepts zstd gets the blob, in the encoding that the answer names",
        "RFC 9110: Accept-Encoding; bazel-remote: HTTP API",
        [Needs::Http, Needs::Function(Sha256)],
        zstd_get
    ),
    rule!(
        "http.zstd.put",
        "a PUT with Content-Encoding zstd and X-Digest-SizeBytes stores the blob",
        "bazel-remote: HTTP API",
        [Needs::Http, Needs::Function(Sha256), Needs::Zstd],
        zstd_put
    ),
];

async fn range(server: &Server) -> Outcome {
    let blob = fresh(server, 11_000);
    server.store(&blob).await?;
    for (range, part) in
        [("bytes=10-19", 10..20), ("bytes=10990-", 10_990..11_000), ("bytes=-5", 10_995..11_000)]
    {
        let answer = of(server)?.request(Method::GET, &path(&blob), &[("range", range)], &[]).await?;
        that([200, 206].contains(&answer.status), "206 or 200", answer.status.to_string())?;
        let expected = if answer.status == 206 { &blob.data[part] } else { &blob.data[..] };
        same_bytes(range, expected, &answer.body)?;
    }
    Ok(())
}

async fn zstd_get(server: &Server) -> Outcome {
    let blob = fresh(server, 100_000);
    server.store(&blob).await?;
    let accept = [("accept-encoding", "zstd")];
    let answer = of(server)?.request(Method::GET, &path(&blob), &accept, &[]).await?;
    same("GET:", &200, &answer.status)?;
    let body = match answer.header("content-encoding") {
        "zstd" => decompress(&answer.body, 100_000)?,
        _ => answer.body.to_vec(),
    };
    same_bytes("the blob", &blob.data, &body)
}

async fn zstd_put(server: &Server) -> Outcome {
    let blob = fresh(server, 100_000);
    let headers = [("content-encoding", "zstd"), ("x-digest-sizebytes", "100000")];
    put(server, &path(&blob), &headers, &compress(&blob.data)).await?;
    server.serves(&blob).await
}
