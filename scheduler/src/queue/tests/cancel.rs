//! Cancellation and expiration.

use super::super::{testing::*, *};
use std::time::Duration;

#[test]
fn pending_shards_are_cancelled_at_once_and_running_ones_go_on() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(2, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.cancel(run, CancelMode::PendingOnly);
    assert_eq!(bench.state(shard(run, 0, 1)), ShardState::Ended(Ending::Canceled));
    assert_eq!(bench.bot("b", vec![running(lease)]), [lease]);
    bench.bot("b", vec![finished(lease, 0)]);
    assert_eq!(bench.run_state(run), RunState::Canceled);
}

#[test]
fn running_shards_are_killed_when_asked_for() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    let decided = bench.cancel(run, CancelMode::KillRunning);
    assert!(decided.effects.contains(&Effect::Wake("b".parse().unwrap())));
    assert!(bench.queue.desired(&"b".parse().unwrap(), &"s1".parse().unwrap())[0].kill);
    assert!(bench.cancel(run, CancelMode::KillRunning).records.is_empty(), "once is enough");
    let killed = Held { result: Some(result(Ending::Killed, 137)), ..finished(lease, 0) };
    bench.bot("b", vec![killed]);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::Killed));
    assert_eq!(bench.run_state(run), RunState::Canceled);
}

#[test]
fn a_shard_that_was_to_be_killed_is_not_tried_again_when_its_bot_is_lost() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    bench.bot("b", vec![]);
    bench.cancel(run, CancelMode::KillRunning);
    bench.pass(TTL);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::Killed));
}

#[test]
fn a_shard_of_a_cancelled_run_is_not_tried_again_when_its_bot_is_lost() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    bench.bot("b", vec![]);
    bench.cancel(run, CancelMode::PendingOnly);
    bench.pass(TTL);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::Canceled));
}

#[test]
fn cancelling_what_has_ended_changes_nothing() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.bot("b", vec![finished(lease, 0)]);
    assert!(bench.cancel(run, CancelMode::KillRunning).records.is_empty());
    assert_eq!(bench.run_state(run), RunState::Succeeded);
    let unknown = proto::RunId::new(bench.now, 999);
    let refused = bench.apply(Event::Cancel { run: unknown, mode: CancelMode::PendingOnly });
    assert_eq!(refused.unwrap_err(), Refusal::UnknownRun { run: unknown });
}

#[test]
fn what_nobody_takes_in_time_expires() {
    let mut bench = Bench::new();
    let short = expiring(Duration::from_secs(5), step(2, &["os=Mac"]));
    let run = bench.run(spec(0, [short, step(1, &["os=Mac"])]));
    assert_eq!(bench.queue.next_deadline(), Some(bench.now + Duration::from_secs(5)));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.state(shard(run, 0, 1)), ShardState::Ended(Ending::Expired));
    assert_eq!(bench.state(shard(run, 1, 0)), ShardState::Pending);
    assert_eq!(bench.run_state(run), RunState::Running);
    bench.pass(Duration::from_secs(600));
    assert_eq!(bench.run_state(run), RunState::Incomplete);
    assert_eq!(bench.queue.next_deadline(), None);
}

#[test]
fn a_lost_shard_gets_its_whole_time_to_be_taken_again() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [expiring(TTL + TTL / 2, step(1, &[]))]));
    bench.bot("b", vec![]);
    bench.pass(TTL);
    bench.pass(TTL);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    bench.pass(TTL / 2);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::Expired));
}

#[test]
fn nothing_expires_after_a_restart_before_bots_had_time_to_call() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [expiring(TTL, step(2, &[]))]));
    bench.now = bench.now + TTL * 10;
    bench.restart();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.run_state(run), RunState::Pending);
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    assert_eq!(bench.queue.next_deadline(), Some(bench.now + TTL - Duration::from_secs(1)));
    bench.pass(TTL - Duration::from_secs(1));
    assert_eq!(bench.state(shard(run, 0, 1)), ShardState::Ended(Ending::Expired));
    assert_eq!(bench.state(lease.shard), ShardState::Running);
}
