//! What shards owe to the merged report and did not bring, and what is odd about what they brought.

use super::{ShardReports, TestCase};
use crate::{
    display::{count, state_text},
    model::{Run, Shard, ShardState},
    verdict::Findings,
};

/// Whether the shards of a step report their tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Some do: one that does not owes its results.
    Reports,
    /// None does: the exit code is all there is.
    Silence,
}

impl ShardReports {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.unreadable.is_empty()
    }
}

/// What stands for the results that a shard owes.
pub(super) fn stand_ins(
    run: &Run,
    shard: &Shard,
    reports: &ShardReports,
    habit: Habit,
    notes: &mut Notes,
) -> Vec<TestCase> {
    let (step, name) = (run.step_name(shard.id), format!("shard {}", shard.id.index));
    let broken = |type_name: &str, message: String| TestCase::broken(&step, &name, type_name, message);
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
        (ShardState::Completed, Some(0)) if habit == Habit::Silence => {
            let time = shard.result().map(|result| result.stats.run);
            cases.push(TestCase { time, ..TestCase::new(&step, &name) });
        }
        (ShardState::Completed, Some(code)) if habit == Habit::Silence => {
            cases.push(broken("exit", format!("the shard ended with exit code {code}{why}")));
        }
        (ShardState::Completed, code) if reports.is_empty() => {
            let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
            let message =
                format!("the shard ended with {code} and left no JUnit or gtest XML among its outputs");
            notes.unreported += u64::from(shard.passed());
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
    cases.extend(unread(reports, notes).into_iter().map(|(type_name, message)| broken(type_name, message)));
    cases
}

/// What is wrong with the reports that are there: a word for it, and a sentence.
fn unread(reports: &ShardReports, notes: &mut Notes) -> Vec<(&'static str, String)> {
    let damaged = reports.files.iter().filter_map(|file| Some((&file.path, file.parsed.damage.as_ref()?)));
    let damaged: Vec<_> =
        damaged.map(|(path, damage)| ("damaged", format!("report {path} is damaged: {damage}"))).collect();
    notes.damaged += damaged.len() as u64;
    notes.out_of_reach += u64::from(!reports.unreadable.is_empty());
    notes.unreadable += u64::from(!reports.unreadable.is_empty() || !damaged.is_empty());
    let gone =
        reports.unreadable.iter().map(|reason| ("missing", format!("outputs cannot be read: {reason}")));
    damaged.into_iter().chain(gone).collect()
}

/// What is odd about the reports, counted.
#[derive(Default)]
pub(super) struct Notes {
    /// Results of tests that ran in more than one shard.
    pub(super) duplicates: u64,
    /// Passed shards that owe a report.
    unreported: u64,
    /// Reports.
    damaged: u64,
    /// Shards whose outputs cannot be had.
    out_of_reach: u64,
    /// Shards with reports that cannot be read, for whatever reason.
    unreadable: u64,
}

impl Notes {
    pub(super) fn findings(&self, tests: Findings) -> Findings {
        Findings { unreadable: self.unreadable, unreported: self.unreported, ..tests }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.duplicates > 0 {
            let n = count(self.duplicates, "test result");
            texts
                .push(format!("{n} came from more than one shard: does the suite heed the shard variables?"));
        }
        if self.unreported > 0 {
            let n = count(self.unreported, "shard");
            texts.push(format!("{n} passed without a report, unlike others: tests may be missing"));
        }
        if self.damaged > 0 {
            texts.push(format!("{} could not be read to the end", count(self.damaged, "report")));
        }
        if self.out_of_reach > 0 {
            texts.push(format!("outputs of {} could not be read", count(self.out_of_reach, "shard")));
        }
        texts
    }
}
