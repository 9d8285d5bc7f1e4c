//! Test programs of Rust: a process for each test, as cargo-nextest does, since only its own end tells of a test's crash.
//!
//! What was observed: a name that is not there gives exit code 0 and "0 passed", so the summary is counted; exit code 101 is
//! a failure, but a test can end its process with any; harnesses of others answer `--list --format terse` and `--exact`, too,
//! and need not print a summary.

mod binaries;

use super::{
    Base, DriverError, Launch, Listed, Listing, Next, Runner, Takes,
    single::{Ending, Single},
};
use crate::{
    attempt::CommandExit,
    executor::{Command, Files},
    suite::{ListedTest, TestToRun, TestVerdict},
};
use binaries::Binary;
use proto::RelPath;
use std::collections::{HashMap, VecDeque};

/// Exit code of a program of which tests have failed.
const FAILED: i32 = 101;

/// Options whose value is the next argument.
const VALUED: [&str; 7] =
    ["--color", "--format", "--logfile", "--shuffle-seed", "--skip", "--test-threads", "-Z"];

/// One test program, or several.
#[derive(Debug)]
pub(super) struct Libtest {
    base: Base,
    programs: Vec<Program>,
    /// How many questions were asked.
    asked: usize,
    tests: Vec<ListedTest>,
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Program {
    /// Before the names of its tests, where there are several programs.
    id: Option<String>,
    command: Command,
}

impl Libtest {
    /// The program of the command, or those of a list in the input.
    pub(super) fn new(base: Base, list: Option<&RelPath>) -> Result<Self, DriverError> {
        let programs = match list {
            None => vec![Program { id: None, command: base.command.clone() }],
            Some(path) => {
                let several = |Binary { id, command }| Program { id: Some(id), command };
                binaries::read(&base, path)?.into_iter().map(several).collect()
            }
        };
        Ok(Self { base, programs, asked: 0, tests: Vec::new(), places: HashMap::new() })
    }

    /// The program that has the test `name`, and how that calls it.
    fn find<'a>(&self, name: &'a str) -> Option<(&Program, &'a str)> {
        self.programs.iter().find_map(|program| match &program.id {
            None => Some((program, name)),
            Some(id) => Some((program, name.strip_prefix(id.as_str())?.strip_prefix(' ')?)),
        })
    }

    /// Whether the step runs ignored tests: only these, or all.
    fn takes_ignored(&self) -> bool {
        let arguments = &self.base.command.arguments;
        arguments.iter().any(|argument| argument == "--ignored" || argument == "--include-ignored")
    }

    /// The program that gets the `number`th question, and whether that is for ignored tests alone: these are among all, and
    /// nothing tells them apart there.
    fn question(&self, number: usize) -> (usize, bool) {
        if self.takes_ignored() { (number, false) } else { (number / 2, number % 2 == 1) }
    }

    fn add(&mut self, program: usize, name: &str, ignored: bool) {
        let full = match &self.programs[program].id {
            Some(id) => format!("{id} {name}"),
            None => name.to_owned(),
        };
        if let Some(&place) = self.places.get(&full) {
            self.tests[place].disabled |= ignored;
        } else if !ignored {
            let module = name.rsplit_once("::").map(|(module, _)| module.to_owned());
            let group = self.programs[program].id.clone().or(module);
            self.places.insert(full.clone(), self.tests.len());
            self.tests.push(ListedTest { name: full, group, ..ListedTest::default() });
        }
    }
}

impl Runner for Libtest {
    fn list(&mut self) -> Option<Listing> {
        let (place, ignored) = self.question(self.asked);
        let program = self.programs.get(place)?;
        let mut command = program.command.clone();
        command.arguments.extend(["--list", "--format", "terse"].map(str::to_owned));
        if ignored {
            command.arguments.push("--ignored".into());
        }
        command.files = Some(Files { stdin: None, stdout: self.base.own.join("list") });
        self.asked += 1;
        Some(Listing { command, files: Vec::new(), result: None })
    }

    fn listed(&mut self, listed: Listed) -> Result<(), DriverError> {
        let (place, ignored) = self.question(self.asked - 1);
        let program = &self.programs[place].command.program;
        if listed.exit != CommandExit::Code(0) {
            let (program, exit) = (program.display(), listed.exit);
            return Err(DriverError::List {
                reason: format!("`{program} --list --format terse` ended with {exit}"),
            });
        }
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        for line in text.lines() {
            let name = line.strip_suffix(": test").or_else(|| line.strip_suffix(": benchmark"));
            if let Some(name) = name {
                self.add(place, name, ignored);
            }
        }
        Ok(())
    }

    fn tests(&self) -> Vec<ListedTest> {
        self.tests.clone()
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, _: u32, _: u16) -> Result<Next, DriverError> {
        let name = queue.front().map_or("", |test| test.name.as_str());
        let Some((program, own)) = self.find(name) else {
            return Ok(Next::Told(TestVerdict::Unknown, "no test program of the input has it".into()));
        };
        let mut command = program.command.clone();
        command.arguments = for_one_test(&command.arguments);
        let options = ["--exact", own, "--nocapture", "--test-threads=1", "--include-ignored"];
        // A program takes the option once.
        let given = &program.command.arguments;
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
        Some(judge(&Ending { left: &left, head: output, tail: output })?.0)
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
