//! The order within a pool, and between whom it is shared.

use super::super::{
    pending::{OLDEST_EACH, Pending},
    testing::*,
    *,
};
use crate::pools::{Order, Pool, Pools, ShareBy};
use proptest::prelude::*;
use proto::RunId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

fn pools(order: Order, share_by: &str) -> Pools {
    let share_by = ShareBy::try_from(share_by.to_owned()).unwrap();
    Pools::new(BTreeMap::from([("ci".to_owned(), Pool { order, share_by })]))
}

fn bench(order: Order, share_by: &str) -> Bench {
    let mut bench = Bench::new();
    bench.queue = Queue::new(TUNING).with_pools(pools(order, share_by));
    bench
}

/// A bot of both pools.
fn ask(bench: &mut Bench, held: Vec<Held>) -> Vec<LeaseRef> {
    let mut report = report("b", "s1", held);
    let dimensions = Arc::make_mut(&mut report.dimensions);
    dimensions.insert("pool", "ci").unwrap();
    dimensions.insert("pool", "other").unwrap();
    bench.call(report)
}

/// What the bot gets, one after the other.
fn served(bench: &mut Bench) -> Vec<proto::ShardId> {
    let (mut all, mut held) = (vec![], vec![]);
    while let [lease] = ask(bench, held)[..] {
        all.push(lease.shard);
        held = vec![finished(lease, 0)];
    }
    all
}

fn later(bench: &mut Bench, spec: RunSpec) -> RunId {
    bench.now = bench.now + Duration::from_secs(1);
    bench.run(spec)
}

#[test]
fn the_newest_run_goes_first_and_its_shards_in_their_order() {
    let mut bench = bench(Order::Lifo, "user");
    let old = later(&mut bench, spec(0, [step(2, &["pool=ci"])]));
    let new = later(&mut bench, spec(0, [step(1, &["pool=ci"]), step(1, &["pool=ci", "os=Linux"])]));
    assert_eq!(served(&mut bench), [shard(new, 0, 0), shard(new, 1, 0), shard(old, 0, 0), shard(old, 0, 1)]);
}

#[test]
fn priority_goes_before_age_and_other_pools_stay_as_they_are() {
    let mut bench = bench(Order::Lifo, "user");
    let urgent = later(&mut bench, spec(0, [step(1, &["pool=ci"])]));
    later(&mut bench, spec(1, [step(1, &["pool=ci"])]));
    let [lease] = ask(&mut bench, vec![])[..] else { panic!("a lease") };
    assert_eq!(lease.shard.run, urgent);
    let first = later(&mut bench, spec(0, [step(1, &["pool=other"])]));
    later(&mut bench, spec(0, [step(1, &["pool=other"])]));
    assert_eq!(ask(&mut bench, vec![finished(lease, 0)])[0].shard.run, first);
}

#[test]
fn the_oldest_run_is_served_though_newer_ones_never_cease() {
    let mut bench = bench(Order::Lifo, "user");
    let patient = later(&mut bench, spec(0, [step(2, &["pool=ci"])]));
    later(&mut bench, spec(0, [step(1, &["pool=ci"])]));
    let (mut held, mut got) = (vec![], vec![]);
    for number in 0..3 * OLDEST_EACH {
        let [lease] = ask(&mut bench, held)[..] else { panic!("there is always work") };
        if lease.shard.run == patient {
            got.push(number + 1);
        }
        later(&mut bench, spec(0, [step(1, &["pool=ci"])]));
        held = vec![finished(lease, 0)];
    }
    assert_eq!(got, [OLDEST_EACH, 2 * OLDEST_EACH]);
}

#[test]
fn teams_take_turns_whatever_their_users() {
    let mut bench = bench(Order::Fifo, "tag:team");
    let of = |user: &str, tags: &[&str], shards| RunSpec {
        user: user.into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        ..spec(0, [step(shards, &["pool=ci"])])
    };
    let ann = later(&mut bench, of("ann", &["team:web"], 3));
    let bob = later(&mut bench, of("bob", &["x:y", "team:web"], 2));
    let eve = later(&mut bench, of("eve", &["team:db"], 2));
    let (joe, sue) = (later(&mut bench, of("joe", &[], 1)), later(&mut bench, of("sue", &["teams:web"], 1)));
    let place = bench.queue.explain(Subject::Run(eve), bench.now).unwrap()[0].place.clone();
    assert_eq!(place.to_string(), "priority 0", "no bot is there, so nobody competes");
    ask(&mut bench, vec![]);
    let place = bench.queue.explain(Subject::Run(eve), bench.now).unwrap()[0].place.clone();
    assert_eq!(place.to_string(), "priority 0, taking turns by the tag `team:` with 2 more");
    let runs: Vec<RunId> = served(&mut bench).iter().map(|shard| shard.run).collect();
    assert_eq!(runs, [ann, eve, joe, ann, eve, sue, ann, bob, bob]);
}

#[test]
fn explain_says_that_the_newest_goes_first() {
    let mut bench = bench(Order::Lifo, "user");
    let old = later(&mut bench, spec(0, [step(2, &["pool=ci"])]));
    let new = later(&mut bench, spec(0, [step(3, &["pool=ci"])]));
    ask(&mut bench, vec![]);
    let place = |run| bench.queue.explain(Subject::Run(run), bench.now).unwrap()[0].place.clone();
    assert_eq!((place(new).ahead, place(old).ahead), (0, 2));
    assert_eq!(place(old).to_string(), "priority 0, the newest run first, but for one in 8 shards");
}

#[test]
fn another_order_after_a_restart_is_followed_and_no_record_is_in_its_way() {
    let mut bench = bench(Order::Lifo, "tag:team");
    let old = later(&mut bench, spec(0, [step(2, &["pool=ci"])]));
    let new = later(&mut bench, spec(0, [step(2, &["pool=ci"])]));
    let [lease] = ask(&mut bench, vec![])[..] else { panic!("a lease") };
    assert_eq!(lease.shard, shard(new, 0, 0));
    bench.restart();
    ask(&mut bench, vec![running(lease)]);
    assert_eq!(ask(&mut bench, vec![finished(lease, 0)])[0].shard, shard(old, 0, 0), "as without a pool");
    let mut back = Queue::new(TUNING).with_pools(pools(Order::Lifo, "tag:team"));
    bench.records.iter().for_each(|record| back.replay(record).unwrap());
    back.resume(bench.now);
    bench.queue = back;
    let [lease] = bench.desired(&"b".parse().unwrap(), &"s1".parse().unwrap())[..] else { panic!("a lease") };
    assert_eq!(ask(&mut bench, vec![finished(lease, 0)])[0].shard, shard(new, 0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order, each shard is served once, and nothing is left of the lines.
    #[test]
    fn every_shard_is_served_once_in_any_pool(
        runs in proptest::collection::vec((0..3u8, 0..3u8, 1..4u32, 0..3usize), 1..12),
        lifo in any::<bool>(),
        by_tag in any::<bool>(),
    ) {
        let order = if lifo { Order::Lifo } else { Order::Fifo };
        let mut bench = bench(order, if by_tag { "tag:team" } else { "user" });
        let mut all = std::collections::BTreeSet::new();
        for (priority, team, shards, pool) in runs {
            let asked = [&["pool=ci"][..], &["pool=other"], &["pool=ci|other"]][pool];
            let spec = RunSpec {
                user: format!("user {team}"),
                tags: vec![format!("team:{team}")],
                ..spec(priority, [step(shards, asked)])
            };
            let run = later(&mut bench, spec);
            all.extend((0..shards).map(|index| shard(run, 0, index)));
        }
        let served = served(&mut bench);
        prop_assert_eq!(served.len(), all.len());
        prop_assert_eq!(served.into_iter().collect::<std::collections::BTreeSet<_>>(), all);
        prop_assert_eq!(&bench.queue.state.pending, &Pending::default());
    }
}

#[test]
fn what_one_user_has_in_pools_of_different_orders_takes_turns() {
    let mut bench = bench(Order::Lifo, "user");
    let unpooled = bench.run(spec(0, [step(6, &[])]));
    let pooled = later(&mut bench, spec(0, [step(6, &["pool=ci"])]));
    let served = served(&mut bench);
    for run in [unpooled, pooled] {
        assert_eq!(served[..4].iter().filter(|shard| shard.run == run).count(), 2, "{served:?}");
    }
}
