//! A time of day that never runs backwards.

use proto::Timestamp;
use runtime::{Clock, clock::Sleep};
use std::{sync::Arc, time::Duration};

/// Starts at a time of day and goes on with the clock's steady time: setting the host's clock expires no lease.
#[derive(Clone, Debug)]
pub(super) struct Monotonic {
    clock: Arc<dyn Clock>,
    start: Timestamp,
    elapsed: Duration,
}

impl Monotonic {
    /// From now on.
    pub(super) fn new(clock: Arc<dyn Clock>, start: Timestamp) -> Self {
        let elapsed = clock.elapsed();
        Self { clock, start, elapsed }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.start + self.clock.elapsed().saturating_sub(self.elapsed)
    }

    pub(super) fn sleep_until(&self, time: Timestamp) -> Sleep {
        self.clock.sleep(time.since(self.now()))
    }
}
