//! Tests of the scheduler's ledger as cases of the merged report: one for each test, its executions as what went wrong.

use super::{Problem, ProblemKind, Report, Status, Suite, TestCase};
use crate::{
    display::{some_of, utc},
    ledger::Ledger,
    model::{Driver, Execution, Run, Shard, TestOutcome, TestResult, TestVerdict},
    verdict::Account,
};
use proto::{Digest, ShardId};
use std::collections::BTreeMap;

/// So many tests without a verdict are named in one sentence; all are in the reports.
const MAX_NAMED: usize = 3;

/// Puts each test of these ledgers into the suite of the worker that decided it, or into one for those that ran nowhere.
pub(super) fn add(run: &Run, suites: &mut Vec<Suite>, ledgers: &[Ledger]) -> Vec<Account> {
    let places: BTreeMap<ShardId, usize> =
        suites.iter().enumerate().filter_map(|(at, suite)| Some((suite.shard?, at))).collect();
    let mut accounts = Vec::new();
    for ledger in ledgers {
        let step = run.name_of_step(ledger.step);
        let input = run.spec.steps.get(ledger.step as usize).and_then(|step| step.input);
        let mut homeless = Suite::nowhere(step.clone(), input);
        for result in &ledger.results {
            let place = result.deciding().and_then(|one| places.get(&one.shard));
            let suite = place.map_or(&mut homeless, |&at| &mut suites[at]);
            let case = case(ledger.policy.driver, &step, result, suite);
            suite.cases.push(case);
        }
        if ledger.counts.is_none() || ledger.untold() > 0 {
            let why = worst_reason(run, ledger.step).map(|why| format!(": {why}")).unwrap_or_default();
            let message = match ledger.counts {
                None => format!("the tests were never listed{why}"),
                Some(_) => format!("the scheduler did not tell of {} of the tests", ledger.untold()),
            };
            homeless.stand_ins.push(TestCase::broken(&step, "tests", "missing", message));
        }
        for suite in suites.iter_mut().filter(|suite| suite.shard.is_some_and(|id| id.step == ledger.step)) {
            suite.unverified = !ledger.policy.driver.lists_tests();
        }
        if homeless.all().next().is_some() {
            homeless.unverified = !ledger.policy.driver.lists_tests();
            suites.push(homeless);
        }
        accounts.push(account(run, ledger));
    }
    accounts
}

/// What the verdict takes from a ledger.
fn account(run: &Run, ledger: &Ledger) -> Account {
    let of = |wanted: fn(TestOutcome) -> bool| ledger.results.iter().filter(move |one| wanted(one.outcome));
    let unresolved = of(TestOutcome::is_unresolved).count() as u64 + ledger.untold();
    Account {
        step: ledger.step,
        name: run.name_of_step(ledger.step),
        listed: ledger.counts.is_some(),
        failed: of(TestOutcome::is_failure).count() as u64,
        unresolved,
        named: of(TestOutcome::is_unresolved).take(MAX_NAMED).map(|result| result.name.clone()).collect(),
        fail_fast: ledger.policy.fail_fast,
        unverified: !ledger.policy.driver.lists_tests(),
    }
}

/// Why a worker of this step did not come to its end, in words.
fn worst_reason(run: &Run, step: u32) -> Option<&str> {
    let workers = run.shards.iter().filter(|shard| shard.id.step == step && !shard.is_good());
    workers.map(Shard::reason).find(|reason| !reason.is_empty())
}

fn case(driver: Driver, step: &str, result: &TestResult, suite: &Suite) -> TestCase {
    let (class_name, name) = names(driver, step, result);
    let deciding = result.deciding();
    let mut case = TestCase {
        status: status(result),
        time: deciding.map(|one| one.took),
        timestamp: deciding.and_then(|one| one.started).map(utc).unwrap_or_default(),
        file: result.file.clone(),
        line: result.line.map(u64::from),
        problems: problems(result),
        ..TestCase::new(class_name, name)
    };
    let said = deciding.map(|one| one.message.as_str()).unwrap_or_default();
    match (result.outcome, case.status) {
        (TestOutcome::Quarantined, _) => {
            case.skip_message = join("it failed, as is known: quarantined", said);
        }
        (_, Status::Skipped) => case.skip_message = said.to_owned(),
        _ => {}
    }
    let elsewhere = deciding.filter(|one| one.bot != suite.bot || one.attempt != suite.attempt);
    if let Some(one) = deciding.filter(|_| !case.problems.is_empty()).or(elsewhere) {
        case.properties = properties(result, one, suite.input);
    }
    case.result = Some(Box::new(result.clone()));
    case
}

fn properties(result: &TestResult, one: &Execution, input: Option<Digest>) -> Vec<(String, String)> {
    let mut properties = vec![
        ("shard".to_owned(), one.shard.to_string()),
        ("bot".to_owned(), one.bot.clone()),
        ("attempt".to_owned(), one.attempt.to_string()),
        ("digest".to_owned(), input.map(|digest| digest.to_string()).unwrap_or_default()),
    ];
    if one.verdict.is_bad() || result.executions.iter().any(|one| one.verdict.is_bad()) {
        properties.push(("reproduce".to_owned(), reproduce_line(result, one)));
    }
    properties
}

/// The line that runs this test alone as it was run.
fn reproduce_line(result: &TestResult, one: &Execution) -> String {
    format!("swarm reproduce {} --test {}", one.shard, quoted(&result.name))
}

/// As a word of a shell's command line.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn status(result: &TestResult) -> Status {
    match result.outcome {
        TestOutcome::Passed | TestOutcome::Flaky => Status::Passed,
        TestOutcome::Failed => Status::Failed,
        TestOutcome::Skipped if result.disabled => Status::Disabled,
        TestOutcome::Skipped | TestOutcome::Quarantined => Status::Skipped,
        TestOutcome::Crashed
        | TestOutcome::TimedOut
        | TestOutcome::Unknown
        | TestOutcome::Open
        | TestOutcome::Missing => Status::Errored,
    }
}

/// What went wrong, the execution that decided first.
fn problems(result: &TestResult) -> Vec<Problem> {
    if matches!(result.outcome, TestOutcome::Open | TestOutcome::Missing) {
        return vec![Problem {
            kind: ProblemKind::Error,
            message: "nobody has told how the test ended".into(),
            type_name: "missing".into(),
            text: String::new(),
        }];
    }
    let decides = |one: &Execution| {
        let red = result.outcome.is_failure() || result.outcome == TestOutcome::Unknown;
        red && result.deciding().is_some_and(|deciding| std::ptr::eq(deciding, one))
    };
    let counted = || result.executions.iter().filter(|one| one.verdict.is_bad() && !one.duplicate);
    let first = counted().filter(|one| decides(one)).map(|one| problem(result.outcome, one, Turn::Deciding));
    // What bots could not do is no failure of the test.
    let others = counted().filter(|one| one.verdict.is_of_the_test() && !decides(one));
    let others = others.map(|one| problem(result.outcome, one, Turn::Other));
    let mut problems: Vec<Problem> = first.chain(others).collect();
    if problems.is_empty() && result.outcome == TestOutcome::Unknown {
        let message = "no runner knew the test".to_owned();
        let (kind, type_name) = (ProblemKind::Error, "unknown".to_owned());
        problems.push(Problem { kind, message, type_name, text: String::new() });
    }
    problems
}

/// Whether it was this execution that made the test what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Deciding,
    Other,
}

fn problem(outcome: TestOutcome, one: &Execution, turn: Turn) -> Problem {
    let failed = matches!(one.verdict, TestVerdict::Failed | TestVerdict::Infrastructure);
    let kind = match (turn, outcome, failed) {
        (Turn::Deciding, _, true) => ProblemKind::Failure,
        (Turn::Deciding, _, false) => ProblemKind::Error,
        (Turn::Other, TestOutcome::Flaky, true) => ProblemKind::FlakyFailure,
        (Turn::Other, TestOutcome::Flaky, false) => ProblemKind::FlakyError,
        (Turn::Other, _, true) => ProblemKind::RerunFailure,
        (Turn::Other, _, false) => ProblemKind::RerunError,
    };
    let (type_name, default) = match one.verdict {
        TestVerdict::Crashed => ("crash", "the test took its process with it"),
        TestVerdict::TimedOut => ("timeout", "the test took too long"),
        TestVerdict::Unknown => ("unknown", "the runner on this bot does not know the test"),
        TestVerdict::Infrastructure => ("infrastructure", "what the test ran on has failed"),
        _ => ("failure", "the test failed"),
    };
    let message = if one.message.is_empty() { default.to_owned() } else { one.message.clone() };
    let text = String::from_utf8_lossy(&one.output).into_owned();
    Problem { kind, message, type_name: type_name.to_owned(), text }
}

/// What a test belongs to and what it is called there, as its framework's own reports have it.
fn names(driver: Driver, step: &str, result: &TestResult) -> (String, String) {
    let name = result.name.as_str();
    let split = match driver {
        Driver::Gtest => name.rsplit_once('.'),
        // Behind the name of its program a test may have no module.
        Driver::Libtest => match name.rsplit_once(' ') {
            Some((program, test)) if !test.contains("::") => Some((program, test)),
            _ => name.rsplit_once("::"),
        },
        Driver::Pytest => {
            // Parameters may hold anything.
            let plain = name.find('[').map_or(name, |at| &name[..at]);
            plain.rfind("::").map(|at| (&name[..at], &name[at + 2..]))
        }
        Driver::Ctest | Driver::Bazel | Driver::Opaque => None,
    };
    match split {
        Some((class, name)) if driver == Driver::Pytest => {
            (class.replacen(".py", "", 1).replace(['/'], ".").replace("::", "."), name.to_owned())
        }
        Some((class, name)) => (class.to_owned(), name.to_owned()),
        None => (step.to_owned(), name.to_owned()),
    }
}

fn join(text: &str, more: &str) -> String {
    if more.is_empty() { text.to_owned() } else { format!("{text}: {more}") }
}

impl Report {
    /// The tests that are as they are by somebody's word or by chance, and what nobody can know: for people.
    pub(super) fn notes_on_tests(ledgers: &[Ledger], run: &Run) -> Vec<String> {
        let mut notes = Vec::new();
        for ledger in ledgers {
            let step = run.name_of_step(ledger.step);
            for (outcome, what) in [
                (TestOutcome::Flaky, "flaky: they failed, then passed on the same input"),
                (TestOutcome::Quarantined, "quarantined: they failed, as is known"),
            ] {
                let names: Vec<&str> = ledger
                    .results
                    .iter()
                    .filter(|result| result.outcome == outcome)
                    .map(|result| result.name.as_str())
                    .collect();
                if !names.is_empty() {
                    notes.push(format!(
                        "{what}: {}",
                        some_of(&names[..names.len().min(MAX_NAMED)], names.len() as u64)
                    ));
                }
            }
            if !ledger.policy.driver.lists_tests() {
                let driver = ledger.policy.driver.name();
                notes.push(format!(
                    "step {step} is unverified: the driver {driver} cannot tell its tests, so nobody knows whether all were run"
                ));
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests;
