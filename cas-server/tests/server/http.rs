//! Blobs over plain HTTP.

use crate::support::{Answer, Server, request};
use cas::{BlobStoreExt as _, testing};
use proto::DigestFunction;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn put(server: &Server, path: &str, body: &[u8]) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    request(server.address, &format!("PUT {path}"), &[&length], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_were_put_can_be_got() {
    let server = Server::start().await;
    for len in [1, 5000, 3_000_000] {
        let bytes = testing::noise(1, len);
        let path = format!("/cas/{}", DigestFunction::Sha256.digest(&bytes).hex());
        assert_eq!(request(server.address, &format!("GET {path}"), &[], b"").await.status, 404);
        assert_eq!(request(server.address, &format!("HEAD {path}"), &[], b"").await.status, 404);
        assert_eq!(put(&server, &path, &bytes).await.status, 200);
        assert_eq!(put(&server, &path, &bytes).await.status, 200);
        let got = request(server.address, &format!("GET {path}"), &[], b"").await;
        assert_eq!((got.status, got.body == bytes), (200, true));
        assert!(got.head.contains(&format!("content-length: {len}")), "{}", got.head);
        let head = request(server.address, &format!("HEAD {path}"), &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert!(head.head.contains(&format!("content-length: {len}")), "{}", head.head);
    }
    server.stop().await;
}

/// As a client does that sends all before it listens: a connection that is cut meanwhile would be an error to it.
async fn put_patiently(server: &Server, path: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::start().await;
    let bytes = testing::noise(1, 40_000_000);
    let path = format!("/cas/{}", DigestFunction::Sha256.digest(&bytes).hex());
    assert_eq!(put_patiently(&server, &path, &bytes).await, 200);
    // It is there already.
    assert_eq!(put_patiently(&server, &path, &bytes).await, 200);
    assert_eq!(put_patiently(&server, "/cas/abc", &bytes).await, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_other_functions_are_named_with_it() {
    let server = Server::start().await;
    let digest = server.store().put(DigestFunction::Blake3, testing::noise(1, 500)).await.unwrap();
    let path = format!("/cas/blake3/{}", digest.hex());
    assert_eq!(request(server.address, &format!("GET {path}"), &[], b"").await.body, testing::noise(1, 500));
    let bytes = testing::noise(2, 500);
    let sha1 = DigestFunction::Sha1.digest(&bytes);
    assert_eq!(put(&server, &format!("/cas/{}", sha1.hex()), &bytes).await.status, 200);
    assert_eq!(server.store().get(sha1).await.unwrap(), bytes);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_blob_is_there() {
    let server = Server::start().await;
    let path = format!("/cas/{}", DigestFunction::Sha256.digest(b"").hex());
    for line in [format!("GET {path}"), format!("HEAD {path}")] {
        let answer = request(server.address, &line, &[], b"").await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    assert_eq!(put(&server, &path, b"").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_uploads_are_refused_and_stay_invisible() {
    let server = Server::start().await;
    let bytes = testing::noise(1, 5000);
    let path = format!("/cas/{}", DigestFunction::Sha256.digest(&bytes).hex());
    let wrong = put(&server, &path, &testing::noise(2, 5000)).await;
    assert_eq!(wrong.status, 400);
    assert!(String::from_utf8_lossy(&wrong.body).contains("does not match"));
    let chunked =
        request(server.address, &format!("PUT {path}"), &["Transfer-Encoding: chunked"], b"0\r\n\r\n").await;
    assert_eq!(chunked.status, 411);
    assert_eq!(put(&server, "/cas/abc", b"x").await.status, 400);
    assert_eq!(put(&server, &path.to_uppercase().replace("/CAS", "/cas"), &bytes).await.status, 400);
    assert_eq!(put(&server, &path.replace("/cas", "/cas/md5"), &bytes).await.status, 400);
    assert_eq!(request(server.address, &format!("DELETE {path}"), &[], b"").await.status, 405);
    assert_eq!(request(server.address, "GET /elsewhere", &[], b"").await.status, 404);
    assert_eq!(request(server.address, &format!("GET {path}"), &[], b"").await.status, 404);
    server.assert_works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_exported() {
    let server = Server::start().await;
    server.assert_works().await;
    let text = String::from_utf8(request(server.address, "GET /metrics", &[], b"").await.body).unwrap();
    for line in [
        "cas_blobs 1",
        "cas_corrupt_blobs_total 0",
        "cas_request_seconds_count{method=\"BatchUpdateBlobs\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(text.contains("cas_last_evicted_age_seconds"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_blobs_can_be_got() {
    let server = Server::start().await;
    for len in [5000, 3_000_000] {
        let bytes = testing::noise(1, len);
        let path = format!("/cas/{}", DigestFunction::Sha256.digest(&bytes).hex());
        assert_eq!(put(&server, &path, &bytes).await.status, 200);
        let get = async |range: &str| request(server.address, &format!("GET {path}"), &[range], b"").await;
        for (range, from, to) in [("1000-2999", 1000, 3000), ("-10", len - 10, len), ("7-", 7, len)] {
            let part = get(&format!("Range: bytes={range}")).await;
            assert_eq!((part.status, part.body == bytes[from..to]), (206, true), "{range}");
            let head = format!("content-range: bytes {from}-{}/{len}", to - 1);
            assert!(part.head.contains(&head), "{}", part.head);
            assert!(part.head.contains(&format!("content-length: {}", to - from)), "{}", part.head);
        }
        let beyond = get(&format!("Range: bytes={len}-")).await;
        assert_eq!(beyond.status, 416);
        assert!(beyond.head.contains(&format!("content-range: bytes */{len}")), "{}", beyond.head);
        let several = get("Range: bytes=0-1,4-5").await;
        assert_eq!((several.status, several.body == bytes), (200, true));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_come_and_go_compressed() {
    let server = Server::start().await;
    let bytes = testing::noise(1, 1000).repeat(3000);
    let path = format!("/cas/{}", DigestFunction::Sha256.digest(&bytes).hex());
    let body = zstd::bulk::compress(&bytes, 3).unwrap();
    let length = format!("Content-Length: {}", body.len());
    let size = format!("X-Digest-SizeBytes: {}", bytes.len());
    let put = async |headers: &[&str], body: &[u8]| {
        request(server.address, &format!("PUT {path}"), headers, body).await.status
    };
    assert_eq!(put(&[&length, "Content-Encoding: zstd"], &body).await, 411);
    assert_eq!(put(&[&length, &size, "Content-Encoding: br"], &body).await, 400);
    let short = format!("Content-Length: {}", body.len() - 1);
    assert_eq!(put(&[&short, &size, "Content-Encoding: zstd"], &body[..body.len() - 1]).await, 400);
    assert_eq!(request(server.address, &format!("GET {path}"), &[], b"").await.status, 404);
    assert_eq!(put(&[&length, &size, "Content-Encoding: zstd"], &body).await, 200);
    assert!(request(server.address, &format!("GET {path}"), &[], b"").await.body == bytes);
    // Over HTTP/1.0 the body ends with the connection, not in chunks.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let asked = format!("GET {path} HTTP/1.0\r\nAccept-Encoding: gzip, zstd\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    assert!(head.contains("content-encoding: zstd") && !head.contains("content-length"), "{head}");
    assert!(answer.len() < 100_000);
    assert!(zstd::bulk::decompress(&answer[end + 4..], bytes.len()).unwrap() == bytes);
    server.stop().await;
}
