//! Suites: what each test takes, and what was known of it before.

use crate::random::Random;
use scheduler::sharding::{Estimates, ListedTest};
use std::{path::PathBuf, sync::Arc, time::Duration};

pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) listed: Arc<[ListedTest]>,
    pub(crate) history: Vec<Option<Duration>>,
    pub(crate) truth: Vec<Duration>,
}

impl Trace {
    pub(crate) fn warm(&self) -> Estimates {
        Estimates::from_known(self.history.clone())
    }

    pub(crate) fn cold(&self) -> Estimates {
        Estimates::from_known(vec![None; self.history.len()])
    }

    pub(crate) fn total(&self) -> f64 {
        self.truth.iter().sum::<Duration>().as_secs_f64()
    }

    pub(crate) fn longest(&self) -> f64 {
        self.truth.iter().max().unwrap().as_secs_f64()
    }
}

/// Each shape is made so often; its figures are the geometric mean.
const SEEDS: u64 = 3;

/// Those that are files.
pub(crate) const FILES: [&str; 3] = ["pytest-3k", "spec-files-1k", "gtest-40k-synthetic"];

/// Three from files, four made after published shapes.
pub(crate) fn all() -> Vec<Trace> {
    let files = FILES.map(read);
    files.into_iter().chain(made(&TUNED, 0)).collect()
}

/// The draws of each shape, and each file for itself.
pub(crate) fn of_each(traces: &[Trace]) -> impl Iterator<Item = &[Trace]> {
    traces.chunk_by(|a, b| a.name == b.name)
}

/// What no constant of the policy was chosen by: other draws of the same shapes, and other shapes.
pub(crate) fn held_out() -> Vec<Trace> {
    made(&TUNED, 100).chain(made(&HELD_OUT, 100)).collect()
}

fn made(shapes: &[Shape], first: u64) -> impl Iterator<Item = Trace> {
    shapes.iter().flat_map(move |shape| (first..first + SEEDS).map(|seed| shape.make(seed)))
}

const TUNED: [Shape; 4] = [
    // 70 % of the tests take milliseconds; history is eleven months old.
    Shape {
        name: "bimodal 1.6k",
        tests: 1602,
        slow: 0.3,
        mu: 1.4,
        sigma: 0.9,
        most: 62.0,
        noise: 0.75,
        new: 0.2,
    },
    Shape {
        name: "skewed 1.8k",
        tests: 1774,
        slow: 1.0,
        mu: -3.07,
        sigma: 2.11,
        most: 41.6,
        noise: 0.5,
        new: 0.07,
    },
    Shape {
        name: "large files 0.8k",
        tests: 799,
        slow: 1.0,
        mu: 1.83,
        sigma: 2.3,
        most: 5268.0,
        noise: 0.2,
        new: 0.0,
    },
    Shape {
        name: "browser 12k",
        tests: 12_000,
        slow: 1.0,
        mu: 1.25,
        sigma: 0.75,
        most: 50.0,
        noise: 0.25,
        new: 0.02,
    },
];

const HELD_OUT: [Shape; 4] = [
    Shape {
        name: "integration 400",
        tests: 400,
        slow: 1.0,
        mu: 3.0,
        sigma: 1.2,
        most: 600.0,
        noise: 0.35,
        new: 0.05,
    },
    // One test in twenty is slow.
    Shape { name: "unit 9k", tests: 9000, slow: 0.05, mu: 0.5, sigma: 1.0, most: 30.0, noise: 0.6, new: 0.1 },
    Shape {
        name: "even 3k",
        tests: 3000,
        slow: 1.0,
        mu: 1.0,
        sigma: 0.3,
        most: 20.0,
        noise: 0.15,
        new: 0.01,
    },
    Shape {
        name: "mixed 2.5k",
        tests: 2500,
        slow: 0.5,
        mu: 0.8,
        sigma: 1.5,
        most: 120.0,
        noise: 0.5,
        new: 0.1,
    },
];

/// Logs of durations are normal: `mu`, `sigma`, cut at `most` seconds; those of the tests that are not slow are 6 lower.
struct Shape {
    name: &'static str,
    tests: usize,
    slow: f64,
    mu: f64,
    sigma: f64,
    most: f64,
    /// Deviation of the log between history and truth.
    noise: f64,
    /// Share of tests that history does not have.
    new: f64,
}

impl Shape {
    fn make(&self, seed: u64) -> Trace {
        let random = Random::new(seed);
        let tests = (0..self.tests).map(|index| {
            let mu = if random.uniform() < self.slow { self.mu } else { self.mu - 6.0 };
            let truth = (mu + self.sigma * random.normal()).exp().min(self.most);
            let history = truth * (self.noise * random.normal()).exp();
            let is_new = random.uniform() < self.new;
            (format!("t{index}"), (!is_new).then_some(history), truth)
        });
        trace(self.name, tests.collect())
    }
}

fn read(name: &'static str) -> Trace {
    let root = runtime::testing::package().join("../../shared/data/traces");
    let path = std::env::var_os("TRACES").map_or(root, PathBuf::from).join(format!("{name}.tsv"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; TRACES=DIR says where the traces are", path.display()));
    let tests = text.lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        let test = columns.next().unwrap().to_owned();
        let history = columns.next().unwrap();
        (
            test,
            (!history.is_empty()).then(|| history.parse().unwrap()),
            columns.next().unwrap().parse().unwrap(),
        )
    });
    trace(name, tests.collect())
}

fn trace(name: &'static str, tests: Vec<(String, Option<f64>, f64)>) -> Trace {
    let listed = tests.iter().map(|(test, ..)| ListedTest {
        name: test.as_str().into(),
        group: None,
        exclusive: false,
        disabled: false,
    });
    Trace {
        name,
        listed: listed.collect(),
        history: tests.iter().map(|(_, history, _)| history.map(Duration::from_secs_f64)).collect(),
        truth: tests.iter().map(|(.., truth)| Duration::from_secs_f64(*truth)).collect(),
    }
}

pub(crate) fn describe(traces: &[Trace]) {
    println!(
        "\n{:<22}{:>8}{:>12}{:>12}{:>22}",
        "trace", "tests", "total s", "longest s", "time without history"
    );
    for trace in traces {
        let new: Duration = trace
            .truth
            .iter()
            .zip(&trace.history)
            .filter(|(_, known)| known.is_none())
            .map(|(truth, _)| *truth)
            .sum();
        let share = new.as_secs_f64() / trace.total() * 100.0;
        let (total, longest) = (trace.total(), trace.longest());
        println!("{:<22}{:>8}{total:>12.0}{longest:>12.1}{share:>20.0} %", trace.name, trace.truth.len());
    }
}
