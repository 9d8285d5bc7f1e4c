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
