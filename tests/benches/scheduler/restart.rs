//! A scheduler is killed with a million pending shards.

use super::{
    bots::Bot,
    server::{Server, run},
    table::{Table, Target},
};
use runtime::{Clock as _, SystemClock};
use std::time::Duration;

/// Notes the time until it serves again, and its memory.
pub(crate) async fn measure(table: &mut Table) {
    let clock = SystemClock::new();
    let server = Server::start().await;
    for number in 0..10 {
        server.trigger(&format!("r{number}"), run(100_000)).await;
    }
    let killed = clock.elapsed();
    let server = server.restart().await;
    let mut bot = Bot::new(server.url(), 0);
    assert!(bot.call(Duration::ZERO).await, "there is work");
    let took = clock.elapsed() - killed;
    let what = "killed with 1,000,000 pending shards: until a bot has its next lease";
    table.note(what, took.as_secs_f64(), "s", Target::AtMost(10.0));
    table.note("memory with 1,000,000 pending shards", server.peak_memory(), "MiB", Target::None);
}
