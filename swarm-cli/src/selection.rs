//! How a command is told to run one test alone. Pure.

use crate::{failure::Usage, model::Driver};

/// What to add to a command, so that it runs one test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Words.
    pub words: Vec<String>,
    /// Variables.
    pub environment: Vec<(String, String)>,
}

/// The names under which commands look for the number of their part, and for the number of parts, and what the first part
/// is called; as bots set them.
const NUMBERS: [(&str, &str, u32); 6] = [
    ("SHARD_INDEX", "SHARD_TOTAL", 0),
    ("GTEST_SHARD_INDEX", "GTEST_TOTAL_SHARDS", 0),
    ("TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS", 0),
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    ("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0),
];

/// Selects `test`, by its full name.
pub fn select(driver: Driver, test: &str) -> Result<Selection, Usage> {
    let words = |words: &[&str]| Selection {
        words: words.iter().map(ToString::to_string).collect(),
        ..Selection::default()
    };
    Ok(match driver {
        Driver::Gtest => {
            let filter = format!("--gtest_filter={test}");
            match test.contains("DISABLED_") {
                true => words(&[&filter, "--gtest_also_run_disabled_tests"]),
                false => words(&[&filter]),
            }
        }
        Driver::Libtest => words(&[test, "--exact"]),
        Driver::Pytest => words(&[test]),
        Driver::Ctest => words(&["--output-on-failure", "-R", &format!("^{}$", escaped(test))]),
        Driver::Bazel | Driver::Opaque => part(test)?,
    })
}

/// A part of a command that is cut without its tests being known: `3/64`, counted from 0.
fn part(name: &str) -> Result<Selection, Usage> {
    let numbers = name.split_once('/').and_then(|(index, of)| {
        let (index, of) = (index.parse::<u32>().ok()?, of.parse::<u32>().ok()?);
        (index < of).then_some((index, of))
    });
    let Some((index, of)) = numbers else {
        return Err(Usage(format!("{name} is no part of a command: write for instance 3/64")));
    };
    let numbers = NUMBERS.iter().flat_map(|(index_name, of_name, first)| {
        [((*index_name).to_owned(), (index + first).to_string()), ((*of_name).to_owned(), of.to_string())]
    });
    let one = ("SHARD".to_owned(), format!("{}/{of}", index + 1));
    Ok(Selection { environment: numbers.chain([one]).collect(), words: Vec::new() })
}

/// As a regular expression of CMake that matches this text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if r"^$.[]*+?|()\".contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_is_told_in_its_own_way() {
        let words = |driver, test| select(driver, test).unwrap().words.join(" ");
        assert_eq!(words(Driver::Gtest, "A.b/1"), "--gtest_filter=A.b/1");
        let disabled = words(Driver::Gtest, "A.DISABLED_b");
        assert_eq!(disabled, "--gtest_filter=A.DISABLED_b --gtest_also_run_disabled_tests");
        assert_eq!(words(Driver::Libtest, "a::b"), "a::b --exact");
        assert_eq!(words(Driver::Pytest, "t.py::test_a[x y]"), "t.py::test_a[x y]");
        assert_eq!(words(Driver::Ctest, "a.b+c"), r"--output-on-failure -R ^a\.b\+c$");
    }

    #[test]
    fn a_part_is_told_by_variables() {
        let selection = select(Driver::Opaque, "3/64").unwrap();
        let variable =
            |name: &str| selection.environment.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!((variable("TEST_SHARD_INDEX"), variable("SHARD_TOTAL")), ("3".into(), "64".into()));
        assert_eq!(
            (variable("CI_NODE_INDEX"), variable("SHARD")),
            ("4".into(), "4/64".into()),
            "counted from 1"
        );
        for wrong in ["64/64", "x", "1/x", "-1/4"] {
            assert!(select(Driver::Bazel, wrong).unwrap_err().to_string().contains("3/64"));
        }
    }
}
