//! How fast shards change hands: reports and leases through the real server and its journal, with bots that do nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

#[path = "../tests/grpc/support.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;

use runtime::{Clock as _, SystemClock, testing::Postgres};
use std::time::Duration;
use support::Bench;
use tokio::task::JoinSet;

/// Each cycle is one call: the report of a shard and the lease of the next, durable before it is answered.
#[tokio::main]
async fn main() {
    println!("\nscheduler alone: report of a shard and lease of the next in one durable call");
    // One bot alone shows the gap between its shards.
    for (bots, shards) in [(1, 2000), (50, 10_000)] {
        println!("journal in RocksDB");
        let rocksdb = measure(Bench::start().await, bots, shards).await;
        println!("journal in PostgreSQL");
        let postgres = Postgres::start();
        let postgresql = measure(Bench::on_postgres(&postgres.url()).await, bots, shards).await;
        println!("     PostgreSQL reaches {:.2} x the rate of RocksDB", postgresql / rocksdb);
    }
}

/// Cycles a second.
async fn measure(bench: Bench, number_of_bots: u32, shards: u32) -> f64 {
    let run = bench.trigger("r", shards).await;
    let clock = SystemClock::new();
    let start = clock.elapsed();
    let mut bots = JoinSet::new();
    for number in 0..number_of_bots {
        let mut bot = bench.bot(&format!("b{number}")).no_wait();
        bots.spawn(async move {
            let mut took = Vec::new();
            let mut held = bot.synchronize().await.unwrap();
            while !held.is_empty() {
                bot.finish(0);
                let called = clock.elapsed();
                held = bot.synchronize().await.unwrap();
                took.push(clock.elapsed() - called);
            }
            took
        });
    }
    let mut took: Vec<Duration> = bots.join_all().await.into_iter().flatten().collect();
    let elapsed = clock.elapsed() - start;
    took.sort();
    let cycles = f64::from(shards) / elapsed.as_secs_f64();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{number_of_bots:>4} bots, {shards} shards: {cycles:.0} calls/s, p50 {p50:.1?}, p99 {p99:.1?}");
    assert_eq!(bench.get(&run).await.counts.unwrap().succeeded, shards);
    let stopped = clock.elapsed();
    let mut bench = bench.restart().await;
    println!("     stop and restart over that journal: {:.1?}", clock.elapsed() - stopped);
    assert_eq!(bench.get(&run).await.counts.unwrap().succeeded, shards);
    bench.stop().await;
    cycles
}
