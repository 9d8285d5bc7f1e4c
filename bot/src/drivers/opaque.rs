//! Any command that finds out by variables which part of its suite it is to run.

use super::{
    Address, Base, DriverError, Launch, Next, Runner, Takes, partitions,
    single::{Ending, Single},
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

    fn next(&mut self, queue: &VecDeque<TestToRun>, _: u32, _: &Address) -> Result<Next, DriverError> {
        let name = queue.front().map_or("", |test| test.name.as_str());
        let mut command = self.base.command.clone();
        command.environment.extend(partitions::parse(name)?.environment());
        let reader = Single::of(name, Box::new(judge));
        Ok(Next::Process(Box::new(Launch::of(command, Takes::Front(1), reader))))
    }
}

/// The exit code says it.
fn judge(ending: &Ending<'_>) -> Option<(TestVerdict, String)> {
    match ending.left.exit {
        CommandExit::Code(0) => Some((TestVerdict::Passed, String::new())),
        CommandExit::Code(code) => {
            Some((TestVerdict::Failed, format!("the command ended with exit code {code}")))
        }
        CommandExit::Signal(_) => None,
    }
}
