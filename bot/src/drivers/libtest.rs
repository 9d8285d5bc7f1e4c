//! Test programs of Rust: a process for each test, as cargo-nextest does, since only its own end tells of a test's crash.
//!
//! What was observed: a name that is not there gives exit code 0 and "0 passed", so the summary is counted; exit code 101 is
//! a failure, but a test can end its process with any; harnesses of others answer `--list --format terse` and `--exact`, too,
//! and need not print a summary. So does the launcher of `isolate pack cargo`, for all programs of a workspace: there a name is
//! `PROGRAM TEST`.

use super::{
    Address, Base, DriverError, Launch, Listed, Listing, Next, Runner, Takes,
    single::{Ending, Single},
};
use crate::{
    attempt::CommandExit,
    executor::Files,
    suite::{ListedTest, TestToRun, TestVerdict},
};
use std::collections::{HashMap, VecDeque};

/// Exit code of a program of which tests have failed.
const FAILED: i32 = 101;

/// Options whose value is the next argument.
const VALUED: [&str; 7] =
    ["--color", "--format", "--logfile", "--shuffle-seed", "--skip", "--test-threads", "-Z"];

/// See the module.
#[derive(Debug)]
pub(super) struct Libtest {
    base: Base,
    /// How many questions were asked.
    asked: usize,
    tests: Vec<ListedTest>,
    places: HashMap<String, usize>,
}

impl Libtest {
    pub(super) fn new(base: Base) -> Self {
        Self { base, asked: 0, tests: Vec::new(), places: HashMap::new() }
    }

    /// Whether the step runs ignored tests: only these, or all.
    fn takes_ignored(&self) -> bool {
        let arguments = &self.base.command.arguments;
        arguments.iter().any(|argument| argument == "--ignored" || argument == "--include-ignored")
    }

    fn add(&mut self, name: &str, ignored: bool) {
        if let Some(&place) = self.places.get(name) {
            self.tests[place].disabled |= ignored;
        } else if !ignored {
            let module = name.rfind("::").max(name.rfind(' ')).map(|end| name[..end].to_owned());
            self.places.insert(name.to_owned(), self.tests.len());
            self.tests.push(ListedTest { name: name.to_owned(), group: module, ..ListedTest::default() });
        }
    }
}

impl Runner for Libtest {
    fn list(&mut self) -> Option<Listing> {
        // Ignored tests are among all, where nothing tells them apart, unless the step runs them anyhow.
        let questions = if self.takes_ignored() { 1 } else { 2 };
        if self.asked == questions {
            return None;
        }
        let mut command = self.base.command.clone();
        command.arguments.extend(["--list", "--format", "terse"].map(str::to_owned));
        if self.asked == 1 {
            command.arguments.push("--ignored".into());
        }
        command.files = Some(Files { stdin: None, stdout: self.base.own.join("list") });
        self.asked += 1;
        Some(Listing { command, files: Vec::new(), result: None })
    }

    fn listed(&mut self, listed: Listed) -> Result<(), DriverError> {
        if listed.exit != CommandExit::Code(0) {
            let (program, exit) = (self.base.command.program.display(), listed.exit);
            return Err(DriverError::List {
                reason: format!("`{program} --list --format terse` ended with {exit}"),
            });
        }
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        for line in text.lines() {
            let name = line.strip_suffix(": test").or_else(|| line.strip_suffix(": benchmark"));
            if let Some(name) = name {
                self.add(name, self.asked == 2);
            }
        }
        Ok(())
    }

    fn tests(&self) -> Vec<ListedTest> {
        self.tests.clone()
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, _: u32, _: &Address) -> Result<Next, DriverError> {
        let name = queue.front().map_or("", |test| test.name.as_str());
        let mut command = self.base.command.clone();
        command.arguments = for_one_test(&command.arguments);
        let options = ["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"];
        // A program takes the option once.
        let given = &self.base.command.arguments;
        let fresh =
            |option: &&str| !option.starts_with("--") || !given.iter().any(|argument| argument == option);
        command.arguments.extend(options.iter().filter(|option| fresh(option)).map(ToString::to_string));
        let reader = Single::of(name, Box::new(judge));
        Ok(Next::Process(Box::new(Launch::of(command, Takes::Front(1), reader))))
    }
}

/// What stays of the step's arguments where one test is run: no filters, which would run others with it, and nothing that
/// is ours to say. A program before them, as in `valgrind ./tests`, is no filter, nor is what comes before that.
fn for_one_test(arguments: &[String]) -> Vec<String> {
    let is_program = |argument: &String| !argument.starts_with('-') && argument.contains('/');
    let before = arguments.iter().rposition(is_program).map_or(0, |place| place + 1);
    let (before, own) = arguments.split_at(before);
    let mut kept = before.to_vec();
    let mut own = own.iter();
    while let Some(argument) = own.next() {
        let value = if VALUED.contains(&argument.as_str()) { own.next() } else { None };
        let is_ours = argument == "--ignored" || argument.split('=').next() == Some("--test-threads");
        if argument.starts_with('-') && !is_ours {
            kept.extend([argument].into_iter().chain(value).cloned());
        }
    }
    kept
}

/// Harnesses that count say how many; of others the exit code alone says it.
fn judge(ending: &Ending<'_>) -> Option<(TestVerdict, String)> {
    let CommandExit::Code(code) = ending.left.exit else { return None };
    let counts = counts(ending.tail);
    let counting = ending.head.lines().any(|line| line.starts_with("running ") && line.contains(" test"));
    let verdict = match (counts, code) {
        (Some([0, 0, 0]), 0) => TestVerdict::Unknown,
        (Some([0, 0, _]), 0) => TestVerdict::Skipped,
        (Some(_), 0) => TestVerdict::Passed,
        (Some([_, 1..=u32::MAX, _]), FAILED) => TestVerdict::Failed,
        // It has not come to its summary.
        (None, _) if counting => return None,
        (None, 0) => TestVerdict::Passed,
        _ => TestVerdict::Failed,
    };
    let message = match verdict {
        TestVerdict::Failed => panicked(ending.tail),
        TestVerdict::Unknown => "the test program does not have it".into(),
        _ => String::new(),
    };
    Some((verdict, message))
}

/// How many tests have passed, failed and were ignored, by the last summary.
fn counts(text: &str) -> Option<[u32; 3]> {
    let line = text.lines().rfind(|line| line.starts_with("test result: "))?;
    let count = |what: &str| {
        let before = &line[..line.find(what)?];
        before.rsplit([' ', '.']).find(|word| !word.is_empty())?.parse().ok()
    };
    Some([count(" passed")?, count(" failed")?, count(" ignored")?])
}

/// The message of the first panic.
fn panicked(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains(" panicked at "));
    let end = |line: &&str| !line.starts_with("note: ") && !line.starts_with("stack backtrace:");
    let lines: Vec<&str> = lines.by_ref().take_while(end).take(20).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::Left;

    fn judged(output: &str, code: i32) -> Option<TestVerdict> {
        let left = Left { exit: CommandExit::Code(code), stopped: false, results: Vec::new() };
        Some(judge(&Ending { left: &left, head: output, tail: output, is_whole: true })?.0)
    }

    #[test]
    fn a_summary_counts_and_a_harness_without_one_is_believed() {
        let summary = |passed, failed, ignored| {
            let result = if failed == 0 { "ok" } else { "FAILED" };
            format!(
                "\nrunning 1 test\ntest a ... x\n\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 3 filtered out; finished in 0.00s\n"
            )
        };
        assert_eq!(judged(&summary(1, 0, 0), 0), Some(TestVerdict::Passed));
        assert_eq!(judged(&summary(0, 1, 0), 101), Some(TestVerdict::Failed));
        assert_eq!(judged(&summary(0, 0, 1), 0), Some(TestVerdict::Skipped));
        assert_eq!(judged(&summary(0, 0, 0), 0), Some(TestVerdict::Unknown));
        assert_eq!(judged("running 1 test\ntest a ... ", 0), None, "exit(0) in the test");
        assert_eq!(judged("running 1 test\ntest a ... ", 101), None);
        assert_eq!((judged("", 0), judged("no", 1)), (Some(TestVerdict::Passed), Some(TestVerdict::Failed)));
    }
}
