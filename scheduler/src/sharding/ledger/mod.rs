//! Which test was granted to whom, what was reported, and the one verdict of each. Durable by replay.

mod outcome;
#[cfg(test)]
mod tests;

pub use outcome::Counts;

use super::{ListedTest, TestIndex, TestOutcome, TestReport, Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Tests that may be retried in every run, however small their share is.
const RETRIED_AT_LEAST: u32 = 5;
/// A test whose worker was lost so often while it was open is taken to be the reason.
const MOST_LOSSES: u32 = 5;
/// A test that was run so often by bots that could not do their part is run no more.
const MOST_BREAKDOWNS: usize = 3;
/// Executions kept of each test; further duplicates are forgotten.
const KEPT: usize = 20;
/// Bytes of messages and output kept of all tests together; what comes later is kept without.
const TEXT: usize = 64 << 20;

/// What may be spent on failing tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Of one test.
    pub retries: u32,
    /// Of all tests, in percent of those listed, at least five: beyond it the code is broken, not the tests.
    pub retried_percent: u32,
    /// The run stops at so many red tests.
    pub fail_fast: Option<u32>,
}

/// A listing that no ledger can be kept of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Verdicts are by name.
    #[error("test {0:?} is listed twice; give each test a name of its own")]
    Twice(Arc<str>),
    /// More than the protocol can number.
    #[error("{0} tests are listed; a step has at most {max}", max = u32::MAX)]
    TooMany(usize),
}

/// What an execution counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The verdict is made of it.
    Counted,
    /// The test had its verdict already.
    Duplicate,
    /// Its lease was over.
    Late,
}

/// One execution of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The lease under which it ran.
    pub token: u64,
    /// What it counts for.
    pub standing: Standing,
    /// What was told of it; without text when too much of that was kept before.
    pub report: TestReport,
}

/// How a lease has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Its bot died, was silent, or could not do its part: what it ran may be the reason.
    Lost,
    /// The attempt has come to its end, or its bot had to stop and gave it back.
    Orderly,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The test has its verdict now.
    Verdict(Verdict),
    /// It is to be run once more, preferably elsewhere.
    Retry,
    /// It failed, and another execution of it is under way, which decides.
    Twin,
    /// It had a verdict already.
    Duplicate,
    /// The lease does not hold the test any more, or never did.
    Late,
    /// There is no such test.
    Unlisted,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Entry {
    verdict: Option<Verdict>,
    /// Leases that run it.
    holders: Vec<u64>,
    attempts: Vec<Attempt>,
    losses: u32,
}

/// The books of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    listed: Arc<[ListedTest]>,
    quarantined: BTreeSet<TestIndex>,
    budget: Budget,
    entries: Vec<Entry>,
    /// What each lease holds and has not reported, in the order in which it is run.
    grants: BTreeMap<u64, Vec<TestIndex>>,
    counts: Counts,
    retried: u32,
    text: usize,
}

impl Ledger {
    /// Of a listing. Failures of the tests in `quarantined` do not make the run red.
    pub fn new(
        listed: Arc<[ListedTest]>,
        quarantined: BTreeSet<TestIndex>,
        budget: Budget,
    ) -> Result<Self, ListError> {
        if u32::try_from(listed.len()).is_err() {
            return Err(ListError::TooMany(listed.len()));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = listed.iter().find(|test| !names.insert(&test.name)) {
            return Err(ListError::Twice(twice.name.clone()));
        }
        let counts = Counts { open: listed.len(), ..Counts::default() };
        let entries = vec![Entry::default(); listed.len()];
        let mut ledger = Self {
            listed,
            quarantined,
            budget,
            entries,
            grants: BTreeMap::new(),
            counts,
            retried: 0,
            text: 0,
        };
        for position in 0..ledger.listed.len() {
            if ledger.listed[position].disabled {
                ledger.judge(TestIndex::of(position), Verdict::Skipped);
            }
        }
        Ok(ledger)
    }

    /// Notes that a lease runs these tests, in this order, after what it holds. What it holds already, and what is not
    /// listed, is left out.
    pub fn grant(&mut self, token: u64, tests: &[TestIndex]) {
        let grant = self.grants.entry(token).or_default();
        for test in tests {
            let Some(entry) = self.entries.get_mut(test.at()) else { continue };
            if !entry.holders.contains(&token) {
                entry.holders.push(token);
                grant.push(*test);
            }
        }
    }

    /// What a lease holds and has not reported, in the order in which it is run.
    pub fn held(&self, token: u64) -> &[TestIndex] {
        self.grants.get(&token).map_or(&[], Vec::as_slice)
    }

    /// Notes what a lease reports, each execution once.
    pub fn report(&mut self, token: u64, reports: &[TestReport]) -> Vec<Accepted> {
        reports.iter().map(|report| self.report_one(token, report)).collect()
    }

    fn report_one(&mut self, token: u64, report: &TestReport) -> Accepted {
        let Some(entry) = self.entries.get_mut(report.test.at()) else { return Accepted::Unlisted };
        let holds = entry.holders.contains(&token);
        entry.holders.retain(|holder| *holder != token);
        if holds && let Some(grant) = self.grants.get_mut(&token) {
            grant.retain(|test| *test != report.test);
        }
        let standing = match (holds, entry.verdict) {
            (false, _) => Standing::Late,
            (true, Some(_)) => Standing::Duplicate,
            (true, None) => Standing::Counted,
        };
        self.keep(token, standing, report);
        match standing {
            Standing::Late => Accepted::Late,
            Standing::Duplicate => {
                self.counts.duplicates += 1;
                Accepted::Duplicate
            }
            Standing::Counted => self.weigh(report.test, &report.outcome),
        }
    }

    fn keep(&mut self, token: u64, standing: Standing, report: &TestReport) {
        let entry = &mut self.entries[report.test.at()];
        if standing != Standing::Counted && entry.attempts.len() >= KEPT {
            return;
        }
        let text = report.message.len() + report.output.len();
        let fits = self.text + text <= TEXT;
        self.text += if fits { text } else { 0 };
        let mut report = report.clone();
        // Most tests say nothing, and all empty texts are one. Most are run once.
        for text in [&mut report.message, &mut report.output] {
            if !fits || text.is_empty() {
                *text = Arc::default();
            }
        }
        entry.attempts.reserve_exact(1);
        entry.attempts.push(Attempt { token, standing, report });
    }

    /// What an execution that counts makes of its test.
    fn weigh(&mut self, test: TestIndex, outcome: &TestOutcome) -> Accepted {
        let entry = &self.entries[test.at()];
        let count = |of: fn(&TestOutcome) -> bool| {
            let counted = entry.attempts.iter().filter(|attempt| attempt.standing == Standing::Counted);
            counted.filter(|attempt| of(&attempt.report.outcome)).count()
        };
        let failures = count(TestOutcome::is_of_the_test);
        let breakdowns = count(|outcome| *outcome == TestOutcome::Infrastructure);
        let spent = count(TestOutcome::is_failure) - breakdowns;
        let crashes = count(|outcome| matches!(outcome, TestOutcome::Crashed(_)));
        let verdict = match outcome {
            TestOutcome::Passed if failures > 0 => Verdict::Flaky,
            TestOutcome::Passed => Verdict::Passed,
            TestOutcome::Skipped if failures == 0 => Verdict::Skipped,
            _ if !entry.holders.is_empty() => return Accepted::Twin,
            // It costs the test nothing.
            TestOutcome::Infrastructure if breakdowns < MOST_BREAKDOWNS && !self.is_stopped() => {
                return Accepted::Retry;
            }
            outcome if *outcome != TestOutcome::Infrastructure && crashes < 2 && self.may_retry(spent) => {
                self.retried += 1;
                return Accepted::Retry;
            }
            TestOutcome::Unknown => Verdict::Unknown,
            _ if self.quarantined.contains(&test) => Verdict::Quarantined,
            // Left out after it had failed, or on broken ground each time: nothing says that it would pass.
            TestOutcome::Failed | TestOutcome::Skipped | TestOutcome::Infrastructure => Verdict::Failed,
            TestOutcome::Crashed(_) => Verdict::Crashed,
            TestOutcome::TimedOut => Verdict::TimedOut,
        };
        self.judge(test, verdict);
        Accepted::Verdict(verdict)
    }

    fn may_retry(&self, spent: usize) -> bool {
        let share = self.listed.len() as u64 * u64::from(self.budget.retried_percent) / 100;
        spent <= self.budget.retries as usize
            && u64::from(self.retried) < share.max(u64::from(RETRIED_AT_LEAST))
            && !self.is_stopped()
    }

    /// The one place that gives verdicts.
    fn judge(&mut self, test: TestIndex, verdict: Verdict) {
        self.entries[test.at()].verdict = Some(verdict);
        self.counts.open -= 1;
        *self.counts.verdicts.entry(verdict).or_default() += 1;
    }

    /// Ends a lease. Answers what has to be granted again, first the test that was open: the first that it has not
    /// reported. That one may have been the end of its bot, so losses count against it.
    pub fn release(&mut self, token: u64, end: LeaseEnd) -> Vec<TestIndex> {
        let Some(grant) = self.grants.remove(&token) else { return Vec::new() };
        let mut again = Vec::new();
        for (position, test) in grant.into_iter().enumerate() {
            let entry = &mut self.entries[test.at()];
            entry.holders.retain(|holder| *holder != token);
            if entry.verdict.is_some() {
                continue;
            }
            entry.losses += u32::from(position == 0 && end == LeaseEnd::Lost);
            if entry.losses >= MOST_LOSSES {
                self.judge(test, Verdict::Crashed);
            } else if entry.holders.is_empty() {
                again.push(test);
            }
        }
        again
    }

    /// Ends the step: what has no verdict is missing.
    pub fn close(&mut self) {
        for position in 0..self.entries.len() {
            if self.entries[position].verdict.is_none() {
                self.judge(TestIndex::of(position), Verdict::Missing);
            }
            // Runs stay in history for long.
            let entry = &mut self.entries[position];
            entry.holders = Vec::new();
            entry.attempts.shrink_to_fit();
        }
        self.grants.clear();
    }
}
