//! What runners list and no scheduler takes.

use super::*;
use crate::attempt::Ending;
use proto::limits::{MAX_LISTING_BYTES, MAX_TEST_NAME, MAX_TESTS_PER_STEP};

fn listed(name: String) -> ListedTest {
    ListedTest { name, ..ListedTest::default() }
}

#[test]
fn a_list_that_cannot_be_told_is_the_clients_error_with_a_remedy() {
    let many: Vec<ListedTest> = (0..=MAX_TESTS_PER_STEP).map(|n| listed(n.to_string())).collect();
    let large = (0..3000).map(|n| listed(format!("{n:x<4000}"))).collect();
    let much = (0..30_000).map(|n| listed(format!("{n:04000}"))).collect();
    let long = vec![listed("x".repeat(MAX_TEST_NAME + 1))];
    for (tests, words) in [
        (many, "200001 tests, more than 200000: make several steps"),
        (large, "bytes, more than 8388608: make several steps"),
        (much, "120000000 bytes, more than 67108864: make several steps"),
        (long, "a name that is too long"),
        (vec![listed("a".into()), listed("a".into())], "two tests of one name"),
    ] {
        let Failure { ending, message } = checked(tests).unwrap_err();
        assert_eq!(ending, Ending::ClientError);
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(checked(vec![listed("a".into())]).unwrap().len(), 1);
}

/// Those of numpy's core are so many, with names and files as long.
#[test]
fn what_tests_have_in_common_is_told_once_so_many_with_long_names_can_be_told() {
    let file = "../../numpy/lib/python3.11/site-packages/numpy/_core/tests/test_strings.py".to_owned();
    let test = |number: u32| {
        let group = format!("{file}::TestMethods");
        ListedTest {
            name: format!("{group}::test_case[{number}]"),
            group: Some(group),
            file: Some(file.clone()),
            ..ListedTest::default()
        }
    };
    let tests: Vec<ListedTest> = (0..150_000).map(test).collect();
    let (text, told) = size(&tests);
    assert!(text > 35_000_000 && told < MAX_LISTING_BYTES, "{text} bytes of text, {told} told");
    assert_eq!(checked(tests).unwrap().len(), 150_000);
}
