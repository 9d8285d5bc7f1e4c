//! The transitions of tests, and what is known of tests from all runs.

use super::{
    dedupe::ListingKey,
    run::Run,
    shard::{Shard, ShardState, Token},
    spec::StepSpec,
    state::{Impossible, State, impossible},
    suite::{Listing, Quarantined, Suite},
};
use crate::sharding::{Accepted, History, LeaseEnd, SuiteKey, TestIndex, TestReport};
use proto::{RunId, ShardId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Tests whose durations are remembered, over all suites: about 100 bytes each.
const MOST_REMEMBERED: usize = 1_000_000;

/// What is known of tests from all runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) history: History,
    /// The newest step that has listed all the tests of a command.
    pub(super) listings: BTreeMap<ListingKey, (RunId, u32)>,
    /// By suite, then by test.
    pub(super) quarantines: BTreeMap<(String, String), Quarantined>,
}

impl Default for Books {
    fn default() -> Self {
        let history = History::new(MOST_REMEMBERED);
        Self { history, listings: BTreeMap::new(), quarantines: BTreeMap::new() }
    }
}

/// Under what the durations of a step's tests are remembered: what it asks of bots stands for what they are.
pub(super) fn suite_key(step: &StepSpec) -> Option<SuiteKey> {
    let policy = step.fan_out.tests()?;
    let platform = step.first.requirements.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    Some(SuiteKey { suite: policy.suite.as_str().into(), platform: platform.into() })
}

impl State {
    /// The listing of a step's tests, if an earlier step has listed the same.
    pub(super) fn listing_of(&self, step: &StepSpec) -> Option<&Arc<Listing>> {
        let (run, step) = self.books.listings.get(&ListingKey::of(step)?)?;
        Some(&self.runs.get(run)?.suites.get(step)?.listing)
    }

    pub(super) fn list_tests(
        &mut self,
        id: RunId,
        number: u32,
        listing: &Arc<Listing>,
        workers: u32,
        at: Timestamp,
    ) -> Result<(), Impossible> {
        let missing = || impossible(id, "has no such step that shares out tests");
        let run = self.runs.get_mut(&id).ok_or_else(missing)?;
        let step = Arc::clone(run.spec.steps.get(number as usize).ok_or_else(missing)?);
        let policy = step.fan_out.tests().ok_or_else(missing)?;
        if run.ended.is_some() || run.suites.contains_key(&number) {
            return Err(impossible(id, "has listed its tests before, or has ended"));
        }
        // Equal listings share their memory, also after a replay.
        let known = self.listing_of(&step).filter(|known| ***known == **listing).cloned();
        let listing = &known.unwrap_or_else(|| Arc::clone(listing));
        let run = self.runs.get_mut(&id).ok_or_else(missing)?;
        let quarantined = self.books.quarantined(&policy.suite, listing, at);
        let key = ListingKey::of(&step);
        let suite = Suite::new(Arc::clone(listing), policy, quarantined, key.map(ListingKey::number));
        run.suites.insert(number, suite.ok_or_else(|| impossible(id, "lists a test twice"))?);
        let first = run.steps.get(number as usize).map_or(0, |shards| shards.len() as u32);
        self.new_workers(id, number, workers.saturating_sub(first), at)?;
        if let Some(key) = key.filter(|_| policy.only.is_empty() && !listing.tests.is_empty()) {
            self.books.listings.insert(key, (id, number));
        }
        Ok(())
    }

    /// More workers for a step whose tests are known.
    pub(super) fn add_workers(
        &mut self,
        id: RunId,
        number: u32,
        more: u32,
        at: Timestamp,
    ) -> Result<(), Impossible> {
        let is_open =
            |run: &Run| run.ended.is_none() && run.suites.contains_key(&number) && !run.has_ended(number);
        if !self.runs.get(&id).is_some_and(is_open) {
            return Err(impossible(id, "has no such step whose tests are being run"));
        }
        self.new_workers(id, number, more, at)
    }

    /// Adds pending shards to a step.
    fn new_workers(&mut self, id: RunId, number: u32, more: u32, at: Timestamp) -> Result<(), Impossible> {
        let missing = || impossible(id, "has no such step");
        let run = self.runs.get_mut(&id).ok_or_else(missing)?;
        let spec = Arc::clone(&run.spec);
        let step = spec.steps.get(number as usize).ok_or_else(missing)?;
        let shards = run.steps.get_mut(number as usize).ok_or_else(missing)?;
        let first = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        let new: Vec<ShardId> = (first..first.saturating_add(more))
            .map(|index| ShardId { run: id, step: number, index })
            .collect();
        shards.extend(new.iter().map(|_| Shard::new(at)));
        run.tally.pending += more;
        if let Some(progress) = run.progress.get_mut(number as usize) {
            progress.open += more;
        }
        self.line_up(&spec, step, &new, at);
        Ok(())
    }

    pub(super) fn grant_tests(
        &mut self,
        id: ShardId,
        token: Token,
        tests: &[TestIndex],
    ) -> Result<(), Impossible> {
        let attempt = self.holds(id, token)?;
        self.suite_mut(id)?.grant(id, attempt, token, tests);
        Ok(())
    }

    pub(super) fn report_tests(
        &mut self,
        id: ShardId,
        token: Token,
        reports: &[TestReport],
    ) -> Result<(), Impossible> {
        // What is told late, under a lease that has ended, is of an attempt all the same.
        let shard = self.shard(id).filter(|shard| shard.attempts.iter().any(|one| one.token == token));
        shard.ok_or_else(|| impossible(id, "was never held under this token"))?;
        let accepted = self.suite_mut(id)?.report(token, reports);
        let Some(run) = self.runs.get(&id.run) else { return Ok(()) };
        let Some(step) = run.spec.steps.get(id.step as usize) else { return Ok(()) };
        let (Some(key), Some(suite)) = (suite_key(step), run.suites.get(&id.step)) else { return Ok(()) };
        for (report, accepted) in reports.iter().zip(accepted) {
            let Some(test) = suite.listing.tests.get(report.test.0 as usize) else { continue };
            if accepted == Accepted::Late {
                continue;
            }
            self.books.history.record(&key, &test.name, &report.outcome, report.duration);
            if let Accepted::Verdict(verdict) = accepted {
                self.books.history.judged(&key, &test.name, verdict, suite.input);
            }
        }
        Ok(())
    }

    /// The lease of an attempt is over.
    pub(super) fn release_tests(&mut self, id: ShardId, token: Token, end: LeaseEnd) {
        if let Ok(suite) = self.suite_mut(id) {
            suite.release(token, end);
        }
    }

    pub(super) fn quarantine(&mut self, quarantined: &Quarantined, at: Timestamp) {
        let key = (quarantined.suite.clone(), quarantined.test.clone());
        self.books.quarantines.retain(|_, quarantined| at < quarantined.expires);
        if quarantined.expires <= at {
            self.books.quarantines.remove(&key);
        } else {
            self.books.quarantines.insert(key, quarantined.clone());
        }
    }

    /// The number of the live attempt under a token.
    fn holds(&mut self, id: ShardId, token: Token) -> Result<u32, Impossible> {
        let shard = self.in_state(id, ShardState::Running)?;
        let live = shard.live().filter(|live| live.token == token);
        live.map(|live| live.number).ok_or_else(|| impossible(id, "is not held under this token"))
    }

    fn suite_mut(&mut self, id: ShardId) -> Result<&mut Suite, Impossible> {
        let suite = self.runs.get_mut(&id.run).and_then(|run| run.suites.get_mut(&id.step));
        suite.ok_or_else(|| impossible(id, "has no tests listed"))
    }
}

impl Books {
    /// Which of these tests are in quarantine at a time: a run is judged by the day on which it has listed them.
    fn quarantined(&self, suite: &str, listing: &Listing, at: Timestamp) -> BTreeSet<TestIndex> {
        let of_suite = (suite.to_owned(), String::new());
        let known: BTreeSet<&str> = self
            .quarantines
            .range(of_suite..)
            .take_while(|((of, _), _)| of == suite)
            .filter(|(_, quarantined)| at < quarantined.expires)
            .map(|((_, test), _)| test.as_str())
            .collect();
        let tests = (0u32..).zip(listing.tests.iter());
        tests.filter(|(_, test)| known.contains(&*test.name)).map(|(index, _)| TestIndex(index)).collect()
    }

    /// Forgets that a run has listed something.
    pub(super) fn forget(&mut self, run: RunId) {
        self.listings.retain(|_, (of, _)| *of != run);
    }
}
