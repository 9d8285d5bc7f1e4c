//! Listings of tests as they go over the wire and into the journal: of each test what the one before it does not say.
//!
//! Frameworks that name tests by file, class and parameters repeat nearly all of it: 40,000 tests of pytest are 10 MiB of
//! names, groups and files, of which less than 2 MiB are left.

use crate::v1;

/// Most that a listed test takes in a [`v1::TestListing`] beside its texts, in bytes.
pub const OVERHEAD: usize = 25;

/// A listing says that a test has more of the one before than that has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has {shared} bytes of the name before it, which are none")]
pub struct UnfoldError {
    shared: u32,
}

/// How much of `name` the name `before` it says, in bytes.
pub fn shared(before: &str, name: &str) -> usize {
    let pairs = before.bytes().zip(name.bytes());
    name.floor_char_boundary(pairs.take_while(|(one, other)| one == other).count())
}

/// As it goes over the wire.
pub fn fold(tests: impl IntoIterator<Item = v1::ListedTest>) -> v1::TestListing {
    let mut before = v1::ListedTest::default();
    let fold = |test: v1::ListedTest| {
        let mut folded = test.clone();
        let shared = shared(&before.name, &test.name);
        folded.shared = shared as u32;
        folded.name.drain(..shared);
        if !test.group.is_empty() && test.group == before.group {
            (folded.same_group, folded.group) = (true, String::new());
        }
        if !test.file.is_empty() && test.file == before.file {
            (folded.same_file, folded.file) = (true, String::new());
        }
        before = test;
        folded
    };
    v1::TestListing { tests: tests.into_iter().map(fold).collect() }
}

/// The tests, each whole. They may be many times larger than the message: count as they come.
pub fn unfold(listing: &v1::TestListing) -> impl Iterator<Item = Result<v1::ListedTest, UnfoldError>> + '_ {
    let mut before = v1::ListedTest::default();
    listing.tests.iter().map(move |folded| {
        let shared = folded.shared;
        let start = before.name.get(..shared as usize).ok_or(UnfoldError { shared })?;
        let text = |same, own: &String, before: &String| if same { before.clone() } else { own.clone() };
        before = v1::ListedTest {
            name: format!("{start}{}", folded.name),
            group: text(folded.same_group, &folded.group, &before.group),
            file: text(folded.same_file, &folded.file, &before.file),
            exclusive: folded.exclusive,
            disabled: folded.disabled,
            line: folded.line,
            ..v1::ListedTest::default()
        };
        Ok(before.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    prop_compose! {
        fn test()(
            name in "[aé€]{0,6}", group in "[ab]{0,1}", file in "[ab]{0,1}",
            exclusive: bool, disabled: bool, line: u32,
        ) -> v1::ListedTest {
            v1::ListedTest { name, group, exclusive, disabled, file, line, ..v1::ListedTest::default() }
        }
    }

    proptest! {
        #[test]
        fn what_is_folded_unfolds_to_the_same(tests in prop::collection::vec(test(), 0..20)) {
            let folded = fold(tests.clone());
            let texts: usize = folded.tests.iter().map(|test| test.name.len() + test.group.len() + test.file.len()).sum();
            prop_assert!(folded.encoded_len() <= texts + OVERHEAD * tests.len());
            let folded = v1::TestListing::decode(&folded.encode_to_vec()[..]).unwrap();
            prop_assert_eq!(unfold(&folded).collect::<Result<Vec<_>, _>>().unwrap(), tests);
        }
    }

    #[test]
    fn what_tests_have_in_common_is_said_once() {
        let test = |name: &str| v1::ListedTest {
            name: format!("tests/test_strings.py::TestUpper::{name}"),
            group: "tests/test_strings.py::TestUpper".into(),
            file: "tests/test_strings.py".into(),
            line: 7,
            ..v1::ListedTest::default()
        };
        let folded = fold([test("test_ascii[a]"), test("test_ascii[b]")]);
        let second = &folded.tests[1];
        assert_eq!((&*second.name, &*second.group, &*second.file), ("b]", "", ""));
        assert!(second.encoded_len() < 20);
    }

    #[test]
    fn no_test_has_more_of_the_one_before_than_there_is() {
        let listing = |shared| {
            let test = |name: &str, shared| v1::ListedTest {
                name: name.into(),
                shared,
                ..v1::ListedTest::default()
            };
            v1::TestListing { tests: vec![test("é", 0), test("x", shared)] }
        };
        for shared in [1, 3, u32::MAX] {
            assert_eq!(unfold(&listing(shared)).nth(1), Some(Err(UnfoldError { shared })));
        }
        assert_eq!(unfold(&listing(2)).nth(1).unwrap().unwrap().name, "éx");
    }
}
