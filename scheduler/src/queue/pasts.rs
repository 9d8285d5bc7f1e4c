//! What a test has come to in earlier runs.

use super::{
    apply::Queue,
    run::Run,
    suite::{Quarantined, Suite},
    suites::suite_key,
};
use crate::sharding::{Attempt, Past, Standing, SuiteKey, TestIndex, Verdict};
use proto::{BotId, RunId};
use std::ops::Bound;

/// Executions that are told of each test on each platform.
const MOST_TOLD: usize = 20;

/// Names that are compared for one question: it holds up everybody else.
const MOST_COMPARED: usize = 1_000_000;

/// A test on one platform.
#[derive(Debug)]
pub(crate) struct KnownTest<'a> {
    pub(crate) key: &'a SuiteKey,
    pub(crate) past: &'a Past,
    /// The newest first.
    pub(crate) executions: Vec<PastExecution<'a>>,
}

/// One that counted.
#[derive(Debug)]
pub(crate) struct PastExecution<'a> {
    pub(crate) run: RunId,
    pub(crate) bot: Option<&'a BotId>,
    pub(crate) attempt: &'a Attempt,
}

impl KnownTest<'_> {
    /// Runs in which it failed and passed, and those that ended otherwise than the one before on the same input.
    pub(crate) fn flakes(&self) -> u32 {
        self.verdicts(|verdict| verdict == Verdict::Flaky).saturating_add(self.past.flips)
    }

    /// Runs in which it came to such a verdict.
    pub(crate) fn verdicts(&self, wanted: impl Fn(Verdict) -> bool) -> u32 {
        self.past.verdicts.iter().filter(|(verdict, _)| wanted(**verdict)).map(|(_, count)| count).sum()
    }
}

impl Queue {
    /// What is known of a test: in one suite, or in all of them when its name is empty.
    pub(crate) fn test_pasts(&self, suite: &str, test: &str) -> Vec<KnownTest<'_>> {
        let known = self.state.books.history.of_test(test);
        let known = known.filter(|(key, _)| suite.is_empty() || &*key.suite == suite);
        let mut pasts: Vec<KnownTest<'_>> =
            known.map(|(key, past)| KnownTest { key, past, executions: Vec::new() }).collect();
        let mut compared = 0;
        for run in self.state.runs.values().rev().filter(|run| !run.suites.is_empty()) {
            for (number, suite) in &run.suites {
                let key = run.spec.steps.get(*number as usize).and_then(|step| suite_key(step));
                let Some(known) = pasts.iter_mut().find(|known| Some(known.key) == key.as_ref()) else {
                    continue;
                };
                if known.executions.len() >= MOST_TOLD {
                    continue;
                }
                compared += suite.listing.tests.len();
                known.executions.extend(executions(run, suite, test));
            }
            if compared > MOST_COMPARED {
                break;
            }
        }
        pasts
    }

    /// Tests whose failures are known, by suite and test: of one suite, or of all when its name is empty. Those after this
    /// one, which need not be known any more.
    pub(crate) fn quarantines(
        &self,
        suite: &str,
        after: Option<&(String, String)>,
    ) -> impl Iterator<Item = &Quarantined> {
        let first = (suite.to_owned(), String::new());
        let start = after.filter(|after| **after > first).map_or(Bound::Included(&first), Bound::Excluded);
        let from = self.state.books.quarantines.range((start, Bound::Unbounded));
        from.map(|(_, one)| one).take_while(move |one| suite.is_empty() || one.suite == suite)
    }
}

fn executions<'a>(run: &'a Run, suite: &'a Suite, test: &str) -> Vec<PastExecution<'a>> {
    let Some(position) = suite.listing.tests.iter().position(|listed| &*listed.name == test) else {
        return Vec::new();
    };
    let attempts = suite.ledger.attempts(TestIndex(u32::try_from(position).unwrap_or(u32::MAX)));
    let counted = attempts.iter().rev().filter(|attempt| attempt.standing == Standing::Counted);
    let execution = |attempt: &'a Attempt| {
        let (shard, number) = suite.worker(attempt.token)?;
        let bot = run.shard(shard)?.attempts.iter().find(|attempt| attempt.number == number);
        Some(PastExecution { run: run.id, bot: bot.map(|attempt| &attempt.bot), attempt })
    };
    counted.filter_map(execution).collect()
}
