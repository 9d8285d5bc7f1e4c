//! What is remembered of tests from one run to the next.

use super::*;

#[test]
fn a_test_that_passes_in_another_run_on_the_same_input_after_it_has_failed_is_flaky() {
    let mut fleet = Fleet::new(&["b1"], 4);
    let flakes = |fleet: &Fleet| fleet.bench.queue.test_pasts("suite", "t2")[0].flakes();
    fleet.outcomes.insert(2, vec![TestOutcome::Failed, TestOutcome::Passed]);
    let first = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(first);
    assert_eq!((fleet.verdicts(first)[2], flakes(&fleet)), (Some(Verdict::Failed), 0));

    // Another input, which may have mended it.
    let words = vec!["--mended".to_owned()];
    let mended = fleet.bench.run(spec(0, [StepSpec { extra_args: words, ..sharing(policy(0)) }]));
    fleet.finish(mended);
    assert_eq!(flakes(&fleet), 0);

    fleet.outcomes.insert(2, vec![TestOutcome::Failed; 3]);
    let failed = fleet.bench.run(spec(0, [sharing(policy(0))]));
    fleet.finish(failed);
    fleet.outcomes.insert(2, vec![TestOutcome::Passed]);
    // As `swarm rerun --failed` has it.
    let only = TestsPolicy { only: ["t2".to_owned()].into(), ..policy(0) };
    fleet.outcomes.insert(0, vec![TestOutcome::Passed]);
    let again = fleet.bench.run(spec(0, [sharing(only)]));
    fleet.finish(again);
    assert_eq!((fleet.verdicts(again), flakes(&fleet)), (vec![Some(Verdict::Passed)], 1));
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);
}

/// Into how many parts a command is cut for which none were asked.
fn parts(fleet: &Fleet, run: RunId) -> u32 {
    fleet.bench.queue.run(run).unwrap().spec.steps[0].fan_out.tests().unwrap().parts()
}

fn cut(partitions: u32, max_workers: u32) -> RunSpec {
    let max_workers = NonZeroU32::new(max_workers);
    let policy = TestsPolicy { driver: TestDriver::Opaque, partitions, max_workers, ..policy(0) };
    spec(0, [sharing(policy)])
}

#[test]
fn a_command_is_cut_into_some_parts_for_each_place_on_bots_unless_somebody_has_said_it() {
    let mut fleet = Fleet::new(&["b1", "b2"], 1);
    let unknown = fleet.bench.run(cut(0, 0));
    assert_eq!(parts(&fleet, unknown), 63, "nobody has called");
    fleet.bench.cancel(unknown, CancelMode::KillRunning);
    ["b1", "b2"].into_iter().for_each(|bot| fleet.call(bot, true));
    let [some, one, said] = [cut(0, 0), cut(0, 1), cut(40, 0)].map(|spec| fleet.bench.run(spec));
    assert_eq!([some, one, said].map(|run| parts(&fleet, run)), [6, 3, 40]);
    assert_eq!(fleet.bench.replayed().state, fleet.bench.queue.state);

    // Asked again it is the same run, whoever is there by now.
    fleet.bench.bot("b3", vec![]);
    let made = fleet.bench.queue.run(some).unwrap();
    let (run, request) = (RunId::new(fleet.bench.now, 99), made.request.clone());
    let again = Trigger { run, request, spec: Arc::new(cut(0, 0)), reuses: vec![] };
    assert_eq!(fleet.bench.apply(Event::Trigger(again)).unwrap().records, vec![]);
}
