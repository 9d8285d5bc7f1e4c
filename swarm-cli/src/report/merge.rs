//! Many shards' reports as one: every test once, nothing missing without a word.

use super::{Parsed, ProblemKind, Status, TestCase};
use crate::{
    display::{count, state_text},
    model::{Run, Shard, ShardState},
    verdict::Findings,
};
use proto::{Digest, RelPath, ShardId};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// One report file of a shard.
#[derive(Clone, Debug)]
pub struct ReportFile {
    /// Where the shard left it.
    pub path: RelPath,
    /// What it says.
    pub parsed: Parsed,
}

/// All that a shard reported.
#[derive(Clone, Debug, Default)]
pub struct ShardReports {
    /// In order of their paths.
    pub files: Vec<ReportFile>,
    /// What of its outputs could not be looked at, and why.
    pub unreadable: Vec<String>,
}

/// What one shard adds to the merged report.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The shard.
    pub shard: ShardId,
    /// Its step's name.
    pub step: String,
    /// How it ended.
    pub state: ShardState,
    /// Who ran its newest attempt.
    pub bot: String,
    /// The number of its newest attempt.
    pub attempt: u32,
    /// The manifest of its outputs.
    pub outputs: Option<Digest>,
    /// The isolated input that it ran on.
    pub input: Option<Digest>,
    /// How long its command ran.
    pub time: Duration,
    /// Its tests.
    pub cases: Vec<TestCase>,
}

/// How many tests went how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All of them, and the stand-ins for missing results.
    pub tests: u64,
    /// Ran and are good.
    pub passed: u64,
    /// A check failed.
    pub failed: u64,
    /// Broke, or are missing.
    pub errored: u64,
    /// Chose not to run.
    pub skipped: u64,
    /// Are not meant to run.
    pub disabled: u64,
    /// Of the passed ones, those that failed at first.
    pub flaky: u64,
}

/// The merged report of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each shard, in order.
    pub suites: Vec<Suite>,
    /// Over all suites.
    pub totals: Totals,
    /// What the verdict takes from the reports: stand-ins for missing results are no failed tests.
    pub findings: Findings,
    /// What is odd about the reports, for people.
    pub notes: Vec<String>,
}

/// Which test it is: its step, class, name, and how many of that name came before it in its file.
type Key = (u32, String, String, usize);

/// Puts the shards' reports together. A test that several shards report keeps its worst result.
pub fn merge(run: &Run, mut reports: BTreeMap<ShardId, ShardReports>) -> Report {
    let mut notes = Notes::default();
    let mut suites = Vec::new();
    let mut owed = Vec::new();
    let mut best: HashMap<Key, Place> = HashMap::new();
    for (at, shard) in run.shards.iter().enumerate() {
        let reports = reports.remove(&shard.id).unwrap_or_default();
        owed.push(stand_ins(run, shard, &reports, &mut notes));
        let mut suite = Suite::of(run, shard);
        for file in reports.files {
            let mut seen: HashMap<(String, String), usize> = HashMap::new();
            for case in file.parsed.cases {
                let names = (case.class_name.clone(), case.name.clone());
                let ordinal = seen.entry(names.clone()).and_modify(|n| *n += 1).or_insert(0);
                let key = (shard.id.step, names.0, names.1, *ordinal);
                let place = Place { suite: at, case: suite.cases.len(), status: case.status };
                suite.cases.push(case);
                notes.duplicate(best.get(&key), place);
                best.entry(key).and_modify(|best| *best = best.worse(place)).or_insert(place);
            }
        }
        suites.push(suite);
    }
    keep(&mut suites, best.values());
    let findings = Findings { unreadable: notes.unreadable, ..failed_tests(run, &suites) };
    for (suite, stand_ins) in suites.iter_mut().zip(owed) {
        suite.cases.extend(stand_ins);
    }
    let totals = suites.iter().flat_map(|suite| &suite.cases).fold(Totals::default(), Totals::with);
    Report { suites, totals, findings, notes: notes.texts() }
}

/// Where a result stands.
#[derive(Clone, Copy)]
struct Place {
    suite: usize,
    case: usize,
    status: Status,
}

impl Place {
    /// The worse of two results; the first of two that are alike.
    fn worse(self, other: Self) -> Self {
        if other.status > self.status { other } else { self }
    }
}

/// Drops every result that is not the one kept of its test.
fn keep<'a>(suites: &mut [Suite], kept: impl Iterator<Item = &'a Place>) {
    let mut keep: Vec<Vec<bool>> = suites.iter().map(|suite| vec![false; suite.cases.len()]).collect();
    for place in kept {
        keep[place.suite][place.case] = true;
    }
    for (suite, keep) in suites.iter_mut().zip(keep) {
        let mut keep = keep.into_iter();
        suite.cases.retain(|_| keep.next().unwrap_or(true));
    }
}

fn failed_tests(run: &Run, suites: &[Suite]) -> Findings {
    let mut findings = Findings::default();
    for (suite, shard) in suites.iter().zip(&run.shards) {
        let n = suite.cases.iter().filter(|case| case.status.is_bad()).count() as u64;
        findings.failed += n;
        if shard.passed() {
            findings.failed_in_passed_shards += n;
        }
    }
    findings
}

/// The errors that stand for what a shard owes.
fn stand_ins(run: &Run, shard: &Shard, reports: &ShardReports, notes: &mut Notes) -> Vec<TestCase> {
    let step = run.step_name(shard.id);
    let broken = |type_name: &str, message: String| {
        TestCase::broken(&step, &format!("shard {}", shard.id.index), type_name, message)
    };
    let mut cases = Vec::new();
    let why = if shard.reason().is_empty() { String::new() } else { format!(": {}", shard.reason()) };
    let crashed = shard.result().and_then(|result| result.signal);
    let red_case =
        || reports.files.iter().flat_map(|file| &file.parsed.cases).any(|case| case.status.is_bad());
    match (shard.state, shard.exit_code()) {
        (ShardState::Completed, _) if crashed.is_some() => {
            let signal = crashed.unwrap_or_default();
            cases.push(broken("crash", format!("the shard was ended by signal {signal}{why}")));
        }
        (ShardState::Completed, code) if reports.files.is_empty() && reports.unreadable.is_empty() => {
            let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
            let message =
                format!("the shard ended with {code} and left no JUnit or gtest XML among its outputs");
            notes.without_report += u64::from(shard.passed());
            cases.push(broken("missing", message));
        }
        // A report may be good and the shard not: a check at exit, a leak.
        (ShardState::Completed, Some(code)) if code != 0 && !red_case() => {
            cases.push(broken(
                "exit",
                format!("the shard ended with exit code {code}, though no test failed{why}"),
            ));
        }
        (ShardState::Completed, _) => {}
        _ => cases.push(broken("missing", format!("the shard has no results: {}{why}", state_text(shard)))),
    }
    for file in &reports.files {
        if let Some(damage) = &file.parsed.damage {
            notes.damaged += 1;
            cases.push(broken("damaged", format!("report {} is damaged: {damage}", file.path)));
        }
    }
    notes.unreadable += u64::from(!reports.unreadable.is_empty());
    for reason in &reports.unreadable {
        cases.push(broken("missing", format!("outputs cannot be read: {reason}")));
    }
    cases
}

impl Suite {
    fn of(run: &Run, shard: &Shard) -> Self {
        let step = run.spec.steps.get(usize::try_from(shard.id.step).unwrap_or(usize::MAX));
        Self {
            shard: shard.id,
            step: run.step_name(shard.id),
            state: shard.state,
            bot: shard.attempt().map(|attempt| attempt.bot.clone()).unwrap_or_default(),
            attempt: shard.attempt().map_or(0, |attempt| attempt.number),
            outputs: shard.result().and_then(|result| result.outputs),
            input: step.map(|step| step.input),
            time: shard.result().map(|result| result.stats.run).unwrap_or_default(),
            cases: Vec::new(),
        }
    }

    /// How many tests went how.
    pub fn totals(&self) -> Totals {
        self.cases.iter().fold(Totals::default(), Totals::with)
    }
}

impl Totals {
    fn with(mut self, case: &TestCase) -> Self {
        self.tests += 1;
        *match case.status {
            Status::Passed => &mut self.passed,
            Status::Failed => &mut self.failed,
            Status::Errored => &mut self.errored,
            Status::Skipped => &mut self.skipped,
            Status::Disabled => &mut self.disabled,
        } += 1;
        let at_first = |kind| matches!(kind, ProblemKind::FlakyFailure | ProblemKind::FlakyError);
        let flaky = case.status == Status::Passed && case.problems.iter().any(|one| at_first(one.kind));
        self.flaky += u64::from(flaky);
        self
    }

    /// Tests that ran.
    pub fn ran(self) -> u64 {
        self.passed + self.failed + self.errored
    }

    /// Tests that ran, or should have, and are not good.
    pub fn bad(self) -> u64 {
        self.failed + self.errored
    }
}

/// What is odd about the reports, counted.
#[derive(Default)]
struct Notes {
    duplicates: u64,
    without_report: u64,
    damaged: u64,
    unreadable: u64,
}

impl Notes {
    /// A test that ran in two shards is odd; one that is disabled is listed by all of them.
    fn duplicate(&mut self, first: Option<&Place>, second: Place) {
        let ran = |place: &Place| place.status >= Status::Passed;
        if first.is_some_and(|first| ran(first) && ran(&second) && first.suite != second.suite) {
            self.duplicates += 1;
        }
    }

    fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.duplicates > 0 {
            let n = count(self.duplicates, "test result");
            texts
                .push(format!("{n} came from more than one shard: does the suite heed the shard variables?"));
        }
        if self.without_report > 0 {
            let n = count(self.without_report, "shard");
            texts.push(format!("{n} passed without a report: the merged report counts each as an error"));
        }
        if self.damaged > 0 {
            texts.push(format!("{} could not be read to the end", count(self.damaged, "report")));
        }
        if self.unreadable > 0 {
            texts.push(format!("outputs of {} could not be read", count(self.unreadable, "shard")));
        }
        texts
    }
}

#[cfg(test)]
mod tests;
