//! Leases: fencing, expiry, and what becomes of the shards of lost bots.

use super::super::{testing::*, *};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_report_and_the_next_lease_are_one_call() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(2, &[])]));
    let [first] = bench.bot("b", vec![])[..] else { panic!() };
    let [second] = bench.bot("b", vec![finished(first, 0)])[..] else { panic!() };
    assert_eq!(bench.state(first.shard), ShardState::Ended(Ending::Completed));
    assert_eq!(second.shard, shard(run, 0, 1));
    assert!(second.token > first.token);
}

#[test]
fn a_repeated_report_changes_nothing() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    assert_eq!(bench.bot("b", vec![finished(lease, 1)]), []);
    let records = bench.records.len();
    assert_eq!(bench.bot("b", vec![finished(lease, 0)]), []);
    assert_eq!(bench.records.len(), records);
    assert!(!bench.queue.shard(lease.shard).unwrap().succeeded(), "the first report stands");
}

#[test]
fn an_assignment_whose_answer_was_lost_is_said_again() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(5, &[])]));
    let first = bench.bot("b", vec![]);
    assert_eq!(bench.bot("b", vec![]), first, "the same lease, and no second one");
}

#[test]
fn calls_renew_the_lease_and_silence_loses_it() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    for _ in 0..5 {
        bench.pass(TTL - SECOND);
        assert_eq!(bench.bot("b", vec![running(lease)]), [lease]);
    }
    assert_eq!(bench.queue.next_deadline(), Some(bench.now + TTL));
    let lost = bench.pass(TTL);
    assert_eq!(
        lost.effects.into_iter().collect::<Vec<_>>(),
        [Effect::Offer, Effect::Wake("b".parse().unwrap())]
    );
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending);
    let attempt = &bench.queue.shard(lease.shard).unwrap().attempts[0];
    assert!(matches!(&attempt.end, AttemptEnd::Lost { reason, .. } if reason == "bot b was silent for 30s"));
}

#[test]
fn a_late_report_under_an_old_token_changes_nothing() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [old] = bench.bot("b1", vec![])[..] else { panic!() };
    bench.pass(TTL);
    let [new] = bench.bot("b2", vec![])[..] else { panic!() };
    assert_eq!((new.shard, new.attempt), (old.shard, 2));
    assert_eq!(bench.bot("b1", vec![finished(old, 0)]), [], "not its business any more");
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Running);
    // Nor with the new token from the wrong bot.
    bench.bot("b1", vec![finished(new, 0)]);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Running);
    bench.bot("b2", vec![finished(new, 0)]);
    assert_eq!(bench.run_state(run), RunState::Succeeded);
}

#[test]
fn a_restarted_bot_loses_its_leases_at_once() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [old] = bench.bot("b", vec![])[..] else { panic!() };
    let [new] = bench.call(report("b", "s2", vec![]))[..] else { panic!() };
    assert_eq!((new.shard, new.attempt), (old.shard, 2), "there is no other bot to leave it to");
    let late = bench.apply(Event::Synchronize(report("b", "s1", vec![finished(old, 0)])));
    assert!(matches!(late, Err(Refusal::SessionReplaced { .. })), "{late:?}");
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Running);
}

#[test]
fn a_session_gets_back_in_when_the_one_that_replaced_it_is_silent() {
    let mut bench = Bench::new();
    bench.bot("b", vec![]);
    bench.call(report("b", "s2", vec![]));
    assert!(bench.apply(Event::Synchronize(report("b", "s1", vec![]))).is_err());
    bench.pass(TTL + SECOND);
    assert_eq!(bench.bot("b", vec![]), []);
    let late = bench.apply(Event::Synchronize(report("b", "s2", vec![])));
    assert!(late.is_err(), "and now the other one is over");
}

#[test]
fn a_shard_whose_attempts_are_used_up_has_died() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    bench.bot("b1", vec![]);
    bench.pass(TTL);
    bench.bot("b2", vec![]);
    bench.pass(TTL);
    let ended = bench.queue.shard(shard(run, 0, 0)).unwrap();
    assert_eq!(ended.state, ShardState::Ended(Ending::BotDied));
    assert!(ended.message.contains("every bot of 2 attempts was lost"), "{}", ended.message);
    assert_eq!(bench.run_state(run), RunState::Incomplete);
}

#[test]
fn a_lost_shard_goes_to_another_bot_where_there_is_one() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(2, &[])]));
    let [lost] = bench.bot("b1", vec![])[..] else { panic!() };
    let [other] = bench.bot("b2", vec![])[..] else { panic!() };
    // b1 restarts while b2 is busy: it is to leave the shard to b2.
    assert_eq!(bench.call(report("b1", "s2", vec![])), []);
    let [again] = bench.bot("b2", vec![finished(other, 0)])[..] else { panic!() };
    assert_eq!(again.shard, lost.shard);
    bench.bot("b2", vec![finished(again, 0)]);
    assert_eq!(bench.run_state(run), RunState::Succeeded);
}

#[test]
fn a_shard_that_is_left_to_others_does_not_starve() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(2, &[])]));
    let [lost] = bench.bot("b1", vec![])[..] else { panic!() };
    let [other] = bench.bot("b2", vec![])[..] else { panic!() };
    assert_eq!(bench.call(report("b1", "s2", vec![])), []);
    bench.pass(TTL / 2);
    bench.bot("b2", vec![running(other)]);
    bench.pass(TTL / 2);
    assert_eq!(bench.call(report("b1", "s2", vec![]))[0].shard, lost.shard);
}

#[test]
fn leases_survive_a_restart_with_their_tokens_and_a_whole_life() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(2, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.now = bench.now + TTL - SECOND;
    bench.restart();
    bench.pass(TTL - SECOND);
    assert_eq!(bench.bot("b", vec![running(lease)]), [lease]);
    let [next] = bench.bot("b", vec![finished(lease, 0)])[..] else { panic!() };
    assert!(next.token > lease.token, "tokens go on growing");
    bench.restart();
    bench.pass(TTL);
    assert_eq!(bench.state(shard(run, 0, 1)), ShardState::Pending);
}

#[test]
fn how_much_output_there_was_is_kept_with_the_attempt() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.bot("b", vec![Held { output_size: 7, ..running(lease) }]);
    assert_eq!(bench.queue.output_size(lease.token), 7);
    bench.pass(TTL);
    let attempt = bench.queue.shard(lease.shard).unwrap().attempts[0].clone();
    assert!(matches!(attempt.end, AttemptEnd::Lost { output_size: 7, .. }));
}

#[test]
fn a_short_lease_lives_on_after_a_restart_until_its_bot_has_tried_again() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.queue = Queue::new(Tuning { lease_ttl: SECOND, ..TUNING });
    for record in bench.records.clone() {
        bench.queue.replay(&record).unwrap();
    }
    bench.queue.resume(bench.now);
    bench.queue.stalled(bench.now);
    bench.pass(14 * SECOND);
    assert_eq!(bench.bot("b", vec![running(lease)]), [lease], "bots back off for up to ten seconds");
    bench.pass(SECOND);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Pending, "and then it is as short as before");
}

fn troubled(lease: LeaseRef) -> Held {
    let result = AttemptResult { message: "its disk is full".into(), ..result(Ending::InternalError, 0) };
    Held { result: Some(result), ..finished(lease, 0) }
}

#[test]
fn a_shard_goes_elsewhere_when_its_bot_could_not_do_its_part() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    bench.bot("healthy", vec![]);
    let [lease] = bench.bot("healthy", vec![])[..] else { panic!() };
    assert_eq!(bench.bot("other", vec![]), []);
    assert_eq!(bench.bot("healthy", vec![troubled(lease)]), [], "it is left to the other bot");
    let attempt = &bench.queue.shard(lease.shard).unwrap().attempts[0];
    let reason = "bot healthy could not do its part: its disk is full";
    assert!(matches!(&attempt.end, AttemptEnd::Lost { reason: why, .. } if why == reason), "{attempt:?}");
    let [second] = bench.bot("other", vec![])[..] else { panic!() };
    assert_eq!((second.shard, second.attempt), (shard(run, 0, 0), 2));
    bench.bot("other", vec![finished(second, 0)]);
    assert!(bench.queue.shard(second.shard).unwrap().succeeded());
}

#[test]
fn a_shard_that_no_bot_could_do_keeps_the_last_reason() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let mut held = bench.bot("b", vec![]);
    while let [lease] = held[..] {
        held = bench.bot("b", vec![troubled(lease)]);
    }
    let shard = bench.queue.shard(shard(run, 0, 0)).unwrap();
    assert_eq!(shard.attempts.len(), 2, "attempts are capped");
    assert_eq!(shard.state, ShardState::Ended(Ending::InternalError));
    assert_eq!(shard.attempts.last().unwrap().result().unwrap().message, "its disk is full");
}

#[test]
fn a_cancelled_shard_is_not_tried_again() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.cancel(run, CancelMode::KillRunning);
    assert_eq!(bench.bot("b", vec![troubled(lease)]), []);
    assert_eq!(bench.state(lease.shard), ShardState::Ended(Ending::InternalError));
}

#[test]
fn what_a_bot_gives_back_because_it_stops_costs_no_attempt() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    for round in 0..5 {
        let session = format!("s{round}");
        let [lease] = bench.call(report("b", &session, vec![]))[..] else { panic!() };
        let mut farewell = report("b", &format!("{session}-end"), vec![]);
        farewell.draining = true;
        farewell.returned = vec![lease, lease];
        assert_eq!(bench.call(farewell), []);
        assert_eq!(bench.state(lease.shard), ShardState::Pending);
        bench.restart();
    }
    assert_eq!(bench.queue.shard(shard(run, 0, 0)).unwrap().spent(), 0);
    // Two lost bots are still too many.
    bench.bot("b1", vec![]);
    bench.pass(TTL * 2);
    bench.bot("b2", vec![]);
    bench.pass(TTL * 2);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::BotDied));
}

#[test]
fn nobody_gives_back_what_another_bot_holds() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    let mut other = report("other", "s1", vec![]);
    other.returned = vec![lease];
    bench.call(other);
    assert_eq!(bench.bot("b", vec![running(lease)]), [lease]);
}

#[test]
fn a_shard_that_was_to_be_killed_and_is_given_back_has_been_killed() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    bench.cancel(run, CancelMode::KillRunning);
    let mut farewell = report("b", "s2", vec![]);
    farewell.returned = vec![lease];
    bench.call(farewell);
    assert_eq!(bench.state(lease.shard), ShardState::Ended(Ending::Killed));
}

#[test]
fn a_shard_that_is_given_back_for_ever_is_taken_to_be_the_reason() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(1, &[])]));
    for round in 0..102 {
        let [lease] = bench.call(report("b", &format!("s{round}"), vec![]))[..] else { panic!("{round}") };
        let mut farewell = report("b", &format!("s{round}-end"), vec![]);
        farewell.draining = true;
        farewell.returned = vec![lease];
        bench.call(farewell);
    }
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Ended(Ending::BotDied));
}
