//! The last words on a run.

use super::{Paint, count, duration};
use crate::{
    model::Run,
    report::{Report, Status, Suite, TestCase, Totals},
    verdict::{Outcome, Verdict},
};

/// At most so many failed tests are named; all of them are in the reports.
const MAX_NAMED: usize = 50;

/// A line for each test that did not pass, and for each result whose absence makes a difference. Where no shard reports
/// tests, the table of shards has said it all.
pub fn failed_tests(run: &Run, report: &Report, outcome: Outcome, paint: Paint) -> String {
    if !report.has_tests() || outcome == Outcome::Passed {
        return String::new();
    }
    let bad = report.suites.iter().flat_map(|suite| {
        let bad = suite.all().filter(|case| case.status.is_bad());
        bad.map(move |case| (suite, case))
    });
    let mut text = String::new();
    for (n, (suite, case)) in bad.enumerate() {
        if n == MAX_NAMED {
            let more = report.totals.bad().saturating_sub(MAX_NAMED as u64);
            text.push_str(&format!("  and {more} more\n"));
            break;
        }
        let word = match (&case.result, case.status) {
            (Some(result), _) => result.outcome.name(),
            (None, Status::Failed) => "failed",
            (None, _) => "error",
        };
        let message = case.problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
        let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_control()).take(120).collect();
        let full_name = case.result.as_ref().map_or_else(|| case.full_name(), |result| result.name.clone());
        let name: String = full_name.chars().filter(|c| !c.is_control()).collect();
        let place = paint.dim(&place(run, suite, case));
        let colon = if line.is_empty() { "" } else { ": " };
        text.push_str(&format!("  {} {name}{place}{colon}{line}\n", paint.red(word)));
        if let Some(command) = case.reproduce_line() {
            text.push_str(&format!("    {}\n", paint.dim(command)));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Where it happened: ` (bot-3)` of a test that was shared out, ` (shard 3)` otherwise.
fn place(run: &Run, suite: &Suite, case: &TestCase) -> String {
    let bot = case.result.as_ref().and_then(|result| result.deciding()).map(|one| one.bot.as_str());
    match (bot, suite.shard) {
        (Some(bot), _) => format!(" ({bot})"),
        (None, Some(shard)) => format!(" (shard {})", run.label(shard)),
        (None, None) => String::new(),
    }
}

/// `PASSED run 1hf7yat000007 in 1m 05s · 1156 tests: 1150 passed, 6 skipped`.
pub fn verdict_line(run: &Run, verdict: &Verdict, totals: Totals, paint: Paint) -> String {
    let word = match verdict.outcome {
        Outcome::Passed => paint.green("PASSED"),
        Outcome::Failed => paint.red("FAILED"),
        Outcome::Incomplete => paint.red("INCOMPLETE"),
    };
    let took =
        run.ended.map(|ended| format!(" in {}", duration(ended.since(run.created)))).unwrap_or_default();
    let word = if verdict.unverified { format!("{word} (unverified)") } else { word };
    let mut line = format!("\n{word} run {}{took}", run.id);
    if totals.tests > 0 {
        let parts = [
            (totals.passed, "passed"),
            (totals.failed, "failed"),
            (totals.errored, "errors"),
            (totals.skipped, "skipped"),
            (totals.disabled, "disabled"),
            (totals.flaky, "flaky"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        line.push_str(&format!(" · {}: {}", count(totals.tests, "test"), parts.join(", ")));
    }
    if !verdict.reasons.is_empty() {
        line.push_str(&format!(" · {}", verdict.reasons.join(", ")));
    }
    line + "\n"
}
