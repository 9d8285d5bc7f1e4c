//! Slices and fallbacks: what a shard asks for next.

use super::super::{capacity::MOST_COMPARED, testing::*, *};
use proto::RunId;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Asks for each of these in turn, a minute each.
fn asking(slices: &[&[&str]]) -> StepSpec {
    let mut slices = slices.iter().map(|asked| Slice { expiration: MINUTE, ..slice(asked) });
    let first = slices.next().unwrap();
    StepSpec { first, fallbacks: slices.collect(), ..step(1, &[]) }
}

/// A bot that has a slot and nothing to do with it.
fn present(bench: &mut Bench, bot: &str) {
    assert_eq!(bench.call(BotReport { slots: 0, ..report(bot, "s1", vec![]) }), []);
}

fn slice_of(bench: &Bench, run: RunId) -> u8 {
    bench.queue.shard(shard(run, 0, 0)).unwrap().slice
}

#[test]
fn an_expired_slice_is_followed_by_the_next() {
    let mut bench = Bench::new();
    present(&mut bench, "busy");
    let run = bench.run(spec(0, [asking(&[&["os=Linux"], &["id=b"], &["id=busy"]])]));
    present(&mut bench, "b");
    bench.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(slice_of(&bench, run), 0);
    let decided = bench.pass(Duration::from_secs(1));
    assert_eq!(slice_of(&bench, run), 1);
    assert!(decided.effects.contains(&Effect::Offer), "bots that wait are asked");
    bench.restart();
    present(&mut bench, "busy");
    assert_eq!(bench.queue.shard(shard(run, 0, 0)).unwrap().pending_since, bench.now);
    assert_eq!(bench.bot("other", vec![]), [], "it does not fit what is asked for now");
    let [lease] = bench.bot("b", vec![])[..] else { panic!("it fits") };
    bench.bot("b", vec![finished(lease, 0)]);
    assert_eq!((bench.run_state(run), slice_of(&bench, run)), (RunState::Succeeded, 1));
}

#[test]
fn the_last_slice_expires_for_good() {
    let mut bench = Bench::new();
    present(&mut bench, "b");
    let run = bench.run(spec(0, [asking(&[&["os=Linux"], &["id=b"]])]));
    bench.pass(MINUTE);
    bench.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::Expired));
    assert_eq!(bench.replayed().state, bench.queue.state);
}

#[test]
fn slices_that_no_bot_fits_are_skipped() {
    let mut bench = Bench::new();
    present(&mut bench, "b");
    let run = bench.run(spec(0, [asking(&[&["os=Linux"], &["os=Mac"], &["id=b"]])]));
    bench.pass(MINUTE);
    assert_eq!(slice_of(&bench, run), 2);
    let waits = StepSpec {
        fallbacks: vec![Slice { wait_for_capacity: true, ..slice(&["os=Mac"]) }],
        ..asking(&[&["os=Linux"]])
    };
    let run = bench.run(spec(0, [waits]));
    bench.pass(MINUTE);
    assert_eq!(slice_of(&bench, run), 1, "it is worth waiting for");
}

/// Longer than the grace.
fn patient(asked: &[&str]) -> Slice {
    Slice { expiration: GRACE * 10, ..slice(asked) }
}

#[test]
fn a_shard_that_no_bot_fits_ends_after_the_grace() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [StepSpec { first: patient(&["os=Mac"]), ..step(1, &[]) }]));
    for _ in 0..GRACE.as_secs() - 1 {
        present(&mut bench, "b");
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::NoResource));
    assert_eq!(bench.run_state(run), RunState::Incomplete);
}

#[test]
fn a_bot_that_fits_is_capacity_even_when_it_is_away_for_less_than_the_grace() {
    let mut bench = Bench::new();
    present(&mut bench, "b");
    let waits = Slice { wait_for_capacity: true, ..patient(&["os=Mac"]) };
    let fits = bench.run(spec(0, [StepSpec { first: patient(&["id=b"]), ..step(1, &[]) }]));
    let waits = bench.run(spec(0, [StepSpec { first: waits, ..step(1, &[]) }]));
    bench.pass(GRACE / 2);
    present(&mut bench, "b");
    bench.pass(GRACE - Duration::from_secs(1));
    assert_eq!(bench.state(shard(fits, 0, 0)), ShardState::Pending, "b has called since");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.state(shard(fits, 0, 0)), ShardState::Ended(Ending::NoResource));
    assert_eq!(bench.state(shard(waits, 0, 0)), ShardState::Pending, "it wants to wait");
}

#[test]
fn after_a_restart_bots_have_time_to_call() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [StepSpec { first: patient(&["id=b"]), ..step(1, &[]) }]));
    bench.now = bench.now + GRACE * 2;
    bench.restart();
    bench.pass(GRACE - Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    let explained = bench.queue.explain(Subject::Run(run), bench.now).unwrap().remove(0);
    assert_eq!(explained.no_resource, Some(bench.now + Duration::from_secs(1)));
    let late = bench.records.clone();
    present(&mut bench, "b");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    bench.records = late;
    bench.restart();
    bench.pass(GRACE);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::NoResource), "b never called");
}

#[test]
fn after_a_restart_no_slice_is_skipped_before_bots_could_call() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [asking(&[&["os=Mac"], &["id=b"]])]));
    bench.restart();
    bench.pass(MINUTE);
    assert_eq!((bench.state(shard(run, 0, 0)), slice_of(&bench, run)), (ShardState::Pending, 1));
}

#[test]
fn a_bot_that_keeps_its_leases_is_capacity_however_short_the_grace() {
    let mut bench = Bench::new();
    bench.queue.tuning.no_resource_after = Duration::from_secs(1);
    present(&mut bench, "b");
    let run = bench.run(spec(0, [StepSpec { first: patient(&["id=b"]), ..step(1, &[]) }]));
    bench.pass(TTL - Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::NoResource));
}

#[test]
fn a_dedupe_looks_at_one_slice_after_the_other() {
    let mut bench = Bench::new();
    let idempotent = |slices: &[&[&str]]| StepSpec { idempotent: true, ..asking(slices) };
    let first = bench.run(spec(0, [idempotent(&[&["id=b"]])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!("a lease") };
    bench.bot("b", vec![finished(lease, 0)]);
    let later = spec(0, [idempotent(&[&["os=Mac"], &["id=b"]])]);
    let reuses = bench.queue.reusable(&later, bench.now);
    assert_eq!(reuses.iter().map(|reuse| reuse.from).collect::<Vec<_>>(), [shard(first, 0, 0)]);
}

#[test]
fn many_shards_that_expire_at_once_ask_for_bots_once() {
    let mut bench = Bench::new();
    for number in 0..100 {
        present(&mut bench, &format!("b{number}"));
    }
    let slices = asking(&[&["os=Linux"], &["os=Mac"], &["id=b99"]]);
    let run = bench.run(spec(0, [StepSpec { fan_out: step(900, &[]).fan_out, ..slices }]));
    bench.pass(MINUTE);
    assert_eq!(slice_of(&bench, run), 2);
    let presence = &bench.queue.presence;
    assert_eq!(
        (presence.capacity.len(), presence.lacking.1.len()),
        (1, 1),
        "what was found out is remembered"
    );
    assert_eq!(bench.queue.run(run).unwrap().shards().filter(|(_, shard)| shard.slice == 2).count(), 900);
}

#[test]
fn a_tick_compares_no_more_than_so_many_bots_whatever_expires() {
    const BOTS: usize = 300;
    let mut bench = Bench::new();
    for number in 0..BOTS {
        present(&mut bench, &format!("b{number}"));
    }
    let unfit = |number| asking(&[&["os=Linux"], &[&format!("gpu=g{number}")]]);
    let run = bench.run(spec(0, (0..100).map(unfit)));
    bench.pass(MINUTE);
    let compared = bench.queue.presence.compared;
    assert!((MOST_COMPARED..MOST_COMPARED + BOTS).contains(&compared), "{compared}");
    let unchecked = bench.queue.run(run).unwrap().shards().filter(|(_, shard)| shard.slice == 1).count();
    assert_eq!(unchecked, 100 - MOST_COMPARED.div_ceil(BOTS));
    bench.pass(GRACE);
    assert_eq!(bench.run_state(run), RunState::Incomplete, "what was taken unchecked is given up later");
}

#[test]
fn slices_are_explained() {
    let mut bench = Bench::new();
    present(&mut bench, "b");
    let run = bench.run(spec(0, [asking(&[&["os=Mac"], &["id=b"]])]));
    let explain = |bench: &Bench| bench.queue.explain(Subject::Run(run), bench.now).unwrap().remove(0);
    let first = explain(&bench);
    assert_eq!((first.slice, first.slices, first.no_resource), (0, 2, Some(bench.now + GRACE)));
    assert_eq!(first.bots.obstacles[0].criterion, "os=Mac");
    bench.pass(MINUTE);
    let second = explain(&bench);
    assert_eq!((second.slice, second.expires), (1, bench.now + MINUTE));
    assert_eq!(second.no_resource, None, "there is a bot that fits");
}
