//! Runs leave history.

use super::super::{testing::*, *};
use proto::RunId;
use std::time::Duration;

fn delete(bench: &mut Bench, run: RunId) -> Result<Decided, Refusal> {
    bench.apply(Event::Delete { run })
}

/// A run of one idempotent shard that has succeeded.
fn succeeded(bench: &mut Bench) -> RunId {
    let run = bench.run(spec(0, [StepSpec { idempotent: true, ..step(1, &[]) }]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!("a lease") };
    bench.call(BotReport { slots: 0, ..report("b", "s1", vec![finished(lease, 0)]) });
    run
}

#[test]
fn a_deleted_run_is_gone_with_all_that_leads_to_it() {
    let mut bench = Bench::new();
    let run = succeeded(&mut bench);
    let request = bench.queue.run(run).unwrap().request.clone();
    let reusable = |bench: &Bench| {
        let again = spec(0, [StepSpec { idempotent: true, ..step(1, &[]) }]);
        bench.queue.reusable(&again, bench.now).len()
    };
    assert_eq!(reusable(&bench), 1);
    delete(&mut bench, run).unwrap();
    assert!(bench.queue.run(run).is_none() && bench.queue.run_of(&request).is_none());
    assert_eq!(reusable(&bench), 0);
    assert_eq!(bench.replayed().state, bench.queue.state);
    assert_eq!(delete(&mut bench, run).unwrap_err(), Refusal::UnknownRun { run });
}

#[test]
fn a_run_that_has_not_ended_stays() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    assert_eq!(delete(&mut bench, run).unwrap_err(), Refusal::NotEnded { run });
    assert!(bench.queue.run(run).is_some());
}

#[test]
fn no_lease_is_granted_twice_when_the_records_of_deleted_runs_are_gone() {
    let mut bench = Bench::new();
    let run = succeeded(&mut bench);
    let token = bench.queue.run(run).unwrap().shards().next().unwrap().1.attempts[0].token;
    delete(&mut bench, run).unwrap();
    let kept = |record: &Record| matches!(record.transition, Transition::RunDeleted { .. });
    bench.records.retain(kept);
    bench.restart();
    bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!("a lease") };
    assert!(lease.token > token);
}

#[test]
fn what_has_been_in_history_for_long_enough_is_deleted() {
    let mut bench = Bench::new();
    bench.queue.tuning.retain_for = Some(Duration::from_secs(3600));
    let old = succeeded(&mut bench);
    let running = bench.run(spec(0, [step(1, &["os=Mac"])]));
    bench.pass(Duration::from_secs(300));
    let young = succeeded(&mut bench);
    bench.pass(Duration::from_secs(3299));
    assert!(bench.queue.run(old).is_some());
    bench.pass(Duration::from_secs(1));
    assert!(bench.queue.run(old).is_none());
    assert!(bench.queue.run(young).is_some());
    assert!(bench.queue.run(running).is_some(), "it ended when it expired, not long ago");
}

#[test]
fn a_tick_deletes_no_more_runs_when_they_have_many_shards() {
    let mut bench = Bench::new();
    bench.queue.tuning.most_pending = 100_000;
    let large: Vec<RunId> = (0..3).map(|_| bench.run(spec(0, [step(10_000, &[])]))).collect();
    for run in &large {
        bench.cancel(*run, CancelMode::PendingOnly);
    }
    bench.queue.tuning.retain_for = Some(Duration::ZERO);
    for left in [2, 1, 0] {
        bench.pass(Duration::from_secs(1));
        assert_eq!(large.iter().filter(|run| bench.queue.run(**run).is_some()).count(), left);
    }
}

#[test]
fn a_success_under_a_later_slice_goes_with_its_run() {
    let mut bench = Bench::new();
    let expiration = Duration::from_secs(60);
    let first = Slice { expiration, ..slice(&["os=Mac"]) };
    let asked = StepSpec { idempotent: true, first, fallbacks: vec![slice(&["id=b"])], ..step(1, &[]) };
    bench.call(BotReport { slots: 0, ..report("b", "s1", vec![]) });
    let run = bench.run(spec(0, [asked]));
    bench.pass(expiration);
    let [lease] = bench.bot("b", vec![])[..] else { panic!("a lease") };
    bench.bot("b", vec![finished(lease, 0)]);
    assert_eq!(bench.queue.state.successes.len(), 1);
    delete(&mut bench, run).unwrap();
    assert_eq!(bench.queue.state.successes.len(), 0);
}
