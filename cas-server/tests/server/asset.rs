//! Remote Asset `Fetch` and `Push`.

use crate::{grpc::wire, support::Server};
use asset::{
    FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, PushBlobRequest, PushDirectoryRequest,
    Qualifier, fetch_client::FetchClient, push_client::PushClient,
};
use cas::BlobStoreExt as _;
use prost::Message as _;
use proto::{Digest, DigestFunction, asset, google::protobuf::Timestamp, reapi};
use tonic::Code;

const URI: &str = "https://example.org/source.tar.gz";
const NOT_FOUND: i32 = Code::NotFound as i32;

fn qualifier(name: &str, value: &str) -> Qualifier {
    Qualifier { name: name.to_owned(), value: value.to_owned() }
}

fn uris(uris: &[&str]) -> Vec<String> {
    uris.iter().map(|uri| (*uri).to_owned()).collect()
}

async fn push(server: &Server, request: PushBlobRequest) -> Result<(), Code> {
    let answer = PushClient::new(server.channel()).push_blob(request).await;
    answer.map(drop).map_err(|status| status.code())
}

async fn fetch(server: &Server, request: FetchBlobRequest) -> FetchBlobResponse {
    FetchClient::new(server.channel()).fetch_blob(request).await.unwrap().into_inner()
}

async fn code(server: &Server, request: FetchBlobRequest) -> i32 {
    fetch(server, request).await.status.unwrap().code
}

async fn put(server: &Server, bytes: &[u8]) -> Digest {
    server.store().put(DigestFunction::Sha256, bytes.to_vec().into()).await.unwrap()
}

fn wanted() -> FetchBlobRequest {
    FetchBlobRequest { uris: uris(&[URI]), ..Default::default() }
}

fn pushed(digest: &Digest) -> PushBlobRequest {
    PushBlobRequest { uris: uris(&[URI]), blob_digest: Some(wire(digest)), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_fetched_by_the_same_names() {
    let server = Server::start().await;
    assert_eq!(code(&server, wanted()).await, NOT_FOUND);
    let digest = put(&server, b"source").await;
    let qualifiers = vec![qualifier("b", "2"), qualifier("a", "1")];
    push(&server, PushBlobRequest { qualifiers: qualifiers.clone(), ..pushed(&digest) }).await.unwrap();
    assert_eq!(code(&server, wanted()).await, NOT_FOUND, "qualifiers are part of the name");
    let reversed = vec![qualifier("a", "1"), qualifier("b", "2")];
    let request = FetchBlobRequest {
        uris: uris(&["https://mirror.example.org", URI]),
        qualifiers: reversed.clone(),
        ..Default::default()
    };
    let found = fetch(&server, request.clone()).await;
    assert_eq!(found.status.unwrap().code, 0);
    assert_eq!((found.blob_digest, found.digest_function), (Some(wire(&digest)), 1));
    assert_eq!((found.uri.as_str(), found.qualifiers, found.expires_at), (URI, reversed, None));
    for other in [
        FetchBlobRequest { instance_name: "other".into(), ..request.clone() },
        FetchBlobRequest { digest_function: 9, ..request.clone() },
        FetchBlobRequest {
            oldest_content_accepted: Some(Timestamp { seconds: 1 << 40, nanos: 0 }),
            ..request.clone()
        },
    ] {
        assert_eq!(code(&server, other).await, NOT_FOUND);
    }
    let directory = FetchDirectoryRequest { uris: request.uris, qualifiers, ..Default::default() };
    let found = FetchClient::new(server.channel()).fetch_directory(directory).await.unwrap().into_inner();
    assert_eq!(found.status.unwrap().code, NOT_FOUND, "blobs and directories are apart");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_whose_blobs_are_gone_or_whose_time_is_over_are_not_found() {
    let server = Server::start().await;
    let later = DigestFunction::Sha256.digest(b"later");
    push(&server, pushed(&later)).await.unwrap();
    assert_eq!(code(&server, wanted()).await, NOT_FOUND);
    put(&server, b"later").await;
    assert_eq!(code(&server, wanted()).await, 0);

    let reference = DigestFunction::Sha256.digest(b"reference");
    let with_reference = PushBlobRequest { references_blobs: vec![wire(&reference)], ..pushed(&later) };
    push(&server, with_reference).await.unwrap();
    assert_eq!(code(&server, wanted()).await, NOT_FOUND);
    put(&server, b"reference").await;
    assert_eq!(code(&server, wanted()).await, 0);

    let far = Timestamp { seconds: 1 << 33, nanos: 0 };
    push(&server, PushBlobRequest { expire_at: Some(far), ..pushed(&later) }).await.unwrap();
    assert_eq!(fetch(&server, wanted()).await.expires_at, Some(far));
    let past = Some(Timestamp { seconds: 1000, nanos: 0 });
    push(&server, PushBlobRequest { expire_at: past, ..pushed(&later) }).await.unwrap();
    assert_eq!(code(&server, wanted()).await, NOT_FOUND);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_there_with_all_that_is_below_them() {
    let server = Server::start().await;
    let file = DigestFunction::Sha256.digest(b"file");
    let node = reapi::FileNode { name: "f".into(), digest: Some(wire(&file)), ..Default::default() };
    let root = reapi::Directory { files: vec![node], ..Default::default() };
    let root = put(&server, &root.encode_to_vec()).await;
    let request = PushDirectoryRequest {
        uris: uris(&[URI, "second"]),
        root_directory_digest: Some(wire(&root)),
        ..Default::default()
    };
    PushClient::new(server.channel()).push_directory(request).await.unwrap();
    let wanted = FetchDirectoryRequest { uris: uris(&["second"]), ..Default::default() };
    let mut client = FetchClient::new(server.channel());
    let found = client.fetch_directory(wanted.clone()).await.unwrap().into_inner();
    assert_eq!(found.status.unwrap().code, NOT_FOUND);
    put(&server, b"file").await;
    let found = client.fetch_directory(wanted).await.unwrap().into_inner();
    assert_eq!((found.status.unwrap().code, found.root_directory_digest), (0, Some(wire(&root))));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_name_nothing_are_refused() {
    let server = Server::start().await;
    let digest = put(&server, b"x").await;
    let twice = vec![qualifier("a", "1"), qualifier("a", "2")];
    for request in [
        PushBlobRequest { uris: vec![], ..pushed(&digest) },
        PushBlobRequest { qualifiers: twice, ..pushed(&digest) },
        PushBlobRequest { blob_digest: None, ..pushed(&digest) },
        PushBlobRequest { references_blobs: vec![reapi::Digest::default()], ..pushed(&digest) },
        PushBlobRequest { uris: vec![URI.to_owned(); 1000], ..pushed(&digest) },
    ] {
        assert_eq!(push(&server, request).await, Err(Code::InvalidArgument));
    }
    let mut client = FetchClient::new(server.channel());
    let refused = client.fetch_blob(FetchBlobRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    server.stop().await;
}
