//! Idempotent shards end with earlier successes.

use super::super::{testing::*, *};
use proto::{Digest, DigestFunction, RunId};
use std::{sync::Arc, time::Duration};

fn idempotent(shards: u32) -> StepSpec {
    StepSpec { idempotent: true, ..step(shards, &[]) }
}

fn reusable(bench: &Bench, step: StepSpec) -> Vec<Reuse> {
    bench.queue.reusable(&spec(0, [step]), bench.now)
}

/// A run of one step that takes what it may.
fn trigger(bench: &mut Bench, number: u32, step: StepSpec) -> RunId {
    let run = RunId::new(bench.now, 1000 + number);
    let spec = Arc::new(spec(0, [step]));
    let reuses = bench.queue.reusable(&spec, bench.now);
    let request = format!("dedupe-{number}").parse().unwrap();
    bench.apply(Event::Trigger(Trigger { run, request, spec, reuses })).unwrap();
    run
}

/// Runs all shards of a step, one after the other, to these exit codes.
fn ran(bench: &mut Bench, step: StepSpec, exit_codes: &[i32], outputs: Option<Digest>) -> RunId {
    let run = bench.run(spec(0, [step]));
    for &exit_code in exit_codes {
        let [lease] = bench.bot("b", vec![])[..] else { panic!("a lease") };
        let result = AttemptResult { outputs, ..result(Ending::Completed, exit_code) };
        let held = Held { result: Some(result), ..finished(lease, exit_code) };
        bench.call(BotReport { slots: 0, ..report("b", "s1", vec![held]) });
    }
    run
}

#[test]
fn a_success_ends_the_same_shard_of_a_later_run() {
    let mut bench = Bench::new();
    let outputs = DigestFunction::Blake3.digest(b"outputs");
    let first = ran(&mut bench, idempotent(2), &[0, 0], Some(outputs));
    let again = trigger(&mut bench, 1, idempotent(2));
    assert_eq!(bench.run_state(again), RunState::Succeeded);
    assert_eq!(bench.queue.run(again).unwrap().tally.succeeded, 2);
    assert_eq!(bench.queue.deduped(again), 2);
    assert_eq!(bench.queue.pending(), 0);
    let second = bench.queue.shard(shard(again, 0, 1)).unwrap();
    assert_eq!(second.reused.as_ref().unwrap().from, shard(first, 0, 1));
    assert_eq!(second.result().unwrap().outputs, Some(outputs));
    assert_eq!(bench.replayed().state, bench.queue.state);
}

#[test]
fn what_was_deduped_leads_to_what_was_run() {
    let mut bench = Bench::new();
    let first = ran(&mut bench, idempotent(1), &[0], None);
    trigger(&mut bench, 1, idempotent(1));
    bench.restart();
    let third = trigger(&mut bench, 2, idempotent(1));
    let third = bench.queue.shard(shard(third, 0, 0)).unwrap();
    assert_eq!(third.reused.as_ref().unwrap().from, shard(first, 0, 0));
}

#[test]
fn failures_and_shards_that_nobody_called_idempotent_count_for_nothing() {
    let mut bench = Bench::new();
    ran(&mut bench, step(1, &[]), &[0], None);
    assert_eq!(reusable(&bench, idempotent(1)), []);
    ran(&mut bench, idempotent(2), &[0, 1], None);
    assert_eq!(reusable(&bench, step(2, &[])), []);
    let reuses = reusable(&bench, idempotent(2));
    assert_eq!(reuses.iter().map(|reuse| reuse.index).collect::<Vec<_>>(), [0], "the second has failed");
}

#[test]
fn other_properties_are_another_shard() {
    let mut bench = Bench::new();
    let base = StepSpec { command: vec!["a".into(), "b".into()], ..idempotent(2) };
    ran(&mut bench, base.clone(), &[0, 0], None);
    let others = [
        StepSpec { command: vec!["ab".into()], ..base.clone() },
        StepSpec { command: vec!["a".into()], extra_args: vec!["b".into()], ..base.clone() },
        StepSpec { input: Some(DigestFunction::Blake3.digest(b"other")), ..base.clone() },
        StepSpec { environment: vec![("A".into(), "b".into())], ..base.clone() },
        StepSpec { environment_prefixes: vec!["PATH=bin".parse().unwrap()], ..base.clone() },
        StepSpec { outputs: vec![proto::RelPath::new("out").unwrap()], ..base.clone() },
        StepSpec { named_caches: vec!["pip=.pip".parse().unwrap()], ..base.clone() },
        StepSpec { first: slice(&["os=Linux"]), ..base.clone() },
        StepSpec { timeouts: Timeouts { io: Some(TTL), ..base.timeouts }, ..base.clone() },
        StepSpec { fan_out: idempotent(3).fan_out, ..base.clone() },
    ];
    for other in others {
        assert_eq!(reusable(&bench, other.clone()), [], "{other:?}");
    }
    let first = Slice { expiration: TTL, wait_for_capacity: true, ..base.first.clone() };
    let same = StepSpec { name: "renamed".into(), first, ..base };
    assert_eq!(reusable(&bench, same).len(), 2, "a name and an expiration change no result");
}

#[test]
fn another_secret_is_another_shard() {
    let mut bench = Bench::new();
    ran(&mut bench, idempotent(1), &[0], None);
    let secret = Some(SealedSecret { sealed: Arc::new([1]), fingerprint: [2; 32] });
    let with = RunSpec { secret, ..spec(0, [idempotent(1)]) };
    assert_eq!(bench.queue.reusable(&with, bench.now), []);
    bench.run(with.clone());
    let [lease] = bench.bot("b", vec![])[..] else { panic!("a lease") };
    bench.bot("b", vec![finished(lease, 0)]);
    assert_eq!(bench.queue.reusable(&with, bench.now).len(), 1);
    let other = Some(SealedSecret { sealed: Arc::new([1]), fingerprint: [3; 32] });
    assert_eq!(bench.queue.reusable(&RunSpec { secret: other, ..with }, bench.now), []);
}

#[test]
fn a_success_counts_for_so_long() {
    let mut bench = Bench::new();
    ran(&mut bench, idempotent(1), &[0], None);
    bench.now = bench.now + REUSE_FOR;
    assert_eq!(reusable(&bench, idempotent(1)).len(), 1);
    bench.now = bench.now + Duration::from_micros(1);
    assert_eq!(reusable(&bench, idempotent(1)), []);
}

#[test]
fn shards_that_are_deduped_take_no_room() {
    let mut bench = Bench::new();
    ran(&mut bench, idempotent(1), &[0], None);
    bench.run(spec(0, [step(1000, &["os=Mac"])]));
    let run = trigger(&mut bench, 1, idempotent(1));
    assert_eq!(bench.run_state(run), RunState::Succeeded);
}
