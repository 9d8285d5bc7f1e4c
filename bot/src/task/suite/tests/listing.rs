//! What runners list and no scheduler takes.

use super::*;
use crate::attempt::Ending;
use proto::limits::{MAX_TEST_NAME, MAX_TESTS_PER_STEP};

fn listed(name: String) -> ListedTest {
    ListedTest { name, ..ListedTest::default() }
}

#[test]
fn a_list_that_cannot_be_told_is_the_clients_error_with_a_remedy() {
    let many: Vec<ListedTest> = (0..=MAX_TESTS_PER_STEP).map(|n| listed(n.to_string())).collect();
    let large = (0..3000).map(|n| listed(format!("{n:04000}"))).collect();
    let long = vec![listed("x".repeat(MAX_TEST_NAME + 1))];
    for (tests, words) in [
        (many, "200001 tests, more than 200000: make several steps"),
        (large, "bytes, more than 8388608: make several steps"),
        (long, "a name that is too long"),
        (vec![listed("a".into()), listed("a".into())], "two tests of one name"),
    ] {
        let Failure { ending, message } = checked(tests).unwrap_err();
        assert_eq!(ending, Ending::ClientError);
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(checked(vec![listed("a".into())]).unwrap().len(), 1);
}
