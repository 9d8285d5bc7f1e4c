//! What other tools do, on the same bots.

use crate::{
    engine::{Policy, Work},
    trace::Trace,
};
use proto::Timestamp;
use scheduler::sharding::{Estimates, TestIndex, plan, units};
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// When they take a bot to be lost, to their favour.
const LEASE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Playwright.
    Contiguous,
    /// googletest, Bazel runners, nextest `slice:`.
    Modulo,
    /// nextest `hash:`, Chromium.
    Hash,
    /// pytest-split least_duration, CircleCI by timings, and others.
    StaticLpt,
    /// rspecq, Cypress, Knapsack.
    QueueOfOne,
}

pub(crate) const ALL: [(&str, Baseline); 5] = [
    ("contig.", Baseline::Contiguous),
    ("modulo", Baseline::Modulo),
    ("hash", Baseline::Hash),
    ("LPT", Baseline::StaticLpt),
    ("queue-1", Baseline::QueueOfOne),
];

/// Shares that nobody corrects: a lost worker's whole share is run again.
pub(crate) struct Static {
    shares: Vec<Vec<TestIndex>>,
    is_given: Vec<bool>,
}

/// One test at a time, the longest first.
pub(crate) struct Queue {
    left: VecDeque<TestIndex>,
    runs: Vec<Option<TestIndex>>,
}

pub(crate) fn queue(trace: &Trace, estimates: &Estimates, workers: usize) -> Queue {
    let mut all: Vec<TestIndex> = (0..trace.listed.len() as u32).map(TestIndex).collect();
    all.sort_by_key(|test| std::cmp::Reverse(estimates.of(*test)));
    Queue { left: all.into(), runs: vec![None; workers] }
}

pub(crate) fn fixed(baseline: Baseline, trace: &Trace, estimates: &Estimates, workers: usize) -> Static {
    let mut shares = vec![Vec::new(); workers];
    let all: Vec<TestIndex> = (0..trace.listed.len() as u32).map(TestIndex).collect();
    if baseline == Baseline::StaticLpt {
        let units = units(&trace.listed, estimates, &all, workers as u32);
        for (share, dealt) in shares.iter_mut().zip(plan(&units, workers as u32)) {
            share.extend(dealt.into_iter().flat_map(|position| units[position as usize].tests.clone()));
        }
    } else {
        for (position, test) in all.into_iter().enumerate() {
            let share = match baseline {
                Baseline::Contiguous => position * workers / trace.listed.len(),
                Baseline::Hash => {
                    let mut hasher = DefaultHasher::new();
                    trace.listed[position].name.hash(&mut hasher);
                    (hasher.finish() % workers as u64) as usize
                }
                _ => position % workers,
            };
            shares[share].push(test);
        }
    }
    Static { shares, is_given: vec![false; workers] }
}

impl Policy for Static {
    fn joined(&mut self, _: u32, _: Option<f64>, _: Timestamp) {}

    fn lease(&self) -> Duration {
        LEASE
    }

    fn silent(&mut self, _: u32, _: Timestamp) -> u32 {
        0
    }

    fn next(&mut self, worker: u32, _: Timestamp) -> Work {
        let tests = self.shares[worker as usize].clone();
        if tests.is_empty() || std::mem::replace(&mut self.is_given[worker as usize], true) {
            return Work::End;
        }
        Work::Run { tests, is_dispatch: true }
    }

    fn ended(&mut self, _: u32, _: TestIndex, _: Duration, _: Timestamp) {}

    fn lost(&mut self, worker: u32, _: Timestamp) {
        self.is_given[worker as usize] = false;
    }
}

impl Policy for Queue {
    fn joined(&mut self, _: u32, _: Option<f64>, _: Timestamp) {}

    fn lease(&self) -> Duration {
        LEASE
    }

    fn silent(&mut self, _: u32, _: Timestamp) -> u32 {
        0
    }

    fn next(&mut self, worker: u32, _: Timestamp) -> Work {
        self.runs[worker as usize] = self.left.pop_front();
        match self.runs[worker as usize] {
            Some(test) => Work::Run { tests: vec![test], is_dispatch: true },
            None => Work::End,
        }
    }

    fn ended(&mut self, worker: u32, _: TestIndex, _: Duration, _: Timestamp) {
        self.runs[worker as usize] = None;
    }

    fn lost(&mut self, worker: u32, _: Timestamp) {
        self.left.extend(self.runs[worker as usize].take());
    }
}
