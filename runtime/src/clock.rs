//! Time as something that is handed in. The only place that reads the system's clock or sleeps.

use proto::Timestamp;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// A future that ends when its time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells time and waits.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Time of day. May jump when the host's clock is set.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start; never runs backwards.
    fn elapsed(&self) -> Duration;

    /// Ends after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The host's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the host's clock")]
impl SystemClock {
    /// Whose `elapsed` counts from now.
    #[expect(clippy::new_without_default, reason = "reads the clock")]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// As a shared [`Clock`].
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self::new())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the host's clock")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock for tests whose clones share one hand, moved by [`ManualClock::advance`].
#[derive(Clone, Debug)]
pub struct ManualClock {
    elapsed: Arc<Mutex<Duration>>,
    moved: watch::Sender<Duration>,
    start: Timestamp,
}

impl ManualClock {
    /// Stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { elapsed: Arc::default(), moved: watch::Sender::new(Duration::ZERO), start }
    }

    /// Moves the hand and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        let mut elapsed = self.elapsed.lock().unwrap_or_else(PoisonError::into_inner);
        *elapsed += by;
        self.moved.send_replace(*elapsed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut moved = self.moved.subscribe();
        let until = self.elapsed() + duration;
        Box::pin(async move {
            // An error means that the clock is gone, so that nobody waits for this any more.
            let _ = moved.wait_for(|elapsed| *elapsed >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_moved() {
        let clock = ManualClock::new(Timestamp::from_micros(5));
        let sleep = clock.sleep(Duration::from_secs(3));
        clock.advance(Duration::from_secs(2));
        assert!(futures_poll_once(clock.sleep(Duration::from_secs(3))).await.is_none());
        clock.clone().advance(Duration::from_secs(1));
        sleep.await;
        assert_eq!(clock.now(), Timestamp::from_micros(3_000_005));
    }

    async fn futures_poll_once(mut sleep: Sleep) -> Option<()> {
        std::future::poll_fn(|cx| match sleep.as_mut().poll(cx) {
            std::task::Poll::Ready(()) => std::task::Poll::Ready(Some(())),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
