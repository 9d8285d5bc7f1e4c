//! Who gets what, and when.

use super::super::{testing::*, *};

#[test]
fn lower_priority_goes_first_and_then_the_older_run() {
    let mut bench = Bench::new();
    let late = bench.run(spec(200, [step(1, &[])]));
    let first = bench.run(spec(100, [step(2, &[]), step(1, &[])]));
    let second = bench.run(spec(100, [step(1, &[])]));
    let mut order = vec![];
    let mut held = vec![];
    while let [lease] = bench.bot("b", held)[..] {
        order.push(lease.shard);
        held = vec![finished(lease, 0)];
    }
    let expected =
        [shard(first, 0, 0), shard(first, 0, 1), shard(first, 1, 0), shard(second, 0, 0), shard(late, 0, 0)];
    assert_eq!(order, expected);
}

#[test]
fn priority_decides_across_requirements() {
    let mut bench = Bench::new();
    bench.run(spec(100, [step(1, &["os=Linux"])]));
    let soon = bench.run(spec(50, [step(1, &["os=Linux|Mac", "id=b"])]));
    assert_eq!(bench.bot("b", vec![])[0].shard, shard(soon, 0, 0));
}

#[test]
fn a_bot_gets_only_what_it_fits() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(1, &["os=Mac"])]));
    let fits = bench.run(spec(255, [step(1, &["os=Mac|Linux"])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    assert_eq!(lease.shard, shard(fits, 0, 0));
    assert_eq!(bench.bot("b", vec![finished(lease, 0)]), []);
}

#[test]
fn slots_are_respected_and_filled_one_call_after_the_other() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(5, &[])]));
    let call = |bench: &mut Bench, held| bench.call(BotReport { slots: 2, ..report("b", "s1", held) });
    let one = call(&mut bench, vec![]);
    assert_eq!(one.len(), 1);
    let two = call(&mut bench, vec![running(one[0])]);
    assert_eq!(two.len(), 2);
    let held = two.iter().map(|lease| running(*lease)).collect();
    assert_eq!(call(&mut bench, held), two, "no more than its slots");
    let held = two.iter().map(|lease| finished(*lease, 0)).collect();
    assert_eq!(call(&mut bench, held).len(), 2, "as many as it has just finished");
}

#[test]
fn a_bot_that_is_still_stopping_something_has_no_room_for_more() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(2, &[])]));
    let stray = LeaseRef { token: Token(99), ..bench.bot("other", vec![])[0] };
    assert_eq!(bench.bot("b", vec![running(stray)]), []);
    assert_eq!(bench.bot("b", vec![]).len(), 1);
}

#[test]
fn a_draining_bot_keeps_what_it_has_and_gets_nothing_new() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(3, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    let drain = |held| BotReport { draining: true, slots: 2, ..report("b", "s1", held) };
    assert_eq!(bench.call(drain(vec![running(lease)])), [lease]);
    assert_eq!(bench.call(drain(vec![finished(lease, 0)])), []);
}

#[test]
fn a_bot_that_is_unfit_by_its_own_word_gets_nothing_until_it_is_fit_again() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(3, &[])]));
    let [lease] = bench.bot("b", vec![])[..] else { panic!() };
    let unfit = |condition, held| BotReport { condition, slots: 2, ..report("b", "s1", held) };
    let why =
        |words: &str| Condition { quarantined: words.into(), state: "{}".into(), ..Condition::default() };
    assert_eq!(bench.call(unfit(why("disk full"), vec![running(lease)])), [lease], "it keeps what it has");
    assert_eq!(bench.call(unfit(why("disk full"), vec![finished(lease, 0)])), []);
    let criteria = |bench: &Bench| {
        let steps = bench.queue.explain(Subject::Run(run), bench.now).unwrap();
        steps[0].bots.obstacles.iter().map(|obstacle| obstacle.criterion.clone()).collect::<Vec<_>>()
    };
    assert_eq!(criteria(&bench), ["the bot has quarantined itself: disk full"]);
    let is = |bench: &Bench, state| {
        let (id, bot) = bench.queue.bots().next().unwrap();
        bench.queue.bot_is(id, bot, state, bench.now)
    };
    assert!(is(&bench, BotState::Quarantined) && !is(&bench, BotState::Idle));
    let maintenance = Condition { maintenance: "new disk".into(), ..Condition::default() };
    assert_eq!(bench.call(unfit(maintenance, vec![])), []);
    assert_eq!(criteria(&bench), ["the bot is in maintenance: new disk"]);
    assert!(is(&bench, BotState::Maintenance) && !is(&bench, BotState::Quarantined));
    assert_eq!(bench.queue.bots().next().unwrap().1.condition.state, "{}", "what was said last stands");
    let notice = Condition { notice: "an update failed".into(), ..Condition::default() };
    assert_eq!(bench.call(unfit(notice, vec![])).len(), 1);
}

#[test]
fn a_bot_that_waits_gets_work_by_asking() {
    let mut bench = Bench::new();
    assert_eq!(bench.bot("b", vec![]), []);
    let run = bench.run(spec(0, [step(2, &[])]));
    let ask = |session: &str| Event::Ask { bot: "b".parse().unwrap(), session: session.parse().unwrap() };
    assert!(bench.apply(ask("other")).unwrap().records.is_empty(), "not in another session");
    assert_eq!(bench.apply(ask("s1")).unwrap().records.len(), 1);
    assert_eq!(bench.state(shard(run, 0, 0)), ShardState::Running);
    assert!(bench.apply(ask("s1")).unwrap().records.is_empty(), "its slot is taken");
}

#[test]
fn a_bot_that_was_silent_for_long_is_forgotten() {
    let mut bench = Bench::new();
    bench.bot("b", vec![]);
    bench.pass(TTL * 2);
    let (_, bot) = bench.queue.bots().next().unwrap();
    assert!(bench.queue.is_dead(bot, bench.now));
    bench.pass(std::time::Duration::from_secs(8 * 24 * 3600));
    assert_eq!(bench.queue.bots().count(), 0);
}

#[test]
fn explain_names_what_keeps_bots_away() {
    let mut bench = Bench::new();
    let ahead = bench.run(spec(0, [step(2, &["os=Mac"])]));
    let run = bench.run(spec(1, [step(3, &["os=Linux"]), step(1, &["os=Mac", "gpu=a|b"])]));
    let explain = |bench: &Bench, subject| bench.queue.explain(subject, bench.now).unwrap();
    let nobody = explain(&bench, Subject::Run(ahead));
    assert_eq!(nobody[0].to_string(), "2 shards wait and no bot has called since the scheduler started");

    bench.bot("b1", vec![]);
    bench.call(BotReport { draining: true, ..report("b2", "s1", vec![]) });
    let [linux, mac] = &explain(&bench, Subject::Run(run))[..] else { panic!() };
    assert_eq!(
        (linux.step, linux.pending.as_slice(), linux.place.ahead),
        (0, &[1, 2][..], 0),
        "Macs are no rivals"
    );
    assert_eq!(linux.bots.busy, ["b1".parse().unwrap()]);
    assert_eq!(linux.bots.obstacles[0].criterion, "the bot is draining");
    assert_eq!(linux.to_string(), "2 shards wait: every bot that fits is busy (1)");
    let criteria: Vec<_> = mac.bots.obstacles.iter().map(|o| (o.criterion.as_str(), o.bots.len())).collect();
    assert_eq!(criteria, [("gpu=a|b", 2), ("os=Mac", 2), ("the bot is draining", 1)]);
    assert!(mac.to_string().contains("keeps 2 away"), "{mac}");

    bench.now = bench.now + TTL * 2;
    let one = explain(&bench, Subject::Shard(shard(run, 0, 2)));
    assert_eq!(one[0].pending, [2]);
    assert!(one[0].bots.obstacles.iter().any(|o| o.criterion == "the bot is dead" && o.bots.len() == 2));
    let unknown = bench.queue.explain(Subject::Shard(shard(run, 7, 0)), bench.now);
    assert!(matches!(unknown, Err(Refusal::UnknownShard { .. })));
}

#[test]
fn explain_counts_as_ahead_what_the_same_bots_could_take() {
    let mut bench = Bench::new();
    bench.run(spec(0, [step(3, &["os=Linux"]), step(4, &["os=Mac"]), step(2, &["os=Mac|Linux"])]));
    let run = bench.run(spec(1, [step(1, &["os=Linux"])]));
    bench.bot("b", vec![]);
    let [explained] = &bench.queue.explain(Subject::Run(run), bench.now).unwrap()[..] else { panic!() };
    assert_eq!(explained.place.ahead, 4, "one of the five that fit has been taken");
    assert_eq!(explained.to_string(), "1 shard waits behind 4 others: every bot that fits is busy (1)");
}

#[test]
fn explain_does_not_promise_a_shard_to_a_bot_that_leaves_it_to_others() {
    let mut bench = Bench::new();
    let run = bench.run(spec(0, [step(2, &[])]));
    let [lost] = bench.bot("b1", vec![])[..] else { panic!() };
    let [other] = bench.bot("b2", vec![])[..] else { panic!() };
    assert_eq!(bench.call(report("b1", "s2", vec![])), []);
    let explain = |bench: &Bench| bench.queue.explain(Subject::Run(run), bench.now).unwrap().remove(0);
    let left = explain(&bench);
    assert_eq!((left.pending.as_slice(), left.bots.free.as_slice()), (&[lost.shard.index][..], &[][..]));
    assert_eq!(left.bots.busy, ["b2".parse().unwrap()]);
    assert_eq!(left.bots.obstacles[0].bots, ["b1".parse().unwrap()]);
    bench.pass(TTL - std::time::Duration::from_secs(1));
    bench.bot("b2", vec![running(other)]);
    bench.pass(std::time::Duration::from_secs(1));
    assert_eq!(explain(&bench).bots.free, ["b1".parse().unwrap()], "its turn has come");
}

#[test]
fn the_oldest_pending_shard_is_found_behind_one_that_waits_anew() {
    let mut bench = Bench::new();
    let since = bench.now;
    bench.run(spec(0, [step(2, &[])]));
    assert_eq!(bench.queue.oldest_pending(), Some(since));
    bench.bot("b", vec![]);
    bench.pass(TTL);
    assert_eq!(bench.queue.pending(), 2);
    assert_eq!(bench.queue.oldest_pending(), Some(since), "the first has been lost and waits since now");
}

#[test]
fn a_bot_holds_no_more_than_fits_into_one_answer() {
    let mut bench = Bench::new();
    let arguments = vec!["x".repeat(500_000)];
    bench.run(spec(0, [StepSpec { extra_args: arguments, ..step(100, &[]) }]));
    let call = |bench: &mut Bench, held: &[LeaseRef]| {
        let held = held.iter().map(|lease| running(*lease)).collect();
        bench.call(BotReport { slots: 100, ..report("b", "s1", held) })
    };
    let mut held = vec![];
    loop {
        let more = call(&mut bench, &held);
        if more.len() == held.len() {
            break;
        }
        held = more;
    }
    assert!(held.len() * 500_000 < proto::limits::MAX_MESSAGE_BYTES * 3 / 4, "{}", held.len());
    let done = held.iter().map(|lease| finished(*lease, 0)).collect();
    assert!(!bench.call(BotReport { slots: 100, ..report("b", "s1", done) }).is_empty(), "it goes on");
}
