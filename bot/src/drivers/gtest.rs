//! GoogleTest: lists as JSON, selects by a flag file, tells by a socket.
//!
//! What was observed of releases 1.8 to 1.17: names in the stream are not escaped and a skipped test is not "passed" there, so
//! that only stdout tells it apart from a failed one; a filter as an argument is limited to 128 KiB, in a flag file it is not;
//! a later flag replaces an earlier one; result files are written at the very end, so after `exit(0)` or a crash there are
//! none; the listing ignores nothing but sharding, and as JSON not even that.

mod apart;
mod list;
mod read;
mod stream;

use super::{
    Address, Base, ChannelKind, DriverError, Launch, Listed, Listing, Next, Runner, Takes,
    single::PREMATURE_EXIT_FILE,
};
use crate::{
    attempt::CommandExit,
    executor::{Command, Files},
    suite::{ListedTest, TestToRun},
};
use read::GtestReader;
use std::{collections::VecDeque, path::PathBuf};

/// Flags of the user that would keep tests from being run once each, or their results from being understood. Results are
/// the ledger's: a file of one process would only have those of its part.
const OVERRULED: [&str; 12] = [
    "break_on_failure",
    "brief",
    "color",
    "fail_fast",
    "fail_if_no_test_selected",
    "list_tests",
    "output",
    "print_time",
    "repeat",
    "shard_index",
    "stream_result_to",
    "total_shards",
];

/// Variables that would do the same, beside those that stand for flags.
const OVERRULED_VARIABLES: [&str; 5] = [
    "GTEST_SHARD_STATUS_FILE",
    PREMATURE_EXIT_FILE,
    "TEST_SHARD_STATUS_FILE",
    "TESTBRIDGE_TEST_RUNNER_FAIL_FAST",
    "XML_OUTPUT_FILE",
];

const ALSO_DISABLED: &str = "--gtest_also_run_disabled_tests";

/// A program of GoogleTest.
#[derive(Debug)]
pub(super) struct Gtest {
    /// Without what is overruled.
    base: Base,
    /// Disabled tests are run, too.
    also_disabled: bool,
    tests: Vec<ListedTest>,
    asked: bool,
}

impl Gtest {
    pub(super) fn new(mut base: Base) -> Self {
        let command = &mut base.command;
        command.arguments.retain(|argument| !is_overruled(argument));
        for flag in OVERRULED {
            command.environment.remove(&format!("GTEST_{}", flag.to_ascii_uppercase()));
        }
        for name in OVERRULED_VARIABLES {
            command.environment.remove(name);
        }
        let told = |argument: &String| argument == ALSO_DISABLED || *argument == format!("{ALSO_DISABLED}=1");
        let also_disabled = command.arguments.iter().any(told)
            || command.environment.get("GTEST_ALSO_RUN_DISABLED_TESTS").is_some_and(|value| value != "0");
        Self { base, also_disabled, tests: Vec::new(), asked: false }
    }

    fn own(&self, name: &str) -> PathBuf {
        self.base.own.join(name)
    }

    fn command(&self, arguments: impl IntoIterator<Item = String>) -> Command {
        let mut command = self.base.command.clone();
        command.arguments.extend(arguments);
        command
    }
}

fn is_overruled(argument: &str) -> bool {
    let Some(flag) = argument.strip_prefix("--gtest_").or_else(|| argument.strip_prefix("-gtest_")) else {
        return false;
    };
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    OVERRULED.contains(&name.strip_prefix("no").unwrap_or(name)) || OVERRULED.contains(&name)
}

impl Runner for Gtest {
    fn list(&mut self) -> Option<Listing> {
        if std::mem::replace(&mut self.asked, true) {
            return None;
        }
        let result = self.own("list.json");
        let output = format!("--gtest_output=json:{}", result.display());
        let mut command = self.command(["--gtest_list_tests".to_owned(), output]);
        command.files = Some(Files { stdin: None, stdout: self.own("list") });
        Some(Listing { command, files: Vec::new(), result: Some(result) })
    }

    fn listed(&mut self, listed: Listed) -> Result<(), DriverError> {
        if listed.exit != CommandExit::Code(0) {
            let reason = format!("the program ended with {} when it was asked for them", listed.exit);
            return Err(DriverError::List { reason });
        }
        self.tests = match listed.result {
            Some(json) => list::json(&json, self.also_disabled)?,
            None => list::text(&String::from_utf8_lossy(&listed.stdout), self.also_disabled),
        };
        Ok(())
    }

    fn tests(&self) -> Vec<ListedTest> {
        self.tests.clone()
    }

    fn channel(&self) -> ChannelKind {
        ChannelKind::Loopback
    }

    fn next(
        &mut self,
        queue: &VecDeque<TestToRun>,
        number: u32,
        channel: &Address,
    ) -> Result<Next, DriverError> {
        let names: Vec<&str> = queue.iter().map(|test| test.name.as_str()).collect();
        let (flags, premature) =
            (self.own(&format!("flags-{number}")), self.own(&format!("premature-{number}")));
        let result = self.own(&format!("results-{number}.json"));
        let mut text = format!("--gtest_filter={}\n", names.join(":"));
        text.push_str(&format!("--gtest_output=json:{}\n", result.display()));
        if let Address::Port(port) = channel {
            text.push_str(&format!("--gtest_stream_result_to=127.0.0.1:{port}\n"));
        }
        text.push_str("--gtest_color=no\n");
        // Tests that are listed as disabled do not come here, unless somebody asks for one.
        text.push_str("--gtest_also_run_disabled_tests=1\n");
        let mut command = self.command([format!("--gtest_flagfile={}", flags.display())]);
        command.environment.insert(PREMATURE_EXIT_FILE.into(), premature.display().to_string());
        let reader = Box::new(GtestReader::new(names.iter().map(ToString::to_string)));
        let launch = Launch::of(command, Takes::Front(queue.len()), reader);
        let (files, results) = (vec![(flags, text.into_bytes())], vec![premature, result]);
        Ok(Next::Process(Box::new(Launch { files, results, ..launch })))
    }
}

#[cfg(test)]
mod tests;
