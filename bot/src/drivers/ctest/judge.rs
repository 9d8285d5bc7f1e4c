//! What the end of a test means, as CTest decides: first a skip expression and the exit code that says skipped, then the
//! expressions that its output must or must not match, else its exit code; then whether it was to fail.

use super::model::Test;
use crate::{
    attempt::CommandExit,
    drivers::single::{Ending, Judge, WHOLE, premature},
    suite::TestVerdict,
};
use regex::Regex;
use std::sync::Arc;

/// The judge of `test`, who adds `remark` when it has failed.
pub(super) fn of(test: Arc<Test>, remark: String) -> Judge {
    Box::new(move |ending| {
        let (verdict, mut message) = judge(&test, ending)?;
        if verdict == TestVerdict::Failed {
            message.push_str(&remark);
        }
        Some((verdict, message))
    })
}

pub(super) fn judge(test: &Test, ending: &Ending<'_>) -> Option<(TestVerdict, String)> {
    let properties = &test.properties;
    let CommandExit::Code(code) = ending.left.exit else { return None };
    let verdict = |verdict, message: String| Some((verdict, message));
    if properties.reads_output() && !ending.is_whole {
        let message = format!(
            "it has written more than {} MiB, too much to be judged by regular expressions",
            WHOLE / (1024 * 1024)
        );
        return verdict(TestVerdict::Failed, message);
    }
    let matches = |expressions: &[Regex]| {
        let found = expressions.iter().find(|one| one.is_match(ending.head));
        found.map(ToString::to_string)
    };
    if let Some(expression) = matches(&properties.skip_expressions) {
        return verdict(
            TestVerdict::Skipped,
            format!("its output matches SKIP_REGULAR_EXPRESSION `{expression}`"),
        );
    }
    if properties.skip_code == Some(code) {
        return verdict(
            TestVerdict::Skipped,
            format!("it ended with exit code {code}, its SKIP_RETURN_CODE"),
        );
    }
    // That is not how a test is to fail that was to fail: of such a one the rest decides, as with CTest.
    if ending.left.results.iter().any(Option::is_some) && !properties.will_fail {
        return Some(premature(ending.left.exit));
    }
    let passes = &properties.pass_expressions;
    let failed = if let Some(expression) = matches(&properties.fail_expressions) {
        Some(format!("its output matches FAIL_REGULAR_EXPRESSION `{expression}`"))
    } else if !passes.is_empty() {
        let found = matches(passes).is_some();
        (!found).then(|| "its output matches no PASS_REGULAR_EXPRESSION".to_owned())
    } else {
        (code != 0).then(|| format!("it ended with exit code {code}"))
    };
    match (failed, properties.will_fail) {
        (None, false) | (Some(_), true) => verdict(TestVerdict::Passed, String::new()),
        (Some(reason), false) => verdict(TestVerdict::Failed, reason),
        (None, true) => verdict(TestVerdict::Failed, "it was to fail (WILL_FAIL), and has not".into()),
    }
}
