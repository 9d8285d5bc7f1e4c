//! Runs that end with the shard that triggered them.

use super::super::{testing::*, *};
use proto::{RunId, ShardId};
use std::sync::Arc;

/// A run of two shards that ends with `parent`.
fn child(bench: &mut Bench, parent: ShardId, number: u32) -> Result<RunId, Refusal> {
    let run = RunId::new(bench.now, 2000 + number);
    let spec = Arc::new(RunSpec { parent: Some(parent), ..spec(0, [step(2, &[])]) });
    let request = format!("child-{number}").parse().unwrap();
    bench.apply(Event::Trigger(Trigger { run, request, spec, reuses: vec![] }))?;
    Ok(run)
}

/// A running shard of bot `b`, and a child of it with one shard on bot `c` and one pending.
fn family() -> (Bench, LeaseRef, RunId, LeaseRef) {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(1, &[])]));
    let [parent] = bench.bot("b", vec![])[..] else { panic!("a lease") };
    let run = child(&mut bench, parent.shard, 1).unwrap();
    let [of_child] = bench.bot("c", vec![])[..] else { panic!("a lease") };
    (bench, parent, run, of_child)
}

fn assert_canceled(bench: &Bench, run: RunId) {
    assert!(bench.queue.run(run).unwrap().canceled);
    assert_eq!(bench.state(shard(run, 0, 1)), ShardState::Ended(Ending::Canceled));
    assert!(bench.queue.shard(shard(run, 0, 0)).unwrap().killing);
    assert_eq!(bench.replayed().state, bench.queue.state);
}

#[test]
fn the_end_of_a_parent_cancels_its_children() {
    let (mut bench, parent, run, _) = family();
    bench.bot("b", vec![finished(parent, 0)]);
    assert_canceled(&bench, run);
}

#[test]
fn a_parent_that_is_to_be_stopped_cancels_its_children_at_once() {
    let (mut bench, parent, run, _) = family();
    let decided = bench.cancel(parent.shard.run, CancelMode::KillRunning);
    assert!(decided.effects.contains(&Effect::Wake("c".parse().unwrap())));
    assert_canceled(&bench, run);
}

#[test]
fn a_parent_whose_bot_is_lost_cancels_its_children_before_it_is_run_again() {
    let (mut bench, parent, run, of_child) = family();
    for _ in 0..TTL.as_secs() {
        bench.bot("c", vec![running(of_child)]);
        bench.pass(std::time::Duration::from_secs(1));
    }
    assert_eq!(bench.state(parent.shard), ShardState::Pending);
    assert_canceled(&bench, run);
}

#[test]
fn grandchildren_are_cancelled_too() {
    let (mut bench, parent, run, of_child) = family();
    let grandchild = child(&mut bench, of_child.shard, 2).unwrap();
    bench.bot("b", vec![finished(parent, 0)]);
    assert_canceled(&bench, run);
    assert_eq!(bench.run_state(grandchild), RunState::Canceled);
}

#[test]
fn only_a_running_shard_has_children() {
    let (mut bench, parent, _, _) = family();
    let nobody = ShardId { index: 7, ..parent.shard };
    assert_eq!(child(&mut bench, nobody, 3).unwrap_err(), Refusal::UnknownShard { shard: nobody });
    bench.bot("b", vec![finished(parent, 0)]);
    let refusal = child(&mut bench, parent.shard, 4).unwrap_err();
    assert_eq!(refusal, Refusal::ParentEnded { parent: parent.shard });
    assert_eq!(
        child(&mut bench, parent.shard, 1),
        Ok(RunId::new(bench.now, 2001)),
        "repeated, it is answered"
    );
}

#[test]
fn an_evaluation_says_what_would_be_and_makes_nothing() {
    let mut bench = Bench::new();
    bench.call(BotReport { slots: 1, ..report("b", "s1", vec![]) });
    let slices = StepSpec { fallbacks: vec![slice(&["os=Linux"])], ..step(1, &["os=Mac"]) };
    let trigger = Trigger {
        run: RunId::new(bench.now, 1),
        request: "r".parse().unwrap(),
        spec: Arc::new(spec(0, [slices])),
        reuses: vec![],
    };
    let evaluation = bench.queue.evaluate(&trigger, bench.now).unwrap();
    let [mac, linux] = &evaluation.slices[..] else { panic!("two slices") };
    assert_eq!((mac.bots.free.len(), mac.bots.obstacles[0].criterion.as_str()), (0, "os=Mac"));
    assert_eq!(linux.bots.free, ["b".parse().unwrap()]);
    assert_eq!((evaluation.made, bench.queue.pending()), (None, 0));
    bench.apply(Event::Trigger(trigger.clone())).unwrap();
    assert_eq!(bench.queue.evaluate(&trigger, bench.now).unwrap().made, Some(trigger.run));
    let other = Trigger { spec: Arc::new(spec(1, [step(1, &[])])), ..trigger };
    assert!(matches!(bench.queue.evaluate(&other, bench.now), Err(Refusal::RequestReused { .. })));
}
