//! `cas-server scrub` and `cas-server explain`, offline and against a server.

use crate::support::{Program, command};
use cas::{BlobStore as _, BlobStoreExt as _, testing};
use proto::{Digest, DigestFunction};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// Runs it to its end. Gives the exit code and what it said.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command().args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

async fn put(server: &Program, seed: u64, len: usize) -> Digest {
    server.store().put(DigestFunction::Blake3, testing::noise(seed, len)).await.unwrap()
}

fn large_file(data: &Path, digest: &Digest) -> std::path::PathBuf {
    let bucket = data.join("large").join(&digest.hex()[..2]);
    fs::read_dir(bucket).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test(flavor = "multi_thread")]
async fn scrub_names_and_drops_what_is_damaged_and_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let server = Program::start(dir.path());
    let (small, other) = (put(&server, 1, 5000).await, put(&server, 2, 5000).await);
    let (large, whole) = (put(&server, 3, 3_000_000).await, put(&server, 4, 3_000_000).await);
    let (code, text) = run(&["scrub", "--data", data]);
    assert!(code == Some(2) && text.contains("another cas-server"), "{code:?} {text}");
    server.terminate();
    let (code, text) = run(&["scrub", "--data", data]);
    assert!(code == Some(0) && text.contains("4 blobs and values of 6010000 bytes are sound"), "{text}");

    flip(&dir.path().join("segments/00000000"), 3000);
    flip(&large_file(dir.path(), &large), 2_000_000);
    fs::write(dir.path().join("large/00/left-over"), b"?").unwrap();
    let (code, text) = run(&["scrub", "--data", data]);
    assert_eq!(code, Some(6), "{text}");
    for named in [small.to_string(), large.to_string(), "left-over".into(), "2 were damaged".into()] {
        assert!(text.contains(&named), "{named} is not in {text}");
    }
    let (code, text) = run(&["scrub", "--data", data]);
    assert!(code == Some(0) && text.contains("2 blobs and values"), "{text}");
    let server = Program::start(dir.path());
    let missing = server.store().find_missing(&[small, other, large, whole]).await.unwrap();
    assert_eq!(missing, [small, large]);
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_where_a_blob_is_and_why_one_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let (small, large) = (put(&server, 1, 5000).await, put(&server, 2, 3_000_000).await);
    let explain = |digest: Digest| run(&["explain", &digest.to_string(), "--server", &server.url]);
    let (code, text) = explain(small);
    assert!(code == Some(0) && text.contains("segments/00000000 at 0"), "{code:?} {text}");
    assert!(text.contains("leased until  20"), "{text}");
    let absent = Digest::new(DigestFunction::Blake3, small.hash(), 17).unwrap();
    let (code, text) = explain(absent);
    assert!(code == Some(3) && text.contains("it was never here"), "{code:?} {text}");
    assert!(text.contains(&format!("{small} is present")), "{text}");
    flip(&large_file(dir.path(), &large), 100);
    assert!(server.store().get(large).await.is_err());
    let (code, text) = explain(large);
    assert!(code == Some(3) && text.contains("found damaged and dropped at 20"), "{code:?} {text}");

    let data = dir.path().to_str().unwrap().to_owned();
    let (code, text) = run(&["explain", &small.to_string(), "--data", &data]);
    assert!(code == Some(2) && text.contains("another cas-server"), "{code:?} {text}");
    let url = server.url.clone();
    server.terminate();
    let (code, text) = run(&["explain", &small.to_string(), "--data", &data]);
    assert!(code == Some(0) && text.contains("segments/00000000 at 0"), "{code:?} {text}");
    let (code, text) = run(&["explain", &small.to_string(), "--server", &url]);
    assert!(code == Some(4) && text.contains(&url), "{code:?} {text}");
    let nothing = tempfile::tempdir().unwrap();
    let (code, text) = run(&["explain", &small.to_string(), "--data", nothing.path().to_str().unwrap()]);
    assert!(code == Some(2) && text.contains("no store"), "{code:?} {text}");
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "it makes none");
}
