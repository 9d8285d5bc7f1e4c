//! Few large files: how fast they are hashed.

use super::{
    bench::{Bench, in_memory, transfer},
    measure::{Took, on_all_cores, shell},
    table::{self, Row},
    trees,
};
use crate::number;
use proto::DigestFunction;
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Prints this part of the table.
pub(crate) async fn bench() {
    let (files, megabytes) = (number("BIG_FILES", 200), number("BIG_MB", 4000));
    let dir = TempDir::with_prefix("isoswarm-bench-").unwrap();
    let tree = dir.path().join("tree");
    trees::big(&tree, files, megabytes * 1_000_000);
    let mut hash = Row::new("archive, hashed anew, the server has all", "bare parallel hash", 1.3);
    let mut fetch = Row::new("fetch and lay out, cold cache", "cp -r from tmpfs + bare transfer", 1.2);
    let mut warm = Row::new("fetch and lay out, warm cache", "cp -r --reflink=auto", 1.0);
    let bench = Bench::start(dir.path().join("server")).await;
    let (_, digest) = bench.archive("first", &tree).await;
    let memory = in_memory(&tree).await;
    let rounds = number("ROUNDS", 3);
    for round in 0..rounds {
        let bare = bare_hash(&tree);
        let (hashed, again) = bench.archive(&format!("archive-{round}"), &tree).await;
        assert_eq!(again, digest);
        hash.note(hashed, bare);

        // Each takes as much as the tree: they are not all there at a time.
        let at = |name: &str| bench.at(name).display().to_string();
        let once = async |script: String, gone: &[&str]| {
            let (took, _) = shell(&script).await;
            gone.iter().for_each(|name| fs::remove_dir_all(bench.at(name)).unwrap());
            took
        };
        let source = memory.path().join("tree");
        let copy = once(format!("cp -r {} {}", source.display(), at("copy")), &["copy"]).await;
        let cold = bench.download("bot", &digest, "cold").await;
        fs::remove_dir_all(bench.at("cold")).unwrap();
        fetch.note(cold, copy + transfer(megabytes as u64 * 1_000_000));
        let script = format!("cp -r --reflink=auto {} {}", tree.display(), at("copy"));
        let reflink = once(script, &["copy"]).await;
        warm.note(bench.download("bot", &digest, "warm").await, reflink);
        fs::remove_dir_all(bench.at("warm")).unwrap();
        fs::remove_dir_all(bench.at("bot")).unwrap();
    }
    assert!(bench.server.terminate().await.success());
    table::head(&format!("{files} files, {megabytes} MB; medians of {rounds}"));
    [hash, fetch, warm].iter().for_each(table::print);
}

/// What reading and hashing the files on all cores takes.
fn bare_hash(tree: &Path) -> Took {
    let entries = fs::read_dir(tree).unwrap();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let hash = |buffer: &mut Vec<u8>, path: &PathBuf| {
        let (mut file, mut hasher) = (File::open(path).unwrap(), DigestFunction::Blake3.hasher());
        loop {
            match file.read(buffer).unwrap() {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        hasher.finish();
    };
    on_all_cores(&paths, || vec![0; 256 * 1024], hash)
}
