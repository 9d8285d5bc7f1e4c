//! `GetTree`.

use crate::{
    grpc::{cas, wire},
    support::Server,
};
use bytes::Bytes;
use cas::BlobStoreExt as _;
use prost::Message as _;
use proto::{Digest, DigestFunction, reapi};
use reapi::{Directory, DirectoryNode, GetTreeRequest, GetTreeResponse, SymlinkNode};
use tonic::{Code, Status};

/// A directory with these children. `name` makes it different from others.
fn directory(name: &str, children: &[(&str, Digest)]) -> Directory {
    let node = |(name, digest): &(&str, Digest)| DirectoryNode {
        name: (*name).to_owned(),
        digest: Some(wire(digest)),
    };
    let link = SymlinkNode { name: name.to_owned(), target: "elsewhere".into(), ..Default::default() };
    Directory { directories: children.iter().map(node).collect(), symlinks: vec![link], ..Default::default() }
}

async fn put(server: &Server, directory: &Directory) -> Digest {
    server.store().put(DigestFunction::Sha256, directory.encode_to_vec().into()).await.unwrap()
}

async fn pages(server: &Server, request: GetTreeRequest) -> Result<Vec<GetTreeResponse>, Status> {
    let mut stream = cas(server).get_tree(request).await?.into_inner();
    let mut pages = Vec::new();
    while let Some(page) = stream.message().await? {
        pages.push(page);
    }
    Ok(pages)
}

fn request(root: &Digest) -> GetTreeRequest {
    GetTreeRequest { root_digest: Some(wire(root)), ..Default::default() }
}

fn names(pages: &[GetTreeResponse]) -> Vec<&str> {
    let directories = pages.iter().flat_map(|page| &page.directories);
    directories.map(|directory| directory.symlinks[0].name.as_str()).collect()
}

/// `root` with `a` and `b`, which share `c`.
async fn small_tree(server: &Server) -> Digest {
    let c = put(server, &directory("c", &[])).await;
    let a = put(server, &directory("a", &[("c", c)])).await;
    let b = put(server, &directory("b", &[("also", c), ("c", c)])).await;
    put(server, &directory("root", &[("a", a), ("b", b)])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_directory_comes_once_parents_first() {
    let server = Server::start().await;
    let root = small_tree(&server).await;
    let all = pages(&server, request(&root)).await.unwrap();
    assert_eq!(names(&all), ["root", "a", "b", "c"]);
    assert_eq!(all.last().unwrap().next_page_token, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_at_most_what_was_asked_for_and_go_on_from_their_tokens() {
    let server = Server::start().await;
    let root = small_tree(&server).await;
    let paged = GetTreeRequest { page_size: 3, ..request(&root) };
    let first = pages(&server, paged.clone()).await.unwrap();
    assert_eq!(first.iter().map(|page| page.directories.len()).collect::<Vec<_>>(), [3, 1]);
    let page_token = first[0].next_page_token.clone();
    let rest = pages(&server, GetTreeRequest { page_token, ..paged }).await.unwrap();
    assert_eq!(names(&rest), ["c"]);
    let whole = GetTreeRequest { page_size: 4, ..request(&root) };
    assert_eq!(pages(&server, whole).await.unwrap().len(), 1, "no empty page at the end");
    for wrong in [
        GetTreeRequest { page_size: -1, ..request(&root) },
        GetTreeRequest { page_token: "x".into(), ..request(&root) },
        GetTreeRequest::default(),
    ] {
        assert_eq!(pages(&server, wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_children_are_left_out_but_a_missing_root_is_not_found() {
    let server = Server::start().await;
    let absent = DigestFunction::Sha256.digest(b"absent");
    let there = put(&server, &directory("there", &[])).await;
    let root = put(&server, &directory("root", &[("a", absent), ("b", there)])).await;
    assert_eq!(names(&pages(&server, request(&root)).await.unwrap()), ["root", "there"]);
    assert_eq!(pages(&server, request(&absent)).await.unwrap_err().code(), Code::NotFound);
    let empty = pages(&server, request(&Digest::empty(DigestFunction::Sha256))).await.unwrap();
    assert_eq!(empty, [GetTreeResponse { directories: vec![Directory::default()], ..Default::default() }]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_directory_is_named() {
    let server = Server::start().await;
    let bytes = Bytes::from_static(b"\xff\xff no message");
    let garbage = server.store().put(DigestFunction::Sha256, bytes).await.unwrap();
    let node = DirectoryNode { name: "bad".into(), digest: Some(reapi::Digest::default()) };
    let no_digest = put(&server, &Directory { directories: vec![node], ..Default::default() }).await;
    for bad in [garbage, no_digest] {
        let root = put(&server, &directory("root", &[("bad", bad)])).await;
        let error = pages(&server, request(&root)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(&bad.hex()), "{error}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_trees_come_in_messages_that_every_client_takes() {
    let server = Server::start().await;
    let long = "x".repeat(100_000);
    let mut children = Vec::new();
    for i in 0..70 {
        children.push((format!("{i}"), put(&server, &directory(&format!("{i}{long}"), &[])).await));
    }
    let children: Vec<_> = children.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
    let root = put(&server, &directory("root", &children)).await;
    let pages = pages(&server, request(&root)).await.unwrap();
    assert!(pages.len() > 2 && pages.iter().all(|page| page.encoded_len() < 4 << 20));
    assert_eq!(pages.iter().map(|page| page.directories.len()).sum::<usize>(), 71);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_depth_is_refused() {
    let server = Server::start().await;
    let mut below = put(&server, &directory("bottom", &[])).await;
    let mut blobs = Vec::new();
    for level in 0..1100 {
        let bytes = directory(&level.to_string(), &[("d", below)]).encode_to_vec();
        below = DigestFunction::Sha256.digest(&bytes);
        blobs.push((below, Bytes::from(bytes)));
    }
    let store = server.store();
    let written = cas::BlobStore::write_batch(&store, blobs).await.unwrap();
    assert!(written.iter().all(Result::is_ok));
    assert_eq!(pages(&server, request(&below)).await.unwrap_err().code(), Code::ResourceExhausted);
    server.assert_works().await;
    server.stop().await;
}
