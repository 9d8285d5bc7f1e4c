//! How long things stay after their last use: what a cache promises, whatever its budget is called.

use proto::Timestamp;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Less than this is worth a warning: what was built in the morning is gone before the day is over.
pub(crate) const GOAL: Duration = Duration::from_hours(12);

/// Time between two warnings.
const QUIET: Duration = Duration::from_hours(1);

/// Knows when it was warned last.
#[derive(Debug, Default)]
pub(crate) struct Retention(Mutex<Option<Timestamp>>);

impl Retention {
    /// Whether to warn: something was evicted `age` after its last use. Not more often than once an hour.
    pub(crate) fn is_alarming(&self, age: Duration, now: Timestamp) -> bool {
        if age >= GOAL {
            return false;
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = last.is_some_and(|last| now.since(last) < QUIET);
        if !is_quiet {
            *last = Some(now);
        }
        !is_quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_evictions_are_warned_about_once_an_hour_and_late_ones_never() {
        let retention = Retention::default();
        let at = |minutes| Timestamp::from_micros(1_800_000_000_000_000) + Duration::from_mins(minutes);
        let warned = |minutes, age| retention.is_alarming(Duration::from_mins(age), at(minutes));
        assert!(!warned(0, 12 * 60));
        assert!(warned(1, 12 * 60 - 1));
        assert!(!warned(2, 5));
        assert!(!warned(60, 5));
        assert!(warned(61, 5));
        assert!(!warned(200, 13 * 60));
    }
}
