//! Steps that give items to their commands, and steps with a shard for each bot.

use super::super::{testing::*, *};
use proto::{Cut, RunId};
use runtime::{Clock as _, SystemClock};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn items(all: &[&str], each: u32) -> StepSpec {
    let cut = Cut::PerShard(NonZeroU32::new(each).unwrap());
    let items = Items::new(all.iter().map(|item| (*item).into()).collect(), cut).unwrap();
    StepSpec { fan_out: FanOut::Items(items), idempotent: true, ..step(1, &[]) }
}

fn each(asked: &[&str], seen_within: Option<Duration>) -> StepSpec {
    let fan_out = FanOut::EachBot(EachBot { seen_within, bots: [].into() });
    let step = step(1, asked);
    StepSpec { fan_out, first: Slice { expiration: DAY, ..step.first }, ..step }
}

/// A bot is there and takes nothing.
fn present(bench: &mut Bench, bot: &str) {
    assert_eq!(bench.call(BotReport { slots: 0, ..report(bot, "s1", vec![]) }), []);
}

fn try_run(bench: &mut Bench, request: &str, spec: RunSpec) -> Result<RunId, Refusal> {
    let run = RunId::new(bench.now, 1_000);
    let trigger = Trigger { run, request: request.parse().unwrap(), spec: Arc::new(spec), reuses: vec![] };
    bench.apply(Event::Trigger(trigger)).map(|_| run)
}

fn bots_of(bench: &Bench, run: RunId) -> Vec<String> {
    let run = bench.queue.run(run).unwrap();
    run.shards().map(|(id, _)| run.bot_of(id).unwrap().to_string()).collect()
}

#[test]
fn each_bot_that_fits_gets_its_own_shard_and_no_other_bot_takes_it() {
    let mut bench = Bench::new();
    for bot in ["b2", "b1", "b3"] {
        present(&mut bench, bot);
    }
    let run = bench.run(spec(0, [each(&["id=b1|b2"], None)]));
    assert_eq!(bots_of(&bench, run), ["b1", "b2"]);
    assert_eq!(bench.bot("b3", vec![]), [], "it does not fit");
    let [second] = bench.bot("b2", vec![])[..] else { panic!("a lease") };
    assert_eq!(second.shard, shard(run, 0, 1));
    assert_eq!(bench.bot("b2", vec![finished(second, 0)]), [], "one is all that it gets");
    let [first] = bench.bot("b1", vec![])[..] else { panic!("a lease") };
    bench.bot("b1", vec![finished(first, 0)]);
    assert_eq!(bench.run_state(run), RunState::Succeeded);
    assert_eq!(bench.queue.state.pending, pending::Pending::default());
    assert_eq!(bench.replayed().state, bench.queue.state);
}

#[test]
fn a_replay_knows_the_bots_without_them() {
    let mut bench = Bench::new();
    present(&mut bench, "b1");
    present(&mut bench, "b2");
    let run = bench.run(spec(0, [each(&[], None)]));
    bench.restart();
    assert_eq!(bots_of(&bench, run), ["b1", "b2"]);
    assert_eq!(bench.bot("b2", vec![])[0].shard, shard(run, 0, 1));
}

#[test]
fn bots_that_were_seen_lately_are_waited_for_until_the_shard_expires() {
    let mut bench = Bench::new();
    present(&mut bench, "b1");
    bench.pass(DAY);
    present(&mut bench, "b2");
    let alive = bench.run(spec(0, [each(&[], None)]));
    assert_eq!(bots_of(&bench, alive), ["b2"]);
    let all = bench.run(spec(0, [each(&[], Some(DAY))]));
    assert_eq!(bots_of(&bench, all), ["b1", "b2"]);
    bench.pass(GRACE * 2);
    let offline = shard(all, 0, 0);
    assert_eq!(bench.state(offline), ShardState::Pending, "there is no bot that fits, and it waits");
    let [lease] = bench.bot("b1", vec![])[..] else { panic!("it is back") };
    assert_eq!(lease.shard, offline);
    bench.bot("b1", vec![finished(lease, 0)]);
    bench.pass(DAY);
    assert_eq!(bench.state(shard(all, 0, 1)), ShardState::Ended(Ending::Expired));
    assert_eq!(bench.run_state(all), RunState::Incomplete);
}

#[test]
fn a_lost_shard_waits_for_the_same_bot() {
    let mut bench = Bench::new();
    present(&mut bench, "b1");
    present(&mut bench, "b2");
    let run = bench.run(spec(0, [each(&["id=b1"], None)]));
    bench.bot("b1", vec![]);
    assert_eq!(bench.bot("b2", vec![]), []);
    let [again] = bench.call(report("b1", "s2", vec![]))[..] else { panic!("nobody else can have it") };
    assert_eq!((again.shard, again.attempt), (shard(run, 0, 0), 2));
}

#[test]
fn no_bot_that_fits_is_a_refusal_that_says_what_keeps_them_away() {
    let mut bench = Bench::new();
    let refused = |bench: &mut Bench, step| try_run(bench, "r", spec(0, [step])).unwrap_err().to_string();
    assert!(refused(&mut bench, each(&[], None)).contains("none has called yet"));
    present(&mut bench, "b1");
    bench.pass(TTL * 2);
    present(&mut bench, "b2");
    let why = refused(&mut bench, each(&["os=Mac", "id=b2"], None));
    assert!(
        why.starts_with(
            "steps[0] has a shard for each bot that fits, and none does: `id=b2` keeps 1 away, `os=Mac` keeps 2 away, \
             having been silent for more than 30s keeps 1 away"
        ),
        "{why}"
    );
    assert!(bench.records.is_empty());
}

#[test]
fn a_repeated_request_finds_its_run_though_other_bots_are_there_by_now() {
    let mut bench = Bench::new();
    present(&mut bench, "b1");
    let run = try_run(&mut bench, "r", spec(0, [each(&[], None)])).unwrap();
    present(&mut bench, "b2");
    bench.restart();
    let records = bench.records.len();
    assert_eq!(try_run(&mut bench, "r", spec(0, [each(&[], None)])), Ok(run));
    assert_eq!(bench.records.len(), records);
    let other = try_run(&mut bench, "r", spec(0, [each(&["os=Linux"], None)]));
    assert!(matches!(other, Err(Refusal::RequestReused { .. })));
}

#[test]
fn after_a_restart_bots_have_time_to_call_before_each_of_them_is_asked_for() {
    let mut bench = Bench::new();
    let fresh = bench.replayed();
    assert_eq!(fresh.presence.no_roll_call_before, proto::Timestamp::default(), "nobody waits for a new one");
    bench.run(spec(0, [step(1, &[])]));
    bench.bot("b1", vec![]);
    bench.restart();
    present(&mut bench, "b2");
    let refused = try_run(&mut bench, "r", spec(0, [each(&[], None)])).unwrap_err();
    assert_eq!(refused, Refusal::Gathering { wait: Duration::from_secs(15) });
    assert!(refused.to_string().ends_with("in 15s"), "{refused}");
    bench.now = bench.now + Duration::from_secs(15);
    assert!(try_run(&mut bench, "r", spec(0, [each(&[], None)])).is_ok());
}

#[test]
fn no_more_bots_are_asked_for_than_may_be_pending() {
    let mut bench = Bench::with(Tuning { most_pending: 1, ..TUNING });
    present(&mut bench, "b1");
    present(&mut bench, "b2");
    let full = try_run(&mut bench, "r", spec(0, [each(&[], None)]));
    assert_eq!(full, Err(Refusal::Full { pending: 0, most: 1 }));
    assert!(try_run(&mut bench, "r", spec(0, [each(&["id=b1"], None)])).is_ok());
}

#[test]
fn shards_for_bots_are_explained_by_these_bots() {
    let mut bench = Bench::new();
    for bot in ["b1", "b2", "b3", "other"] {
        present(&mut bench, bot);
    }
    bench.run(spec(0, [step(2, &[])]));
    bench.bot("b1", vec![]);
    let run = bench.run(spec(1, [each(&["id=b1|b2|b3"], None)]));
    bench.restart();
    bench.pass(TTL / 2);
    let [lease] = bench.desired(&"b1".parse().unwrap(), &"s1".parse().unwrap())[..] else {
        panic!("a lease")
    };
    bench.bot("b1", vec![running(lease)]);
    bench.call(BotReport { draining: true, ..report("b2", "s1", vec![]) });
    let explained = bench.queue.explain(Subject::Run(run), bench.now).unwrap();
    let [explained] = &explained[..] else { panic!("one for all of them") };
    assert_eq!(
        explained.to_string(),
        "3 shards wait, each for its bot: 0 free, 1 busy, `the bot has not called since the scheduler started` keeps 1 \
         away, `the bot is draining` keeps 1 away"
    );
    assert_eq!((explained.place.ahead, explained.no_resource), (1, None));
    let one = bench.queue.explain(Subject::Shard(shard(run, 0, 1)), bench.now).unwrap().remove(0);
    assert_eq!(one.bots.obstacles[0].bots, ["b2".parse().unwrap()]);
}

#[test]
fn evaluation_counts_the_bots() {
    let mut bench = Bench::new();
    present(&mut bench, "b1");
    bench.pass(TTL * 2);
    present(&mut bench, "b2");
    let evaluate = |bench: &Bench, step| {
        let (run, request) = (RunId::new(bench.now, 1), "r".parse().unwrap());
        let trigger = Trigger { run, request, spec: Arc::new(spec(0, [step])), reuses: vec![] };
        bench.queue.evaluate(&trigger, bench.now).map(|evaluation| evaluation.shards)
    };
    assert_eq!(evaluate(&bench, each(&[], None)), Ok(1));
    assert_eq!(evaluate(&bench, each(&[], Some(DAY))), Ok(2));
    assert!(matches!(evaluate(&bench, each(&["os=Mac"], None)), Err(Refusal::NoBot { .. })));
}

#[test]
fn a_bot_looks_at_no_group_that_asks_for_another_bot() {
    let mut pending = pending::Pending::default();
    let (since, none) =
        (proto::Timestamp::from_micros(1), pending::Turn { lease: 0, since: proto::Timestamp::default() });
    let of = |index| shard(RunId::new(since, 1), 0, index);
    let line = pending::LineName { priority: 0, name: "u", order: crate::pools::Order::Fifo };
    for index in 0..1000u32 {
        let claim = pending::Claim { line, shard: of(index) };
        pending.insert(claim, &slice(&[&format!("id=b{index}")]), since, none);
    }
    let looks = std::cell::Cell::new(0);
    let look = |_| {
        looks.set(looks.get() + 1);
        false
    };
    let mut dimensions = proto::Dimensions::default();
    dimensions.insert("id", "b7").unwrap();
    assert_eq!((pending.best(&dimensions, since, look), looks.get()), (Some(of(7)), 1));
    for index in 0..1000u32 {
        let claim = pending::Claim { line, shard: of(index) };
        pending.remove(claim, &slice(&[&format!("id=b{index}")]), since);
    }
    assert_eq!(pending, pending::Pending::default(), "nothing is left behind");
}

#[test]
fn shards_with_items_are_deduped_by_these_wherever_they_stood() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [items(&["a", "b", "c"], 2)]));
    let mut held = vec![];
    while let [lease] = bench.bot("b", held)[..] {
        held = vec![finished(lease, 0)];
    }
    assert_eq!(bench.run_state(run), RunState::Succeeded);
    let reused = |bench: &Bench, step| {
        let reuses = bench.queue.reusable(&spec(0, [step]), bench.now);
        reuses.iter().map(|reuse| (reuse.index, reuse.from.index)).collect::<Vec<_>>()
    };
    assert_eq!(reused(&bench, items(&["a", "b", "c"], 2)), [(0, 0), (1, 1)]);
    assert_eq!(
        reused(&bench, items(&["c", "x", "a", "b", "c"], 2)),
        [(1, 0), (2, 1)],
        "the list has changed"
    );
    assert_eq!(reused(&bench, items(&["a", "b", "c"], 1)), [(2, 1)], "`c` was alone before");
    assert_eq!(reused(&bench, items(&["ab"], 1)), [], "other words");
    assert_eq!(reused(&bench, StepSpec { extra_args: vec!["-v".into()], ..items(&["c"], 1) }), []);
    assert_eq!(reused(&bench, StepSpec { idempotent: true, ..step(2, &[]) }), []);
    bench.apply(Event::Delete { run }).unwrap();
    assert!(bench.queue.state.successes.is_empty(), "what it led to is forgotten");
}

#[test]
#[ignore = "says how long something takes: make bench-scheduler PARTS=fan_out"]
fn each_of_ten_thousand_bots_is_asked_for_at_once() {
    const BOTS: usize = 10_000;
    let clock = SystemClock::new();
    let mut bench = Bench::with(Tuning { most_pending: 200_000, ..TUNING });
    for bot in 0..BOTS {
        bench.bot(&format!("b{bot}"), vec![]);
    }
    let start = clock.elapsed();
    let run = bench.run(spec(0, [each(&["os=Linux"], None)]));
    let triggered = clock.elapsed();
    // As the shell offers them to the bots that wait.
    for bot in 0..BOTS {
        let (bot, session) = (format!("b{bot}").parse().unwrap(), "s1".parse().unwrap());
        bench.apply(Event::Ask { bot, session }).unwrap();
    }
    let asked = clock.elapsed();
    assert_eq!((bench.queue.pending(), bench.queue.running()), (0, BOTS));
    let explained = bench.queue.explain(Subject::Run(run), bench.now).unwrap();
    assert_eq!(explained, []);
    let record = crate::wire::record::encode(&bench.records[0]).len();
    println!(
        "a shard for each of 10,000 bots: {:.1?} to make ({record} bytes of journal), {:.1?} until each has its own",
        triggered - start,
        asked - triggered
    );
}
