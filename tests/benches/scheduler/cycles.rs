//! A shard is completed and the next one taken, in one durable call.

use super::{
    bots::race,
    echo, postgres,
    server::{Server, run},
    table::{Table, Target},
};
use std::time::Duration;

/// Bots that are never done, and workers of the other queue.
const WORKERS: usize = 256;

const SECONDS: u64 = 10;

/// More than anybody takes meanwhile: two runs of as many shards as a run may have.
const RUNS: usize = 3;
const SHARDS: u32 = 100_000;

/// The scheduler's rate.
pub(crate) async fn ours(server: Server) -> f64 {
    for number in 0..RUNS {
        server.trigger(&format!("r{number}"), run(SHARDS)).await;
    }
    race(server.url(), WORKERS, Duration::from_secs(SECONDS)).await.rate
}

/// Notes all rates.
pub(crate) async fn measure(table: &mut Table) {
    let rate = ours(Server::start().await).await;
    let over_postgres = ours(Server::start_over_postgres().await).await;
    let echo = echo::start().await;
    let echo = race(echo.url(), WORKERS, Duration::from_secs(SECONDS)).await.rate;
    let postgres = tokio::task::spawn_blocking(|| postgres::race(WORKERS, SECONDS, RUNS * SHARDS as usize));
    let postgres = postgres.await.unwrap();
    table.note("256 bots: report of a shard and lease of the next, durable", rate, "calls/s", Target::None);
    table.note("the same with the journal in PostgreSQL", over_postgres, "calls/s", Target::None);
    table.note("the same calls to a bare tonic echo", echo, "calls/s", Target::None);
    table.note("256 workers of a SKIP LOCKED queue in PostgreSQL", postgres, "calls/s", Target::None);
    table.note("cycles, times the echo", rate / echo, "x", Target::AtLeast(0.5));
    table.note("cycles, times SKIP LOCKED", rate / postgres, "x", Target::AtLeast(3.0));
    table.note("cycles, journal in PostgreSQL, times RocksDB", over_postgres / rate, "x", Target::None);
    alone(table).await;
}

/// One bot shows the gap between its shards when nothing else is going on.
async fn alone(table: &mut Table) {
    let server = Server::start().await;
    server.trigger("r", run(SHARDS)).await;
    let pace = race(server.url(), 1, Duration::from_secs(3)).await;
    table.note("one bot alone: report and next lease, p50", pace.percentile(50), "ms", Target::None);
    table.note("one bot alone: report and next lease, p99", pace.percentile(99), "ms", Target::None);
}
