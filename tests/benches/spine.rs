//! What the spine costs, beside the tools that people use today for the same work. `make bench` runs it.
//!
//! Everything is measured through the real programs on this machine; every ratio compares with a baseline of the same
//! run. Three rounds, medians.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

mod spine {
    pub(crate) mod blobs;
    pub(crate) mod dispatch;
    pub(crate) mod table;
    pub(crate) mod tree;
}

use spine::{blobs, dispatch, tree};

#[tokio::main]
async fn main() {
    // `cargo test --benches` and nextest's listing start benches too: there is nothing to list.
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    tree::bench().await;
    blobs::bench().await;
    dispatch::bench().await;
}
