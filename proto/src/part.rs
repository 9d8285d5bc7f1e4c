//! A part of a suite whose tests nobody knows, and the variables by which a command finds out which part it is to run.

use crate::decimal;
use std::{fmt, str::FromStr};

/// The variables, for the index and for how many there are, and what the index of the first part is.
const VARIABLES: [(&str, &str, u32); 6] = [
    ("SHARD_INDEX", "SHARD_TOTAL", 0),
    ("GTEST_SHARD_INDEX", "GTEST_TOTAL_SHARDS", 0),
    ("TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS", 0),
    // As GitLab has it.
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    ("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0),
];

/// One part of so many. Text is `INDEX/TOTAL`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u32,
    total: u32,
}

/// What is no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no part of a command: write INDEX/TOTAL, counted from 0, for instance 3/64")]
pub struct PartError {
    /// The text.
    pub given: String,
}

impl Part {
    /// Its place, from 0 on.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub fn total(self) -> u32 {
        self.total
    }

    /// The variables that tell a command of it, each with its value. For those who take `--shard=INDEX/TOTAL`, which count
    /// from 1, there is `SHARD`.
    pub fn environment(self) -> impl Iterator<Item = (String, String)> {
        let Self { index, total } = self;
        let numbers = VARIABLES.into_iter().flat_map(move |(own, all, first)| {
            let own = (own.to_owned(), (u64::from(index) + u64::from(first)).to_string());
            [own, (all.to_owned(), total.to_string())]
        });
        numbers.chain([("SHARD".to_owned(), format!("{}/{total}", u64::from(index) + 1))])
    }
}

impl FromStr for Part {
    type Err = PartError;

    fn from_str(text: &str) -> Result<Self, PartError> {
        let parsed = text.split_once('/').and_then(|(index, total)| {
            let (index, total) = (decimal(index)?, decimal(total)?);
            (index < total).then_some(Self { index, total })
        });
        parsed.ok_or_else(|| PartError { given: text.chars().take(200).collect() })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_by_variables() {
        let part: Part = "3/64".parse().unwrap();
        assert_eq!((part.index(), part.total(), part.to_string().as_str()), (3, 64, "3/64"));
        let variable = |name| part.environment().find(|(known, _)| known == name).unwrap().1;
        assert_eq!((variable("TEST_SHARD_INDEX"), variable("SHARD_TOTAL")), ("3".into(), "64".into()));
        assert_eq!((variable("CI_NODE_INDEX"), variable("SHARD")), ("4".into(), "4/64".into()), "from 1 on");
        let last: Part = format!("{}/{}", u32::MAX - 1, u32::MAX).parse().unwrap();
        assert!(
            last.environment().any(|(name, value)| name == "CI_NODE_INDEX" && value == u32::MAX.to_string())
        );
    }

    #[test]
    fn what_is_no_part_is_refused_with_an_example() {
        for wrong in ["64/64", "x", "1/x", "-1/4", "0/0", "", "1/2/3"] {
            assert!(wrong.parse::<Part>().unwrap_err().to_string().contains("3/64"), "{wrong}");
        }
    }
}
