//! Many shards' reports as one: every test once, nothing missing without a word.

use super::{
    LostOutputs, Parsed, ProblemKind, Status, TestCase, ledger,
    owed::{Habit, Notes, stand_ins},
    workers,
};
use crate::{
    ledger::Ledger,
    model::{Run, Shard, ShardState},
    verdict::Findings,
};
use proto::{Digest, RelPath, ShardId};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    /// The shard. `None`: its tests ran nowhere.
    pub shard: Option<ShardId>,
    /// Its step's name.
    pub step: String,
    /// How it ended.
    pub state: Option<ShardState>,
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
    /// What stands for results that it owes, or for itself where no shard of its step reports tests.
    pub stand_ins: Vec<TestCase>,
    /// Nobody can know whether all of its tests were run.
    pub unverified: bool,
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
    /// One for each shard, in order, and one for each step with tests that ran nowhere.
    pub suites: Vec<Suite>,
    /// Over all suites, stand-ins included.
    pub totals: Totals,
    /// Over all suites, tests alone.
    pub tests: Totals,
    /// What the verdict takes from the reports: stand-ins for missing results are no failed tests.
    pub findings: Findings,
    /// What workers have lost of the tests that they told of.
    pub lost_outputs: Vec<LostOutputs>,
    /// What is odd about the reports, for people.
    pub notes: Vec<String>,
}

/// Which test it is: its step, class, name, and how many of that name came before it in its file.
type Key = (u32, String, String, usize);

/// Puts the shards' reports together. A test that several shards report keeps its worst result.
/// Of steps whose tests the scheduler shares out, the ledgers say it all.
pub fn merge(run: &Run, mut reports: BTreeMap<ShardId, ShardReports>, ledgers: &[Ledger]) -> Report {
    let mut notes = Notes::default();
    let mut suites = Vec::new();
    let reporting: BTreeSet<u32> =
        reports.iter().filter(|(_, reports)| !reports.is_empty()).map(|(shard, _)| shard.step).collect();
    let mut best: HashMap<Key, Place> = HashMap::new();
    for (at, shard) in run.shards.iter().enumerate() {
        let reports = reports.remove(&shard.id).unwrap_or_default();
        let habit = if reporting.contains(&shard.id.step) { Habit::Reports } else { Habit::Silence };
        let mut suite = Suite::of(run, shard);
        if run.tests_policy(shard.id.step).is_some() {
            suites.push(suite);
            continue;
        }
        suite.stand_ins = stand_ins(run, shard, &reports, habit, &mut notes);
        for file in reports.files {
            let mut seen: HashMap<(String, String), usize> = HashMap::new();
            for case in file.parsed.cases {
                let names = (case.class_name.clone(), case.name.clone());
                let ordinal = seen.entry(names.clone()).and_modify(|n| *n += 1).or_insert(0);
                let key = (shard.id.step, names.0, names.1, *ordinal);
                let place = Place { suite: at, case: suite.cases.len(), status: case.status };
                suite.cases.push(case);
                notes.duplicates += u64::from(best.get(&key).is_some_and(|first| first.is_doubled_by(place)));
                best.entry(key).and_modify(|best| *best = best.worse(place)).or_insert(place);
            }
        }
        suites.push(suite);
    }
    keep(&mut suites, best.values());
    let mut findings = notes.findings(failed_tests(run, &suites));
    findings.accounts = ledger::add(run, &mut suites, ledgers);
    let totals = Totals::of(suites.iter().flat_map(Suite::all));
    let tests = Totals::of(suites.iter().flat_map(|suite| &suite.cases));
    let mut notes = notes.texts();
    notes.extend(Report::notes_on_tests(ledgers, run));
    let lost_outputs = workers::lost_outputs(run, ledgers);
    notes.extend(workers::notes(run, ledgers, &lost_outputs));
    Report { suites, totals, tests, findings, lost_outputs, notes }
}

impl Report {
    /// Whether any shard reported tests.
    pub fn has_tests(&self) -> bool {
        self.tests.tests > 0
    }
}

/// Where a result stands.
#[derive(Clone, Copy)]
struct Place {
    suite: usize,
    case: usize,
    status: Status,
}

impl Place {
    /// Whether a test ran in two shards, which is odd; one that is disabled is listed by all of them.
    fn is_doubled_by(&self, other: Self) -> bool {
        self.status.min(other.status) >= Status::Passed && self.suite != other.suite
    }

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

impl Suite {
    fn of(run: &Run, shard: &Shard) -> Self {
        let step = run.spec.steps.get(usize::try_from(shard.id.step).unwrap_or(usize::MAX));
        Self {
            shard: Some(shard.id),
            step: run.step_name(shard.id),
            state: Some(shard.state),
            bot: shard.attempt().map(|attempt| attempt.bot.clone()).unwrap_or_default(),
            attempt: shard.attempt().map_or(0, |attempt| attempt.number),
            outputs: shard.result().and_then(|result| result.outputs),
            input: step.and_then(|step| step.input),
            time: shard.result().map(|result| result.stats.run).unwrap_or_default(),
            cases: Vec::new(),
            stand_ins: Vec::new(),
            unverified: false,
        }
    }

    /// For tests of a step that ran nowhere.
    pub(super) fn nowhere(step: String, input: Option<Digest>) -> Self {
        Self {
            shard: None,
            step,
            state: None,
            bot: String::new(),
            attempt: 0,
            outputs: None,
            input,
            time: Duration::ZERO,
            cases: Vec::new(),
            stand_ins: Vec::new(),
            unverified: false,
        }
    }

    /// Its tests, then what stands for those that are missing.
    pub fn all(&self) -> impl Iterator<Item = &TestCase> {
        self.cases.iter().chain(&self.stand_ins)
    }

    /// How all of them went.
    pub fn totals(&self) -> Totals {
        Totals::of(self.all())
    }
}

impl Totals {
    /// Counts these.
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a TestCase>) -> Self {
        cases.into_iter().fold(Self::default(), Self::with)
    }

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

#[cfg(test)]
mod tests;
