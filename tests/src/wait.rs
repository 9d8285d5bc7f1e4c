//! Waiting on conditions, always with a deadline.

use runtime::{Clock as _, SystemClock};
use std::{future::Future, time::Duration};

/// How long a test waits for anything before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What `future` gives; fails when that takes longer than any test should.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Looks again and again until `condition` gives something; fails when that takes longer than any test should.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let clock = SystemClock::new();
    let looking = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, looking).await
}
