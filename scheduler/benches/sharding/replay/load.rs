//! How much faster than the host's time runs go, and which of them go side by side. What the host takes for a call weighs
//! more the faster time runs, so it is not to be busy with those of others, either.

use crate::trace::Trace;
use runtime::{Clock as _, SystemClock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Calls of busy bots in a second of the host: of one run, and of all that are under way. One takes a third
/// of a millisecond of a processor, or half of one, with all that follows from it.
const CALLS_OF_ONE: f64 = 1200.0;
const CALLS_OF_ALL: u32 = 2200;
/// Time runs so many times as fast at most: a bot that calls 1 s late is silent, and timers of the host are late by
/// milliseconds. Slower runs cost no more, because more of them go side by side.
const MOST: f64 = 25.0;
/// A busy bot calls when it has ended what it has, or has something to tell, but neither more often nor less often.
const CALLS_EACH: [f64; 2] = [0.25, 1.5];
/// Of the time in which all bots are busy: so many times as long they may be.
const BUSY: f64 = 1.3;
/// What a run needs of the host's time before it begins.
const PREPARES: Duration = Duration::from_secs(5);

/// Of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Its time runs so many times as fast.
    pub(super) scale: f64,
    /// In a second of the host, while all bots are busy.
    calls: u32,
    /// Until then they are, in the host's time.
    busy: Duration,
}

impl Load {
    /// Of a trace on so many bots, whose lower bound is to take so many seconds of the host's time, or more.
    pub(super) fn new(trace: &Trace, size: usize, seconds: f64) -> Self {
        let share = trace.total() / size as f64;
        let [most_often, least_often] = CALLS_EACH;
        let each = (trace.total() / trace.truth.len() as f64).clamp(most_often, least_often);
        let calls = size as f64 / each;
        let scale =
            (share.max(trace.longest()) / seconds).clamp(1.0, MOST.min(CALLS_OF_ONE / calls).max(1.0));
        let busy = PREPARES + Duration::from_secs_f64(share * BUSY / scale);
        Self { scale, calls: (calls * scale) as u32, busy }
    }
}

/// Runs take turns.
#[derive(Debug)]
pub(super) struct Turns {
    calls: Semaphore,
    host: SystemClock,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { calls: Semaphore::new(CALLS_OF_ALL as usize), host: SystemClock::new() }
    }

    /// Performs a run as soon as the host has time for it. When only its longest tests are left, others may begin.
    pub(super) async fn take<T>(&self, load: Load, run: impl Future<Output = T>) -> T {
        let calls = load.calls.clamp(1, CALLS_OF_ALL);
        let mut turn = self.calls.acquire_many(calls).await.unwrap();
        tokio::pin!(run);
        tokio::select! {
            value = &mut run => return value,
            () = self.host.sleep(load.busy) => {}
        }
        drop(turn.split(calls as usize / 8 * 7));
        run.await
    }
}
