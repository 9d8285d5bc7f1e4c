//! The ledger as the summary that Chromium's test launcher writes, for what reads that. Facts: `//base/test/launcher`.

use crate::{
    ledger::Ledger,
    model::{Driver, Execution, TestOutcome, TestResult, TestVerdict},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What `--chromium-json FILE` writes.
#[derive(Debug, Serialize)]
pub struct ChromiumJson<'a> {
    global_tags: Vec<&'static str>,
    all_tests: BTreeSet<String>,
    disabled_tests: BTreeSet<String>,
    /// One map, of each test to its executions.
    per_iteration_data: [BTreeMap<&'a str, Vec<Entry>>; 1],
    test_locations: BTreeMap<&'a str, Location<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry {
    status: &'static str,
    elapsed_time_ms: u64,
    output_snippet: String,
    output_snippet_base64: String,
    /// Spelled so by those who read it.
    losless_snippet: bool,
    result_parts: [(); 0],
}

#[derive(Debug, Serialize)]
struct Location<'a> {
    file: &'a str,
    line: u32,
}

impl<'a> ChromiumJson<'a> {
    /// Of those ledgers that are of GoogleTest.
    pub fn new(ledgers: &'a [Ledger]) -> Self {
        let ledgers = || ledgers.iter().filter(|ledger| ledger.policy.driver == Driver::Gtest);
        let results = || ledgers().flat_map(|ledger| &ledger.results);
        let unreliable = ledgers().any(|ledger| ledger.counts.is_none() || ledger.untold() > 0)
            || results().any(|result| result.outcome.is_unresolved());
        let ran = results().filter(|result| !result.disabled);
        Self {
            global_tags: if unreliable { vec!["UNRELIABLE_RESULTS"] } else { vec![] },
            all_tests: results().map(|result| enabled_name(&result.name)).collect(),
            disabled_tests: results().filter(|one| one.disabled).map(|one| enabled_name(&one.name)).collect(),
            per_iteration_data: [ran.map(|result| (result.name.as_str(), entries(result))).collect()],
            test_locations: results()
                .filter_map(|result| Some((result.name.as_str(), location(result)?)))
                .collect(),
        }
    }
}

fn location(result: &TestResult) -> Option<Location<'_>> {
    (!result.file.is_empty()).then(|| Location { file: &result.file, line: result.line.unwrap_or(0) })
}

/// Names there do not say that a test is disabled, so that they compare before and after.
fn enabled_name(name: &str) -> String {
    name.split('.').map(|part| part.strip_prefix("DISABLED_").unwrap_or(part)).collect::<Vec<_>>().join(".")
}

fn entries(result: &TestResult) -> Vec<Entry> {
    let counted =
        result.executions.iter().filter(|one| !one.duplicate && one.verdict != TestVerdict::Running);
    let mut entries: Vec<Entry> = counted.map(entry).collect();
    if entries.is_empty() {
        let status = if result.outcome == TestOutcome::Skipped { "SKIPPED" } else { "NOTRUN" };
        entries.push(Entry::new(status, 0, &[]));
    }
    entries
}

fn entry(one: &Execution) -> Entry {
    let status = match one.verdict {
        TestVerdict::Passed => "SUCCESS",
        TestVerdict::Failed => "FAILURE",
        TestVerdict::Crashed => "CRASH",
        TestVerdict::TimedOut => "TIMEOUT",
        TestVerdict::Skipped => "SKIPPED",
        TestVerdict::Unknown | TestVerdict::Infrastructure => "UNKNOWN",
        TestVerdict::Running => "NOTRUN",
    };
    Entry::new(status, u64::try_from(one.took.as_millis()).unwrap_or(u64::MAX), &one.output)
}

impl Entry {
    fn new(status: &'static str, elapsed_time_ms: u64, output: &[u8]) -> Self {
        Self {
            status,
            elapsed_time_ms,
            output_snippet: String::from_utf8_lossy(output).into_owned(),
            output_snippet_base64: STANDARD.encode(output),
            losless_snippet: std::str::from_utf8(output).is_ok(),
            result_parts: [],
        }
    }
}
