//! What `isolate` reaches, beside what people use today for the same work. `make bench-isolate` runs it.
//!
//! The real programs over loopback with a real `cas-server`; each ratio compares with a baseline of the same run, medians
//! of `ROUNDS` (3). `make bench-isolate PARTS="many big memory"` chooses parts; `FILES` (100,000) and `MB` (400) are the
//! tree of many files, `BIG_FILES` (200) and `BIG_MB` (4000) the other one, `ENTRIES` (1,000,000) the large manifest.
//! Everything lies below `TMPDIR` and goes at the end: up to 15 GB, or three times `BIG_MB`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

mod isolate {
    pub(crate) mod bench;
    pub(crate) mod big;
    pub(crate) mod many;
    pub(crate) mod measure;
    pub(crate) mod memory;
    pub(crate) mod table;
    pub(crate) mod trees;
}

use isolate::{big, many, memory};
use runtime::Shutdown;

const PARTS: [&str; 3] = ["many", "big", "memory"];

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // `cargo test --benches` and nextest's listing start benches too: there is nothing to list.
        ["--list" | "--test", ..] => {}
        [] => run_or_stop(&PARTS).await,
        ref parts => run_or_stop(parts).await,
    }
}

/// Programs and directories go when they are dropped, so that a signal leaves none of them behind.
async fn run_or_stop(parts: &[&str]) {
    let shutdown = Shutdown::on_signals().unwrap();
    tokio::select! {
        () = run(parts) => {}
        () = shutdown.requested() => println!("stopped"),
    }
}

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

async fn run(parts: &[&str]) {
    for part in parts {
        match *part {
            "many" => many::bench().await,
            "big" => big::bench().await,
            "memory" => memory::bench().await,
            other => println!("there is no part `{other}`; there are {PARTS:?}"),
        }
    }
}
