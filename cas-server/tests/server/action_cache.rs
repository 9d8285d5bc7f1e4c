//! `ActionCache`.

use crate::{grpc::wire, support::Server};
use bytes::Bytes;
use cas::{BlobStoreExt as _, testing::noise};
use prost::Message as _;
use proto::{Digest, DigestFunction, reapi};
use reapi::{
    ActionResult, Directory, DirectoryNode, FileNode, GetActionResultRequest, OutputDirectory, OutputFile,
    Tree, UpdateActionResultRequest, action_cache_client::ActionCacheClient,
};
use tonic::{Code, transport::Channel};

const SHA256: DigestFunction = DigestFunction::Sha256;

fn client(server: &Server) -> ActionCacheClient<Channel> {
    ActionCacheClient::new(server.channel()).max_decoding_message_size(4 << 20)
}

fn key() -> Digest {
    SHA256.digest(b"an action that is no blob")
}

async fn update(server: &Server, result: &ActionResult) -> Result<ActionResult, Code> {
    let request = UpdateActionResultRequest {
        action_digest: Some(wire(&key())),
        action_result: Some(result.clone()),
        ..Default::default()
    };
    let answer = client(server).update_action_result(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.code())
}

async fn get_by(server: &Server, request: GetActionResultRequest) -> Result<ActionResult, Code> {
    let answer = client(server).get_action_result(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.code())
}

async fn get(server: &Server) -> Result<ActionResult, Code> {
    get_by(server, request()).await
}

fn request() -> GetActionResultRequest {
    GetActionResultRequest { action_digest: Some(wire(&key())), ..Default::default() }
}

fn file(path: &str, digest: &Digest) -> OutputFile {
    OutputFile { path: path.to_owned(), digest: Some(wire(digest)), ..Default::default() }
}

async fn put(server: &Server, bytes: impl Into<Bytes>) -> Digest {
    server.store().put(SHA256, bytes.into()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_kept_by_instance_function_and_digest() {
    let server = Server::start().await;
    assert_eq!(get(&server).await, Err(Code::NotFound));
    let first = ActionResult { exit_code: 1, ..Default::default() };
    assert_eq!(update(&server, &first).await, Ok(first.clone()));
    assert_eq!(get(&server).await, Ok(first));
    let second = ActionResult { exit_code: 2, ..Default::default() };
    update(&server, &second).await.unwrap();
    assert_eq!(get(&server).await, Ok(second));
    let elsewhere = GetActionResultRequest { instance_name: "other".into(), ..request() };
    assert_eq!(get_by(&server, elsewhere).await, Err(Code::NotFound));
    let blake3 = GetActionResultRequest { digest_function: 9, ..request() };
    assert_eq!(get_by(&server, blake3).await, Err(Code::NotFound));
    let size = Some(reapi::Digest { size_bytes: 1, ..wire(&key()) });
    let other_size = GetActionResultRequest { action_digest: size, ..request() };
    assert_eq!(get_by(&server, other_size).await, Err(Code::NotFound));
    // Results are no blobs, nor the other way round.
    assert!(!server.store().contains(key()).await.unwrap());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_outlive_the_server() {
    let server = Server::start().await;
    let result = ActionResult { exit_code: 7, ..Default::default() };
    update(&server, &result).await.unwrap();
    let dir = server.stop().await;
    let data = dir.path().join("data");
    let server = Server::start_with(|config| config.data = data).await;
    assert_eq!(get(&server).await, Ok(result));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_found_when_all_that_it_refers_to_is_there() {
    let server = Server::start().await;
    let (in_tree, below, deep) = (noise(1, 10), noise(2, 20), noise(3, 30));
    let node = |bytes: &Bytes| FileNode {
        name: "f".into(),
        digest: Some(wire(&SHA256.digest(bytes))),
        ..Default::default()
    };
    let child = Directory { files: vec![node(&deep)], ..Default::default() };
    let child_bytes = child.encode_to_vec();
    let child_node = DirectoryNode { name: "d".into(), digest: Some(wire(&SHA256.digest(&child_bytes))) };
    let root = Directory { files: vec![node(&below)], directories: vec![child_node], ..Default::default() };
    let tree_root = Directory { files: vec![node(&in_tree)], ..Default::default() };
    let tree = Tree { root: Some(Directory::default()), children: vec![tree_root] };
    let (stdout, stderr, output) = (noise(4, 5), noise(5, 5), noise(6, 3_000_000));
    let digest = |bytes: &[u8]| Some(wire(&SHA256.digest(bytes)));
    let result = ActionResult {
        output_files: vec![file("out", &SHA256.digest(&output))],
        stdout_digest: digest(&stdout),
        stderr_digest: digest(&stderr),
        output_directories: vec![
            OutputDirectory { tree_digest: digest(&tree.encode_to_vec()), ..Default::default() },
            OutputDirectory { root_directory_digest: digest(&root.encode_to_vec()), ..Default::default() },
        ],
        ..Default::default()
    };
    update(&server, &result).await.unwrap();
    let needed: Vec<Bytes> = vec![
        stdout,
        stderr,
        output,
        tree.encode_to_vec().into(),
        in_tree,
        root.encode_to_vec().into(),
        below,
        child_bytes.into(),
        deep,
    ];
    for bytes in needed {
        assert_eq!(get(&server).await, Err(Code::NotFound));
        put(&server, bytes).await;
    }
    assert_eq!(get(&server).await, Ok(result));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_that_are_none_make_a_miss_and_no_error() {
    let server = Server::start().await;
    let garbage = put(&server, Bytes::from_static(b"\xff\xff")).await;
    for directory in [
        OutputDirectory { tree_digest: Some(wire(&garbage)), ..Default::default() },
        OutputDirectory { root_directory_digest: Some(wire(&garbage)), ..Default::default() },
    ] {
        let result = ActionResult { output_directories: vec![directory], ..Default::default() };
        update(&server, &result).await.unwrap();
        assert_eq!(get(&server).await, Err(Code::NotFound));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_switches_the_check_off_gets_results_without_their_blobs() {
    let server = Server::start_with(|config| config.check_completeness = false).await;
    let result =
        ActionResult { output_files: vec![file("gone", &SHA256.digest(b"gone"))], ..Default::default() };
    update(&server, &result).await.unwrap();
    assert_eq!(get(&server).await, Ok(result));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_results_are_refused() {
    let server = Server::start().await;
    let bad = reapi::Digest { hash: "abc".into(), size_bytes: 1 };
    for result in [
        ActionResult {
            output_files: vec![OutputFile { path: "no digest".into(), ..Default::default() }],
            ..Default::default()
        },
        ActionResult { stdout_digest: Some(bad.clone()), ..Default::default() },
        ActionResult { output_directories: vec![OutputDirectory::default()], ..Default::default() },
        ActionResult {
            output_files: vec![OutputFile {
                contents: b"other".to_vec(),
                ..file("f", &SHA256.digest(b"bytes"))
            }],
            ..Default::default()
        },
    ] {
        assert_eq!(update(&server, &result).await, Err(Code::InvalidArgument));
    }
    assert_eq!(get(&server).await, Err(Code::NotFound));
    let nothing = UpdateActionResultRequest { action_digest: Some(bad), ..Default::default() };
    let refused = client(&server).update_action_result(nothing).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_inlined_where_asked_for_and_where_they_fit() {
    let server = Server::start().await;
    let (small, large) = (noise(1, 1000), noise(2, 4_100_000));
    let (small_digest, large_digest) = (put(&server, small.clone()).await, put(&server, large).await);
    let result = ActionResult {
        output_files: vec![
            file("large", &large_digest),
            file("small", &small_digest),
            file("no", &small_digest),
        ],
        stdout_digest: Some(wire(&small_digest)),
        stderr_digest: Some(wire(&small_digest)),
        ..Default::default()
    };
    update(&server, &result).await.unwrap();
    let inline_output_files = vec!["large".into(), "small".into(), "unknown".into()];
    let asked = GetActionResultRequest { inline_stdout: true, inline_output_files, ..request() };
    let answer = get_by(&server, asked).await.unwrap();
    assert_eq!((&answer.stdout_raw[..], answer.stderr_raw.len()), (&small[..], 0));
    let contents: Vec<usize> = answer.output_files.iter().map(|file| file.contents.len()).collect();
    assert_eq!(contents, [0, 1000, 0]);
    assert_eq!(answer.stdout_digest, result.stdout_digest);
    assert_eq!(get(&server).await, Ok(result));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_inlined_is_a_blob_and_too_much_of_it_is_left_out() {
    let server = Server::start().await;
    let (contents, stdout, stderr) = (noise(1, 900), noise(2, 5_000_000), noise(3, 100));
    let result = ActionResult {
        output_files: vec![OutputFile {
            contents: contents.to_vec(),
            ..file("f", &SHA256.digest(&contents))
        }],
        stdout_raw: stdout.to_vec(),
        stderr_raw: stderr.to_vec(),
        ..Default::default()
    };
    let answer = update(&server, &result).await.unwrap();
    assert_eq!(get(&server).await, Ok(answer.clone()));
    assert_eq!(answer.stdout_raw.len(), 0);
    assert_eq!(answer.stdout_digest, Some(wire(&SHA256.digest(&stdout))));
    assert_eq!(answer.stderr_raw, stderr);
    for bytes in [contents, stdout] {
        assert_eq!(server.store().get(SHA256.digest(&bytes)).await.unwrap(), bytes);
    }
    server.stop().await;
}
