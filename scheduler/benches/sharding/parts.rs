//! The measures.

use crate::{
    baselines::{self, Baseline, fixed, queue},
    engine::{Played, play},
    fleet::Fleet,
    ours::Ours,
    table::{figure, geometric_mean, head, row},
    trace::{self, Trace},
};
use scheduler::sharding::{Estimates, Mode};
use std::time::Duration;

pub(crate) const OVERHEAD: Duration = Duration::from_millis(200);
pub(crate) const SIZES: [usize; 3] = [8, 64, 500];
/// Fleets drawn for each trace and size.
const FLEETS: u64 = 5;
/// Deaths drawn for each trace.
pub(crate) const DEATHS: u64 = 40;

/// Who decides in simulated time.
#[derive(Clone, Copy)]
enum Runner {
    Ours(Mode),
    Theirs(Baseline),
}

const OURS: [Runner; 2] = [Runner::Ours(Mode::Pull), Runner::Ours(Mode::Process)];

fn runners() -> Vec<Runner> {
    OURS.into_iter().chain(baselines::ALL.map(|(_, baseline)| Runner::Theirs(baseline))).collect()
}

impl Runner {
    fn play(self, trace: &Trace, estimates: &Estimates, fleet: &Fleet) -> Played {
        let workers = fleet.bots.len();
        match self {
            Self::Ours(mode) => {
                let mut ours = Ours::new(trace, estimates, workers, mode, OVERHEAD);
                let played = play(&mut ours, &trace.truth, fleet, OVERHEAD);
                ours.check();
                played
            }
            Self::Theirs(Baseline::QueueOfOne) => {
                play(&mut queue(trace, estimates, workers), &trace.truth, fleet, OVERHEAD)
            }
            Self::Theirs(baseline) => {
                play(&mut fixed(baseline, trace, estimates, workers), &trace.truth, fleet, OVERHEAD)
            }
        }
    }
}

/// The scheduler's own decisions in simulated time.
pub(crate) fn simulate(mode: Mode, trace: &Trace, estimates: &Estimates, fleet: &Fleet) -> Played {
    Runner::Ours(mode).play(trace, estimates, fleet)
}

/// What one run cost, as parts of its test seconds.
struct Cost {
    column: usize,
    size: usize,
    /// Traces of one shape count as one.
    weight: f64,
    paid: f64,
    doubled: f64,
}

/// One row for each size and trace, and their geometric mean, beside all baselines.
fn ratios(
    title: &str,
    traces: &[Trace],
    targets: [f64; 3],
    estimates: fn(&Trace) -> Estimates,
    fleets: fn(usize) -> Vec<Fleet>,
) {
    head(title, &baselines::ALL);
    let mut costs = Vec::new();
    for (size, target) in SIZES.into_iter().zip(targets) {
        let fleets = fleets(size);
        let mut columns = vec![Vec::new(); runners().len()];
        for same in trace::of_each(traces) {
            let mut cells = vec![Vec::new(); runners().len()];
            for trace in same {
                let estimates = estimates(trace);
                for (column, runner) in runners().into_iter().enumerate() {
                    let ratio = |fleet: &Fleet| {
                        let played = runner.play(trace, &estimates, fleet);
                        let (paid, doubled) = (played.paid / trace.total(), played.doubled / trace.total());
                        costs.push(Cost { column, size, weight: 1.0 / same.len() as f64, paid, doubled });
                        played.makespan / fleet.lower_bound(trace.total(), trace.longest())
                    };
                    cells[column].extend(fleets.iter().map(ratio));
                }
            }
            let cells: Vec<f64> = cells.iter().map(|ratios| geometric_mean(ratios)).collect();
            row(&format!("  N = {size}, {}", same[0].name), cells[0], cells[1], None, &cells[2..]);
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        }
        let means: Vec<f64> = columns.iter().map(|column| geometric_mean(column)).collect();
        row(&format!("makespan / lower bound, N = {size}"), means[0], means[1], Some(target), &means[2..]);
    }
    for size in SIZES {
        let of = |pick: fn(&Cost) -> f64| -> Vec<f64> {
            let of_column = |column| {
                let these = costs.iter().filter(|cost| cost.column == column && cost.size == size);
                let (sum, weight) = these.fold((0.0, 0.0), |(sum, weight), cost| {
                    (sum + pick(cost) * cost.weight, weight + cost.weight)
                });
                sum / weight
            };
            (0..runners().len()).map(of_column).collect()
        };
        let (paid, doubled) = (of(|cost| cost.paid), of(|cost| cost.doubled * 100.0));
        row(&format!("bot-seconds / test-seconds, N = {size}"), paid[0], paid[1], Some(1.10), &paid[2..]);
        row(&format!("duplicates in percent, N = {size}"), doubled[0], doubled[1], Some(2.0), &doubled[2..]);
    }
}

pub(crate) fn warm(traces: &[Trace]) {
    ratios("with history, equal bots, h = 0.2 s", traces, [1.08, 1.12, 1.03], Trace::warm, |size| {
        vec![Fleet::ideal(size)]
    });
}

pub(crate) fn cold(traces: &[Trace]) {
    ratios("without history, equal bots, h = 0.2 s", traces, [1.15, 1.25, 1.08], Trace::cold, |size| {
        vec![Fleet::ideal(size)]
    });
}

pub(crate) fn unequal(traces: &[Trace]) {
    let targets = [1.15, 1.35, 1.45];
    ratios("with history, unequal bots, speeds unknown, h = 0.2 s", traces, targets, Trace::warm, |size| {
        (0..FLEETS).map(|seed| Fleet::unequal(size, false, seed)).collect()
    });
    ratios(
        "with history, unequal bots, speeds known from earlier runs, h = 0.2 s",
        traces,
        targets,
        Trace::warm,
        |size| (0..FLEETS).map(|seed| Fleet::unequal(size, true, seed)).collect(),
    );
}

pub(crate) fn killed(traces: &[Trace]) {
    head("1 of 64 bots killed at a random time, lease 30 s (baselines 5 s), with history", &baselines::ALL);
    let mut columns = vec![Vec::new(); runners().len()];
    let mut moved = vec![Vec::new(); OURS.len()];
    // One draw of each shape.
    for trace in trace::of_each(traces).map(|same| &same[0]) {
        let estimates = trace.warm();
        let deaths = runners().into_iter().map(|runner| {
            let whole = Fleet::ideal(64);
            let undisturbed = runner.play(trace, &estimates, &whole).makespan;
            let play = |seed| {
                let mut played = runner.play(trace, &estimates, &whole.clone().killed(undisturbed, seed));
                played.makespan /= undisturbed;
                played
            };
            (0..DEATHS).map(play).collect::<Vec<_>>()
        });
        let deaths: Vec<Vec<Played>> = deaths.collect();
        let ratio = |deaths: &Vec<Played>| {
            geometric_mean(&deaths.iter().map(|played| played.makespan).collect::<Vec<_>>())
        };
        let cells: Vec<f64> = deaths.iter().map(ratio).collect();
        row(&format!("  {}", trace.name), cells[0], cells[1], None, &cells[2..]);
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        let ours = deaths.iter().map(|deaths| deaths.iter().filter_map(|played| played.moved));
        moved.iter_mut().zip(ours).for_each(|(all, moved)| all.extend(moved));
    }
    let means: Vec<f64> = columns.iter().map(|column| geometric_mean(column)).collect();
    row("makespan / undisturbed makespan", means[0], means[1], Some(1.07), &means[2..]);
    moved.iter_mut().for_each(|moved| moved.sort_by(f64::total_cmp));
    for (name, percent) in [("median", 50), ("90 %", 90), ("slowest", 100)] {
        let [pull, process] = [0, 1].map(|mode: usize| moved[mode][(moved[mode].len() - 1) * percent / 100]);
        row(&format!("seconds until others had its tests, {name}"), pull, process, Some(5.0), &[]);
    }
}

/// The same for suites by which nothing was tuned.
pub(crate) fn held_out(_: &[Trace]) {
    println!("\nheld out: no constant was chosen by these");
    let traces = trace::held_out();
    trace::describe(&traces);
    [warm, cold, unequal, killed].into_iter().for_each(|part| part(&traces));
}

/// Three rounds, of which each decision's fastest counts: they decide the same, and caches are not always warm.
pub(crate) fn speed(traces: &[Trace]) {
    println!("\nprocessor time to decide");
    let trace = traces.iter().max_by_key(|trace| trace.truth.len()).unwrap();
    let fleet = Fleet::unequal(500, false, 0);
    for (name, mode) in [("pull", Mode::Pull), ("process", Mode::Process)] {
        for (known, estimates) in [("with history", trace.warm()), ("without", trace.cold())] {
            let rounds: Vec<Ours> = (0..3)
                .map(|_| {
                    let mut ours = Ours::new(trace, &estimates, fleet.bots.len(), mode, OVERHEAD);
                    play(&mut ours, &trace.truth, &fleet, OVERHEAD);
                    ours
                })
                .collect();
            let planned = rounds.iter().map(|round| round.planned).min().unwrap();
            let fastest = |index| rounds.iter().map(|round| round.decided[index]).min().unwrap();
            let slowest = (0..rounds[0].decided.len()).map(fastest).max().unwrap();
            let what = format!("{name}, {known}");
            figure(
                &format!("{what}: planning {} tests for 500 bots", trace.truth.len()),
                planned.as_secs_f64() * 1e3,
                "ms",
                200.0,
            );
            let steals = rounds[0].steals();
            figure(
                &format!("{what}: slowest of {} decisions, {} steals", rounds[0].decided.len(), steals),
                slowest.as_secs_f64() * 1e3,
                "ms",
                1.0,
            );
        }
    }
}
