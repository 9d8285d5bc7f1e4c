//! The scheduler's own shares and ledger as a [`Policy`].

use crate::{
    engine::{Policy, Work},
    trace::Trace,
};
use proto::Timestamp;
use scheduler::sharding::*;
use std::{collections::BTreeSet, time::Duration};

/// The configuration's default.
const LEASE: Duration = Duration::from_secs(30);

pub(crate) struct Ours {
    shares: Shares,
    ledger: Ledger,
    mode: Mode,
    /// Per worker: its lease, and whether its runner is up.
    leases: Vec<(u64, bool)>,
    last_lease: u64,
    /// The processor time of planning, then of each decision.
    pub(crate) planned: Duration,
    pub(crate) decided: Vec<Duration>,
}

impl Ours {
    pub(crate) fn new(
        trace: &Trace,
        estimates: &Estimates,
        workers: usize,
        mode: Mode,
        overhead: Duration,
    ) -> Self {
        let budget = Budget { retries: 2, retried_percent: 5, fail_fast: None };
        let ledger = Ledger::new(trace.listed.clone(), BTreeSet::new(), budget).unwrap();
        let settings = Settings::new(mode, overhead);
        let start = processor();
        let open = ledger.ungranted();
        let shares =
            Shares::plan(&trace.listed, estimates, &open, workers as u32, settings, Timestamp::default());
        let planned = processor() - start;
        let leases = vec![(0, false); workers];
        Self { shares, ledger, mode, leases, last_lease: 0, planned, decided: Vec::new() }
    }

    /// Each test has its one verdict.
    pub(crate) fn check(&self) {
        assert!(self.ledger.is_complete() && self.ledger.counts().red() == 0);
    }

    pub(crate) fn steals(&self) -> u64 {
        self.shares.steals()
    }
}

/// Processor time of this thread: what else the machine does is no matter.
fn processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Policy for Ours {
    fn joined(&mut self, worker: u32, speed: Option<f64>, now: Timestamp) {
        self.last_lease += 1;
        self.leases[worker as usize] = (self.last_lease, false);
        self.shares.join(WorkerId(worker), speed, now);
    }

    fn next(&mut self, worker: u32, now: Timestamp) -> Work {
        let steals = self.shares.steals();
        let start = processor();
        let next = self.shares.next(WorkerId(worker), now);
        self.decided.push(processor() - start);
        let (lease, is_up) = &mut self.leases[worker as usize];
        match next {
            Next::Batch(tests) => {
                self.ledger.grant(*lease, &tests);
                // A runner that pulls has paid, unless the tests were somebody else's.
                let is_dispatch = !*is_up || self.mode == Mode::Process || self.shares.steals() > steals;
                *is_up = true;
                Work::Run { tests, is_dispatch }
            }
            Next::Wait => {
                *is_up = false;
                Work::Wait
            }
            Next::Nothing => Work::End,
        }
    }

    fn ended(&mut self, worker: u32, test: TestIndex, took: Duration, now: Timestamp) {
        self.shares.reported(WorkerId(worker), test, took, now);
        let report = TestReport {
            test,
            outcome: TestOutcome::Passed,
            duration: took,
            started: now - took,
            message: "".into(),
            output: "".into(),
        };
        self.ledger.report(self.leases[worker as usize].0, &[report]);
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    fn silent(&mut self, worker: u32, now: Timestamp) -> u32 {
        self.shares.silent(WorkerId(worker), now);
        let more = self.shares.wanted(self.leases.len());
        self.leases.extend((0..more).map(|_| (0, false)));
        more
    }

    fn lost(&mut self, worker: u32, now: Timestamp) {
        self.shares.leave(WorkerId(worker), now);
        let again = self.ledger.release(self.leases[worker as usize].0, LeaseEnd::Lost);
        self.shares.give_back(&again, Some(WorkerId(worker)));
    }
}
