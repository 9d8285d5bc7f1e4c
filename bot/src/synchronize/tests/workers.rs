//! Attempts whose tests are handed out one by one.

use super::*;
use crate::suite::{Batch, Driver, ListedTest, TestReport, TestToRun, TestVerdict, TestsOrder};

/// What a scheduler tells a worker that it has nothing to tell.
fn nothing() -> TestsGrant {
    TestsGrant::default()
}

fn order(list: bool) -> Assignment {
    Assignment { tests: Some(TestsOrder { driver: Driver::Gtest, list }), ..assignment() }
}

fn wanted(n: u64, tests: TestsGrant) -> Desired {
    Desired { assignment: Ok(order(tests.list)), tests: Some(tests), ..desired(n) }
}

fn listed(name: &str) -> ListedTest {
    ListedTest { name: name.into(), ..ListedTest::default() }
}

fn report(index: u32, tail: usize) -> TestReport {
    TestReport {
        index,
        verdict: TestVerdict::Failed,
        started: Timestamp::from_micros(0),
        duration: ms(1),
        message: String::new(),
        tail: vec![b'x'; tail],
    }
}

fn batch(number: u32, tests: Range<u32>) -> Batch {
    let test = |index: u32| TestToRun { index, name: format!("t{index}"), timeout: ms(1000) };
    Batch { number, tests: tests.map(test).collect() }
}

/// A worker that has started and told nothing.
fn worker(list: bool) -> Synchronizer {
    let mut synchronizer = Synchronizer::new(3);
    let (_, actions) = call(&mut synchronizer, ms(0), vec![wanted(1, TestsGrant { list, ..nothing() })]);
    assert_eq!(actions, [Action::Start(lease(1), Box::new(order(list)))]);
    synchronizer
}

fn told(plan: &Plan) -> &TestsProgress {
    plan.reports[0].tests.as_ref().unwrap()
}

fn reports(plan: &Plan) -> Range<u64> {
    let told = told(plan);
    told.reports_from..told.reports_from + told.reports.len() as u64
}

#[test]
fn a_listing_is_told_at_once_and_until_it_is_known() {
    let mut synchronizer = worker(true);
    assert_eq!(synchronizer.news_from(), None);
    synchronizer.tests(lease(1), TestsNews::Listed(vec![listed("a"), listed("b")]));
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
    let unknown = || wanted(1, TestsGrant { list: true, ..nothing() });
    let (plan, _) = call(&mut synchronizer, ms(5000), vec![unknown()]);
    assert_eq!(told(&plan).listing.as_deref().unwrap(), [listed("a"), listed("b")]);
    assert!(!plan.is_idle());
    // Not known yet: again, but not at once.
    assert_eq!(synchronizer.news_from(), Some(ms(5000) + RETELL));
    let (plan, _) = call(&mut synchronizer, ms(5001), vec![unknown()]);
    assert!(told(&plan).listing.is_none() && plan.is_idle());
    let (plan, _) = call(&mut synchronizer, ms(6000), vec![wanted(1, nothing())]);
    assert!(told(&plan).listing.is_some());
    assert!(told(&synchronizer.plan(ms(9000))).listing.is_none());
    assert_eq!(synchronizer.news_from(), None);
}

#[test]
fn a_listing_that_nobody_wants_is_not_told() {
    let mut synchronizer = worker(false);
    synchronizer.tests(lease(1), TestsNews::Listed(vec![listed("a")]));
    assert_eq!(synchronizer.news_from(), None);
    assert!(told(&synchronizer.plan(ms(1))).listing.is_none());
}

#[test]
fn listings_go_one_at_a_time() {
    let mut synchronizer = Synchronizer::new(3);
    let all = || (1..=2).map(|n| wanted(n, TestsGrant { list: true, ..nothing() })).collect::<Vec<_>>();
    call(&mut synchronizer, ms(0), all());
    for n in 1..=2 {
        synchronizer.tests(lease(n), TestsNews::Listed(vec![listed("a")]));
    }
    let listings = |plan: &Plan| {
        plan.reports.iter().map(|report| report.tests.as_ref().unwrap().listing.is_some()).collect::<Vec<_>>()
    };
    // The scheduler takes none: it is the other's turn.
    assert_eq!(listings(&call(&mut synchronizer, ms(1), all()).0), [true, false]);
    assert_eq!(listings(&call(&mut synchronizer, ms(2), all()).0), [false, true]);
}

#[test]
fn hunger_is_told_at_once_by_a_call_that_waits_for_tests() {
    let mut synchronizer = worker(false);
    assert!(!told(&synchronizer.plan(ms(1000))).hungry);
    synchronizer.tests(lease(1), TestsNews::Hungry);
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO), "a call that waits is dropped for it");
    let plan = synchronizer.plan(ms(1001));
    assert!(told(&plan).hungry && plan.is_idle());
    assert_eq!(synchronizer.news_from(), None, "once");
    // The call is lost: the next one says the same.
    let plan = synchronizer.plan(ms(1002));
    assert!(told(&plan).hungry);
    let grant = TestsGrant { batches: vec![batch(1, 0..3)], ..nothing() };
    let actions = synchronizer.answered(&plan, answer(vec![wanted(1, grant)]), ms(1003));
    assert_eq!(actions, [Action::Tests(lease(1), TestsCommand::Batch(batch(1, 0..3)))]);
    assert_eq!(synchronizer.not_before(), ms(0), "what brings tests is no idle call");
    let plan = synchronizer.plan(ms(1004));
    assert_eq!((told(&plan).hungry, told(&plan).batches), (false, 1));
}

#[test]
fn batches_are_taken_in_order_and_once_and_the_end_after_them() {
    let mut synchronizer = worker(false);
    const NONE: [u32; 0] = [];
    let mut grant = |batches: &[u32], complete| {
        let batches = batches.iter().map(|&number| batch(number, number..number + 1)).collect();
        let (_, actions) =
            call(&mut synchronizer, ms(1), vec![wanted(1, TestsGrant { batches, complete, ..nothing() })]);
        let command = |action| match action {
            Action::Tests(_, TestsCommand::Batch(batch)) => batch.number,
            Action::Tests(_, TestsCommand::Complete) => 0,
            action => panic!("{action:?}"),
        };
        actions.into_iter().map(command).collect::<Vec<_>>()
    };
    assert_eq!(grant(&[2, 1], false), [1, 2]);
    assert_eq!(grant(&[1, 2], false), NONE, "twice");
    assert_eq!(grant(&[0, 4], true), NONE, "the third is missing");
    assert_eq!(grant(&[3, 4], true), [3, 4, 0]);
    assert_eq!(grant(&[4, 5], true), NONE, "nothing comes after the end");
}

#[test]
fn reports_are_gathered_unless_they_fill_a_call_or_are_the_last() {
    let mut synchronizer = worker(false);
    synchronizer.tests(lease(1), TestsNews::Started { index: 0, at: Timestamp::from_micros(0) });
    assert_eq!(synchronizer.news_from(), Some(ms(1000)), "what runs is told now and then");
    let plan = synchronizer.plan(ms(3000));
    assert!(told(&plan).running.contains(&0) && plan.is_idle());
    synchronizer.tests(lease(1), TestsNews::Finished(report(0, 0)));
    let (plan, _) =
        call(&mut synchronizer, ms(3000), vec![wanted(1, TestsGrant { reports_taken: 1, ..nothing() })]);
    assert_eq!((reports(&plan), told(&plan).running.len()), (0..1, 0));
    assert_eq!(plan.wait, Duration::ZERO);
    synchronizer.tests(lease(1), TestsNews::Finished(report(1, 0)));
    assert_eq!(synchronizer.news_from(), Some(ms(3050)));
    (0..64)
        .for_each(|n| synchronizer.tests(lease(1), TestsNews::Finished(report(n, limits::MAX_TEST_OUTPUT))));
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
    let mut synchronizer = worker(false);
    synchronizer.plan(ms(3000));
    synchronizer.tests(lease(1), TestsNews::Finished(report(1, 0)));
    synchronizer.finished(lease(1), completed());
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
}

#[test]
fn the_result_is_told_when_all_reports_were_taken() {
    let mut synchronizer = worker(false);
    (0..600).for_each(|n| synchronizer.tests(lease(1), TestsNews::Finished(report(n, 0))));
    synchronizer.finished(lease(1), completed());
    let mut taken = |reports_taken| {
        let (plan, _) =
            call(&mut synchronizer, ms(1), vec![wanted(1, TestsGrant { reports_taken, ..nothing() })]);
        (reports(&plan), plan.reports[0].result.is_some())
    };
    assert_eq!(taken(400), (0..500, false));
    assert_eq!(taken(400), (400..600, false));
    // A scheduler that does not take reports gets the result beside them.
    assert_eq!(taken(600), (400..600, true));
    assert_eq!(taken(600), (600..600, true));
}

#[test]
fn reports_that_are_not_taken_are_told_again_but_not_at_once() {
    let mut synchronizer = worker(false);
    synchronizer.tests(lease(1), TestsNews::Finished(report(0, 0)));
    call(&mut synchronizer, ms(2000), vec![wanted(1, nothing())]);
    assert_eq!(synchronizer.news_from(), Some(ms(2000) + RETELL));
    let plan = synchronizer.plan(ms(2001));
    assert!(plan.is_idle() && told(&plan).reports.is_empty());
    assert_eq!(reports(&synchronizer.plan(ms(3000))), 0..1);
    // More than there are is as good as all.
    let taken = TestsGrant { reports_taken: u64::MAX, ..nothing() };
    call(&mut synchronizer, ms(3001), vec![wanted(1, taken)]);
    assert_eq!((synchronizer.news_from(), reports(&synchronizer.plan(ms(4000)))), (None, 1..1));
}

#[test]
fn a_worker_that_tells_more_than_can_be_kept_has_to_wait() {
    let mut synchronizer = worker(false);
    let mut kept = 0;
    while synchronizer.takes_tests(lease(1)) {
        synchronizer.tests(lease(1), TestsNews::Finished(report(kept, limits::MAX_TEST_OUTPUT)));
        kept += 1;
    }
    assert_eq!(kept, 1021, "16 MiB");
    call(&mut synchronizer, ms(1), vec![wanted(1, TestsGrant { reports_taken: 60, ..nothing() })]);
    assert!(synchronizer.takes_tests(lease(1)));
}

#[test]
fn one_that_is_killed_takes_no_more_tests() {
    let mut synchronizer = worker(false);
    let grant = TestsGrant { batches: vec![batch(1, 0..1)], complete: true, ..nothing() };
    let kill = Desired { wish: Wish::Kill, ..wanted(1, grant) };
    assert_eq!(call(&mut synchronizer, ms(1), vec![kill]).1, [Action::Kill(lease(1))]);
}

/// What the scheduler has made durable of one worker.
#[derive(Debug)]
struct Known {
    list: bool,
    /// How many tests there are to grant, and how many a batch has.
    tests: u32,
    size: u32,
    granted: Vec<Batch>,
    reports: Vec<u32>,
    complete: bool,
    result: Option<AttemptResult>,
}

/// What a worker's task has done.
#[derive(Debug, Default)]
struct Task {
    list: bool,
    starts: u32,
    queue: VecDeque<TestToRun>,
    batches: Vec<u32>,
    running: Option<u32>,
    hungry: bool,
    complete: bool,
    ran: Vec<u32>,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    AnsweredTwice,
    RequestLost,
    AnswerLost,
    /// The scheduler ends in the middle of it: half of the reports are durable, and nothing is answered.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Assign { list: bool, tests: u32, size: u32 },
    Work(usize, u32),
    Break(usize),
    Call(Fate),
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        4 => Just(Fate::Answered), 1 => Just(Fate::AnsweredTwice), 1 => Just(Fate::RequestLost),
        1 => Just(Fate::AnswerLost), 1 => Just(Fate::Restart)
    ];
    prop_oneof![
        1 => (any::<bool>(), 0..2000u32, 1..800u32)
            .prop_map(|(list, tests, size)| Step::Assign { list, tests, size }),
        6 => (0..8usize, 1..300u32).prop_map(|(n, moves)| Step::Work(n, moves)),
        1 => (0..8usize).prop_map(Step::Break),
        8 => fate.prop_map(Step::Call),
    ]
}

struct World {
    synchronizer: Synchronizer,
    now: Duration,
    known: BTreeMap<Lease, Known>,
    tasks: BTreeMap<Lease, Task>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Assign { list, tests, size } => {
                if self.known.values().filter(|known| known.result.is_none()).count() < 3 {
                    let (granted, reports) = (Vec::new(), Vec::new());
                    let known = Known { list, tests, size, granted, reports, complete: false, result: None };
                    self.known.insert(lease(self.known.len() as u64), known);
                }
            }
            Step::Work(n, moves) => self.work(n, moves),
            Step::Break(n) => {
                if let Some(lease) = self.live(n) {
                    self.end(lease);
                }
            }
            Step::Call(fate) => self.call(fate),
        }
    }

    fn live(&self, n: usize) -> Option<Lease> {
        let live: Vec<Lease> = self.tasks.iter().filter(|(_, task)| !task.ended).map(|(l, _)| *l).collect();
        (!live.is_empty()).then(|| live[n % live.len()])
    }

    /// The task of a worker goes on by a number of moves, as far as it can.
    fn work(&mut self, n: usize, moves: u32) {
        let Some(lease) = self.live(n) else { return };
        for _ in 0..moves {
            let task = self.tasks.get_mut(&lease).unwrap();
            let news = if std::mem::take(&mut task.list) {
                TestsNews::Listed((0..self.known[&lease].tests).map(|n| listed(&format!("t{n}"))).collect())
            } else if let Some(index) = task.running.take() {
                task.ran.push(index);
                TestsNews::Finished(report(index, if index % 3 == 0 { limits::MAX_TEST_OUTPUT } else { 0 }))
            } else if let Some(test) = task.queue.pop_front() {
                task.running = Some(test.index);
                TestsNews::Started { index: test.index, at: Timestamp::from_micros(0) }
            } else if task.complete {
                return self.end(lease);
            } else if std::mem::replace(&mut task.hungry, true) {
                return;
            } else {
                TestsNews::Hungry
            };
            if !self.synchronizer.takes_tests(lease) {
                return;
            }
            self.synchronizer.tests(lease, news);
        }
    }

    fn end(&mut self, lease: Lease) {
        self.tasks.get_mut(&lease).unwrap().ended = true;
        self.synchronizer.finished(lease, completed());
    }

    fn call(&mut self, fate: Fate) {
        self.now = self.now.max(self.synchronizer.not_before()) + ms(1);
        let plan = self.synchronizer.plan(self.now);
        check_bounds(&plan);
        if !matches!(fate, Fate::RequestLost) {
            self.serve(&plan, fate);
        }
        if !matches!(fate, Fate::Answered | Fate::AnsweredTwice) {
            return self.synchronizer.failed(self.now, |most| most / 2);
        }
        let answer = self.answer(&plan);
        let mut actions = self.synchronizer.answered(&plan, answer.clone(), self.now);
        if let Fate::AnsweredTwice = fate {
            actions.extend(self.synchronizer.answered(&plan, answer, self.now));
        }
        actions.into_iter().for_each(|action| self.perform(action));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(lease, assignment) => {
                let task = self.tasks.entry(lease).or_default();
                task.starts += 1;
                task.list = assignment.tests.unwrap().list;
            }
            Action::Tests(lease, TestsCommand::Batch(batch)) => {
                let task = self.tasks.get_mut(&lease).unwrap();
                assert!(!task.complete, "nothing comes after the end");
                task.batches.push(batch.number);
                task.queue.extend(batch.tests);
                task.hungry = false;
            }
            Action::Tests(lease, TestsCommand::Complete) => {
                let task = self.tasks.get_mut(&lease).unwrap();
                assert!(!std::mem::replace(&mut task.complete, true), "the end is told once");
            }
            Action::Forget(lease) => assert!(self.known[&lease].result.is_some()),
            Action::Kill(lease) => panic!("{lease:?} is not to be killed"),
        }
    }

    /// The scheduler takes in a call, and makes durable what it says.
    fn serve(&mut self, plan: &Plan, fate: Fate) {
        for Report { lease, result, tests, .. } in &plan.reports {
            let known = self.known.get_mut(lease).unwrap();
            let told = tests.as_ref().unwrap();
            if known.result.is_some() {
                continue;
            }
            let restarts = matches!(fate, Fate::Restart);
            known.list &= told.listing.is_none() || restarts;
            let has = known.reports.len() as u64;
            assert!(told.reports_from <= has, "what was not taken is told");
            let new = told.reports.iter().skip((has - told.reports_from) as usize);
            let new: Vec<u32> = new.map(|report| report.index).collect();
            let durable = if restarts { new.len() / 2 } else { new.len() };
            known.reports.extend(&new[..durable]);
            if result.is_some() && !restarts {
                assert!(new.is_empty(), "the result comes after all reports");
                known.result.clone_from(result);
            }
            if told.hungry && !known.list && told.batches == known.granted.len() as u32 {
                let from = known.granted.iter().map(|batch| batch.tests.len() as u32).sum();
                let to = known.tests.min(from + known.size);
                known.complete = from == to;
                if from < to {
                    known.granted.push(batch(told.batches + 1, from..to));
                }
            }
        }
    }

    fn answer(&self, plan: &Plan) -> Answer {
        let desired = self.known.iter().filter(|(_, known)| known.result.is_none()).map(|(lease, known)| {
            let told = plan.reports.iter().find(|report| report.lease == *lease);
            let had = told.map_or(0, |report| report.tests.as_ref().unwrap().batches as usize);
            let grant = TestsGrant {
                list: known.list,
                reports_taken: known.reports.len() as u64,
                batches: known.granted[had..].to_vec(),
                complete: known.complete,
            };
            wanted(lease.token, grant)
        });
        answer(desired.collect())
    }
}

fn check_bounds(plan: &Plan) {
    let tests: Vec<&TestsProgress> =
        plan.reports.iter().map(|report| report.tests.as_ref().unwrap()).collect();
    let reports: Vec<_> = tests.iter().flat_map(|tests| &tests.reports).collect();
    let bytes: usize = reports.iter().map(|report| report.tail.len()).sum();
    assert!(reports.len() <= limits::MAX_REPORTS_PER_SYNC && bytes <= 1024 * 1024, "a call is bounded");
    assert!(tests.iter().filter(|tests| tests.listing.is_some()).count() <= 1, "it has one listing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_report_arrives_once_and_every_batch_is_run_once(steps in proptest::collection::vec(step(), 0..120)) {
        let (synchronizer, now) = (Synchronizer::new(3), Duration::ZERO);
        let mut world = World { synchronizer, now, known: BTreeMap::new(), tasks: BTreeMap::new() };
        steps.into_iter().for_each(|step| world.take(step));
        // The line is good again, and everything comes to its end.
        for round in 0..3000 {
            world.work(round, 1000);
            world.call(Fate::Answered);
            if world.known.values().all(|known| known.result.is_some()) {
                break;
            }
        }
        for (lease, known) in &world.known {
            prop_assert!(known.result.is_some(), "{lease:?} is reported");
            let task = &world.tasks[lease];
            prop_assert_eq!(task.starts, 1);
            prop_assert_eq!(&known.reports, &task.ran, "each report once, in order");
            let numbers: Vec<u32> = (1..=task.batches.len() as u32).collect();
            prop_assert_eq!(&task.batches, &numbers, "each batch once, in order");
            if task.complete {
                prop_assert!(!known.list, "the tests are known");
                prop_assert_eq!(&task.ran, &(0..known.tests).collect::<Vec<_>>(), "all of them were run");
            }
        }
        world.call(Fate::Answered);
        prop_assert!(world.synchronizer.held.is_empty());
        prop_assert_eq!(world.synchronizer.news_from(), None);
    }
}
