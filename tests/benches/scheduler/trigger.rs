//! One call makes a hundred thousand shards. Who else calls meanwhile waits how long?

use super::{
    bots::Bot,
    server::{Server, requiring, run},
    table::{Table, Target},
};
use runtime::{Clock as _, SystemClock};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// Bots that have work all the time.
const BUSY: usize = 10;

/// Bots that wait for work, and get it by this trigger.
const IDLE: usize = 100;

/// They are looked at for so long before and after it.
const AROUND: Duration = Duration::from_secs(2);

/// Notes the trigger's time and the longest call of others.
pub(crate) async fn measure(table: &mut Table) {
    let clock = SystemClock::new();
    let server = Server::start().await;
    // Those who have work while the others wait.
    server.trigger("small", requiring("os", "Linux", run(20_000))).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut others = JoinSet::new();
    for number in 0..BUSY {
        let (done, clock, mut bot) = (Arc::clone(&done), clock, Bot::new(server.url(), number));
        others.spawn(async move {
            let mut longest = Duration::ZERO;
            bot.call(Duration::ZERO).await;
            while !done.load(Ordering::Relaxed) {
                let called = clock.elapsed();
                bot.next(Duration::ZERO).await;
                longest = longest.max(clock.elapsed() - called);
                clock.sleep(Duration::from_millis(5)).await;
            }
            longest
        });
    }
    for number in BUSY..BUSY + IDLE {
        let mut bot = Bot::new(server.url(), number).of_os("Mac");
        others.spawn(async move {
            assert!(bot.call(Duration::from_secs(10)).await, "the trigger brings work");
            Duration::ZERO
        });
    }
    clock.sleep(AROUND).await;
    let called = clock.elapsed();
    server.trigger("large", run(100_000)).await;
    let took = clock.elapsed() - called;
    clock.sleep(AROUND).await;
    done.store(true, Ordering::Relaxed);
    let longest = others.join_all().await.into_iter().max().unwrap();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    table.note("trigger of 100,000 shards: one call", ms(took), "ms", Target::None);
    table.note("longest call of anybody else meanwhile", ms(longest), "ms", Target::AtMost(50.0));
}
