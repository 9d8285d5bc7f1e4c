//! A clock that runs faster than the host's, for all that takes part in a replay.

use proto::Timestamp;
use runtime::{Clock, SystemClock};
use std::{pin::Pin, sync::Arc, time::Duration};

/// See the module.
#[derive(Debug)]
pub(super) struct Hurried {
    host: SystemClock,
    began: Timestamp,
    times: f64,
}

impl Hurried {
    /// So many times as fast as the host's.
    pub(super) fn shared(times: f64) -> Arc<dyn Clock> {
        let host = SystemClock::new();
        Arc::new(Self { began: host.now(), host, times })
    }
}

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        self.began + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.host.elapsed().mul_f64(self.times)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.host.sleep(duration.div_f64(self.times))
    }
}
