//! The tests of a step: what was listed, who was granted what, and what became of it. Durable: made of records alone.

use super::{policy::TestsPolicy, shard::Token};
use crate::sharding::{Accepted, Budget, LeaseEnd, Ledger, ListedTest, TestIndex, TestReport, Verdict};
use proto::{ShardId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Of all tests, those that may be run again because they failed: beyond it the code is broken, not the tests.
const RETRIED_PERCENT: u32 = 5;

/// The tests of a command, in the order in which its driver lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) tests: Arc<[ListedTest]>,
    /// Of each of them.
    pub(crate) places: Vec<Place>,
}

/// Where a test is written. Empty and 0 when that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
}

impl Listing {
    /// These tests alone. A name that is not listed stays: whoever asked for it is told that no runner knows it.
    pub(super) fn only(&self, names: &BTreeSet<String>) -> Self {
        let kept = self.tests.iter().zip(&self.places).filter(|(test, _)| names.contains(&*test.name));
        let (mut tests, mut places): (Vec<ListedTest>, Vec<Place>) =
            kept.map(|(test, place)| (test.clone(), place.clone())).unzip();
        let listed: BTreeSet<&str> = self.tests.iter().map(|test| &*test.name).collect();
        for name in names.iter().filter(|name| !listed.contains(name.as_str())) {
            let name = name.as_str().into();
            tests.push(ListedTest { name, group: None, exclusive: false, disabled: false });
            places.push(Place::default());
        }
        Self { tests: tests.into(), places }
    }
}

/// The tests of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) listing: Arc<Listing>,
    pub(crate) ledger: Ledger,
    /// Whether its driver tells tests apart.
    pub(crate) verified: bool,
    /// What is run, if that is known: equal numbers, equal inputs.
    pub(super) input: Option<u64>,
    leases: BTreeMap<Token, Worked>,
    /// Tests in the order in which something became of them.
    log: Vec<TestIndex>,
}

/// What an attempt of a worker has to do with tests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Worked {
    shard: ShardId,
    attempt: u32,
    /// Empty when it has ended.
    batches: Vec<Arc<[TestIndex]>>,
    reports: u64,
}

impl Suite {
    /// Nothing was run. None when the listing is no listing.
    pub(super) fn new(
        listing: Arc<Listing>,
        policy: &TestsPolicy,
        quarantined: BTreeSet<TestIndex>,
        input: Option<u64>,
    ) -> Option<Self> {
        let budget = Budget {
            retries: policy.retries,
            retried_percent: RETRIED_PERCENT,
            fail_fast: policy.fail_fast.then_some(1),
        };
        let ledger = Ledger::new(Arc::clone(&listing.tests), quarantined, budget).ok()?;
        let verified = policy.driver.lists();
        Some(Self { listing, ledger, verified, input, leases: BTreeMap::new(), log: Vec::new() })
    }

    /// An attempt may run these.
    pub(super) fn grant(&mut self, shard: ShardId, attempt: u32, token: Token, tests: &[TestIndex]) {
        let worked = self.leases.entry(token);
        let worked = worked.or_insert(Worked { shard, attempt, batches: Vec::new(), reports: 0 });
        worked.batches.push(tests.into());
        self.ledger.grant(token.0, tests);
    }

    /// An attempt has run these.
    pub(super) fn report(&mut self, token: Token, reports: &[TestReport]) -> Vec<Accepted> {
        if let Some(worked) = self.leases.get_mut(&token) {
            worked.reports += reports.len() as u64;
        }
        self.log.extend(reports.iter().map(|report| report.test));
        self.ledger.report(token.0, reports)
    }

    /// An attempt has ended.
    pub(super) fn release(&mut self, token: Token, end: LeaseEnd) {
        let held = self.ledger.held(token.0).to_vec();
        self.ledger.release(token.0, end);
        // Those that were lost too often have their verdict now.
        self.log.extend(held.into_iter().filter(|test| self.ledger.verdict(*test).is_some()));
        if let Some(worked) = self.leases.get_mut(&token) {
            worked.batches = Vec::new();
        }
    }

    /// The step has ended: what was not reported is missing.
    pub(super) fn close(&mut self) {
        let open = self.ledger.open();
        self.ledger.close();
        self.log.extend(open);
    }

    /// Whether nothing is proved of some of its tests: nobody has told of them, no runner knows them, or there are none.
    pub(super) fn lacks_tests(&self) -> bool {
        let counts = self.ledger.counts();
        let lacks = [Verdict::Missing, Verdict::Unknown];
        self.listing.tests.is_empty() || lacks.iter().any(|verdict| counts.verdicts.contains_key(verdict))
    }

    /// How many batches a live attempt was granted.
    pub(super) fn batches(&self, token: Token) -> u32 {
        self.leases.get(&token).map_or(0, |worked| u32::try_from(worked.batches.len()).unwrap_or(u32::MAX))
    }

    /// The batches of a live attempt beyond the first `had`, with their numbers.
    pub(super) fn batches_after(
        &self,
        token: Token,
        had: u32,
    ) -> impl Iterator<Item = (u32, &Arc<[TestIndex]>)> {
        let batches = self.leases.get(&token).map_or(&[][..], |worked| &worked.batches);
        (1u32..).zip(batches).skip(had as usize)
    }

    /// How many reports of an attempt were taken.
    pub(super) fn reports(&self, token: Token) -> u64 {
        self.leases.get(&token).map_or(0, |worked| worked.reports)
    }

    /// The shard and the attempt that ran under a lease.
    pub(crate) fn worker(&self, token: u64) -> Option<(ShardId, u32)> {
        self.leases.get(&Token(token)).map(|worked| (worked.shard, worked.attempt))
    }

    /// What something became of, after the first so many times.
    pub(crate) fn changed_after(&self, position: usize) -> &[TestIndex] {
        self.log.get(position..).unwrap_or_default()
    }
}

/// A test whose failures are known, until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) suite: String,
    pub(crate) test: String,
    pub(crate) owner: String,
    pub(crate) reason: String,
    pub(crate) expires: Timestamp,
}
