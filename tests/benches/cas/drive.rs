//! Many calls at a time, and how fast they went.

use runtime::SystemClock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// How fast calls went.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Calls a second.
    pub(crate) rate: f64,
    /// The calls that were made are `0..made`.
    pub(crate) made: usize,
    latencies: Vec<Duration>,
}

impl Pace {
    /// The time that half of the calls took at most.
    pub(crate) fn p50(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }
}

/// Makes calls `0..count` from `concurrency` workers, as far as they begin within `limit`. `call` is given the worker and the
/// number of the call.
pub(crate) async fn drive<F: Future<Output = ()> + Send + 'static>(
    concurrency: usize,
    count: usize,
    limit: Duration,
    call: impl Fn(usize, usize) -> F + Send + Sync + 'static,
) -> Pace {
    let (call, next) = (Arc::new(call), Arc::new(AtomicUsize::new(0)));
    let clock = SystemClock::shared();
    let start = clock.elapsed();
    let mut workers = JoinSet::new();
    for worker in 0..concurrency {
        let (call, next, clock) = (Arc::clone(&call), Arc::clone(&next), Arc::clone(&clock));
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while clock.elapsed() - start < limit {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let began = clock.elapsed();
                call(worker, number).await;
                latencies.push(clock.elapsed() - began);
            }
            latencies
        });
    }
    let mut latencies = workers.join_all().await.concat();
    let took = clock.elapsed() - start;
    latencies.sort_unstable();
    Pace { rate: latencies.len() as f64 / took.as_secs_f64(), made: latencies.len(), latencies }
}
