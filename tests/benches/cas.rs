//! What `cas-server` reaches, beside what others reach on this machine in the same run. `make bench-cas` runs it.
//!
//! Servers are processes on loopback, measured in turn by one load generator with plain generated clients; three rounds,
//! medians. `make bench-cas PARTS="batches latency"` runs only these parts, `ROUNDS=1` one round of each, `BLOBS=500000` makes
//! the part on size smaller.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

mod cas {
    pub(crate) mod blobs;
    pub(crate) mod disk;
    pub(crate) mod drive;
    pub(crate) mod hollow;
    pub(crate) mod http;
    pub(crate) mod latency;
    pub(crate) mod peers;
    pub(crate) mod size;
    pub(crate) mod speed;
    pub(crate) mod table;
    pub(crate) mod workload;
}

use cas::{hollow, http, latency, peers::Peers, size, speed, workload};
use runtime::Shutdown;

const PARTS: [&str; 6] = ["batches", "streams", "latency", "http", "size", "workload"];

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // `cargo test --benches` and nextest's listing start benches too: there is nothing to list.
        ["--list" | "--test", ..] => {}
        [kind @ ("--ceiling" | "--echo"), address] => hollow::serve(kind, address.parse().unwrap()).await,
        [] => run_or_stop(&PARTS).await,
        ref parts => run_or_stop(parts).await,
    }
}

/// Servers stop when they are dropped, so that a signal leaves none of them behind.
async fn run_or_stop(parts: &[&str]) {
    let shutdown = Shutdown::on_signals().unwrap();
    tokio::select! {
        () = run(parts) => {}
        () = shutdown.requested() => println!("stopped"),
    }
}

/// Rounds of each measurement.
fn rounds() -> u64 {
    std::env::var("ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

async fn run(parts: &[&str]) {
    let peers = Peers::set_up();
    for part in parts {
        match *part {
            "batches" => speed::bench(&peers, speed::Blobs::Batched).await,
            "streams" => speed::bench(&peers, speed::Blobs::Streamed).await,
            "latency" => latency::bench(&peers).await,
            "http" => http::bench(&peers).await,
            "size" => size::bench().await,
            "workload" => workload::bench().await,
            other => println!("there is no part `{other}`; there are {PARTS:?}"),
        }
    }
}
