//! CTest: we run the commands ourselves, each test by its properties; what a test needs, its fixtures and the tests that it
//! depends on, is run on the bot that runs the test.
//!
//! What was observed of CMake 3.25: a test whose program does not exist has no command; properties stand as strings, lists,
//! numbers or booleans; what a fixture needs is selected with it, and stands among what a test depends on.

mod done;
mod expression;
mod group;
mod judge;
mod model;

use super::{
    Address, Base, DriverError, Launch, Listed, Listing, Next, Runner, Takes, TestRun,
    single::{Single, watch_for_premature_exit},
};
use crate::{
    attempt::CommandExit,
    executor::{Command, Files},
    suite::{ListedTest, TestToRun, TestVerdict},
};
use done::Done;
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
    /// Processes that were made.
    launched: u32,
    /// Tests that have run on this bot, or cannot, without fixtures that were cleared away since.
    done: HashMap<String, Done>,
    running: Option<(Arc<Test>, Purpose)>,
    /// Tests that have cleared away at the end.
    cleared: BTreeSet<String>,
}

/// What a test runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Its verdict.
    Itself,
    /// Another test, which needs it.
    Another,
    /// The end, at which it clears away.
    End,
}

impl Ctest {
    pub(super) fn new(base: Base) -> Self {
        Self {
            base,
            asked: false,
            model: Model::default(),
            launched: 0,
            done: HashMap::new(),
            running: None,
            cleared: BTreeSet::new(),
        }
    }

    /// The process that has to run before that of `test`, or why it cannot run at all.
    fn before(&mut self, test: &Test) -> Result<Option<Launch>, String> {
        for needed in self.model.needed(test) {
            if self.done.contains_key(&needed.name) {
                continue;
            }
            let broken = self.broken_fixture(&needed).map_or(Ok(()), Err);
            match broken.and_then(|()| self.launch(&needed, Purpose::Another)) {
                Ok(launch) => return Ok(Some(launch)),
                Err(reason) => {
                    let run = TestRun::of(TestVerdict::Failed, reason);
                    self.done.insert(needed.name.clone(), Done::for_another(run));
                }
            }
        }
        self.broken_fixture(test).map_or(Ok(None), Err)
    }

    /// Why a fixture is not there that `test` needs.
    fn broken_fixture(&self, test: &Test) -> Option<String> {
        let broken = |set_up: &Arc<Test>| self.done.get(&set_up.name)?.failure(&set_up.name);
        let failure = self.model.set_ups(&test.properties.requires).find_map(broken)?;
        Some(format!("its fixture is not set up: {failure}"))
    }

    /// What of that failed which `test` depends on. It runs all the same, as with CTest.
    fn failed_before(&self, test: &Test) -> String {
        let failure = |needed: &Arc<Test>| self.done.get(&needed.name)?.failure(&needed.name);
        let failures = self.model.depends(test).filter_map(failure);
        failures.map(|failure| format!("; it depends on what failed here: {failure}")).collect()
    }

    /// The process of `test`, or why it cannot run.
    fn launch(&mut self, test: &Arc<Test>, purpose: Purpose) -> Result<Launch, String> {
        let Some((program, arguments)) = test.command.split_first() else {
            let reason =
                "its program does not exist: is it among the files of the input, and where it was built?";
            return Err(reason.into());
        };
        let properties = &test.properties;
        self.launched += 1;
        let mut environment = self.base.command.environment.clone();
        let file = watch_for_premature_exit(&mut environment, &self.base.own, self.launched);
        // The test may know better, too.
        properties.apply_environment(&mut environment);
        let directory = properties.directory.as_ref();
        let command = Command {
            program: program.into(),
            arguments: arguments.to_vec(),
            environment,
            directory: directory.map_or_else(|| self.base.command.directory.clone(), Into::into),
            ..Command::default()
        };
        if let Some(missing) = properties.missing_file(&command.directory) {
            return Err(format!("its required file {missing} does not exist"));
        }
        let judge = judge::of(Arc::clone(test), self.failed_before(test));
        let reader = if properties.reads_output() {
            Single::whole(&test.name, judge)
        } else {
            Single::of(&test.name, judge)
        };
        let takes = if purpose == Purpose::Itself { Takes::Front(1) } else { Takes::Nothing };
        self.running = Some((Arc::clone(test), purpose));
        let launch = Launch::of(command, takes, reader);
        Ok(Launch { results: vec![file], timeout: properties.timeout, is_of_test: true, ..launch })
    }

    /// What `test` clears away is no more. One that sets up as well has only begun anew: two such tests could undo each
    /// other without end.
    fn clear(&mut self, test: &Test) {
        if !test.properties.sets_up.is_empty() {
            return;
        }
        let cleared = self.model.set_ups(&test.properties.cleans_up);
        cleared.for_each(|set_up| drop(self.done.remove(&set_up.name)));
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
        let listed = |(test, group): (&Arc<Test>, Option<String>)| ListedTest {
            name: test.name.clone(),
            group,
            exclusive: test.properties.exclusive,
            disabled: test.properties.disabled,
            ..ListedTest::default()
        };
        self.model.tests.iter().zip(group::groups(&self.model)).map(listed).collect()
    }

    fn runs_what_it_lists(&self) -> bool {
        true
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, _: u32, _: &Address) -> Result<Next, DriverError> {
        let told = |verdict, reason: &str| Ok(Next::Told(TestRun::of(verdict, reason)));
        let name = queue.front().map_or("", |test| test.name.as_str());
        let Some(test) = self.model.find(name) else {
            return told(TestVerdict::Unknown, "ctest does not list it on this bot");
        };
        // It has run for another test. To run it twice is not what it was made for.
        if let Some(run) = self.done.get_mut(name).and_then(Done::tell) {
            return Ok(Next::Told(run));
        }
        let launch = match self.before(&test) {
            Ok(Some(launch)) => Ok(launch),
            Ok(None) => self.launch(&test, Purpose::Itself),
            Err(reason) => Err(reason),
        };
        match launch {
            Ok(launch) => Ok(Next::Process(Box::new(launch))),
            Err(reason) => told(TestVerdict::Failed, &reason),
        }
    }

    fn left(&mut self, run: TestRun) -> Option<String> {
        let (test, purpose) = self.running.take()?;
        let done = if purpose == Purpose::Itself { Done::for_itself(run) } else { Done::for_another(run) };
        let note = done.failure(&test.name).filter(|_| purpose == Purpose::End);
        self.done.insert(test.name.clone(), done);
        self.clear(&test);
        note.map(|failure| format!("not all is cleared away: {failure}"))
    }

    fn epilogue(&mut self) -> Option<Launch> {
        loop {
            let up = self.model.fixtures_of(|test| self.done.contains_key(test));
            let clears = |test: &&Arc<Test>| {
                !self.cleared.contains(&test.name)
                    && test.properties.cleans_up.iter().any(|fixture| up.contains(fixture))
            };
            let test = Arc::clone(self.model.tests.iter().find(clears)?);
            self.cleared.insert(test.name.clone());
            if let Ok(launch) = self.launch(&test, Purpose::End) {
                return Some(launch);
            }
        }
    }
}

/// The default of CTest, and the longest that a test without one may take anyway.
const TIMEOUT: Duration = Duration::from_secs(1500);

#[cfg(test)]
mod tests;
