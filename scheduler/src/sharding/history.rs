//! What earlier runs tell of a test: durations and verdicts. Bounded in memory.

use super::{TestOutcome, Verdict};
use proto::{Part, limits};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Durations kept of each test.
const KEPT: usize = 10;
/// How much the next older duration weighs.
const DECAY: f64 = 0.8;
/// A timeout is so many times the slowest pass kept: machines differ by a factor of three, and fleets drift.
const TIMEOUT_FACTOR: u32 = 5;
/// Durations are kept in units of 10 µs: up to 11.9 hours.
const UNIT_MICROS: u64 = 10;

/// Tests whose durations are comparable: the same suite on the same kind of bot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SuiteKey {
    /// What is tested, whatever its digest.
    pub suite: Arc<str>,
    /// On which kind of bot.
    pub platform: Arc<str>,
}

/// Between what a timeout made from history lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutLimits {
    /// At least this.
    pub floor: Duration,
    /// At most this, and this for tests without history.
    pub cap: Duration,
}

/// What is known of one test.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Past {
    /// Newest first, passes only: a failure may end early or late.
    durations: VecDeque<u32>,
    /// Runs by verdict.
    pub verdicts: BTreeMap<Verdict, u32>,
    /// Runs that ended otherwise than the one before them on the same input.
    pub flips: u32,
    /// How the newest run on a known input ended.
    last: Option<Last>,
}

/// How a run ended, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    input: u64,
    failed: bool,
}

impl Past {
    /// Notes an execution that passed.
    fn passed(&mut self, duration: Duration) {
        let units = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX) / UNIT_MICROS;
        self.durations.truncate(KEPT - 1);
        self.durations.push_front(u32::try_from(units).unwrap_or(u32::MAX));
    }

    /// Notes the verdict of a run on an input, if that is known.
    fn judged(&mut self, verdict: Verdict, input: Option<u64>) {
        let count = self.verdicts.entry(verdict).or_default();
        *count = count.saturating_add(1);
        let failed = match verdict {
            Verdict::Passed | Verdict::Flaky => false,
            Verdict::Failed | Verdict::Crashed | Verdict::TimedOut | Verdict::Quarantined => true,
            Verdict::Skipped | Verdict::Unknown | Verdict::Missing => return,
        };
        let last = input.map(|input| Last { input, failed });
        let same_input = |before: Last| last.filter(|last| last.input == before.input);
        let differs = self.last.is_some_and(|before| same_input(before).is_some_and(|last| last != before));
        // One that is flaky by itself is counted as that.
        if differs && verdict != Verdict::Flaky {
            self.flips = self.flips.saturating_add(1);
        }
        self.last = last.or(self.last);
    }

    /// Newest first.
    fn durations(&self) -> impl Iterator<Item = Duration> {
        self.durations.iter().map(|units| Duration::from_micros(u64::from(*units) * UNIT_MICROS))
    }

    /// The median of the passes kept, newer ones weighing more.
    pub fn estimate(&self) -> Option<Duration> {
        let mut weight = 1.0;
        let mut weighted: Vec<(Duration, f64)> = Vec::with_capacity(self.durations.len());
        for duration in self.durations() {
            weighted.push((duration, weight));
            weight *= DECAY;
        }
        weighted.sort_by_key(|(duration, _)| *duration);
        let half: f64 = weighted.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        weighted
            .into_iter()
            .find(|(_, weight)| {
                sum += weight;
                sum >= half
            })
            .map(|(duration, _)| duration)
    }
}

/// Tests of one suite by name, and when it was last written to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Suite {
    tests: BTreeMap<Arc<str>, Past>,
    written: u64,
}

/// The past of all tests. When it is full, the suite that was not written to for longest goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    suites: BTreeMap<SuiteKey, Suite>,
    most: usize,
    held: usize,
    writes: u64,
}

impl History {
    /// Keeps at most so many tests, over all suites.
    pub fn new(most: usize) -> Self {
        Self { suites: BTreeMap::new(), most, held: 0, writes: 0 }
    }

    /// Notes an execution. Only passes give durations.
    pub fn record(&mut self, key: &SuiteKey, test: &Arc<str>, outcome: &TestOutcome, duration: Duration) {
        if *outcome == TestOutcome::Passed
            && let Some(past) = self.past_mut(key, test)
        {
            past.passed(duration);
        }
    }

    /// Notes the verdict of a test in one run. `input` is what was run, if that is known: equal numbers, equal inputs.
    pub fn judged(&mut self, key: &SuiteKey, test: &Arc<str>, verdict: Verdict, input: Option<u64>) {
        if let Some(past) = self.past_mut(key, test) {
            past.judged(verdict, input);
        }
    }

    /// What is known of a test.
    pub fn past(&self, key: &SuiteKey, test: &str) -> Option<&Past> {
        self.suites.get(key)?.tests.get(test)
    }

    /// What is known of a test in every suite.
    pub fn of_test(&self, test: &str) -> impl Iterator<Item = (&SuiteKey, &Past)> {
        self.suites.iter().filter_map(move |(key, suite)| Some((key, suite.tests.get(test)?)))
    }

    /// Of a suite that was cut into parts: into how many, and what all of them will probably take.
    pub fn parts(&self, key: &SuiteKey) -> Vec<(u32, Duration)> {
        let mut by_total: BTreeMap<u32, (u32, Duration)> = BTreeMap::new();
        for (name, past) in self.suites.get(key).into_iter().flat_map(|suite| &suite.tests) {
            let part = name.parse::<Part>().ok().filter(|part| part.total() <= limits::MAX_PARTITIONS);
            if let (Some(part), Some(estimate)) = (part, past.estimate()) {
                let (count, sum) = by_total.entry(part.total()).or_default();
                (*count, *sum) = (*count + 1, *sum + estimate);
            }
        }
        by_total.into_iter().map(|(total, (count, sum))| (total, sum / count * total)).collect()
    }

    /// What a test will probably take.
    pub fn estimate(&self, key: &SuiteKey, test: &str) -> Option<Duration> {
        self.past(key, test)?.estimate()
    }

    /// After how long a test is taken to hang: five times its slowest pass kept, within the limits.
    pub fn timeout(&self, key: &SuiteKey, test: &str, limits: TimeoutLimits) -> Duration {
        let slowest = self.past(key, test).and_then(|past| past.durations().max());
        slowest.map_or(limits.cap, |slowest| {
            slowest.saturating_mul(TIMEOUT_FACTOR).max(limits.floor).min(limits.cap)
        })
    }

    /// None when there is no room even after all other suites went.
    fn past_mut(&mut self, key: &SuiteKey, test: &Arc<str>) -> Option<&mut Past> {
        if self.past(key, test).is_none() {
            while self.held >= self.most {
                self.drop_oldest_but(key)?;
            }
            self.held += 1;
        }
        self.writes += 1;
        let suite = self.suites.entry(key.clone()).or_default();
        suite.written = self.writes;
        Some(suite.tests.entry(test.clone()).or_default())
    }

    fn drop_oldest_but(&mut self, key: &SuiteKey) -> Option<()> {
        let others = self.suites.iter().filter(|(other, _)| *other != key);
        let oldest = others.min_by_key(|(_, suite)| suite.written)?.0.clone();
        let gone = self.suites.remove(&oldest)?;
        self.held -= gone.tests.len();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(suite: &str) -> SuiteKey {
        SuiteKey { suite: suite.into(), platform: "linux".into() }
    }

    fn with(durations: &[u64]) -> History {
        let mut history = History::new(10);
        for millis in durations {
            let duration = Duration::from_millis(*millis);
            history.record(&key("s"), &"t".into(), &TestOutcome::Passed, duration);
        }
        history
    }

    #[test]
    fn one_odd_run_does_not_move_the_estimate() {
        let history = with(&[100, 101, 99, 9000]);
        assert_eq!(history.estimate(&key("s"), "t"), Some(Duration::from_millis(101)));
    }

    #[test]
    fn a_lasting_change_does() {
        let history = with(&[100, 100, 100, 100, 100, 500, 500, 500]);
        assert_eq!(history.estimate(&key("s"), "t"), Some(Duration::from_millis(500)));
    }

    #[test]
    fn failures_have_a_verdict_and_no_duration() {
        let mut history = History::new(10);
        history.record(&key("s"), &"t".into(), &TestOutcome::Failed, Duration::from_secs(1));
        history.judged(&key("s"), &"t".into(), Verdict::Flaky, None);
        history.judged(&key("s"), &"t".into(), Verdict::Passed, None);
        assert_eq!(history.estimate(&key("s"), "t"), None);
        let verdicts = [(Verdict::Passed, 1), (Verdict::Flaky, 1)].into();
        assert_eq!(history.past(&key("s"), "t").unwrap().verdicts, verdicts);
    }

    #[test]
    fn a_run_that_ends_otherwise_than_the_one_before_on_the_same_input_is_a_flip() {
        use Verdict::{Crashed, Failed, Flaky, Passed, Skipped};
        for (runs, flips) in [
            (&[(Failed, Some(1)), (Passed, Some(1))][..], 1),
            (&[(Passed, Some(1)), (Skipped, Some(1)), (Crashed, Some(1)), (Passed, Some(1))], 2),
            (&[(Failed, Some(1)), (Passed, Some(2)), (Failed, Some(3))], 0),
            (&[(Failed, Some(1)), (Failed, Some(1)), (Flaky, Some(1)), (Passed, Some(1))], 0),
            (&[(Failed, None), (Passed, None)], 0),
        ] {
            let mut history = History::new(10);
            for (verdict, input) in runs {
                history.judged(&key("s"), &"t".into(), *verdict, *input);
            }
            assert_eq!(history.past(&key("s"), "t").unwrap().flips, flips, "{runs:?}");
        }
    }

    #[test]
    fn parts_are_known_by_their_names() {
        let mut history = History::new(10);
        for (test, seconds) in [("0/3", 1), ("1/3", 3), ("0/2", 4), ("1/2", 4), ("other", 9)] {
            history.record(&key("s"), &test.into(), &TestOutcome::Passed, Duration::from_secs(seconds));
        }
        let seconds = Duration::from_secs;
        assert_eq!(history.parts(&key("s")), [(2, seconds(8)), (3, seconds(6))]);
        assert_eq!(history.parts(&key("none")), []);
    }

    #[test]
    fn timeouts_lie_within_their_limits() {
        let limits = TimeoutLimits { floor: Duration::from_secs(10), cap: Duration::from_secs(60) };
        let timeout = |millis| with(&[millis]).timeout(&key("s"), "t", limits);
        assert_eq!(timeout(1), Duration::from_secs(10));
        assert_eq!(timeout(3000), Duration::from_secs(15));
        assert_eq!(timeout(30_000), Duration::from_secs(60));
        assert_eq!(with(&[]).timeout(&key("s"), "t", limits), Duration::from_secs(60));
    }

    #[test]
    fn the_suite_unused_for_longest_makes_room() {
        let mut history = History::new(3);
        let pass = |history: &mut History, suite: &str, test: &str| {
            history.record(&key(suite), &test.into(), &TestOutcome::Passed, Duration::from_secs(1));
        };
        for (suite, test) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")] {
            pass(&mut history, suite, test);
        }
        assert!(history.past(&key("b"), "1").is_none());
        assert!(history.past(&key("a"), "1").is_some() && history.past(&key("c"), "1").is_some());
        for test in 0..10 {
            pass(&mut history, "d", &test.to_string());
        }
        assert_eq!(history.held, 3, "also within one suite");
    }

    proptest! {
        #[test]
        fn an_estimate_is_a_duration_that_was_seen(millis in proptest::collection::vec(0..100_000u64, 1..30)) {
            let estimate = with(&millis).estimate(&key("s"), "t").unwrap();
            prop_assert!(millis.iter().rev().take(KEPT).any(|m| Duration::from_millis(*m) == estimate));
        }
    }
}
