//! Any command that finds out by variables which part of its suite it is to run.

use super::{
    Address, Base, DriverError, Launch, Next, Runner, Takes, partitions,
    single::{Ending, Single, premature, watch_for_premature_exit},
};
use crate::{
    attempt::CommandExit,
    suite::{ListedTest, TestToRun, TestVerdict},
};
use std::{collections::VecDeque, num::NonZeroU32};

/// See the module.
#[derive(Debug)]
pub(super) struct Opaque {
    base: Base,
    partitions: NonZeroU32,
}

impl Opaque {
    pub(super) fn new(base: Base, partitions: NonZeroU32) -> Self {
        Self { base, partitions }
    }
}

impl Runner for Opaque {
    fn tests(&self) -> Vec<ListedTest> {
        partitions::list(self.partitions)
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, number: u32, _: &Address) -> Result<Next, DriverError> {
        let name = queue.front().map_or("", |test| test.name.as_str());
        let part = match partitions::parse(name) {
            Ok(part) => part,
            Err(unknown) => return Ok(Next::Told(unknown)),
        };
        let mut command = self.base.command.clone();
        command.environment.extend(part.environment());
        let file = watch_for_premature_exit(&mut command.environment, &self.base.own, number);
        let reader = Single::of(name, Box::new(judge));
        let launch = Launch::of(command, Takes::Front(1), reader);
        Ok(Next::Process(Box::new(Launch { results: vec![file], ..launch })))
    }
}

/// The exit code says it, unless the process has not come to its end.
fn judge(ending: &Ending<'_>) -> Option<(TestVerdict, String)> {
    match ending.left.exit {
        CommandExit::Code(_) if ending.left.results.iter().any(Option::is_some) => {
            Some(premature(ending.left.exit))
        }
        CommandExit::Code(0) => Some((TestVerdict::Passed, String::new())),
        CommandExit::Code(code) => {
            Some((TestVerdict::Failed, format!("the command ended with exit code {code}")))
        }
        CommandExit::Signal(_) => None,
    }
}
