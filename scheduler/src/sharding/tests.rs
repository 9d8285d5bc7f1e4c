//! What holds of shares and ledger together, whatever is lost, stolen, doubled or late.

use super::*;
use proptest::{prelude::*, sample::Index};
use proto::Timestamp;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const WORKERS: u32 = 4;

#[derive(Clone, Debug)]
enum Act {
    Join {
        worker: u32,
        speed: Option<f64>,
    },
    Ask(u32),
    Report {
        worker: u32,
        outcome: TestOutcome,
    },
    Lose(u32),
    /// It is not heard of until it asks or reports.
    Silent(u32),
    /// A lease that is over, or another worker's, tells of some test.
    Stray {
        token: u64,
        test: Index,
    },
    Pass(u16),
    RestartScheduler,
}

fn outcome() -> impl Strategy<Value = TestOutcome> {
    prop_oneof![
        6 => Just(TestOutcome::Passed),
        2 => Just(TestOutcome::Failed),
        1 => Just(TestOutcome::Skipped),
        1 => Just(TestOutcome::Crashed("signal 11".into())),
        1 => Just(TestOutcome::TimedOut),
        1 => Just(TestOutcome::Unknown),
        1 => Just(TestOutcome::Infrastructure),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let worker = || 0..WORKERS;
    prop_oneof![
        2 => (worker(), proptest::option::of(0.1..3.0f64)).prop_map(|(worker, speed)| Act::Join { worker, speed }),
        6 => worker().prop_map(Act::Ask),
        8 => (worker(), outcome()).prop_map(|(worker, outcome)| Act::Report { worker, outcome }),
        1 => worker().prop_map(Act::Lose),
        1 => worker().prop_map(Act::Silent),
        1 => (0..20u64, any::<Index>()).prop_map(|(token, test)| Act::Stray { token, test }),
        2 => any::<u16>().prop_map(Act::Pass),
        1 => Just(Act::RestartScheduler),
    ]
}

/// A suite: seconds of history, group, exclusive, disabled.
type Suite = Vec<(Option<u16>, Option<u8>, bool, bool)>;

fn suite() -> impl Strategy<Value = Suite> {
    let test = (
        proptest::option::of(0..50u16),
        proptest::option::weighted(0.3, 0..3u8),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
    );
    proptest::collection::vec(test, 0..60)
}

/// Everything that the scheduler does with shares and ledger, and what it would have in its journal.
struct Bench {
    listed: Arc<[ListedTest]>,
    ledger: Ledger,
    estimates: Estimates,
    settings: Settings,
    shares: Shares,
    leases: Vec<Option<u64>>,
    last: u64,
    now: Timestamp,
    journal: Vec<Record>,
}

#[derive(Clone, Debug)]
enum Record {
    Granted(u64, Vec<TestIndex>),
    Reported(u64, TestReport),
    Released(u64, LeaseEnd),
}

fn apply(ledger: &mut Ledger, record: &Record) -> (Vec<Accepted>, Vec<TestIndex>) {
    match record {
        Record::Granted(token, tests) => ledger.grant(*token, tests),
        Record::Reported(token, report) => {
            return (ledger.report(*token, std::slice::from_ref(report)), vec![]);
        }
        Record::Released(token, end) => return (vec![], ledger.release(*token, *end)),
    }
    (vec![], vec![])
}

fn listed(suite: &Suite) -> Arc<[ListedTest]> {
    let test = |(index, (_, group, exclusive, disabled)): (usize, &(_, Option<u8>, bool, bool))| ListedTest {
        name: format!("t{index}").into(),
        group: group.map(|group| format!("g{group}").into()),
        exclusive: *exclusive,
        disabled: *disabled,
    };
    suite.iter().enumerate().map(test).collect()
}

fn new_ledger(suite: &Suite) -> Ledger {
    let budget = Budget { retries: 2, retried_percent: 50, fail_fast: None };
    Ledger::new(listed(suite), BTreeSet::from([TestIndex(1)]), budget).unwrap()
}

impl Bench {
    fn new(suite: &Suite, mode: Mode) -> Self {
        let known = suite.iter().map(|(seconds, ..)| seconds.map(|s| Duration::from_secs(s.into())));
        let estimates = Estimates::from_known(known.collect());
        let settings =
            Settings { mode, overhead: Duration::from_millis(200), duplicates_percent: 50, idle_percent: 10 };
        let (listed, ledger) = (listed(suite), new_ledger(suite));
        let now = Timestamp::default();
        let shares = Shares::plan(&listed, &estimates, &ledger.ungranted(), WORKERS, settings, now);
        let leases = vec![None; WORKERS as usize];
        Self { listed, ledger, estimates, settings, shares, leases, last: 0, now, journal: Vec::new() }
    }

    fn record(&mut self, record: Record) -> (Vec<Accepted>, Vec<TestIndex>) {
        self.journal.push(record.clone());
        apply(&mut self.ledger, &record)
    }

    fn join(&mut self, worker: u32, speed: Option<f64>) {
        if self.leases[worker as usize].is_none() {
            self.last += 1;
            self.leases[worker as usize] = Some(self.last);
            self.shares.join(WorkerId(worker), speed, self.now);
        }
    }

    fn ask(&mut self, worker: u32) {
        let Some(token) = self.leases[worker as usize] else { return };
        self.shares.heard(WorkerId(worker));
        match self.shares.next(WorkerId(worker), self.now) {
            Next::Batch(tests) => {
                assert!(!tests.is_empty());
                for test in &tests {
                    assert_eq!(self.ledger.verdict(*test), None, "what has its verdict is not run again");
                    let holders =
                        self.leases.iter().flatten().filter(|t| self.ledger.held(**t).contains(test));
                    let most = if self.listed[test.0 as usize].exclusive { 0 } else { 1 };
                    assert!(holders.count() <= most);
                }
                self.record(Record::Granted(token, tests));
            }
            Next::Wait => {}
            Next::Nothing => {
                assert!(self.ledger.held(token).is_empty());
                self.record(Record::Released(token, LeaseEnd::Orderly));
                self.leases[worker as usize] = None;
            }
        }
    }

    fn report(&mut self, worker: u32, outcome: TestOutcome) {
        let Some(token) = self.leases[worker as usize] else { return };
        let Some(test) = self.ledger.held(token).first().copied() else { return };
        self.shares.heard(WorkerId(worker));
        self.now = self.now + Duration::from_millis(300);
        let accepted = self.tell(token, test, outcome);
        self.shares.reported(WorkerId(worker), test, Duration::from_secs(1), self.now);
        if accepted == Accepted::Retry {
            self.shares.give_back(&[test], Some(WorkerId(worker)));
        }
    }

    fn tell(&mut self, token: u64, test: TestIndex, outcome: TestOutcome) -> Accepted {
        let report = TestReport {
            test,
            outcome,
            duration: Duration::from_secs(1),
            started: self.now,
            message: "m".into(),
            output: "o".into(),
        };
        self.record(Record::Reported(token, report)).0[0]
    }

    fn lose(&mut self, worker: u32) {
        let Some(token) = self.leases[worker as usize].take() else { return };
        self.shares.leave(WorkerId(worker), self.now);
        let again = self.record(Record::Released(token, LeaseEnd::Lost)).1;
        self.shares.give_back(&again, Some(WorkerId(worker)));
    }

    fn restart(&mut self) {
        let open = self.ledger.ungranted();
        self.shares = Shares::plan(&self.listed, &self.estimates, &open, WORKERS, self.settings, self.now);
        for worker in 0..WORKERS {
            if let Some(token) = self.leases[worker as usize] {
                self.shares.join(WorkerId(worker), None, self.now);
                let is_open = |test| self.ledger.verdict(test).is_none();
                self.shares.holds(WorkerId(worker), self.ledger.held(token), is_open, self.now);
            }
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Join { worker, speed } => self.join(*worker, *speed),
            Act::Ask(worker) => self.ask(*worker),
            Act::Report { worker, outcome } => self.report(*worker, outcome.clone()),
            Act::Lose(worker) => self.lose(*worker),
            Act::Silent(worker) if self.leases[*worker as usize].is_some() => {
                self.shares.silent(WorkerId(*worker), self.now);
            }
            Act::Silent(_) => {}
            Act::Stray { token, test } => {
                let tests = self.listed.len();
                let holds = |test| self.ledger.held(*token).contains(&test);
                if tests > 0 && !holds(TestIndex(test.index(tests) as u32)) {
                    let told = self.tell(*token, TestIndex(test.index(tests) as u32), TestOutcome::Passed);
                    assert_eq!(told, Accepted::Late);
                }
            }
            Act::Pass(millis) => self.now = self.now + Duration::from_millis((*millis).into()),
            Act::RestartScheduler => self.restart(),
        }
    }

    /// Bots that work and are not lost bring the step to its end.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.ledger.is_complete() {
                return;
            }
            for worker in 0..WORKERS {
                self.join(worker, None);
                self.ask(worker);
                self.report(worker, TestOutcome::Passed);
            }
            self.now = self.now + Duration::from_secs(1);
        }
        panic!("{} tests never end", self.ledger.open().len());
    }
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Pull), Just(Mode::Process)]
}

fn run(suite: &Suite, mode: Mode, acts: &[Act]) -> Bench {
    let mut bench = Bench::new(suite, mode);
    for act in acts {
        bench.act(act);
        let counts = bench.ledger.counts();
        assert_eq!(counts.open + counts.verdicts.values().sum::<usize>(), suite.len());
    }
    bench.finish();
    bench
}

proptest! {
    #[test]
    fn each_listed_test_ends_in_one_verdict_whatever_happens(
        suite in suite(),
        mode in mode(),
        acts in proptest::collection::vec(act(), 0..150),
    ) {
        let bench = run(&suite, mode, &acts);
        for index in 0..suite.len() as u32 {
            prop_assert!(bench.ledger.verdict(TestIndex(index)).is_some());
        }
        prop_assert_eq!(bench.ledger.counts().verdicts.values().sum::<usize>(), suite.len());
        prop_assert!(bench.ledger.open().is_empty());
    }

    #[test]
    fn the_same_happens_again_and_the_journal_replays_to_the_same(
        suite in suite(),
        mode in mode(),
        acts in proptest::collection::vec(act(), 0..100),
    ) {
        let bench = run(&suite, mode, &acts);
        let again = run(&suite, mode, &acts);
        prop_assert_eq!(&bench.ledger, &again.ledger);
        let mut replayed = new_ledger(&suite);
        for record in &bench.journal {
            apply(&mut replayed, record);
        }
        prop_assert_eq!(&replayed, &bench.ledger);
    }
}
