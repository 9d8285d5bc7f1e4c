//! What a bot has failed at by its own fault, and for how long it stays away from work for it. Pure.

use std::time::Duration;

/// Longest time away.
const LONGEST: Duration = Duration::from_secs(3600);

/// Failures in a row, and hooks that failed beside attempts. A quarantine for them ends after a time: then one more
/// attempt shows whether the bot is well, and a further failure counts twice as long as the one before.
#[derive(Debug)]
pub(super) struct Strikes {
    /// Failures in a row that quarantine; 0: none does.
    most: u32,
    /// How long the first time.
    away: Duration,
    in_a_row: u32,
    quarantines: u32,
    /// Until when, and why.
    quarantine: Option<(Duration, String)>,
}

impl Strikes {
    pub(super) fn new(most: u32, away: Duration) -> Self {
        Self { most, away, in_a_row: 0, quarantines: 0, quarantine: None }
    }

    /// Failures since the last success.
    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// A command was run.
    pub(super) fn succeeded(&mut self) {
        (self.in_a_row, self.quarantines) = (0, 0);
    }

    /// The bot could not do its part.
    pub(super) fn failed(&mut self, message: &str, now: Duration) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.most > 0 && self.in_a_row >= self.most {
            let why = format!(
                "{} attempts in a row failed by the bot's fault, the last one: {message}",
                self.in_a_row
            );
            self.quarantine(why, now);
        }
    }

    /// A hook of an attempt failed.
    pub(super) fn hook_failed(&mut self, why: &str, now: Duration) {
        self.quarantine(why.to_owned(), now);
    }

    /// Why the bot is away at this time, if it is.
    pub(super) fn reason(&mut self, now: Duration) -> Option<String> {
        self.quarantine.take_if(|(until, _)| *until <= now);
        self.quarantine.as_ref().map(|(_, why)| why.clone())
    }

    /// When the bot comes back.
    pub(super) fn until(&self) -> Option<Duration> {
        self.quarantine.as_ref().map(|(until, _)| *until)
    }

    fn quarantine(&mut self, why: String, now: Duration) {
        let away = self.away.saturating_mul(1 << self.quarantines.min(16)).min(LONGEST.max(self.away));
        self.quarantines = self.quarantines.saturating_add(1);
        self.quarantine = Some((now + away, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_quarantine_for_a_time_that_grows() {
        let mut strikes = Strikes::new(3, s(60));
        strikes.failed("a", s(0));
        strikes.failed("b", s(0));
        strikes.succeeded();
        for message in ["c", "d"] {
            strikes.failed(message, s(1));
        }
        assert_eq!((strikes.reason(s(1)), strikes.in_a_row()), (None, 2));
        strikes.failed("no disk", s(1));
        let why = "3 attempts in a row failed by the bot's fault, the last one: no disk";
        assert_eq!((strikes.reason(s(60)), strikes.until()), (Some(why.to_owned()), Some(s(61))));
        assert_eq!((strikes.reason(s(61)), strikes.until()), (None, None), "it may try one");
        strikes.failed("again", s(70));
        assert_eq!(strikes.until(), Some(s(190)), "twice as long");
        for _ in 0..20 {
            strikes.failed("again", s(200));
        }
        assert_eq!(strikes.until(), Some(s(3800)), "an hour at most");
        assert!(strikes.reason(s(3800)).is_none());
        strikes.succeeded();
        strikes.hook_failed("hook before-task failed: exit code 1", s(4000));
        assert_eq!(strikes.reason(s(4000)).as_deref(), Some("hook before-task failed: exit code 1"));
        assert_eq!(strikes.until(), Some(s(4060)));
    }

    #[test]
    fn none_is_most_when_it_is_off() {
        let mut strikes = Strikes::new(0, s(60));
        (0..100).for_each(|_| strikes.failed("x", s(0)));
        assert_eq!(strikes.reason(s(0)), None);
    }
}
