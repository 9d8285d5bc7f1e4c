//! Bots on which one test after another crashes, or says that the bot is broken: the bot is the likelier cause.

use super::TestOutcome;
use proto::BotId;
use std::collections::BTreeMap;

/// Counts crashes in a row for each bot. Holds only bots whose last test crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    limit: u32,
    in_a_row: BTreeMap<BotId, u32>,
}

impl Breaker {
    /// Trips at so many crashes in a row, at least one.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), in_a_row: BTreeMap::new() }
    }

    /// Notes how an execution ended. True when the bot has to be drained; the count begins anew then.
    pub fn trips(&mut self, bot: &BotId, outcome: &TestOutcome) -> bool {
        if !matches!(outcome, TestOutcome::Crashed(_) | TestOutcome::Infrastructure) {
            self.in_a_row.remove(bot);
            return false;
        }
        let count = self.in_a_row.entry(bot.clone()).or_default();
        *count += 1;
        if *count < self.limit {
            return false;
        }
        self.in_a_row.remove(bot);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crashes_in_a_row_drain_a_bot() {
        let (mut breaker, bot) = (Breaker::new(3), BotId::new("b").unwrap());
        let crash = TestOutcome::Crashed("signal 11".into());
        for outcome in [&crash, &crash, &TestOutcome::Failed, &crash, &crash] {
            assert!(!breaker.trips(&bot, outcome));
        }
        assert!(breaker.trips(&bot, &TestOutcome::Infrastructure));
        assert!(!breaker.trips(&bot, &crash), "and counts anew");
    }

    #[test]
    fn bots_are_counted_apart() {
        let mut breaker = Breaker::new(2);
        let crash = TestOutcome::Crashed("exit code 0".into());
        let bots = ["a", "b"].map(|name| BotId::new(name).unwrap());
        assert!(!breaker.trips(&bots[0], &crash));
        assert!(!breaker.trips(&bots[1], &crash));
        assert!(!breaker.trips(&bots[0], &TestOutcome::Passed));
        assert!(breaker.trips(&bots[1], &crash), "whatever the other has passed");
    }
}
