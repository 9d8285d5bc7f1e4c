//! The traces that are files, replayed through the real scheduler, its journal and the protocol of real bots, whose
//! tests sleep: what the simulator leaves out.
//!
//! The clock of the scheduler and of the bots runs so fast that the lower bound of each run takes [`seconds`] of the host's:
//! tests, runners' starts, calls that are held back, gathered reports and leases last as long as they would. What this host
//! takes for a call, a decision and a sync of the journal is not scaled: it weighs more than it would by the factor that is
//! printed.

mod hurried;
mod log;
mod scene;
mod stage;

use crate::{
    fleet::Fleet,
    parts::{OVERHEAD, SIZES, simulate},
    table::{geometric_mean, pair, pair_head},
    trace::{FILES, Trace},
};
use futures::{StreamExt as _, future::join_all, stream};
use proto::v1;
use runtime::{Clock as _, SystemClock};
use scene::{Ratios, Scene, Told};
use scheduler::sharding::{Estimates, Mode};
use std::time::Duration;

/// Bots of the replay; 500 of them are simulated only.
const REPLAYED: [usize; 2] = [SIZES[0], SIZES[1]];
/// The runs of each scene, in this order, and what makespan over lower bound may be on so many bots.
const KINDS: [(&str, [f64; 2]); 3] =
    [("no history", [1.15, 1.25]), ("history", [1.08, 1.12]), ("unequal bots", [1.15, 1.35])];

/// Runs in which a bot dies, of each trace on the larger number of bots: the first that the simulator draws.
const DEATHS: u64 = 4;

/// What the lower bound of each run takes of the host's time; `REPLAY_SECONDS` sets another.
fn seconds() -> f64 {
    std::env::var("REPLAY_SECONDS").map_or(20.0, |text| {
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
        let scenes = [Mode::Pull, Mode::Process].map(|mode| Scene { trace, size, mode, scale });
        let ours = runtime.block_on(async {
            let mut ours = join_all(scenes.iter().map(Scene::play)).await;
            if size == REPLAYED[1] {
                let deaths = scenes.iter().zip(&ours).flat_map(|(scene, told)| {
                    let undisturbed = told.runs[1].ratio * bound;
                    (0..DEATHS).map(move |seed| scene.death(seed, undisturbed))
                });
                // As many at a time as there were without a death.
                let deaths = stream::iter(deaths).buffered(scenes.len());
                for (number, (killed, counts)) in deaths.collect::<Vec<_>>().await.into_iter().enumerate() {
                    let told = &mut ours[number / DEATHS as usize];
                    told.killed.push(killed);
                    told.counts.push(counts);
                }
            }
            <[Told; 2]>::try_from(ours).unwrap()
        });
        let (took, worked) = (clock.elapsed() - began, processor() - worked);
        for (mode, told) in ["pull", "process"].iter().zip(&ours) {
            let [cold, warm, unequal] = told.runs.map(|run| run.ratio);
            eprintln!("  {mode}: {cold:.3} {warm:.3} {unequal:.3} {:.3?}", told.killed);
        }
        eprintln!("  {:.0} s, of which processor time {:.1} s", took.as_secs_f64(), worked.as_secs_f64());
        all.push(Replayed { name: trace.name, size, scale, ours });
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
    deaths(traces, all);
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

/// What a death costs, beside what the simulator says of the same ones.
fn deaths(traces: &[Trace], all: &[Replayed]) {
    let all: Vec<&Replayed> = all.iter().filter(|replayed| !replayed.ours[0].killed.is_empty()).collect();
    if all.is_empty() {
        return;
    }
    let (mut rows, mut moved) = (Vec::new(), [Vec::new(), Vec::new()]);
    for replayed in &all {
        let trace = traces.iter().find(|trace| trace.name == replayed.name).unwrap();
        let cells = [Mode::Pull, Mode::Process].into_iter().zip(&replayed.ours).map(|(mode, told)| {
            let real: Vec<f64> = told.killed.iter().map(|killed| killed.ratio).collect();
            (geometric_mean(&real), Some(simulated_deaths(trace, replayed.size, mode)))
        });
        let cells: Vec<(f64, Option<f64>)> = cells.collect();
        pair(&format!("  1 of {} killed, {}", replayed.size, replayed.name), [cells[0], cells[1]], None);
        rows.push([cells[0], cells[1]]);
        for (moved, told) in moved.iter_mut().zip(&replayed.ours) {
            moved.extend(told.killed.iter().filter_map(|killed| killed.moved));
        }
    }
    let mean = |mode: usize| {
        let of = |pick: fn((f64, Option<f64>)) -> f64| {
            geometric_mean(&rows.iter().map(|cells| pick(cells[mode])).collect::<Vec<_>>())
        };
        (of(|(real, _)| real), Some(of(|(real, simulated)| simulated.unwrap_or(real))))
    };
    pair("makespan / undisturbed, 1 of 64 killed", [mean(0), mean(1)], Some(1.07));
    let slowest = moved.map(|moved| (moved.into_iter().fold(0.0, f64::max), None));
    pair("seconds until others had its tests, slowest", slowest, Some(5.0));
}

/// Makespan over the undisturbed one, as the simulator has it.
fn simulated_deaths(trace: &Trace, size: usize, mode: Mode) -> f64 {
    let undisturbed = simulate(mode, trace, &trace.warm(), &Fleet::ideal(size)).makespan;
    let ratio = |seed| {
        let fleet = Fleet::ideal(size).killed(undisturbed, seed);
        simulate(mode, trace, &trace.warm(), &fleet).makespan / undisturbed
    };
    geometric_mean(&(0..DEATHS).map(ratio).collect::<Vec<_>>())
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
