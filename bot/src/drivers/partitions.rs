//! Suites that split themselves: the tests are partitions, named `INDEX/TOTAL`. That all tests were run cannot be proven.

use super::TestRun;
use crate::suite::{ListedTest, TestVerdict};
use proto::{Part, PartError};
use std::num::NonZeroU32;

/// As many as there are to be.
pub(super) fn list(total: NonZeroU32) -> Vec<ListedTest> {
    let test = |index| ListedTest { name: format!("{index}/{total}"), ..ListedTest::default() };
    (0..total.get()).map(test).collect()
}

/// The part that this is the name of, or else what becomes of such a test.
pub(super) fn parse(name: &str) -> Result<Part, TestRun> {
    name.parse().map_err(|error: PartError| TestRun::of(TestVerdict::Unknown, error.to_string()))
}
