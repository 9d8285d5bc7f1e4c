//! Suites that split themselves: the tests are partitions, named `INDEX/TOTAL`. That all tests were run cannot be proven.

use super::DriverError;
use crate::suite::ListedTest;
use proto::{Part, PartError};
use std::num::NonZeroU32;

/// As many as there are to be.
pub(super) fn list(total: NonZeroU32) -> Vec<ListedTest> {
    let test = |index| ListedTest { name: format!("{index}/{total}"), ..ListedTest::default() };
    (0..total.get()).map(test).collect()
}

/// The part that this is the name of.
pub(super) fn parse(name: &str) -> Result<Part, DriverError> {
    name.parse().map_err(|error: PartError| DriverError::Setup { reason: error.to_string() })
}
