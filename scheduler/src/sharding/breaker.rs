//! Bots on which one test after another crashes, or says that the bot is broken: the bot is the likelier cause, when others run
//! tests of the same step.

use super::TestOutcome;
use proto::BotId;
use std::collections::{BTreeMap, BTreeSet};

/// Of the tests that others have ended, at most one in so many may have crashed when a bot is to blame for its own crashes:
/// broken code crashes everywhere, and would cost one bot after the other.
const SELDOM: u64 = 10;

/// Counts crashes of one step for each bot that runs its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    limit: u32,
    bots: BTreeMap<BotId, Seen>,
    /// Mostly none: it is asked with each report.
    tripped: BTreeSet<BotId>,
}

/// What was seen of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Seen {
    in_a_row: u32,
    ended: u64,
    crashed: u64,
}

impl Breaker {
    /// Trips at so many crashes in a row, at least one.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), bots: BTreeMap::new(), tripped: BTreeSet::new() }
    }

    /// Notes how an execution ended. True when the bot should get no more; the count begins anew then.
    pub fn trips(&mut self, bot: &BotId, outcome: &TestOutcome) -> bool {
        let seen = self.bots.entry(bot.clone()).or_default();
        seen.ended += 1;
        if !matches!(outcome, TestOutcome::Crashed(_) | TestOutcome::Infrastructure) {
            seen.in_a_row = 0;
            return false;
        }
        seen.crashed += 1;
        seen.in_a_row += 1;
        let trips = seen.in_a_row >= self.limit;
        if trips {
            seen.in_a_row = 0;
            self.tripped.insert(bot.clone());
        }
        trips
    }

    /// Whether the bot should get no more of the step.
    pub fn has_tripped(&self, bot: &BotId) -> bool {
        self.tripped.contains(bot)
    }

    /// All of these bots.
    pub fn tripped(&self) -> impl Iterator<Item = &BotId> {
        self.tripped.iter()
    }

    /// Those of them that are to blame: others have ended as many tests as it takes, and hardly any by a crash.
    pub fn to_blame(&self) -> impl Iterator<Item = &BotId> {
        self.tripped().filter(|bot| {
            let others = self.bots.iter().filter(|(other, _)| other != bot);
            let (ended, crashed) = others
                .fold((0, 0), |(ended, crashed), (_, seen)| (ended + seen.ended, crashed + seen.crashed));
            ended >= u64::from(self.limit) && crashed * SELDOM <= ended
        })
    }

    /// Somebody says that the bot may work again.
    pub fn forgive(&mut self, bot: &BotId) {
        self.bots.remove(bot);
        self.tripped.remove(bot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bots() -> [BotId; 2] {
        ["a", "b"].map(|name| BotId::new(name).unwrap())
    }

    fn crash() -> TestOutcome {
        TestOutcome::Crashed("signal 11".into())
    }

    #[test]
    fn only_crashes_in_a_row_trip() {
        let (mut breaker, [bot, _]) = (Breaker::new(3), bots());
        for outcome in [&crash(), &crash(), &TestOutcome::Failed, &crash(), &crash()] {
            assert!(!breaker.trips(&bot, outcome));
        }
        assert!(breaker.trips(&bot, &TestOutcome::Infrastructure));
        assert!(!breaker.trips(&bot, &crash()), "and counts anew");
        assert!(breaker.has_tripped(&bot));
        breaker.forgive(&bot);
        assert!(!breaker.has_tripped(&bot));
    }

    #[test]
    fn bots_are_counted_apart() {
        let (mut breaker, [a, b]) = (Breaker::new(2), bots());
        assert!(!breaker.trips(&a, &crash()));
        assert!(!breaker.trips(&b, &crash()));
        assert!(!breaker.trips(&a, &TestOutcome::Passed));
        assert!(breaker.trips(&b, &crash()), "whatever the other has passed");
    }

    #[test]
    fn a_bot_is_to_blame_when_others_run_the_same_without_crashes() {
        for (others, is_to_blame) in
            [(TestOutcome::Passed, true), (TestOutcome::Failed, true), (crash(), false)]
        {
            let (mut breaker, [a, b]) = (Breaker::new(2), bots());
            assert!(!breaker.trips(&a, &crash()));
            assert!(breaker.trips(&a, &crash()));
            breaker.trips(&b, &others);
            assert_eq!(breaker.to_blame().count(), 0, "one test says nothing");
            breaker.trips(&b, &others);
            let blamed: Vec<_> = breaker.to_blame().collect();
            assert_eq!(blamed == [&a], is_to_blame, "{others:?}: {blamed:?}");
        }
    }
}
