//! What the books say: counts, what is open, green or red.

use super::{Attempt, Ledger};
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

/// What the step is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Each listed test has a verdict, and none is red.
    Green,
    /// Nothing was listed: nothing is proved.
    Empty,
    /// Some are red or missing.
    Red {
        /// With their verdict, in listing order.
        failing: Vec<(TestIndex, Verdict)>,
        /// Without a report, in listing order.
        missing: Vec<TestIndex>,
    },
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

    /// What the step is worth by now.
    pub fn outcome(&self) -> Outcome {
        if self.listed.is_empty() {
            return Outcome::Empty;
        }
        let (mut failing, mut missing) = (Vec::new(), Vec::new());
        for test in self.indices() {
            match self.verdict(test) {
                None | Some(Verdict::Missing) => missing.push(test),
                Some(verdict) if verdict.is_red() => failing.push((test, verdict)),
                Some(_) => {}
            }
        }
        if failing.is_empty() && missing.is_empty() {
            Outcome::Green
        } else {
            Outcome::Red { failing, missing }
        }
    }

    fn indices(&self) -> impl Iterator<Item = TestIndex> + use<> {
        (0..self.entries.len()).map(TestIndex::of)
    }
}
