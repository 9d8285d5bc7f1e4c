//! Results whose outputs are gone: a miss, because a client that gets one cannot go on.

use super::{
    action_cache::{get, update},
    blob::Blob,
    expect::{Outcome, ok, refused},
    rule::rule,
};
use crate::conformance::{Rule, Server, rule::Needs};
use proto::reapi::{
    ActionResult, Digest, Directory, DirectoryNode, FileNode, OutputDirectory, OutputFile, Tree,
};
use tonic::Code;

pub(super) const RULES: &[Rule] = &[
    rule!(
        "completeness.files-there",
        "a result whose files and streams are all there is served",
        "REAPI: GetActionResult",
        [Needs::ActionCacheUpdates],
        files_there
    ),
    rule!(
        "completeness.tree-there",
        "a result whose Tree is there, with all files in it, is served; the directories are only in the Tree",
        "REAPI: OutputDirectory.tree_digest; Bazel uploads no directory of an output apart from its Tree",
        [Needs::ActionCacheUpdates],
        tree_there
    ),
    rule!(
        "completeness.file",
        "a result of which an output file is gone is a miss",
        "REAPI: GetActionResult; Bazel without the bytes fails the build otherwise",
        [Needs::ActionCacheUpdates],
        file
    ),
    rule!(
        "completeness.stream",
        "a result of which stdout or stderr is gone is a miss",
        "REAPI: GetActionResult",
        [Needs::ActionCacheUpdates],
        stream
    ),
    rule!(
        "completeness.tree",
        "a result of which the Tree of an output directory is gone is a miss",
        "REAPI: GetActionResult",
        [Needs::ActionCacheUpdates],
        tree
    ),
    rule!(
        "completeness.in-tree",
        "a result of which a file in a Tree is gone is a miss, in the root or below",
        "REAPI: GetActionResult",
        [Needs::ActionCacheUpdates],
        in_tree
    ),
    rule!(
        "completeness.root-directory",
        "a result of which a directory or a file below root_directory_digest is gone is a miss",
        "REAPI 2.8: OutputDirectory.root_directory_digest",
        [Needs::ActionCacheUpdates, Needs::Minor(8)],
        root_directory
    ),
];

/// Fails unless a result is served.
async fn hits(server: &Server, result: ActionResult) -> Outcome {
    let action = server.stored(100).await?;
    ok("UpdateActionResult", update(server, &action, result).await)?;
    ok("GetActionResult", get(server, &action).await).map(|_| ())
}

/// Fails unless a result is a miss, or was not taken in the first place.
async fn misses(server: &Server, what: &str, result: ActionResult) -> Outcome {
    let action = server.stored(100).await?;
    let codes = [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition];
    if let Err(status) = update(server, &action, result).await {
        return refused("UpdateActionResult", &codes, Err::<(), _>(status));
    }
    let answer = get(server, &action).await;
    refused(&format!("GetActionResult without {what}"), &[Code::NotFound], answer)
}

fn directory(files: &[&Blob], children: &[&Digest]) -> Directory {
    let file = |(number, blob): (usize, &&Blob)| FileNode {
        name: format!("file-{number}"),
        digest: Some(blob.digest.clone()),
        ..FileNode::default()
    };
    let child = |(number, digest): (usize, &&Digest)| DirectoryNode {
        name: format!("dir-{number}"),
        digest: Some((*digest).clone()),
    };
    Directory {
        files: files.iter().enumerate().map(file).collect(),
        directories: children.iter().enumerate().map(child).collect(),
        ..Directory::default()
    }
}

fn blob(server: &Server, message: &impl prost::Message) -> Blob {
    Blob::new(server.function(), message.encode_to_vec())
}

/// A Tree with a file in its root and one in a directory below.
fn tree_of(server: &Server, in_root: &Blob, below: &Blob) -> Blob {
    let child = directory(&[below], &[]);
    let root = directory(&[in_root], &[&blob(server, &child).digest]);
    blob(server, &Tree { root: Some(root), children: vec![child] })
}

fn with_file(blob: &Blob) -> ActionResult {
    let output =
        OutputFile { path: "out".into(), digest: Some(blob.digest.clone()), ..OutputFile::default() };
    ActionResult { output_files: vec![output], ..ActionResult::default() }
}

fn with_tree(tree: &Blob) -> ActionResult {
    let output = OutputDirectory {
        path: "dir".into(),
        tree_digest: Some(tree.digest.clone()),
        ..OutputDirectory::default()
    };
    ActionResult { output_directories: vec![output], ..ActionResult::default() }
}

fn with_root(root: &Blob) -> ActionResult {
    let output = OutputDirectory {
        path: "dir".into(),
        root_directory_digest: Some(root.digest.clone()),
        ..OutputDirectory::default()
    };
    ActionResult { output_directories: vec![output], ..ActionResult::default() }
}

async fn files_there(server: &Server) -> Outcome {
    let (first, second) = (server.stored(1000).await?, server.stored(1000).await?);
    let result = ActionResult {
        stdout_digest: Some(first.digest.clone()),
        stderr_digest: Some(second.digest),
        ..with_file(&first)
    };
    hits(server, result).await
}

async fn tree_there(server: &Server) -> Outcome {
    let tree = tree_of(server, &server.stored(1000).await?, &server.stored(1000).await?);
    server.store(&tree).await?;
    hits(server, with_tree(&tree)).await
}

async fn file(server: &Server) -> Outcome {
    misses(server, "its file", with_file(&server.fresh(1000))).await
}

async fn stream(server: &Server) -> Outcome {
    let gone = Some(server.fresh(1000).digest);
    let stdout = ActionResult { stdout_digest: gone.clone(), ..ActionResult::default() };
    misses(server, "its stdout", stdout).await?;
    let stderr = ActionResult { stderr_digest: gone, ..ActionResult::default() };
    misses(server, "its stderr", stderr).await
}

async fn tree(server: &Server) -> Outcome {
    let there = server.stored(1000).await?;
    misses(server, "its Tree", with_tree(&tree_of(server, &there, &there))).await
}

async fn in_tree(server: &Server) -> Outcome {
    let (there, gone) = (server.stored(1000).await?, server.fresh(1000));
    for (where_, tree) in
        [("the root", tree_of(server, &gone, &there)), ("a directory", tree_of(server, &there, &gone))]
    {
        server.store(&tree).await?;
        misses(server, &format!("a file in {where_} of its Tree"), with_tree(&tree)).await?;
    }
    Ok(())
}

async fn root_directory(server: &Server) -> Outcome {
    let (there, gone) = (server.stored(1000).await?, server.fresh(1000));
    let child = blob(server, &directory(&[&there], &[]));
    let root = blob(server, &directory(&[], &[&child.digest]));
    server.store(&root).await?;
    misses(server, "a directory below its root", with_root(&root)).await?;
    server.store(&child).await?;
    hits(server, with_root(&root)).await?;
    let broken = blob(server, &directory(&[&gone], &[]));
    server.store(&broken).await?;
    misses(server, "a file in its root", with_root(&broken)).await
}
