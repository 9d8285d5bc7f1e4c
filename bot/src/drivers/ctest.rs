//! CTest: we run the commands ourselves, each test by its properties; fixtures are set up on the bot that needs them.
//!
//! What was observed of CMake 3.25: a test whose program does not exist has no command; properties stand as strings, lists,
//! numbers or booleans; what a fixture needs is selected with it. Of what decides about a test, in CTest's order: a skip
//! expression, the expressions it must or must not match, the exit code, then whether it was to fail.

mod expression;
mod model;

use super::{
    Address, Base, DriverError, Event, Launch, Left, Listed, Listing, Next, Reader, Runner, Takes,
    single::{Ending, Single},
};
use crate::{
    attempt::CommandExit,
    executor::{Command, Files},
    suite::{ListedTest, TestToRun, TestVerdict},
};
use model::{Model, Test};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Ctest {
    base: Base,
    asked: bool,
    model: Model,
    /// Tests that set something up on this bot, and how that went.
    prepared: HashMap<String, Result<(), String>>,
    /// The test whose process runs for its own sake or for that of others.
    running: Option<String>,
    /// Those that clear away, when that was done.
    cleared: BTreeSet<String>,
}

impl Ctest {
    pub(super) fn new(base: Base) -> Self {
        Self {
            base,
            asked: false,
            model: Model::default(),
            prepared: HashMap::new(),
            running: None,
            cleared: BTreeSet::new(),
        }
    }

    /// The next test that has to run before `test`, or why it cannot run at all.
    fn prologue(&self, test: &Test) -> Result<Option<Arc<Test>>, String> {
        for needed in self.model.prologue(test) {
            match self.prepared.get(&needed.name) {
                None => return Ok(Some(needed)),
                Some(Ok(())) => {}
                Some(Err(reason)) => {
                    return Err(format!("its fixture is not set up: {} {reason}", needed.name));
                }
            }
        }
        Ok(None)
    }

    fn command(&self, test: &Test) -> Option<Command> {
        let (program, arguments) = test.command.split_first()?;
        let mut environment = self.base.command.environment.clone();
        test.properties.apply_environment(&mut environment);
        let directory = test.properties.directory.as_ref();
        Some(Command {
            program: program.into(),
            arguments: arguments.to_vec(),
            environment,
            directory: directory.map_or_else(|| self.base.command.directory.clone(), Into::into),
            ..Command::default()
        })
    }

    fn prepare(&mut self, test: &Test) -> Option<Launch> {
        let command = self.command(test)?;
        self.running = Some(test.name.clone());
        Some(Launch::of(command, Takes::Nothing, Box::new(Silent)))
    }

    /// What is set up with `test` is no more.
    fn clear(&mut self, test: &Test) {
        for fixture in &test.properties.cleans_up {
            let tests = self.model.tests.iter().filter(|test| test.properties.sets_up.contains(fixture));
            tests.for_each(|test| drop(self.prepared.remove(&test.name)));
        }
    }
}

impl Runner for Ctest {
    fn list(&mut self) -> Option<Listing> {
        if std::mem::replace(&mut self.asked, true) {
            return None;
        }
        let mut command = self.base.command.clone();
        command.arguments.push("--show-only=json-v1".into());
        command.files = Some(Files { stdin: None, stdout: self.base.own.join("list") });
        Some(Listing { command, files: Vec::new(), result: None })
    }

    fn listed(&mut self, listed: Listed) -> Result<(), DriverError> {
        if listed.exit != CommandExit::Code(0) {
            return Err(DriverError::List { reason: format!("ctest ended with {}", listed.exit) });
        }
        self.model = Model::parse(&listed.stdout).map_err(|reason| DriverError::List { reason })?;
        Ok(())
    }

    fn tests(&self) -> Vec<ListedTest> {
        let listed = |test: &Arc<Test>| {
            let properties = &test.properties;
            let fixtures = [&properties.requires, &properties.sets_up, &properties.cleans_up];
            ListedTest {
                name: test.name.clone(),
                group: fixtures.into_iter().flatten().next().map(|fixture| format!("fixture {fixture}")),
                exclusive: properties.exclusive,
                disabled: properties.disabled,
                ..ListedTest::default()
            }
        };
        self.model.tests.iter().map(listed).collect()
    }

    fn runs_what_it_lists(&self) -> bool {
        true
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, _: u32, _: &Address) -> Result<Next, DriverError> {
        let name = queue.front().map_or("", |test| test.name.as_str());
        let Some(test) = self.model.find(name) else {
            return Ok(Next::Told(TestVerdict::Unknown, "ctest does not list it on this bot".into()));
        };
        match self.prologue(&test) {
            Err(reason) => return Ok(Next::Told(TestVerdict::Failed, reason)),
            Ok(Some(needed)) => {
                if let Some(launch) = self.prepare(&needed) {
                    return Ok(Next::Process(Box::new(launch)));
                }
                self.prepared.insert(needed.name.clone(), Err("has no program".into()));
                let reason = format!("its fixture is not set up: {} has no program", needed.name);
                return Ok(Next::Told(TestVerdict::Failed, reason));
            }
            Ok(None) => {}
        }
        let Some(command) = self.command(&test) else {
            let reason =
                "its program does not exist: is it among the files of the input, and where it was built?";
            return Ok(Next::Told(TestVerdict::Failed, reason.into()));
        };
        if let Some(missing) = test.properties.missing_file(&command.directory) {
            return Ok(Next::Told(
                TestVerdict::Failed,
                format!("its required file {missing} does not exist"),
            ));
        }
        self.running = Some(test.name.clone());
        let judged = Arc::clone(&test);
        let reader = Single::of(name, Box::new(move |ending| judge(&judged, ending)));
        let launch = Launch::of(command, Takes::Front(1), reader);
        Ok(Next::Process(Box::new(Launch { timeout: test.properties.timeout, is_of_test: true, ..launch })))
    }

    fn left(&mut self, left: &Left) {
        let Some(test) = self.running.take().and_then(|name| self.model.find(&name)) else { return };
        if !test.properties.sets_up.is_empty() {
            let expected = matches!(left.exit, CommandExit::Code(0)) != test.properties.will_fail;
            let outcome =
                if expected && !left.stopped { Ok(()) } else { Err(format!("ended with {}", left.exit)) };
            self.prepared.insert(test.name.clone(), outcome);
        }
        if !test.properties.cleans_up.is_empty() {
            self.clear(&test);
        }
    }

    fn epilogue(&mut self) -> Option<Launch> {
        loop {
            let prepared: BTreeSet<&String> = self.prepared.keys().collect();
            let up: BTreeSet<String> = self.model.fixtures_of(&prepared);
            let clears = |test: &&Arc<Test>| {
                !self.cleared.contains(&test.name)
                    && test.properties.cleans_up.iter().any(|fixture| up.contains(fixture))
            };
            let test = Arc::clone(self.model.tests.iter().find(clears)?);
            self.cleared.insert(test.name.clone());
            if let Some(launch) = self.prepare(&test) {
                return Some(launch);
            }
        }
    }
}

/// Says nothing of what prepares or clears away.
#[derive(Debug)]
struct Silent;

impl Reader for Silent {
    fn output(&mut self, _: &[u8], _: bool, _: &mut Vec<Event>) {}

    fn line(&mut self, _: &[u8], _: &mut Vec<Event>) {}

    fn ended(&mut self, _: &Left, events: &mut Vec<Event>) {
        events.push(Event::Judged);
    }
}

/// As CTest decides.
fn judge(test: &Test, ending: &Ending<'_>) -> Option<(TestVerdict, String)> {
    let properties = &test.properties;
    let CommandExit::Code(code) = ending.left.exit else { return None };
    let verdict = |verdict, message: String| Some((verdict, message));
    let matches = |expressions: &[regex::Regex]| {
        let found = expressions.iter().find(|one| one.is_match(ending.tail) || one.is_match(ending.head));
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

/// The default of CTest, and the longest that a test without one may take anyway.
const TIMEOUT: Duration = Duration::from_secs(1500);

#[cfg(test)]
mod tests;
