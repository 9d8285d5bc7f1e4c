//! A manifest with a million entries: how much memory everybody needs who handles it.

use super::{
    bench::Bench,
    measure::{peak, peak_of, shell},
    table, trees,
};
use crate::number;
use tempfile::TempDir;
use tests::{Program, binary};
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
    let bot = of_a_bot(&bench, digest).await;
    let served = peak(bench.server.pid().as_raw_nonzero().get()).unwrap();
    assert!(bench.server.terminate().await.success());

    println!("\nmost memory, manifest of {entries} entries and {digest} bytes");
    table::figure("isolate archive, nothing known", archived, MOST, "MiB");
    table::figure("isolate archive, nothing changed", again, MOST, "MiB");
    table::figure("isolate show", shown, MOST, "MiB");
    table::figure("isolate download, cold cache", fetched, MOST, "MiB");
    table::figure("isolate run, warm cache", warm, MOST, "MiB");
    table::figure("bot, cold cache", bot, MOST, "MiB");
    table::figure("cas-server", served, MOST, "MiB");
}

/// Of a bot that has fetched what the digest names, run it and told of it.
async fn of_a_bot(bench: &Bench, digest: &str) -> f64 {
    let (cas, at) = (bench.server.url(), |name: &str| bench.at(name).display().to_string());
    let flags = ["--listen", "127.0.0.1:0", "--cas", cas, "--data", &at("scheduler")];
    let scheduler = Program::start("scheduler", flags).await;
    let flags = ["--scheduler", scheduler.url(), "--cas", cas, "--id", "bot", "--data", &at("bot")];
    let bot = Program::start("bot", flags).await;
    let swarm = binary("swarm");
    let addresses = format!("ISOSWARM_SCHEDULER={} ISOSWARM_CAS={cas}", scheduler.url());
    shell(&format!("env {addresses} {} run {digest}", swarm.display())).await;
    let most = peak(bot.pid().as_raw_nonzero().get()).unwrap();
    // It is still removing what it laid out.
    bot.kill().await;
    assert!(scheduler.terminate().await.success());
    most
}
