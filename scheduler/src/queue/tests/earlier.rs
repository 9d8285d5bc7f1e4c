//! Steps that wait for earlier ones.

use super::super::{testing::*, *};
use proto::{Digest, DigestFunction, RunId, Timestamp};
use std::{sync::Arc, time::Duration};

fn after(step: u32, demand: Demand) -> After {
    After { step, demand }
}

/// Waits for these.
fn waiting(shards: u32, after: &[After]) -> StepSpec {
    StepSpec { after: after.to_vec(), ..step(shards, &[]) }
}

/// Build, then three shards if that succeeded, then a merge of whatever they came to.
fn chain() -> RunSpec {
    let include = |step, into: &str| OutputOf { step, into: into.parse().unwrap() };
    let shards =
        StepSpec { includes: vec![include(0, "built")], ..waiting(3, &[after(0, Demand::Succeeded)]) };
    let merge = StepSpec {
        includes: vec![include(1, "parts/{index}")],
        input: None,
        ..waiting(1, &[after(1, Demand::Ended)])
    };
    let named = |name: &str, step| StepSpec { name: name.into(), ..step };
    spec(0, [named("build", step(1, &[])), named("tests", shards), named("merge", merge)])
}

fn outputs(text: &str) -> Digest {
    DigestFunction::Blake3.digest(text.as_bytes())
}

/// Finished, with outputs that are named by the shard.
fn left(lease: LeaseRef, exit_code: i32) -> Held {
    let held = finished(lease, exit_code);
    let result = AttemptResult { outputs: Some(outputs(&lease.shard.to_string())), ..held.result.unwrap() };
    Held { result: Some(result), ..held }
}

fn states(bench: &Bench, run: RunId, step: u32) -> Vec<ShardState> {
    bench.queue.run(run).unwrap().steps[step as usize].iter().map(|shard| shard.state).collect()
}

/// One bot runs all that it is given, each shard ending with the code that `code` gives it.
fn run_all(bench: &mut Bench, code: impl Fn(proto::ShardId) -> i32) {
    let mut leases = bench.bot("b", vec![]);
    while let Some(lease) = leases.first() {
        leases = bench.bot("b", vec![left(*lease, code(lease.shard))]);
    }
}

#[test]
fn a_step_becomes_pending_when_the_last_shard_that_it_waits_for_has_ended() {
    let mut bench = Bench::new();
    let run = bench.run(chain());
    assert_eq!((bench.queue.pending(), bench.queue.waiting()), (1, 4));
    assert_eq!(states(&bench, run, 1), [ShardState::Waiting; 3]);
    let lease = bench.bot("b", vec![])[0];
    assert_eq!(lease.shard, shard(run, 0, 0));
    // The call that ends the build brings a shard of what has waited for it.
    let next = bench.bot("b", vec![left(lease, 0)])[0];
    assert_eq!(next.shard, shard(run, 1, 0));
    assert_eq!(states(&bench, run, 2), [ShardState::Waiting]);
    let second = bench.bot("b", vec![left(next, 0)])[0];
    let third = bench.bot("b", vec![left(second, 1)])[0];
    assert_eq!(states(&bench, run, 2), [ShardState::Waiting]);
    let merge = bench.bot("b", vec![left(third, 0)])[0];
    assert_eq!(merge.shard, shard(run, 2, 0));
    bench.bot("b", vec![left(merge, 0)]);
    assert_eq!(bench.run_state(run), RunState::Failed, "a shard has failed, and was merged with the others");
}

#[test]
fn what_earlier_shards_have_left_goes_along_with_the_lease() {
    let mut bench = Bench::new();
    let run = bench.run(chain());
    let build = bench.bot("b", vec![])[0];
    bench.bot("b", vec![left(build, 0)]);
    let desired = bench.queue.desired(&"b".parse().unwrap(), &"s1".parse().unwrap());
    let built = Included { outputs: Some(outputs(&shard(run, 0, 0).to_string())), into: "built".into() };
    assert_eq!(bench.queue.run(run).unwrap().included(desired[0].lease.shard.step), [built]);
    // The second of them leaves nothing.
    let mut lease = desired[0].lease;
    for index in 0..3 {
        let held = if index == 1 { finished(lease, 0) } else { left(lease, 0) };
        lease = bench.bot("b", vec![held])[0];
    }
    assert_eq!(lease.shard.step, 2);
    bench.restart();
    let included = bench.queue.run(run).unwrap().included(2);
    let of = |index: u32| Some(outputs(&shard(run, 1, index).to_string()));
    let expected = [(of(0), "parts/0"), (None, "parts/1"), (of(2), "parts/2")];
    let expected = expected.map(|(outputs, into)| Included { outputs, into: into.into() });
    assert_eq!(included, expected, "also after a restart");
}

#[test]
fn what_cannot_be_run_any_more_is_skipped_and_so_is_what_waits_for_that() {
    let mut bench = Bench::new();
    let run = bench.run(chain());
    run_all(&mut bench, |_| 3);
    assert_eq!(states(&bench, run, 1), [ShardState::Ended(Ending::Skipped); 3]);
    assert_eq!(states(&bench, run, 2), [ShardState::Ended(Ending::Skipped)], "though it would take any end");
    let message = |step| bench.queue.shard(shard(run, step, 0)).unwrap().message.to_string();
    assert_eq!(
        [message(1), message(2)],
        ["step `build` did not succeed", "step `tests` was skipped"].map(str::to_owned)
    );
    assert_eq!(bench.run_state(run), RunState::Failed);
    let tally = &bench.queue.run(run).unwrap().tally;
    assert_eq!((tally.failed(), tally.skipped(), tally.open()), (1, 4, 0));
    assert_eq!(bench.queue.waiting(), 0);
}

#[test]
fn one_bad_shard_is_enough_to_skip_what_demands_success() {
    let mut bench = Bench::new();
    let steps = [step(2, &[]), waiting(1, &[after(0, Demand::Succeeded)])];
    let run = bench.run(spec(0, steps));
    let first = bench.bot("b", vec![])[0];
    bench.bot("b", vec![left(first, 1)]);
    assert_eq!(states(&bench, run, 1), [ShardState::Ended(Ending::Skipped)], "the other one still runs");
}

#[test]
fn an_expired_step_has_ended() {
    let mut bench = Bench::new();
    let steps = [
        expiring(Duration::from_secs(5), step(1, &["os=Mac"])),
        waiting(1, &[after(0, Demand::Ended)]),
        waiting(1, &[after(0, Demand::Succeeded)]),
    ];
    let run = bench.run(spec(0, steps));
    let decided = bench.pass(Duration::from_secs(5));
    assert!(decided.effects.contains(&Effect::Offer));
    assert_eq!(states(&bench, run, 0), [ShardState::Ended(Ending::Expired)]);
    assert_eq!(states(&bench, run, 1), [ShardState::Pending]);
    assert_eq!(states(&bench, run, 2), [ShardState::Ended(Ending::Skipped)]);
}

#[test]
fn the_clocks_of_what_waits_stand_still() {
    let mut bench = Bench::new();
    let late = expiring(Duration::from_secs(100), waiting(1, &[after(0, Demand::Succeeded)]));
    let run = bench.run(spec(0, [step(1, &[]), late]));
    let mut lease = bench.bot("b", vec![])[0];
    for _ in 0..20 {
        bench.pass(Duration::from_secs(10));
        lease = bench.bot("b", vec![running(lease)])[0];
    }
    assert_eq!(states(&bench, run, 1), [ShardState::Waiting], "longer than it may be pending");
    bench.call(BotReport { draining: true, ..report("b", "s1", vec![left(lease, 0)]) });
    bench.pass(Duration::from_secs(99));
    assert_eq!(states(&bench, run, 1), [ShardState::Pending]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(states(&bench, run, 1), [ShardState::Ended(Ending::Expired)]);
}

#[test]
fn the_longest_pending_shard_is_found_behind_a_step_that_has_waited() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(1, &["id=b"]), waiting(3, &[after(0, Demand::Succeeded)])]));
    let build = bench.bot("b", vec![])[0];
    bench.pass(Duration::from_secs(10));
    let since = bench.now;
    bench.run(spec(0, [step(1, &[])]));
    bench.pass(Duration::from_secs(10));
    bench.call(BotReport { draining: true, ..report("b", "s1", vec![left(build, 0)]) });
    assert_eq!((bench.queue.pending(), bench.queue.oldest_pending()), (4, Some(since)));
}

#[test]
fn a_cancelled_run_leaves_nothing_waiting() {
    for mode in [CancelMode::PendingOnly, CancelMode::KillRunning] {
        let mut bench = Bench::new();
        let run = bench.run(chain());
        let build = bench.bot("b", vec![])[0];
        assert_eq!(bench.queue.would_cancel(run), (4, 1));
        bench.cancel(run, mode);
        assert_eq!(states(&bench, run, 1), [ShardState::Ended(Ending::Canceled); 3]);
        assert_eq!(states(&bench, run, 2), [ShardState::Ended(Ending::Canceled)]);
        assert_eq!(bench.bot("b", vec![left(build, 0)]), []);
        assert_eq!(bench.run_state(run), RunState::Canceled);
    }
}

#[test]
fn what_waits_counts_as_what_is_to_be_run() {
    let mut bench = Bench::with(Tuning { most_pending: 5, ..TUNING });
    let run = bench.run(chain());
    let trigger = Trigger {
        run: RunId::new(Timestamp::from_micros(1), 1),
        request: "another".parse().unwrap(),
        spec: Arc::new(spec(0, [step(1, &[])])),
        reuses: vec![],
    };
    assert_eq!(bench.apply(Event::Trigger(trigger)).unwrap_err(), Refusal::Full { pending: 5, most: 5 });
    assert_eq!(bench.run_state(run), RunState::Pending);
}

#[test]
fn it_is_told_what_is_waited_for() {
    let mut bench = Bench::new();
    let run = bench.run(chain());
    let told = |bench: &Bench, subject| {
        let steps = bench.queue.explain_waiting(subject);
        steps.iter().map(|step| (step.step, step.shards.clone(), step.to_string())).collect::<Vec<_>>()
    };
    let by_build = "3 shards wait for step `build` (1 of 1 shards have not ended)".to_owned();
    let by_tests = "1 shard waits for step `tests` (3 of 3 shards have not ended)".to_owned();
    let expected = [(1, vec![0, 1, 2], by_build), (2, vec![0], by_tests.clone())];
    assert_eq!(told(&bench, Subject::Run(run)), expected);
    assert_eq!(told(&bench, Subject::Shard(shard(run, 2, 0))), [(2, vec![0], by_tests)]);
    assert_eq!(bench.queue.explain(Subject::Run(run), bench.now).unwrap().len(), 1, "the build is pending");
    run_all(&mut bench, |_| 0);
    assert_eq!(told(&bench, Subject::Run(run)), []);
    assert_eq!(bench.run_state(run), RunState::Succeeded);
}

#[test]
fn a_reused_success_is_the_end_of_its_step() {
    let mut bench = Bench::new();
    let build = || StepSpec { idempotent: true, ..step(1, &[]) };
    bench.run(spec(0, [build()]));
    run_all(&mut bench, |_| 0);
    let mut chain = chain();
    chain.steps[0] = Arc::new(build());
    let reuses = bench.queue.reusable(&chain, bench.now);
    let run = RunId::new(bench.now, 99);
    let trigger = Trigger { run, request: "chain".parse().unwrap(), spec: Arc::new(chain), reuses };
    bench.apply(Event::Trigger(trigger)).unwrap();
    assert_eq!(states(&bench, run, 1), [ShardState::Pending; 3]);
    assert!(bench.queue.run(run).unwrap().included(1)[0].outputs.is_some(), "those of the one that was run");
}
