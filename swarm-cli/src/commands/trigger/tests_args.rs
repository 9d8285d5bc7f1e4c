//! How the tests of a step are shared out, on the command line.

use crate::{
    cli::duration,
    failure::Usage,
    model::{Driver, FanOut, TestsPolicy},
};
use clap::Args;
use proto::Cut;
use std::{num::NonZeroU32, time::Duration};

/// What these flags are listed under.
const HEADING: &str = "Sharing out tests";

/// How to cut the suite.
#[derive(Debug, Args)]
pub(super) struct TestsArgs {
    /// Cut the suite into this many shards, which cut its tests among themselves by variables such as SHARD_INDEX
    /// [default: 1]; with --items: divide these among so many
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(proto::limits::MAX_SHARDS_PER_RUN)))]
    pub(super) shards: Option<u32>,
    /// Share the suite's tests out to bots one by one: what knows how to list them, run some of them, and tell what became
    /// of each
    #[arg(long, help_heading = HEADING, value_name = "DRIVER")]
    pub(super) driver: Option<Driver>,
    /// Of the drivers bazel and opaque: cut the command into this many parts [default: about three for each
    /// place on the bots that fit, by what is known of their times]
    #[arg(long, help_heading = HEADING, value_name = "N", requires = "driver", value_parser = clap::value_parser!(u32).range(1..=i64::from(proto::limits::MAX_PARTITIONS)))]
    pub(super) partitions: Option<u32>,
    /// At most so many bots at once [default: all that fit]
    #[arg(long, help_heading = HEADING, value_name = "N", requires = "driver", value_parser = clap::value_parser!(u32).range(1..=i64::from(proto::limits::MAX_SHARDS_PER_RUN)))]
    pub(super) max_bots: Option<u32>,
    /// No more bots than it takes to be done in this time, by what is known of the tests
    #[arg(long, help_heading = HEADING, value_name = "DURATION", requires = "driver", value_parser = duration)]
    pub(super) target_time: Option<Duration>,
    /// Run a test that failed so often again, on another bot where there is one [default: 1]
    #[arg(long, help_heading = HEADING, value_name = "N", requires = "driver", value_parser = clap::value_parser!(u32).range(..=i64::from(proto::limits::MAX_TEST_RETRIES)))]
    pub(super) retries: Option<u32>,
    /// End the suite with the first test that failed and is not run again
    #[arg(long, help_heading = HEADING, requires = "driver")]
    pub(super) fail_fast: bool,
    /// Remember how long tests took, and how they ended, under this name [default: the run's]
    #[arg(long, help_heading = HEADING, value_name = "NAME", requires = "driver")]
    pub(super) suite: Option<String>,
    /// Run this test alone, by its full name (repeatable)
    #[arg(long, help_heading = HEADING, value_name = "TEST", requires = "driver")]
    pub(super) only: Vec<String>,
    /// Most that one test may take [default: by what is known of it, at most the hard timeout]
    #[arg(long, help_heading = HEADING, value_name = "DURATION", requires = "driver", value_parser = duration)]
    pub(super) test_timeout: Option<Duration>,
}

impl TestsArgs {
    pub(super) fn shards(&self) -> Option<NonZeroU32> {
        self.shards.and_then(NonZeroU32::new)
    }

    /// How items are divided, if that is said.
    pub(super) fn cut(&self, per_shard: Option<NonZeroU32>) -> Option<Cut> {
        per_shard.map(Cut::PerShard).or(self.shards().map(Cut::Shards))
    }

    pub(super) fn fan_out(&self) -> Result<FanOut, Usage> {
        let Some(driver) = self.driver else {
            return Ok(FanOut::Shards(self.shards.unwrap_or(1)));
        };
        let partitions = self.partitions(driver)?;
        if let Some(shards) = self.shards {
            let remedy = match driver.lists_tests() {
                true => format!("bound the number of bots with --max-bots {shards}"),
                false => format!("cut the command into parts with --partitions {shards}"),
            };
            return Err(Usage(format!(
                "--shards does not go with --driver, which shares tests out as bots ask for them: {remedy}"
            )));
        }
        Ok(FanOut::Tests(TestsPolicy {
            driver,
            partitions,
            max_workers: self.max_bots,
            target_time: self.target_time,
            retries: self.retries.unwrap_or(1),
            fail_fast: self.fail_fast,
            suite: self.suite.clone().unwrap_or_default(),
            only: self.only.clone(),
            test_timeout: self.test_timeout,
        }))
    }

    fn partitions(&self, driver: Driver) -> Result<u32, Usage> {
        match self.partitions {
            Some(_) if driver.lists_tests() => Err(Usage(format!(
                "--partitions is for the drivers bazel and opaque: {} lists its tests, leave it out",
                driver.name()
            ))),
            Some(partitions) => Ok(partitions),
            // As many as the scheduler finds good, where they are not listed.
            None => Ok(0),
        }
    }
}
