//! Users take turns, and what waits for long is not forgotten.

use super::super::{
    pending::{AGING, Claim, LineName, Pending, Turn},
    testing::*,
    *,
};
use crate::pools::Order;
use proptest::prelude::*;
use proto::{RunId, ShardId, Timestamp};
use std::{cell::Cell, collections::BTreeMap, time::Duration};

fn of_user(user: &str, priority: u8, shards: u32) -> RunSpec {
    RunSpec { user: user.into(), ..spec(priority, [step(shards, &[])]) }
}

/// Whose shards one bot gets, in order, until there are none.
fn served(bench: &mut Bench) -> Vec<String> {
    let mut users = vec![];
    let mut held = vec![];
    while let [lease] = bench.bot("b", held)[..] {
        users.push(bench.queue.run(lease.shard.run).unwrap().spec.user.clone());
        held = vec![finished(lease, 0)];
    }
    users
}

#[test]
fn who_comes_later_does_not_wait_for_all_of_a_large_run() {
    let mut bench = Bench::new();
    bench.run(of_user("ann", 100, 4));
    bench.pass(Duration::from_secs(1));
    bench.run(of_user("bob", 100, 2));
    bench.run(of_user("eve", 99, 1));
    assert_eq!(served(&mut bench).join(" "), "eve ann bob ann bob ann ann");
}

#[test]
fn turns_are_taken_across_requirements_and_survive_a_restart() {
    let mut bench = Bench::new();
    let two_steps = [step(2, &["os=Linux"]), step(2, &["id=b"])];
    bench.run(RunSpec { user: "ann".into(), ..spec(100, two_steps) });
    bench.run(of_user("bob", 100, 2));
    bench.bot("b", vec![]);
    bench.restart();
    bench.pass(TTL);
    // The first shard of ann is lost and pending again.
    assert_eq!(served(&mut bench).join(" "), "bob ann bob ann ann ann");
}

#[test]
fn what_is_less_urgent_gets_a_bot_when_it_has_waited_long_enough() {
    let mut bench = Bench::new();
    let patient = bench.run(of_user("patient", 3, 2));
    bench.run(of_user("urgent", 0, 20));
    let mut held = vec![];
    for minute in 0.. {
        let [lease] = bench.bot("b", held)[..] else { panic!() };
        if lease.shard.run == patient {
            assert_eq!(minute, 5, "three steps, one to be sooner, and one that the others wait, too");
            let place = bench.queue.explain(Subject::Run(patient), bench.now).unwrap()[0].place.clone();
            assert_eq!(place.to_string(), "priority 3", "one shard, then it waits anew");
            break;
        }
        for _ in 0..6 {
            bench.pass(AGING / 6);
            bench.bot("b", vec![running(lease)]);
        }
        held = vec![finished(lease, 0)];
    }
}

#[test]
fn explain_says_why_a_shard_has_its_place() {
    let mut bench = Bench::new();
    let ann = bench.run(of_user("ann", 100, 5));
    let bob = bench.run(of_user("bob", 100, 3));
    bench.run(of_user("eve", 50, 2));
    bench.bot("b", vec![]);
    let place = |run, now| bench.queue.explain(Subject::Run(run), now).unwrap()[0].place.clone();
    assert_eq!(place(ann, bench.now).ahead, 1, "the other one of eve");
    assert_eq!(place(bob, bench.now).ahead, 2, "and ann's first");
    assert_eq!(place(ann, bench.now).to_string(), "priority 100, taking turns with 1 other user");
    let last = Subject::Shard(shard(ann, 0, 4));
    assert_eq!(bench.queue.explain(last, bench.now).unwrap()[0].place.ahead, 1 + 4 + 3);
    let later = place(bob, bench.now + AGING * 3).to_string();
    assert!(later.starts_with("priority 100, counted as 97 because"), "{later}");
}

#[test]
fn a_decision_looks_at_as_many_shards_with_many_pending_as_with_few() {
    let mut dimensions = proto::Dimensions::default();
    dimensions.insert("os", "Linux").unwrap();
    let looks = |shards: u32, order: [Order; 2]| {
        let mut pending = Pending::default();
        let since = Timestamp::from_micros(1);
        for index in 0..shards {
            let shard = ShardId { run: RunId::new(since, index % 7), step: 0, index };
            let user = format!("user {}", index % 1000);
            let asked = slice(&["os=Linux", "os=Linux|Mac"][..1 + index as usize % 2]);
            let (priority, order) = (u8::try_from(index % 5).unwrap(), order[index as usize % 2]);
            let claim = Claim { line: LineName { priority, name: &user, order }, shard };
            pending.insert(claim, &asked, since, Turn { lease: 0, since });
        }
        let looks = Cell::new(0);
        let look = |_| {
            looks.set(looks.get() + 1);
            false
        };
        pending.best(&dimensions, since, look).unwrap();
        looks.get()
    };
    let fifo = |shards| looks(shards, [Order::Fifo; 2]);
    assert_eq!((fifo(100), fifo(20_000)), (10, 10), "one for each priority of each set of requirements");
    let both = |shards| looks(shards, [Order::Fifo, Order::Lifo]);
    assert_eq!((both(100), both(20_000)), (10, 10));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// As long as two users have shards of one priority waiting, neither gets two more than the other.
    #[test]
    fn users_that_wait_get_equal_shares(
        runs in proptest::collection::vec((0..4usize, 1..8u32, any::<bool>()), 1..10),
    ) {
        let mut bench = Bench::new();
        let mut left: BTreeMap<String, u32> = BTreeMap::new();
        for (user, shards, two_groups) in runs {
            let user = format!("user {user}");
            let steps = [step(shards, &[]), step(shards, &["os=Linux"])];
            let steps = steps.into_iter().take(1 + usize::from(two_groups));
            bench.run(RunSpec { user: user.clone(), ..spec(7, steps) });
            *left.entry(user).or_default() += shards * (1 + u32::from(two_groups));
        }
        let mut got: BTreeMap<String, u32> = left.keys().map(|user| (user.clone(), 0)).collect();
        for user in served(&mut bench) {
            *left.get_mut(&user).unwrap() -= 1;
            *got.get_mut(&user).unwrap() += 1;
            let waiting = got.iter().filter(|(user, _)| left[*user] > 0).map(|(_, got)| *got);
            let (least, most) = (waiting.clone().min().unwrap_or(0), waiting.max().unwrap_or(0));
            prop_assert!(most - least <= 1, "{got:?}, left {left:?}");
        }
        prop_assert!(left.values().all(|left| *left == 0));
        prop_assert_eq!(&bench.queue.state.pending, &Pending::default());
    }
}
