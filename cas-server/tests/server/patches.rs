//! Blobs that are made of others, on the wire.

use crate::support::{Program, Server, request};
use bytes::Bytes;
use cas::{BlobStore as _, BlobStoreExt as _, patch, testing::noise};
use proto::{Digest, DigestFunction, v1};
use tonic::Code;
use v1::patches_client::PatchesClient;

const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// Two blobs and what makes the second of the first.
fn versions(seed: u64) -> (Bytes, Bytes, Bytes) {
    let old = noise(seed, 12_000_000);
    let mut new = old.to_vec();
    new[5_000_000..5_000_040].fill(b'x');
    let patch = patch::make(&old, &new).unwrap();
    (old, new.into(), patch)
}

async fn write(server: &Server, request: v1::WritePatchRequest) -> (Code, String) {
    let answer = PatchesClient::new(server.channel()).write_patch(request).await;
    answer.map_or_else(|status| (status.code(), status.message().to_owned()), |_| (Code::Ok, String::new()))
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = String::from_utf8(request(server.address, "GET /metrics", &[], b"").await.body).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_patch_is_told_and_nothing_is_stored() {
    let server = Server::start().await;
    let (old, new, patch) = versions(1);
    let (base, target) = (FUNCTION.digest(&old), FUNCTION.digest(&new));
    let good = v1::WritePatchRequest {
        instance_name: "any".into(),
        base: Some(base.into()),
        target: Some(target.into()),
        patch: patch.clone(),
    };
    let (code, message) = write(&server, good.clone()).await;
    assert!(code == Code::NotFound && message.contains(&base.to_string()), "{code:?} {message}");
    server.store().put(FUNCTION, old).await.unwrap();

    let bomb: Bytes = zstd::bulk::compress(&vec![0; 200_000_000], 1).unwrap().into();
    let other = FUNCTION.digest(b"something else");
    let other = Digest::new(FUNCTION, other.hash(), target.size()).unwrap();
    let huge = Digest::new(FUNCTION, &[1; 32], 1 << 40).unwrap();
    for (request, said) in [
        (v1::WritePatchRequest { base: None, ..good.clone() }, "base: it is missing"),
        (v1::WritePatchRequest { target: None, ..good.clone() }, "target: it is missing"),
        (v1::WritePatchRequest { target: Some(v1::Digest::default()), ..good.clone() }, "target: "),
        (v1::WritePatchRequest { target: Some(other.into()), ..good.clone() }, "does not match its name"),
        (v1::WritePatchRequest { target: Some(huge.into()), ..good.clone() }, "too large to be patched"),
        (v1::WritePatchRequest { patch: bomb, ..good.clone() }, "not a patch of up to"),
        (v1::WritePatchRequest { patch: patch.slice(1..), ..good.clone() }, "not a patch of up to"),
        (v1::WritePatchRequest { patch: Bytes::new(), ..good.clone() }, "ends within its numbers"),
    ] {
        let (code, message) = write(&server, request).await;
        assert!(code == Code::InvalidArgument && message.contains(said), "{code:?} {message}: not {said}");
    }
    assert_eq!(server.store().find_missing(&[target]).await.unwrap(), [target]);
    assert_eq!(write(&server, good).await.0, Code::Ok);
    assert!(server.store().get(target).await.unwrap() == new);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_counted_and_not_what_was_made_of_it() {
    let server = Server::start().await;
    let (old, new, patch) = versions(2);
    let (received, written) = ("cas_received_bytes_total", "cas_written_bytes_total");
    let base = server.store().put(FUNCTION, old.clone()).await.unwrap();
    assert_eq!(metric(&server, received).await, old.len() as u64);
    server.store().write_patch(base, FUNCTION.digest(&new), patch.clone()).await.unwrap();
    let came = (old.len() + patch.len()) as u64;
    assert_eq!(metric(&server, received).await, came);
    assert_eq!(metric(&server, written).await, (old.len() + new.len()) as u64);
    // What is there already comes, too, in batches at least.
    for _ in 0..2 {
        server.store().put(FUNCTION, noise(3, 1000)).await.unwrap();
    }
    let small = noise(4, 500);
    let path = format!("PUT /cas/blake3/{}", FUNCTION.digest(&small).hex());
    assert_eq!(request(server.address, &path, &["Content-Length: 500"], &small).await.status, 200);
    assert_eq!(metric(&server, received).await, came + 2500);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_outlasts_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let (old, new, patch) = versions(5);
    let base = server.store().put(FUNCTION, old).await.unwrap();
    let target = FUNCTION.digest(&new);
    server.store().write_patch(base, target, patch).await.unwrap();
    server.kill();
    let server = Program::start(dir.path());
    assert!(server.store().get(target).await.unwrap() == new);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_a_time_stay_within_little_memory() {
    let server = Server::start_with(|config| config.max_memory = bytesize::ByteSize::mib(16)).await;
    let (old, new, patch) = versions(6);
    let base = server.store().put(FUNCTION, old).await.unwrap();
    let target = FUNCTION.digest(&new);
    let store = server.store();
    let all = (0..40).map(|_| store.write_patch(base, target, patch.clone()));
    let outcomes = futures::future::join_all(all).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(cas::Error::is_transient)));
    assert!(outcomes.iter().any(Result::is_ok));
    assert!(server.store().get(target).await.unwrap() == new);
    server.stop().await;
}
