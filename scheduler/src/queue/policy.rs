//! How a step is cut into shards.

use super::{each_bot::EachBot, items::Items};
use proto::{BotId, limits};
use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

/// How a step is cut into shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FanOut {
    /// The same command this many times.
    Shards(NonZeroU32),
    /// Workers that share the tests of the command. One at first; how many more is decided when the tests are known.
    Tests(Arc<TestsPolicy>),
    /// The command with some of these for each shard.
    Items(Items),
    /// The command on each bot.
    EachBot(EachBot),
}

impl FanOut {
    /// How many shards it makes at first.
    pub(crate) fn shards(&self) -> u32 {
        match self {
            Self::Shards(count) => count.get(),
            Self::Tests(_) => 1,
            Self::Items(items) => items.shards(),
            Self::EachBot(each) => u32::try_from(each.bots.len()).unwrap_or(u32::MAX),
        }
    }

    /// The one bot that a shard is for, if it is.
    pub(crate) fn bot(&self, index: u32) -> Option<&BotId> {
        match self {
            Self::EachBot(each) => each.bots.get(index as usize),
            Self::Shards(_) | Self::Tests(_) | Self::Items(_) => None,
        }
    }

    /// How many it may come to.
    pub(crate) fn most_shards(&self) -> u32 {
        match self {
            Self::Tests(policy) => policy.max_workers.map_or(limits::MAX_INCLUDED_SHARDS, NonZeroU32::get),
            // As many as there are bots, when it is triggered.
            Self::EachBot(each) if each.bots.is_empty() => limits::MAX_INCLUDED_SHARDS,
            Self::Shards(_) | Self::Items(_) | Self::EachBot(_) => self.shards(),
        }
    }

    /// How the tests are shared out, if they are.
    pub(crate) fn tests(&self) -> Option<&Arc<TestsPolicy>> {
        match self {
            Self::Tests(policy) => Some(policy),
            Self::Shards(_) | Self::Items(_) | Self::EachBot(_) => None,
        }
    }
}

/// How a step's tests are shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestsPolicy {
    pub(crate) driver: TestDriver,
    /// Parts of a command that cannot list its tests, as they were asked for. Zero: as many as are decided on.
    pub(crate) partitions: u32,
    /// Those that were decided on when the run was made, where none were asked for.
    pub(crate) decided: u32,
    /// Most workers. None: as many as there are bots that fit.
    pub(crate) max_workers: Option<NonZeroU32>,
    /// No more workers than it takes to be done in this time.
    pub(crate) target_time: Option<Duration>,
    /// How often a failed test is run again.
    pub(crate) retries: u32,
    /// The first failure that stands ends the step.
    pub(crate) fail_fast: bool,
    /// Under which name the durations of the tests are remembered.
    pub(crate) suite: String,
    /// These and no others. Empty: all.
    pub(crate) only: BTreeSet<String>,
    /// Most that one test may take. None: by what is known of it.
    pub(crate) test_timeout: Option<Duration>,
}

impl TestsPolicy {
    /// Parts of a command that cannot list its tests.
    pub(crate) fn parts(&self) -> u32 {
        if self.partitions > 0 { self.partitions } else { self.decided }
    }
}

/// What runs tests on bots. The scheduler knows no more of it than what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TestDriver {
    Gtest,
    Libtest,
    Pytest,
    Ctest,
    Bazel,
    Opaque,
}

impl TestDriver {
    /// Whether it can tell tests apart. Otherwise it is told which part of the command it runs, and nobody can know that
    /// all tests were run.
    pub(crate) fn lists(self) -> bool {
        !matches!(self, Self::Bazel | Self::Opaque)
    }

    /// Whether another test costs no new process, so that batches may be as small as one test.
    pub(crate) fn pulls(self) -> bool {
        matches!(self, Self::Pytest)
    }
}
