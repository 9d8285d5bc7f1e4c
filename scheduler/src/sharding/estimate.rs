//! What each listed test will probably take.

use super::{History, ListedTest, SuiteKey, TestIndex};
use std::time::Duration;

/// What a test is taken to need when nothing is known of any.
const GUESS: Duration = Duration::from_millis(100);

/// Durations by test. A test without history is taken to need max(mean, 90th percentile) of those that have one, so
/// that it is among the first: a long test that starts late is what makes a run late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimates {
    known: Vec<Option<Duration>>,
    unknown: Duration,
}

impl Estimates {
    /// From the history of a suite.
    pub fn new(listed: &[ListedTest], history: &History, key: &SuiteKey) -> Self {
        Self::from_known(listed.iter().map(|test| history.estimate(key, &test.name)).collect())
    }

    /// From what is known of each test, in listing order.
    pub fn from_known(known: Vec<Option<Duration>>) -> Self {
        let mut sorted: Vec<Duration> = known.iter().copied().flatten().collect();
        sorted.sort();
        let unknown = match u32::try_from(sorted.len()) {
            Ok(count) if count > 0 => {
                let mean = sorted.iter().sum::<Duration>() / count;
                mean.max(sorted[sorted.len() * 9 / 10])
            }
            _ => GUESS,
        };
        Self { known, unknown }
    }

    /// How many tests there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// What history says of the test.
    pub fn known(&self, test: TestIndex) -> Option<Duration> {
        self.known.get(test.at()).copied().flatten()
    }

    /// What a test without history is taken to need.
    pub fn unknown(&self) -> Duration {
        self.unknown
    }

    /// What the test will probably take.
    pub fn of(&self, test: TestIndex) -> Duration {
        self.known(test).unwrap_or(self.unknown)
    }

    /// Of all tests.
    pub fn total(&self) -> Duration {
        self.known.iter().map(|known| known.unwrap_or(self.unknown)).sum()
    }

    /// Of the longest.
    pub fn longest(&self) -> Duration {
        self.known.iter().map(|known| known.unwrap_or(self.unknown)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn unknown_tests_are_taken_to_be_long() {
        let mut known: Vec<_> = (1..=10).map(seconds).collect();
        known.push(None);
        let estimates = Estimates::from_known(known);
        assert_eq!(estimates.of(TestIndex(10)), Duration::from_secs(10));
        assert_eq!(estimates.known(TestIndex(10)), None);
        assert_eq!(estimates.known(TestIndex(9)), seconds(10));
    }

    #[test]
    fn a_mean_beyond_the_percentile_counts() {
        let mut known = vec![seconds(0); 20];
        known.extend([seconds(1000), None]);
        assert!(Estimates::from_known(known).unknown() > Duration::from_secs(40));
    }

    #[test]
    fn without_any_history_tests_are_equal() {
        let estimates = Estimates::from_known(vec![None; 3]);
        assert_eq!(estimates.total(), GUESS * 3);
        assert_eq!(estimates.longest(), GUESS);
        assert_eq!(Estimates::from_known(vec![]).total(), Duration::ZERO);
    }
}
