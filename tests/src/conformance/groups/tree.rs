//! `GetTree`.

use super::{
    blob::Blob,
    expect::{Outcome, ok, refused, same, that},
    rule::rule,
    server::{number, within},
};
use crate::conformance::{Rule, Server};
use prost::Message as _;
use proto::reapi::{Digest, Directory, DirectoryNode, FileNode, GetTreeRequest, GetTreeResponse};
use std::collections::BTreeSet;
use tonic::{Code, Status};

pub(super) const RULES: &[Rule] = &[
    rule!("tree.whole", "every directory below the root is answered", "REAPI: GetTree", [], whole),
    rule!("tree.root-missing", "a root that is not there is NOT_FOUND", "REAPI: GetTree", [], root_missing),
    rule!(
        "tree.child-missing",
        "a directory that is not there is left out, and the others are answered",
        "REAPI: GetTree",
        [],
        child_missing
    ),
    rule!(
        "tree.empty",
        "the tree of the empty digest is one empty directory",
        "REAPI: GetTree; the empty blob is always there",
        [],
        empty
    ),
    rule!(
        "tree.shared",
        "a tree whose directories are shared 2^30 times is answered in time",
        "REAPI: GetTree; clients send what they want, so a server must look at each directory once",
        [],
        shared
    ),
    rule!(
        "tree.page-size",
        "no message has more directories than page_size",
        "REAPI: GetTreeRequest.page_size",
        [],
        page_size
    ),
    rule!(
        "tree.page-token",
        "a call with next_page_token goes on with what the call before has left",
        "REAPI: GetTreeRequest.page_token",
        [],
        page_token
    ),
];

/// A directory that the server has taken.
async fn directory(server: &Server, children: &[(&str, &Digest)]) -> Outcome<Digest> {
    let directory = unstored(server, children);
    server.store(&directory).await?;
    Ok(directory.digest)
}

/// One that it has not. The file makes it another each time.
fn unstored(server: &Server, children: &[(&str, &Digest)]) -> Blob {
    let node = |(name, digest): &(&str, &Digest)| DirectoryNode {
        name: (*name).to_owned(),
        digest: Some((*digest).clone()),
    };
    let file = FileNode { name: "file".into(), digest: Some(server.fresh(10).digest), ..FileNode::default() };
    let directories = children.iter().map(node).collect();
    let directory = Directory { files: vec![file], directories, ..Directory::default() };
    Blob::new(server.function(), directory.encode_to_vec())
}

async fn get(
    server: &Server,
    root: &Digest,
    page_size: i32,
    page_token: &str,
) -> Result<Vec<GetTreeResponse>, Status> {
    let request = GetTreeRequest {
        instance_name: server.instance().to_owned(),
        root_digest: Some(root.clone()),
        page_size,
        page_token: page_token.to_owned(),
        digest_function: number(server.function()),
    };
    let mut client = server.cas();
    within(server.deadline(), async {
        let mut stream = client.get_tree(request).await?.into_inner();
        let mut pages = Vec::new();
        while let Some(page) = stream.message().await? {
            pages.push(page);
        }
        Ok(pages)
    })
    .await
}

/// The hashes of the directories in some pages.
fn hashes(server: &Server, pages: &[GetTreeResponse]) -> BTreeSet<String> {
    let directories = pages.iter().flat_map(|page| &page.directories);
    directories.map(|directory| server.function().digest(&directory.encode_to_vec()).hex()).collect()
}

/// A root with two directories, of which one has another: all four, the root first.
async fn four(server: &Server) -> Outcome<[Digest; 4]> {
    let leaf = directory(server, &[]).await?;
    let branch = directory(server, &[("leaf", &leaf)]).await?;
    let other = directory(server, &[]).await?;
    let root = directory(server, &[("branch", &branch), ("other", &other)]).await?;
    Ok([root, branch, other, leaf])
}

fn set(digests: &[Digest]) -> BTreeSet<String> {
    digests.iter().map(|digest| digest.hash.clone()).collect()
}

async fn whole(server: &Server) -> Outcome {
    let four = four(server).await?;
    let pages = ok("GetTree", get(server, &four[0], 0, "").await)?;
    same("directories", &set(&four), &hashes(server, &pages))
}

async fn root_missing(server: &Server) -> Outcome {
    refused("GetTree", &[Code::NotFound], get(server, &unstored(server, &[]).digest, 0, "").await)
}

async fn child_missing(server: &Server) -> Outcome {
    let absent = unstored(server, &[]).digest;
    let present = directory(server, &[]).await?;
    let root = directory(server, &[("absent", &absent), ("present", &present)]).await?;
    let pages = ok("GetTree", get(server, &root, 0, "").await)?;
    same("directories", &set(&[root, present]), &hashes(server, &pages))
}

async fn empty(server: &Server) -> Outcome {
    let pages = ok("GetTree", get(server, &Blob::new(server.function(), vec![]).digest, 0, "").await)?;
    let directories: Vec<_> = pages.into_iter().flat_map(|page| page.directories).collect();
    same("directories", &vec![Directory::default()], &directories)
}

async fn shared(server: &Server) -> Outcome {
    let mut digests = vec![directory(server, &[]).await?];
    for _ in 0..30 {
        let below = &digests[digests.len() - 1];
        digests.push(directory(server, &[("left", below), ("right", below)]).await?);
    }
    let pages = ok("GetTree", get(server, &digests[30], 0, "").await)?;
    same("directories", &set(&digests), &hashes(server, &pages))
}

async fn page_size(server: &Server) -> Outcome {
    let four = four(server).await?;
    let pages = ok("GetTree", get(server, &four[0], 1, "").await)?;
    let largest = pages.iter().map(|page| page.directories.len()).max().unwrap_or_default();
    that(largest <= 1, "one directory in a message", largest.to_string())
}

async fn page_token(server: &Server) -> Outcome {
    let four = four(server).await?;
    let mut pages = ok("GetTree", get(server, &four[0], 1, "").await)?;
    let Some(token) = pages.first().map(|page| page.next_page_token.clone()).filter(|t| !t.is_empty()) else {
        // One message had all, or the server goes on by itself.
        return same("directories", &set(&four), &hashes(server, &pages));
    };
    pages.truncate(1);
    pages.extend(ok("GetTree with next_page_token", get(server, &four[0], 0, &token).await)?);
    same("directories", &set(&four), &hashes(server, &pages))
}
