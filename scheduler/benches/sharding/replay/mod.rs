//! The traces, replayed through the real scheduler, its journal and the protocol of real bots, whose tests sleep: what the
//! simulator leaves out.
//!
//! The clock of the scheduler and of the bots runs so fast that the lower bound of each run takes [`seconds`] of the host's,
//! or more where bots would call too often: tests, runners' starts, calls that are held back, gathered reports and leases
//! last as long as they would. What this host takes for a call, a decision and a sync of the journal is not scaled: it
//! weighs more than it would by the factor that is printed.

mod hurried;
mod load;
mod log;
mod rows;
mod scene;
mod stage;

use crate::{
    parts::SIZES,
    table::geometric_mean,
    trace::{Trace, of_each},
};
use futures::future::join_all;
use load::{Load, Turns};
use runtime::{Clock as _, SystemClock};
use scene::{Draws, Scene, Told};
use scheduler::sharding::Mode;
use std::{cmp::Reverse, time::Duration};

/// Bots of the replay; 500 of them are simulated only.
const REPLAYED: [usize; 2] = [SIZES[0], SIZES[1]];
/// The runs of each scene, in this order, and what makespan over lower bound may be on so many bots.
const KINDS: [(&str, [f64; 2]); 3] =
    [("no history", [1.15, 1.25]), ("history", [1.08, 1.12]), ("unequal bots", [1.15, 1.35])];

/// What the lower bound of each run takes of the host's time, at least; `REPLAY_SECONDS` sets another.
fn seconds() -> f64 {
    std::env::var("REPLAY_SECONDS").map_or(20.0, |text| {
        let seconds = text.parse().ok().filter(|seconds| (1.0..=600.0).contains(seconds));
        seconds.unwrap_or_else(|| panic!("REPLAY_SECONDS={text}: give seconds between 1 and 600"))
    })
}

/// Whether a trace is to be replayed on so many bots: `REPLAY_SCENES="64/spec-files-1k, 8/browser 12k"` names those that
/// are, as `SIZE/TRACE`.
fn is_asked(size: usize, name: &str) -> bool {
    std::env::var("REPLAY_SCENES")
        .map_or(true, |scenes| scenes.split(',').any(|scene| scene.trim() == format!("{size}/{name}")))
}

/// Both ways of running one trace, or one draw of a shape, on one number of bots.
struct Replayed<'a> {
    trace: &'a Trace,
    size: usize,
    scale: f64,
    draws: Draws,
    ours: [Told; 2],
}

/// See the module.
pub(crate) fn replay(traces: &[Trace]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (clock, turns) = (SystemClock::new(), Turns::new());
    let mut scenes = Vec::new();
    for (size, same) in REPLAYED.into_iter().flat_map(|size| of_each(traces).map(move |same| (size, same))) {
        let draws = same.iter().enumerate().map(|(draw, trace)| (size, trace, Draws::of(same, draw, size)));
        scenes.extend(draws.filter(|(size, trace, _)| is_asked(*size, trace.name)));
    }
    // What takes longest begins first.
    scenes.sort_by_key(|(_, trace, _)| Reverse(trace.truth.iter().sum::<Duration>()));
    let worked = processor();
    let played = scenes.into_iter().map(|(size, trace, draws)| play(size, trace, draws, &turns));
    let mut all = runtime.block_on(join_all(played));
    let (took, worked) = (clock.elapsed(), processor() - worked);
    eprintln!("{:.0} s, of which processor time {:.0} s", took.as_secs_f64(), worked.as_secs_f64());
    let place = |trace: &Trace| traces.iter().position(|other| std::ptr::eq(other, trace));
    all.sort_by_key(|replayed| (replayed.size, place(replayed.trace)));
    rows::print(&all);
}

async fn play<'a>(size: usize, trace: &'a Trace, draws: Draws, turns: &Turns) -> Replayed<'a> {
    let load = Load::new(trace, size, seconds());
    let scenes = [Mode::Pull, Mode::Process].map(|mode| Scene { trace, size, mode, load, turns, draws });
    let [pull, process] = &scenes;
    let ours: [Told; 2] = futures::future::join(pull.play(), process.play()).await.into();
    eprintln!("replayed {} on {size} bots, {:.1} times as fast", trace.name, load.scale);
    for (mode, told) in ["pull", "process"].iter().zip(&ours) {
        let [cold, warm, unequal] = told.runs.each_ref().map(|runs| ratio(runs));
        eprintln!("  {mode}: {cold:.3} {warm:.3} {unequal:.3} {:.3?}", told.killed);
    }
    Replayed { trace, size, scale: load.scale, draws, ours }
}

/// Makespan over lower bound of runs that differ by what was drawn.
fn ratio(runs: &[scene::Ratios]) -> f64 {
    geometric_mean(&runs.iter().map(|run| run.ratio).collect::<Vec<_>>())
}

/// Processor time of this process.
fn processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
