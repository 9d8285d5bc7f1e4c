//! Results of actions, and bytes under keys, over plain HTTP.

use crate::support::{Answer, Server, request};
use cas::{BlobStoreExt as _, testing::noise};
use prost::Message as _;
use proto::{DigestFunction, reapi};
use reapi::{ActionResult, ExecutedActionMetadata, OutputFile};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json";

async fn call(server: &Server, line: &str) -> Answer {
    request(server.address, line, &[], b"").await
}

async fn put(server: &Server, path: &str, headers: &[&str], body: &[u8]) -> u16 {
    let length = format!("Content-Length: {}", body.len());
    let headers = [headers, &[&length]].concat();
    request(server.address, &format!("PUT {path}"), &headers, body).await.status
}

fn path() -> String {
    format!("/ac/{}", DigestFunction::Sha256.digest(b"action").hex())
}

async fn result(server: &Server) -> ActionResult {
    let output = server.store().put(DigestFunction::Sha256, noise(1, 1000)).await.unwrap();
    let digest = Some(reapi::Digest { hash: output.hex(), size_bytes: 1000 });
    ActionResult {
        output_files: vec![OutputFile {
            path: "o".into(),
            digest,
            is_executable: true,
            ..Default::default()
        }],
        stderr_raw: b"\x00warning".to_vec(),
        exit_code: 3,
        execution_metadata: Some(ExecutedActionMetadata { worker: "w".into(), ..Default::default() }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_as_messages_and_as_json() {
    let server = Server::start().await;
    let result = result(&server).await;
    assert_eq!(call(&server, &format!("GET {}", path())).await.status, 404);
    assert_eq!(put(&server, &path(), &[], &result.encode_to_vec()).await, 200);
    let answer = call(&server, &format!("GET {}", path())).await;
    let stored = ActionResult::decode(&answer.body[..]).unwrap();
    assert_eq!((&stored.output_files, &stored.stderr_raw), (&result.output_files, &result.stderr_raw));
    let head = call(&server, &format!("HEAD {}", path())).await;
    assert_eq!((head.status, head.body.len()), (200, 0));

    let accept = ["Accept: application/json"];
    let answer = request(server.address, &format!("GET {}", path()), &accept, b"").await;
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["outputFiles"][0]["digest"]["sizeBytes"], json!("1000"));
    assert_eq!(value["outputFiles"][0]["isExecutable"], json!(true));
    assert_eq!((&value["stderrRaw"], &value["exitCode"]), (&json!("AHdhcm5pbmc="), &json!(3)));

    let other = format!("/some/instance{}", path());
    assert_eq!(call(&server, &format!("GET {other}")).await.status, 404, "instances are apart");
    assert_eq!(put(&server, &other, &[JSON], &answer.body).await, 200);
    let again = call(&server, &format!("GET {other}")).await;
    assert_eq!(ActionResult::decode(&again.body[..]).unwrap(), stored);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_over_http_are_checked_like_others() {
    let server = Server::start().await;
    let mut result = result(&server).await;
    assert_eq!(put(&server, &path(), &[], b"\xff\xff\xff").await, 400);
    assert_eq!(put(&server, &path(), &[JSON], b"{").await, 400);
    assert_eq!(put(&server, "/ac/abc", &[], b"").await, 400);
    assert_eq!(call(&server, &format!("DELETE {}", path())).await.status, 405);
    let length = "Content-Length: 100000000";
    let large =
        request(server.address, &format!("PUT {}", path()), &[length, "Expect: 100-continue"], b"").await;
    assert_eq!(large.status, 413);
    let absent = DigestFunction::Sha256.digest(b"absent");
    result.output_files[0].digest = Some(reapi::Digest { hash: absent.hex(), size_bytes: 6 });
    assert_eq!(put(&server, &path(), &[], &result.encode_to_vec()).await, 200);
    assert_eq!(call(&server, &format!("GET {}", path())).await.status, 404, "its output is not there");
    server.store().put(DigestFunction::Sha256, (&b"absent"[..]).into()).await.unwrap();
    assert_eq!(call(&server, &format!("GET {}", path())).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_validation_results_are_any_bytes() {
    let server = Server::start_with(|config| config.http_ac_validation = false).await;
    let bytes = noise(1, 3_000_000);
    assert_eq!(put(&server, &path(), &[], &bytes).await, 201);
    assert!(call(&server, &format!("GET {}", path())).await.body == bytes);
    let head = call(&server, &format!("HEAD {}", path())).await;
    assert!(head.status == 200 && head.head.contains("content-length: 3000000"), "{}", head.head);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_paths_below_the_prefixes() {
    let server = Server::start().await;
    let large = noise(1, 5_000_000);
    for path in ["/kv/a", "/sccache/6/8/7/687", "/ccache/ac/12", "/kv/cas/x/../y%20z", "/kv/.check"] {
        for body in [&b"small"[..], &large[..], b""] {
            assert_eq!(put(&server, path, &[], body).await, 201);
            let got = call(&server, &format!("GET {path}")).await;
            assert_eq!((got.status, got.body == body), (200, true));
            let head = call(&server, &format!("HEAD {path}")).await;
            assert!(head.head.contains(&format!("content-length: {}", body.len())), "{}", head.head);
        }
        assert_eq!(call(&server, &format!("DELETE {path}")).await.status, 204);
        for line in ["GET", "HEAD", "DELETE", "PROPFIND"] {
            assert_eq!(call(&server, &format!("{line} {path}")).await.status, 404);
        }
    }
    for path in ["/kvs/a", "/other/a", "/a"] {
        assert_eq!(put(&server, path, &[], b"x").await, 404);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_speak_as_much_webdav_as_compiler_caches_need() {
    let server = Server::start().await;
    assert_eq!(call(&server, "PROPFIND /sccache/a/").await.status, 404);
    assert_eq!(call(&server, "MKCOL /sccache/a/").await.status, 201);
    assert_eq!(put(&server, "/sccache/a/b&c", &[], b"12345").await, 201);
    let found = call(&server, "PROPFIND /sccache/a/b&c").await;
    let text = String::from_utf8(found.body).unwrap();
    assert_eq!(found.status, 207);
    assert!(
        text.contains("<D:getcontentlength>5<") && text.contains("<D:href>/sccache/a/b&amp;c<"),
        "{text}"
    );
    assert_eq!(
        call(&server, "GET //sccache/a/b&c").await.body,
        b"12345",
        "as sccache joins its endpoint and its prefix"
    );
    assert_eq!(call(&server, "OPTIONS /sccache/a/b").await.status, 200);
    assert_eq!(call(&server, "POST /sccache/a/b").await.status, 405);
    let chunked = request(server.address, "PUT /kv/a", &["Transfer-Encoding: chunked"], b"0\r\n\r\n").await;
    assert_eq!(chunked.status, 411);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_root_takes_keys_other_paths_mean_what_they_mean() {
    let server = Server::start_with(|config| config.http_keys = vec!["/".parse().unwrap()]).await;
    assert_eq!(put(&server, "/6/8/687", &[], b"x").await, 201);
    assert_eq!(call(&server, "GET /6/8/687").await.body, b"x");
    server.assert_works().await;
    assert_eq!(put(&server, "/cas/abc", &[], b"x").await, 400);
    assert_eq!(put(&server, "/status", &[], b"x").await, 405);
    assert_eq!(put(&server, &path(), &[], b"\xff").await, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_have_no_instance_and_the_status_is_told() {
    let server = Server::start().await;
    let bytes = noise(1, 5000);
    let path = format!("/cas/{}", DigestFunction::Sha256.digest(&bytes).hex());
    assert_eq!(put(&server, &format!("/a/b{path}"), &[], &bytes).await, 200);
    assert_eq!(call(&server, &format!("GET {path}")).await.body, bytes);
    assert_eq!(call(&server, &format!("GET /other{path}")).await.body, bytes);
    let status = call(&server, "GET /status").await;
    let value: Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!((&value["status"], &value["entries"]), (&json!("ok"), &json!(1)));
    assert!(value["bytes"].as_u64().unwrap() >= 5000 && value["limit"].as_u64().unwrap() > 5000);
    server.stop().await;
}
