//! A manifest with a million entries: how much memory everybody needs who handles it.

use super::{
    bench::Bench,
    measure::{peak, peak_of},
    table, trees,
};
use crate::number;
use tempfile::TempDir;
use tokio::process::Command;

/// MiB.
const MOST: f64 = 1024.0;

/// Prints this part of the table.
pub(crate) async fn bench() {
    let entries = number("ENTRIES", 1_000_000);
    let dir = TempDir::with_prefix("isoswarm-bench-").unwrap();
    let tree = dir.path().join("tree");
    trees::tiny(&tree, entries);
    let bench = Bench::start(dir.path().join("server")).await;
    let isolate = async |args: &str| {
        let mut command = Command::new("bash");
        peak_of(command.args(["-c", &format!("exec env {}", bench.isolate("home", args))])).await
    };
    let archive = format!("archive -q --root {} ./ -- true", tree.display());
    let (output, archived) = isolate(&archive).await;
    let digest = output.split_whitespace().next().unwrap();
    let (_, again) = isolate(&archive).await;
    let (_, shown) = isolate(&format!("show {digest}")).await;
    let (_, fetched) = isolate(&format!("download -q {digest} -o {}", bench.at("cold").display())).await;
    let (_, warm) = isolate(&format!("run -q {digest}")).await;
    let served = peak(bench.server.pid().as_raw_nonzero().get()).unwrap();
    assert!(bench.server.terminate().await.success());

    println!("\nmost memory, manifest of {entries} entries and {digest} bytes");
    table::figure("isolate archive, nothing known", archived, MOST, "MiB");
    table::figure("isolate archive, nothing changed", again, MOST, "MiB");
    table::figure("isolate show", shown, MOST, "MiB");
    table::figure("isolate download, cold cache (what a bot does)", fetched, MOST, "MiB");
    table::figure("isolate run, warm cache", warm, MOST, "MiB");
    table::figure("cas-server", served, MOST, "MiB");
}
