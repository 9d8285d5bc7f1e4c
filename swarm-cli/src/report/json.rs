//! The merged report as JSON, for programs.

use super::{LostOutputs, Problem, Report, Status, Suite, TestCase, Totals};
use crate::{
    json::{ExecutionJson, RunJson, SCHEMA_VERSION},
    model::{Run, TestOutcome, TestResult},
    verdict::{Outcome, Verdict},
};
use proto::Digest;
use serde::Serialize;
use std::collections::BTreeMap;

/// What `--json FILE` writes.
#[derive(Debug, Serialize)]
pub struct ReportJson<'a> {
    /// [`SCHEMA_VERSION`]; keys may be added without a new one.
    pub schema_version: u32,
    /// Whether the suite passed.
    pub outcome: Outcome,
    /// Of the program that wrote this.
    pub exit_code: u8,
    /// Why the outcome is not `passed`.
    pub reasons: &'a [String],
    /// The steps of which nobody can know whether all tests were run.
    pub unverified: Vec<&'a str>,
    /// What workers have lost of the tests that they told of.
    pub lost_outputs: &'a [LostOutputs],
    /// The manifest of all that shards left, as one tree.
    pub outputs: Option<String>,
    /// What is odd about the reports.
    pub notes: &'a [String],
    /// How many tests went how.
    pub totals: Totals,
    /// The run with its shards.
    pub run: RunJson<'a>,
    /// Every test once.
    pub tests: Vec<TestJson<'a>>,
}

/// One test and how it went.
#[derive(Debug, Serialize)]
pub struct TestJson<'a> {
    /// Its step's name.
    pub step: &'a str,
    /// What it belongs to.
    #[serde(rename = "class")]
    pub class_name: &'a str,
    /// Its name within it.
    pub name: &'a str,
    /// How it went.
    pub status: Status,
    /// Seconds.
    pub time: Option<f64>,
    /// Where it is written.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub file: &'a str,
    /// And on which line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The framework's full name, of tests that are shared out one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// What such a test has come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TestOutcome>,
    /// The shard that it ran in; null: in none.
    pub shard: Option<String>,
    /// Of a test that is shared out: each time that it was run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub executions: Vec<ExecutionJson<'a>>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub skip_message: &'a str,
    /// What went wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub problems: &'a [Problem],
    /// What it recorded.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<&'a str, &'a str>,
}

impl<'a> ReportJson<'a> {
    /// Puts the document together.
    pub fn new(run: &'a Run, report: &'a Report, verdict: &'a Verdict) -> Self {
        let tests = report.suites.iter().flat_map(|suite| suite.all().map(|case| TestJson::of(suite, case)));
        Self {
            schema_version: SCHEMA_VERSION,
            outcome: verdict.outcome,
            exit_code: verdict.exit().code(),
            reasons: &verdict.reasons,
            unverified: report.findings.unverified().collect(),
            lost_outputs: &report.lost_outputs,
            outputs: None,
            notes: &report.notes,
            totals: report.totals,
            run: RunJson::from(run),
            tests: tests.collect(),
        }
    }
}

impl ReportJson<'_> {
    /// The same with the digest of what shards left.
    pub fn with_outputs(self, outputs: Option<Digest>) -> Self {
        Self { outputs: outputs.map(|digest| digest.to_string()), ..self }
    }
}

impl<'a> TestJson<'a> {
    fn of(suite: &'a Suite, case: &'a TestCase) -> Self {
        let result: Option<&TestResult> = case.result.as_deref();
        Self {
            step: &suite.step,
            class_name: &case.class_name,
            name: &case.name,
            status: case.status,
            time: case.time.map(|time| time.as_secs_f64()),
            file: &case.file,
            line: case.line,
            id: result.map(|result| result.name.as_str()),
            outcome: result.map(|result| result.outcome),
            shard: suite.shard.map(|shard| shard.to_string()),
            executions: result
                .map_or(&[][..], |result| &result.executions)
                .iter()
                .map(ExecutionJson::from)
                .collect(),
            skip_message: &case.skip_message,
            problems: &case.problems,
            properties: case.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        }
    }
}
