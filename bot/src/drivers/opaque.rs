//! Any command that finds out by variables which part of its suite it is to run.

use super::{
    Address, Base, DriverError, Launch, Listed, Listing, Next, Runner, Takes, partitions,
    single::{Ending, Single},
};
use crate::{
    attempt::CommandExit,
    suite::{ListedTest, TestToRun, TestVerdict},
};
use std::{collections::VecDeque, num::NonZeroU32};

/// The variables, index and total, and what the index of the first partition is.
const VARIABLES: [(&str, &str, u32); 6] = [
    ("SHARD_INDEX", "SHARD_TOTAL", 0),
    ("GTEST_SHARD_INDEX", "GTEST_TOTAL_SHARDS", 0),
    ("TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS", 0),
    // As GitLab has it.
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    ("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0),
];

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
    fn list(&mut self) -> Option<Listing> {
        None
    }

    fn listed(&mut self, _: Listed) -> Result<(), DriverError> {
        Ok(())
    }

    fn tests(&self) -> Vec<ListedTest> {
        partitions::list(self.partitions)
    }

    fn next(&mut self, queue: &VecDeque<TestToRun>, _: u32, _: &Address) -> Result<Next, DriverError> {
        let name = queue.front().map_or("", |test| test.name.as_str());
        let (index, total) = partitions::parse(name)?;
        let mut command = self.base.command.clone();
        for (own, all, first) in VARIABLES {
            let values = [(own.to_owned(), (index + first).to_string()), (all.to_owned(), total.to_string())];
            command.environment.extend(values);
        }
        // For runners that take `--shard=INDEX/TOTAL`, which count from 1.
        command.environment.insert("SHARD".into(), format!("{}/{total}", index + 1));
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
