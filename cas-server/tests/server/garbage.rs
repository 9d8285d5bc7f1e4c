//! Whatever comes in: the server answers or hangs up, and goes on.

use crate::support::{Server, request};
use cas::testing::noise;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const METHODS: [&str; 15] = [
    "build.bazel.remote.execution.v2.Capabilities/GetCapabilities",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob",
    "build.bazel.remote.execution.v2.ActionCache/GetActionResult",
    "build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
    "build.bazel.remote.asset.v1.Fetch/FetchBlob",
    "build.bazel.remote.asset.v1.Push/PushDirectory",
    "google.bytestream.ByteStream/Read",
    "google.bytestream.ByteStream/Write",
    "google.bytestream.ByteStream/QueryWriteStatus",
    "build.bazel.remote.execution.v2.Execution/Execute",
];

#[tokio::test(flavor = "multi_thread")]
async fn noise_on_the_socket_does_no_harm() {
    let server = Server::start().await;
    for seed in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let preface: &[u8] = if seed % 2 == 0 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" } else { b"GET /cas/" };
        let _ = stream.write_all(preface).await;
        let _ = stream.write_all(&noise(seed, 3000)).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    server.assert_works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_as_messages_is_answered_with_a_status() {
    let server = Server::start().await;
    for method in METHODS {
        for seed in 0..20 {
            let payload = noise(seed, 40);
            // A message with a right length, one that is cut off, and none at all.
            let framed = [&[0, 0, 0, 0, 40][..], &payload].concat();
            for body in [&framed[..], &framed[..30], &payload[..], b""] {
                let length = format!("Content-Length: {}", body.len());
                let headers = ["Content-Type: application/grpc", "TE: trailers", &length];
                let answer = request(server.address, &format!("POST /{method}"), &headers, body).await;
                assert_eq!(answer.status, 200, "{method}: {}", answer.head);
            }
        }
    }
    server.assert_works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_memory_has_no_room_for_wait_their_turn() {
    let server = Server::start_with(|config| config.max_memory = bytesize::ByteSize::mib(8)).await;
    let mut halves = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head =
            format!("POST /{} HTTP/1.1\r\nHost: test\r\nContent-Type: application/grpc\r\n", METHODS[2]);
        stream.write_all(format!("{head}Content-Length: 1000\r\n\r\nhalf").as_bytes()).await.unwrap();
        halves.push(stream);
    }
    let mut waits = false;
    for _ in 0..50 {
        let works = tokio::time::timeout(std::time::Duration::from_millis(500), server.assert_works()).await;
        waits = works.is_err();
        if waits {
            break;
        }
    }
    assert!(waits, "two calls take all memory");
    drop(halves);
    server.assert_works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_cut_off_leave_nothing() {
    let server = Server::start().await;
    let bytes = noise(1, 5_000_000);
    let path = format!("/cas/{}", proto::DigestFunction::Sha256.digest(&bytes).hex());
    for _ in 0..5 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 5000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..3_000_000]).await.unwrap();
    }
    assert_eq!(request(server.address, &format!("GET {path}"), &[], b"").await.status, 404);
    server.assert_works().await;
    let dir = server.stop().await;
    assert_eq!(std::fs::read_dir(dir.path().join("data/uploads")).unwrap().count(), 0);
}
