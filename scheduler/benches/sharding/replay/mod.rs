//! The traces that are files, replayed through the real scheduler, its journal and the protocol of real bots, whose
//! tests sleep: what the simulator leaves out.
//!
//! Time is scaled so that no run can end before [`seconds`]; what a runner takes to start is scaled with it. What calls,
//! the journal and the bots' gathering of reports take is not, so it weighs more than it would by the factor that is
//! printed, and so does the life of a lease.

mod log;
mod scene;
mod stage;

use crate::{
    fleet::Fleet,
    parts::{OVERHEAD, SIZES, simulate},
    table::{geometric_mean, pair, pair_head},
    trace::{FILES, Trace},
};
use proto::v1;
use runtime::{Clock as _, SystemClock};
use scene::{Killed, Ratios, Scene, Told};
use scheduler::sharding::{Estimates, Mode};
use std::time::Duration;

/// Bots of the replay; 500 of them are simulated only.
const REPLAYED: [usize; 2] = [SIZES[0], SIZES[1]];
/// The runs of each scene, in this order, and what makespan over lower bound may be on so many bots.
const KINDS: [(&str, [f64; 2]); 3] =
    [("no history", [1.15, 1.25]), ("history", [1.08, 1.12]), ("unequal bots", [1.15, 1.35])];

/// The lower bound of each run; `REPLAY_SECONDS` sets another.
fn seconds() -> f64 {
    std::env::var("REPLAY_SECONDS").map_or(12.0, |text| {
        let seconds = text.parse().ok().filter(|seconds| (1.0..=600.0).contains(seconds));
        seconds.unwrap_or_else(|| panic!("REPLAY_SECONDS={text}: give seconds between 1 and 600"))
    })
}

/// Whether a trace is to be replayed on so many bots: `REPLAY_SCENES="64/spec-files-1k 8/pytest-3k"` names those that
/// are, as `SIZE/TRACE`.
fn is_asked(size: usize, name: &str) -> bool {
    std::env::var("REPLAY_SCENES")
        .map_or(true, |scenes| scenes.split_whitespace().any(|scene| scene == format!("{size}/{name}")))
}

/// Both ways of running one trace on one number of bots.
struct Replayed {
    name: &'static str,
    size: usize,
    scale: f64,
    ours: [Told; 2],
}

/// See the module.
pub(crate) fn replay(traces: &[Trace]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let clock = SystemClock::new();
    let mut all = Vec::new();
    for (size, trace) in REPLAYED.into_iter().flat_map(|size| traces.iter().map(move |trace| (size, trace))) {
        if !FILES.contains(&trace.name) || !is_asked(size, trace.name) {
            continue;
        }
        let bound = (trace.total() / size as f64).max(trace.longest());
        let scale = (bound / seconds()).max(1.0);
        let (began, worked) = (clock.elapsed(), processor());
        eprintln!("replaying {} on {size} bots, {scale:.1} times as fast ...", trace.name);
        let scene = |mode| Scene { trace, size, mode, scale }.play();
        let (pull, process) =
            runtime.block_on(async { tokio::join!(scene(Mode::Pull), scene(Mode::Process)) });
        let (took, worked) = (clock.elapsed() - began, processor() - worked);
        for (mode, told) in [("pull", &pull), ("process", &process)] {
            let [cold, warm, unequal] = told.runs.map(|run| run.ratio);
            let killed = told.killed.map(|killed| (killed.ratio, killed.moved));
            eprintln!("  {mode}: {cold:.3} {warm:.3} {unequal:.3} {killed:.2?}");
        }
        eprintln!("  {:.0} s, of which processor time {:.1} s", took.as_secs_f64(), worked.as_secs_f64());
        all.push(Replayed { name: trace.name, size, scale, ours: [pull, process] });
    }
    print(traces, &all);
}

/// Processor time of this process.
fn processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn print(traces: &[Trace], all: &[Replayed]) {
    println!("\nreplayed by the scheduler and bots whose tests sleep; h = {OVERHEAD:?}");
    println!("a run's lower bound takes {} s: time runs so many times as fast", seconds());
    for replayed in all.iter() {
        println!("  N = {}, {:<24}{:>8.1}", replayed.size, replayed.name, replayed.scale);
    }
    pair_head();
    for (position, size) in REPLAYED.into_iter().enumerate() {
        let of_size: Vec<&Replayed> = all.iter().filter(|replayed| replayed.size == size).collect();
        if of_size.is_empty() {
            continue;
        }
        let guesses: Vec<_> = of_size.iter().map(|replayed| simulated(traces, replayed)).collect();
        for (kind, (name, targets)) in KINDS.into_iter().enumerate() {
            let real = |mode: usize, row: usize| of_size[row].ours[mode].runs[kind].ratio;
            let guess = |mode: usize, row: usize| guesses[row][mode][kind];
            for (row, replayed) in of_size.iter().enumerate() {
                let cells = [0, 1].map(|mode| (real(mode, row), Some(guess(mode, row))));
                pair(&format!("  N = {size}, {}, {name}", replayed.name), cells, None);
            }
            let mean =
                |of: &dyn Fn(usize) -> f64| geometric_mean(&(0..of_size.len()).map(of).collect::<Vec<_>>());
            let cells =
                [0, 1].map(|mode| (mean(&|row| real(mode, row)), Some(mean(&|row| guess(mode, row)))));
            pair(&format!("makespan / lower bound, N = {size}, {name}"), cells, Some(targets[position]));
        }
        costs(size, &of_size);
    }
    deaths(all);
    verdicts(all);
}

/// What the runs on so many bots cost, as parts of their test seconds.
fn costs(size: usize, of_size: &[&Replayed]) {
    for (kind, (name, _)) in KINDS.into_iter().enumerate() {
        let mean = |mode: usize, pick: fn(&Ratios) -> f64| {
            let values = of_size.iter().map(|replayed| pick(&replayed.ours[mode].runs[kind]));
            (values.sum::<f64>() / of_size.len() as f64, None)
        };
        let paid = [0, 1].map(|mode| mean(mode, |ratios| ratios.paid));
        pair(&format!("bot-seconds / test-seconds, N = {size}, {name}"), paid, Some(1.10));
        let doubled = [0, 1].map(|mode| mean(mode, |ratios| ratios.doubled * 100.0));
        pair(&format!("duplicates in percent, N = {size}, {name}"), doubled, Some(2.0));
    }
}

fn deaths(all: &[Replayed]) {
    let killed: Vec<(&Replayed, [Killed; 2])> = all
        .iter()
        .filter_map(|replayed| Some((replayed, [replayed.ours[0].killed?, replayed.ours[1].killed?])))
        .collect();
    if killed.is_empty() {
        return;
    }
    for (replayed, killed) in &killed {
        let cell = |mode: usize| (killed[mode].ratio, None);
        pair(&format!("  1 of {} killed, {}", replayed.size, replayed.name), [cell(0), cell(1)], None);
    }
    let mean = |mode: usize| {
        let ratios: Vec<f64> = killed.iter().map(|(_, killed)| killed[mode].ratio).collect();
        (geometric_mean(&ratios), None)
    };
    pair("makespan / undisturbed, 1 of 64 killed", [mean(0), mean(1)], Some(1.07));
    let slowest = |mode: usize| killed.iter().map(|(_, killed)| killed[mode].moved).fold(0.0, f64::max);
    let cells = [(slowest(0), None), (slowest(1), None)];
    pair("seconds until its tests were granted to others", cells, Some(5.0));
}

/// Each run was checked for itself: all that was listed has passed, once.
fn verdicts(all: &[Replayed]) {
    let sum = |pick: fn(&v1::TestCounts) -> u32| -> u64 {
        let counts = all.iter().flat_map(|replayed| &replayed.ours).flat_map(|told| &told.counts);
        counts.map(|counts| u64::from(pick(counts))).sum()
    };
    println!("tests listed {}, with one verdict, passed {}", sum(|c| c.listed), sum(|c| c.passed));
}

/// What the simulator makes of the same, by mode and kind.
fn simulated(traces: &[Trace], replayed: &Replayed) -> [[f64; KINDS.len()]; 2] {
    let trace = traces.iter().find(|trace| trace.name == replayed.name).unwrap();
    let ideal = || Fleet::ideal(replayed.size);
    [Mode::Pull, Mode::Process].map(|mode| {
        let ratio = |estimates: Estimates, fleet: Fleet| {
            let played = simulate(mode, trace, &estimates, &fleet);
            played.makespan / fleet.lower_bound(trace.total(), trace.longest())
        };
        let unequal = scene::unequal(replayed.size);
        [ratio(trace.cold(), ideal()), ratio(trace.warm(), ideal()), ratio(trace.warm(), unequal)]
    })
}
