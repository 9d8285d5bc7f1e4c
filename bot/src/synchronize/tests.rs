mod workers;

use super::*;
use crate::attempt::{CommandExit, Stats, Timeouts};
use proptest::prelude::*;
use proto::{DigestFunction, RunId, ShardId, Timestamp};
use std::collections::BTreeMap;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn lease(n: u64) -> Lease {
    let run = RunId::new(Timestamp::from_micros(0), 7);
    Lease { shard: ShardId { run, step: 0, index: u32::try_from(n).unwrap() }, attempt: 1, token: n }
}

fn assignment() -> Assignment {
    Assignment {
        input: Some(DigestFunction::Blake3.digest(b"input")),
        includes: Vec::new(),
        command: vec!["true".into()],
        extra_args: Vec::new(),
        environment: Vec::new(),
        environment_prefixes: Vec::new(),
        outputs: Vec::new(),
        named_caches: Vec::new(),
        secret: None,
        tests: None,
        timeouts: Timeouts { hard: ms(1000), io: None, grace: ms(10) },
    }
}

fn completed() -> AttemptResult {
    let exit = Some(CommandExit::Code(0));
    AttemptResult {
        ending: Ending::Completed,
        exit,
        message: String::new(),
        outputs: None,
        stats: Stats::default(),
        out_of_memory: false,
    }
}

fn desired(n: u64) -> Desired {
    Desired {
        lease: lease(n),
        assignment: Ok(assignment()),
        wish: Wish::Run,
        output_received: 0,
        tests: None,
    }
}

fn answer(desired: Vec<Desired>) -> Answer {
    Answer { desired, call_again: ms(5000), terminate: false, now: None, program: None }
}

/// One call that is answered at once.
fn call(synchronizer: &mut Synchronizer, now: Duration, desired: Vec<Desired>) -> (Plan, Vec<Action>) {
    let plan = synchronizer.plan(now);
    let actions = synchronizer.answered(&plan, answer(desired), now);
    (plan, actions)
}

#[test]
fn the_first_call_introduces_the_bot_and_the_next_one_waits() {
    let mut synchronizer = Synchronizer::new(1);
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
    assert_eq!(call(&mut synchronizer, ms(0), vec![]).0.wait, Duration::ZERO);
    assert_eq!(synchronizer.news_from(), None);
    assert_eq!(synchronizer.plan(ms(1)).wait, ms(5000));
}

#[test]
fn calls_that_neither_tell_nor_bring_anything_keep_a_distance() {
    let mut synchronizer = Synchronizer::new(1);
    call(&mut synchronizer, ms(0), vec![]);
    call(&mut synchronizer, ms(1), vec![]);
    assert_eq!(synchronizer.not_before(), ms(1) + PACE);
    call(&mut synchronizer, ms(400), vec![desired(1)]);
    assert!(synchronizer.not_before() < ms(400), "there may be more");
}

#[test]
fn a_result_is_told_at_once_and_beside_the_last_of_the_output() {
    let mut synchronizer = Synchronizer::new(1);
    call(&mut synchronizer, ms(0), vec![desired(1)]);
    let most = limits::MAX_OUTPUT_PER_SYNC as u64;
    synchronizer.output_grew(lease(1), most + 10);
    synchronizer.finished(lease(1), completed());
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
    let received = Desired { output_received: most, ..desired(1) };
    let (first, _) = call(&mut synchronizer, ms(10), vec![received]);
    assert_eq!((first.reports[0].output.clone(), &first.reports[0].result), (0..most, &None));
    assert_eq!(first.wait, Duration::ZERO);
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
    let (last, actions) = call(&mut synchronizer, ms(11), vec![]);
    assert_eq!(
        (last.reports[0].output.clone(), &last.reports[0].result),
        (most..most + 10, &Some(completed()))
    );
    assert_eq!(actions, [Action::Forget(lease(1))]);
}

#[test]
fn output_is_gathered_unless_it_fills_a_call() {
    let mut synchronizer = Synchronizer::new(1);
    call(&mut synchronizer, ms(1000), vec![desired(1)]);
    synchronizer.output_grew(lease(1), 5);
    call(&mut synchronizer, ms(2000), vec![Desired { output_received: 5, ..desired(1) }]);
    synchronizer.output_grew(lease(1), 6);
    assert_eq!(synchronizer.news_from(), Some(ms(2000) + GATHER));
    synchronizer.output_grew(lease(1), 10_000_000);
    assert_eq!(synchronizer.news_from(), Some(Duration::ZERO));
}

#[test]
fn what_the_scheduler_does_not_take_is_told_again_but_not_at_once() {
    let mut synchronizer = Synchronizer::new(1);
    call(&mut synchronizer, ms(0), vec![desired(1)]);
    synchronizer.output_grew(lease(1), 10_000_000);
    call(&mut synchronizer, ms(10), vec![desired(1)]);
    assert_eq!(synchronizer.news_from(), Some(ms(10) + RETELL));
    synchronizer.finished(lease(1), completed());
    call(&mut synchronizer, ms(1010), vec![Desired { output_received: 10_000_000, ..desired(1) }]);
    let (plan, _) =
        call(&mut synchronizer, ms(1011), vec![Desired { output_received: 10_000_000, ..desired(1) }]);
    assert_eq!(plan.reports[0].result, Some(completed()));
    assert_eq!(synchronizer.news_from(), Some(ms(1011) + RETELL));
}

#[test]
fn failures_back_off_up_to_a_cap_and_success_forgets_them() {
    let mut synchronizer = Synchronizer::new(1);
    let ceilings: Vec<u128> = (0..40)
        .map(|_| {
            synchronizer.failed(ms(0), |most| most);
            synchronizer.not_before().as_millis()
        })
        .collect();
    assert_eq!(ceilings[..4], [100, 200, 400, 800]);
    assert_eq!(ceilings[39], LONGEST_BACKOFF.as_millis());
    assert_eq!(synchronizer.news_from(), Some(LONGEST_BACKOFF), "news do not break the back-off");
    call(&mut synchronizer, LONGEST_BACKOFF, vec![]);
    synchronizer.failed(ms(60_000), |most| most);
    assert_eq!(synchronizer.not_before(), ms(60_000) + SHORTEST_BACKOFF);
}

#[test]
fn a_lease_that_has_ended_is_never_started_again() {
    let mut synchronizer = Synchronizer::new(2);
    let (_, started) = call(&mut synchronizer, ms(0), vec![desired(1)]);
    assert_eq!(started, [Action::Start(lease(1), Box::new(assignment()))]);
    assert_eq!(call(&mut synchronizer, ms(1), vec![]).1, [Action::Forget(lease(1))]);
    assert_eq!(call(&mut synchronizer, ms(2), vec![desired(1)]).1, []);
}

#[test]
fn no_more_is_started_than_there_are_slots() {
    let mut synchronizer = Synchronizer::new(1);
    let (_, actions) = call(&mut synchronizer, ms(0), vec![desired(1), desired(2)]);
    assert_eq!(actions.len(), 1);
    let (_, actions) = call(&mut synchronizer, ms(1), vec![desired(2)]);
    assert_eq!(actions, [Action::Forget(lease(1)), Action::Start(lease(2), Box::new(assignment()))]);
}

#[test]
fn a_kill_is_asked_for_once_and_before_the_start_it_is_the_result() {
    let mut synchronizer = Synchronizer::new(2);
    let killed = |n| Desired { wish: Wish::Kill, ..desired(n) };
    call(&mut synchronizer, ms(0), vec![desired(1)]);
    assert_eq!(call(&mut synchronizer, ms(1), vec![killed(1)]).1, [Action::Kill(lease(1))]);
    assert_eq!(call(&mut synchronizer, ms(2), vec![killed(1), killed(2)]).1, []);
    let (plan, _) = call(&mut synchronizer, ms(3), vec![]);
    let endings: Vec<_> =
        plan.reports.iter().map(|report| report.result.as_ref().map(|r| r.ending)).collect();
    assert_eq!(endings, [None, Some(Ending::Killed)]);
}

#[test]
fn an_assignment_without_sense_is_answered_as_the_clients_error() {
    let mut synchronizer = Synchronizer::new(1);
    let refused = Desired { assignment: Err(crate::attempt::Refused { reason: "no".into() }), ..desired(1) };
    assert_eq!(call(&mut synchronizer, ms(0), vec![refused]).1, []);
    let (plan, _) = call(&mut synchronizer, ms(1), vec![]);
    assert_eq!(plan.reports[0].result.as_ref().unwrap().ending, Ending::ClientError);
}

#[test]
fn a_draining_bot_says_so_and_goes_when_it_holds_nothing() {
    let mut synchronizer = Synchronizer::new(1);
    call(&mut synchronizer, ms(0), vec![]);
    synchronizer.drain();
    assert!(!synchronizer.is_drained() && synchronizer.news_from().is_some());
    // Handed out before the scheduler knew.
    let (plan, _) = call(&mut synchronizer, ms(1), vec![desired(1)]);
    assert_eq!((plan.accepting, plan.wait), (Accepting::Nothing, Duration::ZERO));
    assert!(!synchronizer.is_drained());
    synchronizer.finished(lease(1), completed());
    call(&mut synchronizer, ms(2), vec![]);
    assert!(synchronizer.is_drained());
}

#[test]
fn an_answer_to_a_call_from_before_the_drain_does_not_count_as_its_announcement() {
    let mut synchronizer = Synchronizer::new(1);
    let plan = synchronizer.plan(ms(0));
    synchronizer.drain();
    synchronizer.answered(&plan, answer(vec![]), ms(1));
    assert!(!synchronizer.is_drained());
    synchronizer.failed(ms(2), |most| most);
    assert!(synchronizer.is_drained(), "a scheduler that is away is not waited for");
}

#[test]
fn what_a_former_process_has_left_is_told_and_nothing_new_is_begun() {
    let over = [(lease(1), 5, Some(completed())), (lease(2), 7, None), (lease(3), 0, None)];
    let mut synchronizer = Synchronizer::of_former(over);
    assert_eq!((synchronizer.untold(), synchronizer.untold_from()), ((1, 12), Some(ms(0))));
    let received = |n, output_received| Desired { output_received, ..desired(n) };
    let (plan, actions) =
        call(&mut synchronizer, ms(0), vec![received(1, 0), received(2, 7), desired(3), desired(4)]);
    assert_eq!((plan.wait, plan.accepting, plan.reports.len()), (ms(0), Accepting::Nothing, 3));
    assert_eq!((actions, synchronizer.untold()), (vec![], (1, 5)));
    assert_eq!(synchronizer.untold_from(), Some(RETELL), "what was not taken is told again, later");
    let (_, actions) = call(&mut synchronizer, RETELL, vec![received(2, 7), desired(3)]);
    assert_eq!((actions, synchronizer.untold_from()), (vec![Action::Forget(lease(1))], None));
    assert_eq!(synchronizer.leases(), [lease(2), lease(3)], "those have come to no result");
}

/// What the scheduler knows of one lease.
#[derive(Default)]
struct Known {
    output: u64,
    result: Option<AttemptResult>,
    killing: bool,
    lost: bool,
}

/// The bot's side of one attempt, as the shell would have it.
#[derive(Default)]
struct Performed {
    starts: u32,
    output: u64,
    finished: bool,
    killed: bool,
}

/// A scheduler and a shell that do by the letter what the protocol says, over a line that fails.
struct World {
    synchronizer: Synchronizer,
    now: Duration,
    known: BTreeMap<Lease, Known>,
    performed: BTreeMap<Lease, Performed>,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    RequestLost,
    AnswerLost,
    /// The scheduler forgets output that it did not make durable.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Assign,
    Kill(usize),
    TakeAway(usize),
    Output(usize, u64),
    Finish(usize),
    Call(Fate),
    /// The attempt ends while the call is in flight.
    FinishDuringCall(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        4 => Just(Fate::Answered), 1 => Just(Fate::RequestLost), 1 => Just(Fate::AnswerLost), 1 => Just(Fate::Restart)
    ];
    prop_oneof![
        2 => Just(Step::Assign),
        1 => (0..8usize).prop_map(Step::Kill),
        1 => (0..8usize).prop_map(Step::TakeAway),
        4 => (0..8usize, 1..1_500_000u64).prop_map(|(n, bytes)| Step::Output(n, bytes)),
        2 => (0..8usize).prop_map(Step::Finish),
        6 => fate.prop_map(Step::Call),
        1 => (0..8usize).prop_map(Step::FinishDuringCall),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            synchronizer: Synchronizer::new(3),
            now: Duration::ZERO,
            known: BTreeMap::new(),
            performed: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        let live = |world: &Self, n: usize| {
            let live: Vec<Lease> =
                world.known.iter().filter(|(_, k)| k.result.is_none() && !k.lost).map(|(l, _)| *l).collect();
            (!live.is_empty()).then(|| live[n % live.len()])
        };
        match step {
            Step::Assign => {
                let next = lease(self.known.len() as u64);
                if self.known.values().filter(|k| k.result.is_none() && !k.lost).count() < 3 {
                    self.known.insert(next, Known::default());
                }
            }
            Step::Kill(n) => {
                live(self, n)
                    .and_then(|lease| self.known.get_mut(&lease))
                    .into_iter()
                    .for_each(|k| k.killing = true);
            }
            Step::TakeAway(n) => {
                live(self, n)
                    .and_then(|lease| self.known.get_mut(&lease))
                    .into_iter()
                    .for_each(|k| k.lost = true);
            }
            Step::Output(n, bytes) => self.output(n, bytes),
            Step::Finish(n) => self.finish(n),
            Step::Call(fate) => self.call(fate, None),
            Step::FinishDuringCall(n) => self.call(Fate::Answered, Some(n)),
        }
    }

    fn running(&self, n: usize) -> Option<Lease> {
        let running: Vec<Lease> =
            self.performed.iter().filter(|(_, p)| !p.finished).map(|(l, _)| *l).collect();
        (!running.is_empty()).then(|| running[n % running.len()])
    }

    fn output(&mut self, n: usize, bytes: u64) {
        let Some(lease) = self.running(n) else { return };
        let performed = self.performed.get_mut(&lease).unwrap();
        performed.output += bytes;
        self.synchronizer.output_grew(lease, performed.output);
    }

    fn finish(&mut self, n: usize) {
        let Some(lease) = self.running(n) else { return };
        self.performed.get_mut(&lease).unwrap().finished = true;
        self.synchronizer.finished(lease, completed());
    }

    fn call(&mut self, fate: Fate, finish: Option<usize>) {
        self.now = self.now.max(self.synchronizer.not_before()) + ms(1);
        let plan = self.synchronizer.plan(self.now);
        let told: u64 = plan.reports.iter().map(|report| report.output.end - report.output.start).sum();
        assert!(told <= limits::MAX_OUTPUT_PER_SYNC as u64, "a call is bounded");
        finish.into_iter().for_each(|n| self.finish(n));
        if matches!(fate, Fate::RequestLost) {
            return self.synchronizer.failed(self.now, |most| most / 2);
        }
        let answer = self.serve(&plan);
        if let Fate::Restart = fate {
            self.known.values_mut().filter(|k| k.result.is_none()).for_each(|k| k.output /= 2);
        }
        if !matches!(fate, Fate::Answered) {
            return self.synchronizer.failed(self.now, |most| most / 2);
        }
        for action in self.synchronizer.answered(&plan, answer, self.now) {
            match action {
                Action::Start(lease, _) => self.performed.entry(lease).or_default().starts += 1,
                Action::Kill(lease) => {
                    let performed = self.performed.get_mut(&lease).unwrap();
                    assert!(!performed.killed, "a kill is performed once");
                    performed.killed = true;
                }
                Action::Tests(lease, _) => panic!("{lease:?} is no worker"),
                Action::Forget(lease) => {
                    let known = &self.known[&lease];
                    assert!(known.lost || known.result.is_some(), "nothing is forgotten that is wanted");
                    self.performed.entry(lease).or_default().finished = true;
                }
            }
        }
    }

    /// The scheduler takes a call in.
    fn serve(&mut self, plan: &Plan) -> Answer {
        for report in &plan.reports {
            let known = self.known.get_mut(&report.lease).unwrap();
            if known.lost || known.result.is_some() {
                continue;
            }
            if report.output.start <= known.output {
                known.output = known.output.max(report.output.end);
                if let Some(result) = &report.result {
                    assert_eq!(
                        known.output, report.output.end,
                        "the result comes with the last of the output"
                    );
                    known.result = Some(result.clone());
                }
            }
        }
        let wanted = self.known.iter().filter(|(_, known)| known.result.is_none() && !known.lost);
        let desired = wanted.map(|(lease, known)| Desired {
            lease: *lease,
            assignment: Ok(assignment()),
            wish: if known.killing { Wish::Kill } else { Wish::Run },
            output_received: known.output,
            tests: None,
        });
        Answer {
            desired: desired.collect(),
            call_again: ms(1000),
            terminate: false,
            now: None,
            program: None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_attempt_is_started_once_and_told_whole(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        // The line is good again, and everything comes to its end.
        for round in 0..2000 {
            world.finish(round);
            world.call(Fate::Answered, None);
        }
        for (lease, known) in &world.known {
            let performed = world.performed.get(lease);
            prop_assert!(performed.is_none_or(|p| p.starts <= 1), "{lease:?} is started once at most");
            if !known.lost {
                prop_assert!(known.result.is_some(), "{lease:?} is reported");
                let output = performed.map_or(0, |p| p.output);
                prop_assert_eq!(known.output, output, "no output is lost or doubled");
            }
        }
        prop_assert!(world.synchronizer.held.is_empty());
        prop_assert_eq!(world.synchronizer.news_from(), None);
    }
}
