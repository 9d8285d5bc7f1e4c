//! Suites that split themselves: the tests are partitions, named `INDEX/TOTAL`. That all tests were run cannot be proven.

use super::DriverError;
use crate::suite::ListedTest;
use std::num::NonZeroU32;

/// As many as there are to be.
pub(super) fn list(total: NonZeroU32) -> Vec<ListedTest> {
    let test = |index| ListedTest { name: format!("{index}/{total}"), ..ListedTest::default() };
    (0..total.get()).map(test).collect()
}

/// The index and the total in the name of a partition.
pub(super) fn parse(name: &str) -> Result<(u32, u32), DriverError> {
    let parsed = name.split_once('/').and_then(|(index, total)| {
        let (index, total) = (index.parse().ok()?, total.parse().ok()?);
        (index < total).then_some((index, total))
    });
    parsed.ok_or_else(|| DriverError::Setup { reason: format!("`{name}` is no partition") })
}
