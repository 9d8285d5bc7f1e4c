//! The queue in a simulated world: calls are lost, doubled, delayed and reordered, clocks jump, bots and the scheduler
//! crash. One seed is one history; `SIMULATION_SEED=N` repeats that of a test that failed.

mod fleet;
mod ledger;
mod scheduler;
mod users;
mod world;

use super::super::testing::TUNING;
use super::super::*;
use std::time::Duration;
use world::{Faults, Settings, World};

const MINUTE: Duration = Duration::from_secs(60);

/// Few bots, and hardly anything goes well for half an hour.
const ROUGH: Settings = Settings {
    tuning: TUNING,
    bots: 6,
    pulse: Duration::from_secs(1),
    horizon: Duration::from_secs(30 * 60),
    runs_each: Duration::from_secs(40),
    most_shards: 6,
    most_runtime: Duration::from_secs(60),
    faults: Faults {
        lost: 20,
        doubled: 20,
        late: 20,
        bot_crash: Some(MINUTE),
        bot_freeze: Some(Duration::from_secs(100)),
        scheduler_crash: Some(Duration::from_secs(80)),
        jump: Some(Duration::from_secs(150)),
    },
};

fn history(seed: u64, settings: &Settings) -> World {
    let mut world = World::new(seed, settings.clone());
    world.run();
    world
}

/// Seeds of this run of the test: the one that is asked for, or all of them.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SIMULATION_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..count,
    }
}

#[test]
fn every_shard_ends_exactly_once_in_every_history() {
    let (mut shards, mut lost, mut crashes) = (0, 0, 0);
    for seed in seeds(150) {
        let world = history(seed, &ROUGH);
        shards += world.ledger.ended();
        lost += world.ledger.lost;
        crashes += world.crashes;
    }
    // Something did happen.
    if std::env::var("SIMULATION_SEED").is_err() {
        assert!(
            shards > 16_000 && lost > 2000 && crashes > 1000,
            "{shards} shards, {lost} lost, {crashes} crashes"
        );
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let bytes = |seed| history(seed, &ROUGH).journal.concat();
    let seed = seeds(8).start + 3;
    assert_eq!(bytes(seed), bytes(seed));
    assert_ne!(bytes(seed), bytes(seed + 1));
}

/// A fleet that no test machine has: a hundred thousand bots, a million shards that come in bursts. `SIMULATION_HOURS=1`
/// shows within seconds where the time goes.
#[test]
#[ignore = "takes minutes: make bench-scheduler PARTS=simulation"]
fn a_hundred_thousand_bots_for_a_day() {
    let lease_ttl = MINUTE * 45;
    let hours = std::env::var("SIMULATION_HOURS").map_or(24, |hours| hours.parse().unwrap());
    let settings = Settings {
        tuning: Tuning { lease_ttl, most_pending: 2_000_000, retain_for: Some(MINUTE * 60), ..TUNING },
        bots: 100_000,
        pulse: Duration::from_secs(10),
        horizon: MINUTE * 60 * hours,
        runs_each: Duration::from_secs(60),
        most_shards: 600,
        most_runtime: MINUTE * 20,
        faults: Faults {
            lost: 1000,
            doubled: 1000,
            late: 1000,
            bot_crash: Some(Duration::from_secs(20)),
            bot_freeze: Some(Duration::from_secs(20)),
            scheduler_crash: Some(MINUTE * 60 * 6),
            jump: Some(MINUTE * 60 * 5),
        },
    };
    let world = history(seeds(1).start, &settings);
    // What others do on the machine meanwhile is not in it.
    let took = processor_seconds();
    let verdict = if took < 300 { "met" } else { "MISSED" };
    println!(
        "100,000 bots for {hours} h: {} calls, {} shards, {} attempts lost, {} crashes of the scheduler, {} records; \
         every shard ended once; {took} s of one processor (at most 300) {verdict}",
        world.calls,
        world.ledger.ended(),
        world.ledger.lost,
        world.crashes,
        world.journal.len()
    );
    assert!(took < 300, "{took} s");
}

/// Of this process so far.
fn processor_seconds() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, the 12th and 13th: in its own code and in the kernel, in 100ths of a second.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() / 100
}
