//! What a program of GoogleTest lists.

use crate::{drivers::DriverError, suite::ListedTest};
use serde::Deserialize;

/// The suite in results under which stands what failed in environments.
const ENVIRONMENTS: &str = "NonTestSuiteFailure";

/// The lists are as long as the program has tests; of the rest of the format nothing is needed.
#[derive(Debug, Deserialize)]
struct Program {
    #[serde(default)]
    testsuites: Vec<Suite>,
}

#[derive(Debug, Deserialize)]
struct Suite {
    name: String,
    #[serde(default)]
    testsuite: Vec<Test>,
}

#[derive(Debug, Deserialize)]
struct Test {
    name: String,
    file: Option<String>,
    line: Option<u32>,
    /// Only in results.
    result: Option<String>,
}

/// The list of `--gtest_list_tests --gtest_output=json:FILE`.
pub(super) fn json(bytes: &[u8], also_disabled: bool) -> Result<Vec<ListedTest>, DriverError> {
    let program: Program = serde_json::from_slice(bytes)
        .map_err(|error| DriverError::List { reason: format!("the program's list is no JSON: {error}") })?;
    let tests = program.testsuites.into_iter().flat_map(|suite| {
        let name = suite.name;
        suite.testsuite.into_iter().map(move |test| ListedTest {
            file: test.file,
            line: test.line,
            ..listed(&name, &test.name, also_disabled)
        })
    });
    Ok(tests.collect())
}

/// The list of `--gtest_list_tests` alone, of programs that know no JSON. Custom mains write between its lines.
pub(super) fn text(text: &str, also_disabled: bool) -> Vec<ListedTest> {
    let mut suite = None;
    let mut tests = Vec::new();
    for line in text.lines() {
        // Parameters may contain the very characters that come before them.
        let line = line.split("  # ").next().unwrap_or(line);
        let name = line.trim();
        match line.strip_prefix("  ") {
            Some(_) if !name.is_empty() && !name.contains(' ') => {
                tests.extend(suite.map(|suite| listed(suite, name, also_disabled)));
            }
            Some(_) => {}
            None => suite = name.strip_suffix('.').filter(|suite| !suite.contains(' ')),
        }
    }
    tests
}

fn listed(suite: &str, name: &str, also_disabled: bool) -> ListedTest {
    let is_disabled = |name: &str| name.split('/').any(|part| part.starts_with("DISABLED_"));
    ListedTest {
        name: format!("{suite}.{name}"),
        group: Some(suite.to_owned()),
        disabled: !also_disabled && (is_disabled(suite) || is_disabled(name)),
        ..ListedTest::default()
    }
}

/// Tests that the results of `--gtest_output=json:FILE` call skipped.
pub(super) fn skipped(bytes: &[u8]) -> Vec<String> {
    let Ok(program) = serde_json::from_slice::<Program>(bytes) else { return Vec::new() };
    // What fails outside of tests is a test without a name, of its suite or of one for environments: for it tests are skipped.
    let failed = |suite: &Suite| suite.testsuite.iter().any(|test| test.name.is_empty());
    if program.testsuites.iter().any(|suite| suite.name == ENVIRONMENTS && failed(suite)) {
        return Vec::new();
    }
    let of = |suite: Suite| {
        let skipped = suite.testsuite.into_iter().filter(|test| test.result.as_deref() == Some("SKIPPED"));
        let name = suite.name;
        skipped.map(move |test| format!("{name}.{}", test.name)).collect::<Vec<_>>()
    };
    program.testsuites.into_iter().filter(|suite| !failed(suite)).flat_map(of).collect()
}
