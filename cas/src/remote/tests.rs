//! The client against servers that keep to the protocol, servers that do not, and wires that break.

mod server;

use super::{Headers, RemoteStore};
use crate::{
    Address, BlobStore, BlobStoreExt as _, Error, Range, Silent,
    layers::{Patience, Retrying, Verified},
    testing::{conformance, noise, stream_of},
    tree::{self, LastManifest, Sources},
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use proto::{Digest, DigestFunction};
use runtime::{SystemClock, SystemEntropy, connect::Tls};
use server::{Mischief, Server, certificate};
use std::time::Duration;

const FUNCTION: DigestFunction = DigestFunction::Blake3;

/// As [`crate::connect`] puts them together, with less patience.
fn layered(store: impl BlobStore) -> Verified<Retrying<impl BlobStore>> {
    let patience = Patience { first: Duration::from_millis(1), ..Patience::default() };
    Verified::new(Retrying::new(store, patience, SystemClock::shared(), SystemEntropy::shared()))
}

async fn collect(store: &dyn BlobStore, digest: Digest) -> crate::Result<Vec<u8>> {
    let chunks: Vec<Bytes> = store.read(digest, Range::ALL).await?.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn conforms() {
    let server = Server::start(Mischief::None).await;
    conformance::all(&server.client()).await;
    conformance::all(&layered(server.client())).await;
}

#[tokio::test]
async fn a_server_that_wants_to_know_who_calls_is_told() {
    let server = Server::start(Mischief::Strict).await;
    let (url, [cert, key]) = (server.url(), certificate());
    let headers = ["X-Api-Key=a=b".parse().unwrap()];
    let tls = Tls { ca_cert: Some(&cert), client: Some((&cert, &key)) };
    let known = Address { server: &url, tls, instance: "main", headers: &headers };
    let connect = |address| crate::connect(address, SystemClock::shared(), SystemEntropy::shared()).unwrap();
    for length in [1000, 5_000_000] {
        let digest = connect(known).put(FUNCTION, noise(1, length)).await.unwrap();
        assert_eq!(connect(known).get(digest).await.unwrap(), noise(1, length));
    }
    let digest = FUNCTION.digest(b"x");
    let refused = async |address: Address<'_>| {
        let channel = runtime::connect::secured(&url, address.tls).unwrap();
        let headers = Headers::new(address.headers);
        let store = RemoteStore::with_headers(channel, address.instance, headers, SystemEntropy::shared());
        store.find_missing(&[digest]).await.unwrap_err()
    };
    let error = refused(Address { headers: &[], ..known }).await;
    assert!(error.to_string().contains("who are you?"), "{error}");
    let error = refused(Address { instance: "", ..known }).await;
    assert!(error.to_string().contains("there is no store ``"), "{error}");
    let error = refused(Address { tls: Tls { client: None, ..tls }, ..known }).await;
    assert!(error.is_transient(), "no connection: {error:?}");
}

#[tokio::test]
async fn a_server_that_lies_is_found_out() {
    for mischief in [Mischief::Other, Mischief::Shorter, Mischief::Longer] {
        let server = Server::start(mischief).await;
        let store = Verified::new(server.client());
        for length in [1000, 5_000_000] {
            let digest = server.store.put(FUNCTION, noise(1, length)).await.unwrap();
            let streamed = collect(&store, digest).await.unwrap_err();
            let batched = store.read_batch(&[digest]).await.unwrap().remove(0).unwrap_err();
            for error in [streamed, batched] {
                match mischief {
                    // As if the connection had been cut: the rest may come yet.
                    Mischief::Shorter if error.is_transient() => {}
                    Mischief::Longer if matches!(error, Error::Internal { .. }) => {}
                    _ => assert!(matches!(error, Error::Mismatch { .. }), "{mischief:?}: {error:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_of_a_blob_has_not_acknowledged_it() {
    let server = Server::start(Mischief::Silence).await;
    let bytes = noise(1, 1000);
    let digest = FUNCTION.digest(&bytes);
    for outcome in [
        server.client().write_batch(vec![(digest, bytes)]).await.unwrap().remove(0),
        server.client().read_batch(&[digest]).await.unwrap().remove(0).map(drop),
    ] {
        assert!(outcome.unwrap_err().to_string().contains(&digest.to_string()));
    }
}

#[tokio::test]
async fn a_blob_that_was_committed_in_part_is_not_acknowledged() {
    let server = Server::start(Mischief::Shorter).await;
    let bytes = noise(1, 5_000_000);
    let written = server.client().write(FUNCTION.digest(&bytes), stream_of(bytes, 100_000)).await;
    assert!(written.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_transient_error_and_reads_go_on_after_it() {
    let mut server = Server::start(Mischief::None).await;
    let (small, large) = (noise(1, 1_500_000), noise(2, 9_000_000));
    let small = server.store.put(FUNCTION, small).await.unwrap();
    let bare = server.client_with_breaks(1_000_000).await;
    let large_digest = server.store.put(FUNCTION, large.clone()).await.unwrap();
    assert!(collect(&bare, large_digest).await.unwrap_err().is_transient());
    assert!(bare.read_batch(&[small]).await.unwrap_err().is_transient());
    let store = layered(server.client_with_breaks(1_000_000).await);
    assert!(collect(&store, large_digest).await.unwrap() == large);
}

#[tokio::test]
async fn nobody_there_is_a_transient_error_that_says_why() {
    let server = Server::start(Mischief::None).await;
    let client = server.client();
    drop(server);
    let digest = FUNCTION.digest(b"any");
    let error = client.find_missing(&[digest]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn an_upload_starts_over_on_a_server_that_cannot_tell_what_came_of_it() {
    let server = Server::start(Mischief::None).await;
    let bytes = noise(1, 5_000_000);
    let digest = FUNCTION.digest(&bytes);
    let opened = std::sync::Mutex::new(Vec::new());
    let source = |offset: u64| {
        let mut opened = opened.lock().unwrap();
        opened.push(offset);
        let first = opened.len() == 1;
        let rest = stream_of(bytes.slice(usize::try_from(offset).unwrap()..), 100_000);
        let cut = || Err(Error::Unavailable { reason: "cut".into() });
        let cut = rest.take(20).chain(futures::stream::once(async move { cut() }));
        let rest = stream_of(bytes.slice(usize::try_from(offset).unwrap()..), 100_000);
        async move { Ok(if first { cut.boxed() } else { rest }) }.boxed()
    };
    let client = server.client();
    assert!(client.write_from(digest, &source).await.unwrap_err().is_transient());
    client.write_from(digest, &source).await.unwrap();
    assert_eq!(server.store.get(digest).await.unwrap(), bytes);
    assert_eq!(*opened.lock().unwrap(), [0, 0]);
}

#[tokio::test]
async fn a_hundred_thousand_are_asked_for_in_one_call_or_in_several_where_the_server_takes_no_large_one() {
    let digests: Vec<Digest> = (0..100_000_u32).map(|n| FUNCTION.digest(&n.to_le_bytes())).collect();
    for (mischief, calls) in [(Mischief::None, 1), (Mischief::Default, 3)] {
        let server = Server::start(mischief).await;
        server.store.put(FUNCTION, Bytes::copy_from_slice(&7_u32.to_le_bytes())).await.unwrap();
        let missing = layered(server.client()).find_missing(&digests).await.unwrap();
        assert_eq!(missing.len(), digests.len() - 1);
        assert!(!missing.contains(&digests[7]));
        assert_eq!(server.finds.load(std::sync::atomic::Ordering::Relaxed), calls, "{mischief:?}");
    }
}

#[tokio::test]
async fn a_server_that_knows_nothing_of_patches_gets_the_whole_manifest() {
    for (mischief, is_patched) in [(Mischief::Default, false), (Mischief::None, true)] {
        let server = Server::start(mischief).await;
        let store = layered(server.client());
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = noise(1, 5_000_000).to_vec();
        for change in 0..2 {
            manifest[2_000_000] = change;
            let mut sources = Sources::new();
            let last = LastManifest::of(dir.path(), dir.path());
            let digest = sources.add_manifest(FUNCTION, manifest.clone().into(), Some(last));
            let uploaded = tree::upload(&store, &sources, &Silent).await.unwrap();
            assert_eq!(uploaded.uploaded_bytes < 10_000, is_patched && change == 1, "{uploaded:?}");
            assert!(server.store.get(digest).await.unwrap() == manifest);
        }
    }
    let server = Server::start(Mischief::Default).await;
    let digest = FUNCTION.digest(b"any");
    let error = server.client().write_patch(digest, digest, Bytes::new()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
}
