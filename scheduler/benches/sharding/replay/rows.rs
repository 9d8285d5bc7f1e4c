//! The figures, beside what the simulator makes of the same, and what they should be.

use super::{
    KINDS, REPLAYED, Replayed,
    scene::{Ratios, Told},
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

/// All that was played of one trace, or of the draws of one shape, on one number of bots.
type Same<'a> = [Replayed<'a>];

const MODES: [Mode; 2] = [Mode::Pull, Mode::Process];

pub(super) fn print(all: &[Replayed<'_>]) {
    println!("\nreplayed by the scheduler and bots whose tests sleep; h = {OVERHEAD:?}");
    println!("a run's lower bound takes {} s or more: time runs so many times as fast", seconds());
    for replayed in all {
        println!("  N = {}, {:<24}{:>8.1}", replayed.size, replayed.trace.name, replayed.scale);
    }
    pair_head();
    let all: Vec<&Same<'_>> = all.chunk_by(|a, b| (a.size, a.trace.name) == (b.size, b.trace.name)).collect();
    for (position, size) in REPLAYED.into_iter().enumerate() {
        let of_size: Vec<&Same<'_>> = all.iter().copied().filter(|same| same[0].size == size).collect();
        if of_size.is_empty() {
            continue;
        }
        for (kind, (name, targets)) in KINDS.into_iter().enumerate() {
            let rows: Vec<Cells> = of_size.iter().map(|same| ratios(same, kind)).collect();
            for (same, cells) in of_size.iter().zip(&rows) {
                pair(&format!("  N = {size}, {}, {name}", same[0].trace.name), *cells, None);
            }
            let what = format!("makespan / lower bound, N = {size}, {name}");
            means(&what, &of_size, &rows, geometric_mean, targets[position]);
        }
        costs(size, &of_size);
    }
    deaths(&all);
    verdicts(&all);
}

/// The mean over all traces is what has a target; that over those which are files is printed beside it.
fn means(what: &str, of: &[&Same<'_>], rows: &[Cells], mean: fn(&[f64]) -> f64, target: f64) {
    let mean_of = |rows: &[Cells]| {
        [0, 1].map(|mode: usize| {
            let real: Vec<f64> = rows.iter().map(|cells| cells[mode].0).collect();
            let simulated: Option<Vec<f64>> = rows.iter().map(|cells| cells[mode].1).collect();
            (mean(&real), simulated.map(|simulated| mean(&simulated)))
        })
    };
    pair(what, mean_of(rows), Some(target));
    let of_files = of.iter().zip(rows).filter(|(same, _)| FILES.contains(&same[0].trace.name));
    let of_files: Vec<Cells> = of_files.map(|(_, cells)| *cells).collect();
    if !of_files.is_empty() && of_files.len() < rows.len() {
        pair(&format!("  of the {} that are files", of_files.len()), mean_of(&of_files), None);
    }
}

fn arithmetic_mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// What all draws have of something.
fn each<T>(same: &Same<'_>, of: impl Fn(&Replayed<'_>) -> Vec<T>) -> Vec<T> {
    same.iter().flat_map(of).collect()
}

/// What they have of it in one mode.
fn told<T>(same: &Same<'_>, mode: usize, of: impl Fn(&Told) -> Vec<T>) -> Vec<T> {
    each(same, |replayed| of(&replayed.ours[mode]))
}

/// Makespan over lower bound.
fn ratios(same: &Same<'_>, kind: usize) -> Cells {
    [0, 1].map(|mode| {
        let real = told(same, mode, |told| told.runs[kind].iter().map(|run| run.ratio).collect());
        let simulated = each(same, |replayed| simulated(replayed, MODES[mode], kind));
        (geometric_mean(&real), Some(geometric_mean(&simulated)))
    })
}

/// The same of each fleet that was played, as the simulator has it.
fn simulated(replayed: &Replayed<'_>, mode: Mode, kind: usize) -> Vec<f64> {
    let (trace, size) = (replayed.trace, replayed.size);
    let fleets = match kind {
        2 => replayed.draws.unequal(size).collect(),
        _ => vec![Fleet::ideal(size)],
    };
    let estimates = if kind == 0 { trace.cold() } else { trace.warm() };
    let ratio = |fleet: &Fleet| {
        let played = simulate(mode, trace, &estimates, fleet);
        played.makespan / fleet.lower_bound(trace.total(), trace.longest())
    };
    fleets.iter().map(ratio).collect()
}

/// What the runs on so many bots cost, as parts of their test seconds.
fn costs(size: usize, of_size: &[&Same<'_>]) {
    for (kind, (name, _)) in KINDS.into_iter().enumerate() {
        let rows = |pick: fn(&Ratios) -> f64| -> Vec<Cells> {
            let of_runs = |same: &&Same<'_>| {
                [0, 1].map(|mode| {
                    let runs = told(same, mode, |told| told.runs[kind].iter().map(pick).collect());
                    (arithmetic_mean(&runs), None)
                })
            };
            of_size.iter().map(of_runs).collect()
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
fn deaths(all: &[&Same<'_>]) {
    let with_deaths: Vec<&Same<'_>> =
        all.iter().copied().filter(|same| same.iter().any(|replayed| replayed.draws.deaths > 0)).collect();
    if with_deaths.is_empty() {
        return;
    }
    let (mut rows, mut moved) = (Vec::<Cells>::new(), [Vec::new(), Vec::new()]);
    for same in &with_deaths {
        let cells = [0, 1].map(|mode| {
            let killed = told(same, mode, |told| told.killed.clone());
            moved[mode].extend(killed.iter().filter_map(|killed| killed.moved));
            let real: Vec<f64> = killed.iter().map(|killed| killed.ratio).collect();
            let simulated = each(same, |replayed| simulated_deaths(replayed, MODES[mode]));
            (geometric_mean(&real), Some(geometric_mean(&simulated)))
        });
        pair(&format!("  1 of {} killed, {}", same[0].size, same[0].trace.name), cells, None);
        rows.push(cells);
    }
    means("makespan / undisturbed, 1 of 64 killed", &with_deaths, &rows, geometric_mean, 1.07);
    let slowest = moved.map(|moved| (moved.into_iter().fold(0.0, f64::max), None));
    pair("seconds until others had its tests, slowest", slowest, Some(5.0));
}

/// Makespans over the undisturbed one, as the simulator has them.
fn simulated_deaths(replayed: &Replayed<'_>, mode: Mode) -> Vec<f64> {
    let (trace, size): (&Trace, usize) = (replayed.trace, replayed.size);
    let makespan = |fleet: &Fleet| simulate(mode, trace, &trace.warm(), fleet).makespan;
    let undisturbed = makespan(&Fleet::ideal(size));
    let fleets = replayed.draws.killed(size, undisturbed);
    fleets.map(|fleet| makespan(&fleet) / undisturbed).collect()
}

/// Each run was checked for itself: all that was listed has passed, once.
fn verdicts(all: &[&Same<'_>]) {
    let counts: Vec<v1::TestCounts> = all
        .iter()
        .flat_map(|same| [0, 1].map(|mode| told(same, mode, |told| told.counts.clone())))
        .flatten()
        .collect();
    let sum = |pick: fn(&v1::TestCounts) -> u32| -> u64 {
        counts.iter().map(|counts| u64::from(pick(counts))).sum()
    };
    println!("tests listed {}, with one verdict, passed {}", sum(|c| c.listed), sum(|c| c.passed));
}
