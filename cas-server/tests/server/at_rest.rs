//! A server whose blobs are compressed at rest.

use crate::{
    grpc::read,
    support::{Program, Server, command, request},
};
use bytes::Bytes;
use cas::{BlobStore as _, BlobStoreExt as _, testing};
use cas_server::engine::Compression;
use proto::{Digest, DigestFunction};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// Bytes that get smaller, by less than a half, and differ from those of every other seed.
fn text(seed: u64, len: usize) -> Bytes {
    testing::noise(seed, len).iter().map(|byte| b'a' + byte % 16).collect()
}

async fn start() -> Server {
    Server::start_with(|config| config.compress = Compression::Zstd).await
}

async fn metric(server: &Server, name: &str) -> u64 {
    let answer = request(server.address, "GET /metrics", &[], b"").await;
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect(name).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_and_grpc_who_takes_zstd_gets_what_is_stored_and_others_the_blob() {
    let server = start().await;
    let (mut content, mut passed, mut decompressed) = (0, 0, 0);
    for len in [50_000, 3_300_000] {
        let bytes = text(1, len);
        let hex = DigestFunction::Sha256.digest(&bytes).hex();
        let (path, size) = (format!("/cas/{hex}"), format!("X-Digest-SizeBytes: {len}"));
        // Compressed by the client in its own way.
        let frame = zstd::bulk::compress(&bytes, 7).unwrap();
        let headers = ["Content-Encoding: zstd", &size, &format!("Content-Length: {}", frame.len())];
        let put = request(server.address, &format!("PUT {path}"), &headers, &frame).await;
        assert_eq!(put.status, 200);
        let get = format!("GET {path}");
        let stored = request(server.address, &get, &["Accept-Encoding: zstd"], b"").await;
        assert!(stored.head.contains("content-encoding: zstd"), "{}", stored.head);
        let over_grpc = read(&server, &format!("compressed-blobs/zstd/{hex}/{len}"), 0, 0).await.unwrap();
        assert!(zstd::stream::decode_all(&over_grpc[..]).unwrap() == bytes);
        (content, passed) = (content + len as u64, passed + 2);
        assert_eq!(metric(&server, "cas_compressed_reads_passed_through_total").await, passed);
        assert_eq!(metric(&server, "cas_compressed_reads_decompressed_total").await, decompressed);

        assert!(request(server.address, &get, &[], b"").await.body == bytes);
        for (range, expected) in [
            ("0-0", 0..1),
            ("10000-19999", 10_000..20_000),
            ("1048570-1048585", 1_048_570..1_048_586),
            ("40000-", 40_000..len),
            ("-1", len - 1..len),
        ] {
            if expected.end > len {
                continue;
            }
            let headers = [format!("Range: bytes={range}"), "Accept-Encoding: zstd".into()];
            let part = request(server.address, &get, &[&headers[0], &headers[1]], b"").await;
            assert_eq!((part.status, part.body == bytes[expected.clone()]), (206, true), "{range}");
            let (offset, limit) = (expected.start as i64, expected.len() as i64);
            let part = read(&server, &format!("blobs/{hex}/{len}"), offset, limit).await.unwrap();
            assert!(part == bytes[expected], "{range}");
        }
        decompressed = metric(&server, "cas_compressed_reads_decompressed_total").await;
        assert!(decompressed > 0);
    }
    assert_eq!(metric(&server, "cas_compressed_content_bytes").await, content);
    let stored = metric(&server, "cas_compressed_stored_bytes").await;
    assert!(stored < content * 3 / 4 && metric(&server, "cas_used_bytes").await < content);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_is_stored_and_a_later_start_without_the_option_serves_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let with = |how: &str| {
        let mut command = command();
        command.args(["--compress", how]);
        Program::start_by(command, &data)
    };
    let server = with("zstd");
    let bytes = text(1, 2_000_000);
    let digest = server.store().put(DigestFunction::Sha256, bytes.clone()).await.unwrap();
    let explain = command().args(["explain", &digest.to_string(), "--server", &server.url]).output().unwrap();
    let said = String::from_utf8(explain.stdout).unwrap();
    let at_rest = said.lines().find_map(|line| line.strip_prefix("at rest       ")).unwrap();
    let stored: u64 = at_rest.strip_suffix(" bytes, compressed").unwrap().parse().unwrap();
    assert!(stored < 1_500_000, "{said}");
    server.terminate();
    let server = with("off");
    assert!(server.store().get(digest).await.unwrap() == bytes);
    server.terminate();
    let unknown = command().args(["--compress", "gzip"]).output().unwrap();
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("gzip") && said.contains("zstd"), "{said}");
}

#[derive(Default)]
struct Acknowledged {
    blobs: Mutex<Vec<(Digest, u64, usize)>>,
    news: Notify,
}

/// Uploads until the server is gone.
async fn upload(server: Arc<Program>, first: u64, acknowledged: Arc<Acknowledged>) {
    let store = server.store();
    for seed in first.. {
        let len = if seed % 8 == 0 { 1_500_000 } else { 30_000 };
        let bytes = text(seed, len);
        let digest = DigestFunction::Blake3.digest(&bytes);
        let written = match len {
            30_000 => store.write_batch(vec![(digest, bytes)]).await.is_ok_and(|all| all[0].is_ok()),
            _ => store.write(digest, testing::stream_of(bytes, 200_000)).await.is_ok(),
        };
        if !written {
            return;
        }
        acknowledged.blobs.lock().unwrap().push((digest, seed, len));
        acknowledged.news.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_blob_is_missing_after_kill_9_with_compression_on_off_and_on() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(Acknowledged::default());
    for round in 0..6u64 {
        let mut program = command();
        program.args(["--compress", if round % 3 == 1 { "off" } else { "zstd" }]);
        let server = Arc::new(Program::start_by(program, dir.path()));
        let before = acknowledged.blobs.lock().unwrap().clone();
        let digests: Vec<Digest> = before.iter().map(|(digest, ..)| *digest).collect();
        assert_eq!(server.store().find_missing(&digests).await.unwrap(), []);
        for (digest, seed, len) in &before {
            assert!(server.store().get(*digest).await.unwrap() == text(*seed, *len));
        }
        let mut uploads = JoinSet::new();
        for uploader in 0..4 {
            let first = 1_000_000 * round + 10_000 * uploader;
            uploads.spawn(upload(Arc::clone(&server), first, Arc::clone(&acknowledged)));
        }
        let enough = before.len() + 20 + 7 * usize::try_from(round).unwrap();
        while acknowledged.blobs.lock().unwrap().len() < enough {
            let news = tokio::time::timeout(Duration::from_secs(60), acknowledged.news.notified());
            news.await.expect("uploads go on");
        }
        rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL).unwrap();
        while uploads.join_next().await.is_some() {}
        Arc::into_inner(server).expect("uploads have ended").kill();
    }
}
