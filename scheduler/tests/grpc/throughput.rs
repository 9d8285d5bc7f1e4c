//! How fast shards change hands.

use crate::support::Bench;
use runtime::{Clock as _, SystemClock};
use std::time::Duration;
use tokio::task::JoinSet;

/// Each cycle is one call: the report of a shard and the lease of the next, durable before it is answered.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo nextest run --release -p scheduler --run-ignored all --no-capture throughput"]
async fn throughput_of_complete_and_next() {
    // One bot alone shows the gap between its shards.
    measure(1, 2000).await;
    measure(50, 10_000).await;
}

#[expect(clippy::print_stderr, reason = "a measurement")]
async fn measure(number_of_bots: u32, shards: u32) {
    let bench = Bench::start().await;
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
    eprintln!("{number_of_bots} bots, {shards} shards: {cycles:.0} cycles/s, p50 {p50:?}, p99 {p99:?}");
    assert_eq!(bench.get(&run).await.counts.unwrap().succeeded, shards);
    let stopped = clock.elapsed();
    let mut bench = bench.restart().await;
    eprintln!("restart over its journal: {:?}", clock.elapsed() - stopped);
    assert_eq!(bench.get(&run).await.counts.unwrap().succeeded, shards);
    bench.stop().await;
}
