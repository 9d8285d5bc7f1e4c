//! What the books say: counts, verdicts, what is open.

use super::{Attempt, KEPT, Ledger};
use crate::sharding::{TestIndex, Verdict};
use std::collections::BTreeMap;

/// Tests by what is known of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Without a verdict.
    pub open: usize,
    /// With one.
    pub verdicts: BTreeMap<Verdict, usize>,
    /// Executions that came to an end after their test had its verdict.
    pub duplicates: usize,
}

impl Counts {
    /// Tests that make the run red.
    pub fn red(&self) -> usize {
        self.verdicts.iter().filter(|(verdict, _)| verdict.is_red()).map(|(_, count)| count).sum()
    }
}

impl Ledger {
    /// Tests by what is known of them.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The verdict of a test; none as long as it is open, or when it is not listed.
    pub fn verdict(&self, test: TestIndex) -> Option<Verdict> {
        self.entries.get(test.at())?.verdict
    }

    /// What is known of the executions of a test, in the order of their reports.
    pub fn attempts(&self, test: TestIndex) -> &[Attempt] {
        self.entries.get(test.at()).map_or(&[], |entry| &entry.attempts)
    }

    /// Whether a further execution of a test would be kept that does not count.
    pub fn has_room(&self, test: TestIndex) -> bool {
        self.entries.get(test.at()).is_some_and(|entry| entry.attempts.len() < KEPT)
    }

    /// Tests without a verdict, in listing order.
    pub fn open(&self) -> Vec<TestIndex> {
        self.indices().filter(|test| self.verdict(*test).is_none()).collect()
    }

    /// Open tests that no lease holds: what is to be planned, also after a restart.
    pub fn ungranted(&self) -> Vec<TestIndex> {
        self.indices().filter(|test| self.is_ungranted(*test)).collect()
    }

    /// Whether a lease holds each open test.
    pub fn is_granted(&self) -> bool {
        !self.indices().any(|test| self.is_ungranted(test))
    }

    fn is_ungranted(&self, test: TestIndex) -> bool {
        let entry = &self.entries[test.at()];
        entry.verdict.is_none() && entry.holders.is_empty()
    }

    /// Whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        self.counts.open == 0
    }

    /// Whether so many tests are red that the step is to stop.
    pub fn is_stopped(&self) -> bool {
        self.budget.fail_fast.is_some_and(|limit| self.counts.red() >= limit.max(1) as usize)
    }

    fn indices(&self) -> impl Iterator<Item = TestIndex> + use<> {
        (0..self.entries.len()).map(TestIndex::of)
    }
}
