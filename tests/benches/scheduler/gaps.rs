//! How long bots stand still between two shards when all of them are there and half of what is possible is asked for.

use super::{
    bots::Pace,
    connections::{BOTS, fleet},
    cycles,
    server::{Server, run},
    table::{Table, Target},
};
use runtime::{Clock as _, Entropy as _, SeededEntropy, SystemClock};
use std::time::Duration;
use tokio::task::JoinSet;

const MEASURED: Duration = Duration::from_secs(20);

/// Notes the gaps.
pub(crate) async fn measure(table: &mut Table) {
    let rate = cycles::ours(Server::start().await).await / 2.0;
    let server = Server::start().await;
    for number in 0..5 {
        server.trigger(&format!("r{number}"), run(100_000)).await;
    }
    let bots = fleet(&server, BOTS).await;
    // A shard runs for as long as it takes all bots to have one.
    let runs_for = Duration::from_secs_f64(BOTS as f64 / rate);
    let (clock, entropy) = (SystemClock::new(), SeededEntropy::new(5));
    let start = clock.elapsed();
    let mut working = JoinSet::new();
    for mut bot in bots {
        let first = runs_for.mul_f64((entropy.next() >> 32) as f64 / f64::from(u32::MAX));
        working.spawn(async move {
            clock.sleep(first).await;
            let mut gaps = Vec::new();
            while clock.elapsed() - start < runs_for + MEASURED {
                let ended = clock.elapsed();
                assert!(bot.next(Duration::ZERO).await, "there is work for all of the time");
                // Until each has its turn.
                if ended - start > runs_for {
                    gaps.push(clock.elapsed() - ended);
                }
                clock.sleep(runs_for.saturating_sub(clock.elapsed() - ended)).await;
            }
            gaps
        });
    }
    let gaps = working.join_all().await.concat();
    let pace = Pace::new(gaps, MEASURED);
    table.note("10,000 bots, half of that rate asked for", rate, "calls/s", Target::None);
    table.note("10,000 bots, half of that rate reached", pace.rate, "calls/s", Target::None);
    table.note("dispatch gap, p50", pace.percentile(50), "ms", Target::AtMost(20.0));
    table.note("dispatch gap, p99", pace.percentile(99), "ms", Target::AtMost(100.0));
}
