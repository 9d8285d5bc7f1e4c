//! The figures, beside what the simulator makes of the same, and what they should be.

use super::{
    KINDS, REPLAYED, Replayed, ratio,
    scene::{self, Ratios},
    seconds,
};
use crate::{
    fleet::Fleet,
    parts::{OVERHEAD, simulate},
    table::{geometric_mean, pair, pair_head},
    trace::{FILES, Trace},
};
use proto::v1;
use scheduler::sharding::Mode;

/// A figure of each mode, and what the simulator says of it.
type Cells = [(f64, Option<f64>); 2];

const MODES: [Mode; 2] = [Mode::Pull, Mode::Process];

pub(super) fn print(all: &[Replayed<'_>]) {
    println!("\nreplayed by the scheduler and bots whose tests sleep; h = {OVERHEAD:?}");
    println!("a run's lower bound takes {} s or more: time runs so many times as fast", seconds());
    for replayed in all {
        println!("  N = {}, {:<24}{:>8.1}", replayed.size, replayed.trace.name, replayed.scale);
    }
    pair_head();
    for (position, size) in REPLAYED.into_iter().enumerate() {
        let of_size: Vec<&Replayed<'_>> = all.iter().filter(|replayed| replayed.size == size).collect();
        if of_size.is_empty() {
            continue;
        }
        for (kind, (name, targets)) in KINDS.into_iter().enumerate() {
            let rows: Vec<Cells> = of_size.iter().map(|replayed| ratios(replayed, kind)).collect();
            for (replayed, cells) in of_size.iter().zip(&rows) {
                pair(&format!("  N = {size}, {}, {name}", replayed.trace.name), *cells, None);
            }
            let what = format!("makespan / lower bound, N = {size}, {name}");
            means(&what, &of_size, &rows, geometric_mean, targets[position]);
        }
        costs(size, &of_size);
    }
    deaths(all);
    verdicts(all);
}

/// The mean over all traces is what has a target; that over those which are files is printed beside it.
fn means(what: &str, of: &[&Replayed<'_>], rows: &[Cells], mean: fn(&[f64]) -> f64, target: f64) {
    let mean_of = |rows: &[Cells]| {
        [0, 1].map(|mode: usize| {
            let real: Vec<f64> = rows.iter().map(|cells| cells[mode].0).collect();
            let simulated: Option<Vec<f64>> = rows.iter().map(|cells| cells[mode].1).collect();
            (mean(&real), simulated.map(|simulated| mean(&simulated)))
        })
    };
    pair(what, mean_of(rows), Some(target));
    let of_files = of.iter().zip(rows).filter(|(replayed, _)| FILES.contains(&replayed.trace.name));
    let of_files: Vec<Cells> = of_files.map(|(_, cells)| *cells).collect();
    if !of_files.is_empty() && of_files.len() < rows.len() {
        pair(&format!("  of the {} that are files", of_files.len()), mean_of(&of_files), None);
    }
}

fn arithmetic_mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Makespan over lower bound.
fn ratios(replayed: &Replayed<'_>, kind: usize) -> Cells {
    let (trace, size) = (replayed.trace, replayed.size);
    [0, 1].map(|mode| {
        let real = ratio(&replayed.ours[mode].runs[kind]);
        let fleets: Vec<Fleet> = match kind {
            2 => (0..replayed.draws.unequal).map(|seed| scene::unequal(size, seed)).collect(),
            _ => vec![Fleet::ideal(size)],
        };
        let estimates = if kind == 0 { trace.cold() } else { trace.warm() };
        let simulated = fleets.iter().map(|fleet| {
            let played = simulate(MODES[mode], trace, &estimates, fleet);
            played.makespan / fleet.lower_bound(trace.total(), trace.longest())
        });
        (real, Some(geometric_mean(&simulated.collect::<Vec<_>>())))
    })
}

/// What the runs on so many bots cost, as parts of their test seconds.
fn costs(size: usize, of_size: &[&Replayed<'_>]) {
    for (kind, (name, _)) in KINDS.into_iter().enumerate() {
        let rows = |pick: fn(&Ratios) -> f64| -> Vec<Cells> {
            let of_runs =
                |runs: &[Ratios]| (arithmetic_mean(&runs.iter().map(pick).collect::<Vec<_>>()), None);
            of_size
                .iter()
                .map(|replayed| [0, 1].map(|mode| of_runs(&replayed.ours[mode].runs[kind])))
                .collect()
        };
        let print = |what: &str, pick, target| {
            let what = format!("{what}, N = {size}, {name}");
            means(&what, of_size, &rows(pick), arithmetic_mean, target);
        };
        print("bot-seconds / test-seconds", |run| run.paid, 1.10);
        print("duplicates in percent", |run| run.doubled * 100.0, 2.0);
    }
}

/// What a death costs, beside what the simulator says of the same ones.
fn deaths(all: &[Replayed<'_>]) {
    let all: Vec<&Replayed<'_>> = all.iter().filter(|replayed| replayed.draws.deaths > 0).collect();
    if all.is_empty() {
        return;
    }
    let (mut rows, mut moved) = (Vec::<Cells>::new(), [Vec::new(), Vec::new()]);
    for replayed in &all {
        let cells = [0, 1].map(|mode| {
            let killed = &replayed.ours[mode].killed;
            moved[mode].extend(killed.iter().filter_map(|killed| killed.moved));
            let real: Vec<f64> = killed.iter().map(|killed| killed.ratio).collect();
            (geometric_mean(&real), Some(simulated_deaths(replayed, MODES[mode])))
        });
        pair(&format!("  1 of {} killed, {}", replayed.size, replayed.trace.name), cells, None);
        rows.push(cells);
    }
    means("makespan / undisturbed, 1 of 64 killed", &all, &rows, geometric_mean, 1.07);
    let slowest = moved.map(|moved| (moved.into_iter().fold(0.0, f64::max), None));
    pair("seconds until others had its tests, slowest", slowest, Some(5.0));
}

/// Makespan over the undisturbed one, as the simulator has it.
fn simulated_deaths(replayed: &Replayed<'_>, mode: Mode) -> f64 {
    let trace: &Trace = replayed.trace;
    let whole = || Fleet::ideal(replayed.size);
    let makespan = |fleet: &Fleet| simulate(mode, trace, &trace.warm(), fleet).makespan;
    let undisturbed = makespan(&whole());
    let ratio = |seed| makespan(&whole().killed(undisturbed, seed)) / undisturbed;
    geometric_mean(&(0..replayed.draws.deaths).map(ratio).collect::<Vec<_>>())
}

/// Each run was checked for itself: all that was listed has passed, once.
fn verdicts(all: &[Replayed<'_>]) {
    let sum = |pick: fn(&v1::TestCounts) -> u32| -> u64 {
        let counts = all.iter().flat_map(|replayed| &replayed.ours).flat_map(|told| &told.counts);
        counts.map(|counts| u64::from(pick(counts))).sum()
    };
    println!("tests listed {}, with one verdict, passed {}", sum(|c| c.listed), sum(|c| c.passed));
}
