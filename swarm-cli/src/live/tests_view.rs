//! The tests of a run while it goes on, as text: how far they are, when they will be done, and what failed. Pure.

use crate::{
    display::{Paint, count, duration},
    follow::TestsNews,
    model::{Execution, OutcomeCounts, Run, TestOutcome, TestResult, TestVerdict},
    output::{Completeness, last_lines},
};
use proto::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// So many tests have a place in lists of the slowest and the longest running.
const LISTED: usize = 3;

/// So many failures have the end of their output with them.
const WITH_OUTPUT: usize = 20;

/// So many have a line; all are told in the end.
const TOLD: usize = 200;

/// Lines of output.
const OUTPUT_LINES: usize = 10;

/// A rate that was measured for less is none.
const SHORTEST: Duration = Duration::from_secs(1);

/// A test of a run: its step and its place in the listing.
type TestId = (u32, u32);

/// What is known of the tests.
#[derive(Debug, Default)]
pub(super) struct TestsView {
    /// When the first were told of, and how much was done by then.
    begun: Option<(Timestamp, f64)>,
    running: BTreeMap<TestId, (String, String, Timestamp)>,
    /// The slowest first.
    slowest: Vec<(Duration, String)>,
    /// How many bad executions of a test have been told.
    told: HashMap<TestId, usize>,
    failures: usize,
}

impl TestsView {
    /// Takes what has changed. Gives lines to be said about it.
    pub(super) fn take(&mut self, news: &TestsNews, paint: Paint) -> Vec<String> {
        let mut lines = Vec::new();
        for result in &news.results {
            let id = (news.step, result.index);
            self.running.remove(&id);
            for one in result.executions.iter().filter(|one| !one.duplicate) {
                match (one.verdict, one.started) {
                    (TestVerdict::Running, Some(started)) => {
                        self.running.insert(id, (result.name.clone(), one.bot.clone(), started));
                    }
                    (TestVerdict::Running, None) => {}
                    _ => self.rank(one.took, &result.name),
                }
            }
            self.tell(id, result, paint, &mut lines);
        }
        lines
    }

    fn rank(&mut self, took: Duration, name: &str) {
        if self.slowest.len() == LISTED && self.slowest.last().is_some_and(|(least, _)| took <= *least) {
            return;
        }
        match self.slowest.iter_mut().find(|(_, known)| known == name) {
            Some(known) => known.0 = known.0.max(took),
            None => self.slowest.push((took, name.to_owned())),
        }
        self.slowest.sort_by(|a, b| b.cmp(a));
        self.slowest.truncate(LISTED);
    }

    fn tell(&mut self, id: TestId, result: &TestResult, paint: Paint, lines: &mut Vec<String>) {
        let bad: Vec<&Execution> =
            result.executions.iter().filter(|one| one.verdict.is_bad() && !one.duplicate).collect();
        let told = self.told.get(&id).copied().unwrap_or(0);
        for (n, one) in bad.iter().enumerate().skip(told) {
            self.failures += 1;
            if self.failures > TOLD {
                if self.failures == TOLD + 1 {
                    lines.push("more tests have failed: all are told in the end".into());
                }
                continue;
            }
            lines.push(failure(result, one, n + 1 == bad.len(), paint));
            if self.failures <= WITH_OUTPUT {
                let tail = last_lines(&one.output, Completeness::Whole, OUTPUT_LINES);
                lines.extend(tail.text.lines().map(|line| format!("    {line}")));
            }
        }
        if !bad.is_empty() {
            self.told.insert(id, bad.len());
        }
    }

    /// A line for each kind of news: how far it is, what runs longest, what took longest.
    pub(super) fn lines(&mut self, run: &Run, now: Timestamp, paint: Paint) -> Vec<String> {
        let Some(counts) = all(run) else { return Vec::new() };
        let mut lines = Vec::new();
        let mut running: Vec<_> = self.running.values().collect();
        running.sort_by_key(|(_, _, started)| *started);
        let running = running
            .iter()
            .take(LISTED)
            .map(|(name, bot, started)| format!("{name} {} on {bot}", duration(now.since(*started))));
        let slowest = self.slowest.iter().map(|(took, name)| format!("{name} {}", duration(*took)));
        for (what, tests) in
            [("running", running.collect::<Vec<_>>()), ("slowest", slowest.collect::<Vec<_>>())]
        {
            if !tests.is_empty() {
                lines.push(paint.dim(&format!("{what}: {}", tests.join(", "))));
            }
        }
        lines.push(self.progress(&counts, now));
        lines
    }

    /// `42 % of the time, 120 of 400 tests, 2 failed, about 1m 20s left`.
    fn progress(&mut self, counts: &OutcomeCounts, now: Timestamp) -> String {
        let done = share(counts);
        let (then, before) = *self.begun.get_or_insert((now, done));
        let mut line = format!(
            "{:.0} % by time, {} of {}",
            (100.0 * done).floor(),
            counts.decided(),
            count(counts.listed, "test")
        );
        let parts = [
            (counts.bad(), "not good"),
            (counts.flaky, "flaky"),
            (counts.quarantined, "quarantined"),
            (counts.running, "running"),
        ];
        for (n, what) in parts.iter().filter(|(n, _)| *n > 0) {
            line.push_str(&format!(", {n} {what}"));
        }
        let measured = now.since(then);
        if measured >= SHORTEST && done > before && counts.open > 0 {
            let left = measured.as_secs_f64() * (1.0 - done) / (done - before);
            let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
            line.push_str(&format!(", about {} left", duration(left)));
        }
        line
    }
}

/// How much is done: by what the tests are expected to take, or by their number where nothing is known.
pub(super) fn share(counts: &OutcomeCounts) -> f64 {
    if counts.open == 0 {
        return 1.0;
    }
    let share = if counts.estimate.is_zero() {
        f64::from(counts.decided()) / f64::from(counts.listed.max(1))
    } else {
        counts.estimate_done.as_secs_f64() / counts.estimate.as_secs_f64()
    };
    share.clamp(0.0, 1.0)
}

/// Of all steps whose tests are listed.
pub(super) fn all(run: &Run) -> Option<OutcomeCounts> {
    run.tests.iter().filter_map(|tests| tests.counts).reduce(OutcomeCounts::plus)
}

fn failure(result: &TestResult, one: &Execution, is_last: bool, paint: Paint) -> String {
    let word = match result.outcome {
        TestOutcome::Quarantined => paint.yellow("quarantined"),
        TestOutcome::Flaky => paint.yellow("flaky"),
        _ => paint.red(one.verdict.name()),
    };
    let message: String = one
        .message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(120)
        .collect();
    let colon = if message.is_empty() { "" } else { ": " };
    let again = match result.outcome {
        TestOutcome::Open if is_last => ", is run again",
        TestOutcome::Flaky => ", passed later",
        _ => "",
    };
    format!("{word} {} on {} after {}{again}{colon}{message}", result.name, one.bot, duration(one.took))
}

#[cfg(test)]
mod tests;
