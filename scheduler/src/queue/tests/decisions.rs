//! What a decision costs when much is pending.

use super::super::{testing::*, *};
use proto::limits;
use runtime::{Clock as _, SystemClock};
use rustix::time::{ClockId, clock_gettime};
use std::{sync::Arc, time::Duration};

/// Distinct sets of requirements. A bot fits two of them.
const SETS: usize = 200;

/// Users, each of whom has runs with a step for each set of requirements.
const USERS: usize = 5;

/// Decisions that are timed together, and how often: what others do on the machine meanwhile is in few of them.
const TOGETHER: usize = 200;
const TIMES: usize = 50;

/// A run that asks for everything, `shards` times.
fn of_all_sets(user: usize, shards: u32) -> RunSpec {
    let steps = (0..SETS).map(|set| {
        let pool = format!("pool=p{}", set / 2);
        step(shards, &[pool.as_str(), "os=Linux"][..1 + set % 2])
    });
    RunSpec { user: format!("user {user}"), ..spec(100, steps) }
}

fn call(bench: &mut Bench, pool: usize, held: Vec<Held>) -> LeaseRef {
    let name = format!("b{pool}");
    let mut report = report(&name, "s1", held);
    Arc::make_mut(&mut report.dimensions).insert("pool", &format!("p{pool}")).unwrap();
    bench.call(report)[0]
}

/// The median time of a report and the lease that follows, with so many shards pending.
fn decision(pending: usize) -> Duration {
    let clock = SystemClock::new();
    let mut bench = Bench::with(Tuning { most_pending: 2_000_000, ..TUNING });
    let of_step = pending / SETS / USERS;
    let runs = (of_step * SETS).div_ceil(limits::MAX_SHARDS_PER_RUN as usize);
    for user in (0..USERS).flat_map(|user| std::iter::repeat_n(user, runs)) {
        bench.run(of_all_sets(user, u32::try_from(of_step / runs).unwrap()));
    }
    assert_eq!(bench.queue.pending(), pending);
    let mut held: Vec<LeaseRef> = (0..SETS / 2).map(|pool| call(&mut bench, pool, vec![])).collect();
    let mut took = Vec::new();
    for _ in 0..TIMES {
        // As many shards as are taken.
        bench.run(of_all_sets(0, 1));
        let start = clock.elapsed();
        for number in 0..TOGETHER {
            let pool = number % held.len();
            held[pool] = call(&mut bench, pool, vec![finished(held[pool], 0)]);
        }
        took.push(clock.elapsed() - start);
    }
    took.sort_unstable();
    took[TIMES / 2] / u32::try_from(TOGETHER).unwrap()
}

#[test]
#[ignore = "says how long something takes: make bench-scheduler PARTS=decisions"]
fn a_decision_among_a_million_takes_less_than_twice_as_long_as_among_a_thousand() {
    let [few, some, many] = [1000, 30_000, 1_000_000].map(decision);
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    let verdict = if ratio < 2.0 { "met" } else { "MISSED" };
    println!(
        "report and next lease, 200 sets of requirements: {few:.1?} with 1,000 pending, {some:.1?} with 30,000, \
         {many:.1?} with 1,000,000: {ratio:.2} x (below 2) {verdict}"
    );
    assert!(ratio < 2.0, "time per decision grows by {ratio:.2}");
}

/// Of this thread so far: what others do on the machine is not in it.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

#[test]
#[ignore = "says how long something takes: make bench-scheduler PARTS=decisions"]
fn a_trigger_of_100_000_shards_keeps_others_from_the_queue_for_less_than_50_ms() {
    let mut bench = Bench::with(Tuning { most_pending: 2_000_000, ..TUNING });
    bench.run(spec(100, [step(20_000, &["os=Linux"])]));
    let mut held: Vec<Duration> = Vec::new();
    for number in 0..9 {
        let asked = [&[][..], &["os=Linux"], &["os=Mac"]][number % 3];
        let spec = Arc::new(RunSpec { user: format!("user {number}"), ..spec(100, [step(100_000, asked)]) });
        let run = proto::RunId::new(bench.now, u32::try_from(number).unwrap() + 1000);
        let request = format!("large-{number}").parse().unwrap();
        let began = processor_time();
        let trigger = Trigger { run, request, spec, reuses: vec![] };
        drop(bench.queue.apply(Event::Trigger(trigger), bench.now).unwrap());
        held.push(processor_time() - began);
    }
    held.sort_unstable();
    let (median, longest) = (held[held.len() / 2], held[held.len() - 1]);
    let verdict = if longest < Duration::from_millis(50) { "met" } else { "MISSED" };
    println!(
        "trigger of 100,000 shards, up to 820,000 pending: the queue is held for {median:.1?}, {longest:.1?} at most, \
         of processor time (below 50 ms) {verdict}"
    );
    assert!(longest < Duration::from_millis(50), "{longest:?}");
}
