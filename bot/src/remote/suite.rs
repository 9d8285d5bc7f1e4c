//! Tests on the wire: how to run them, which of them to run next, and what became of them.

use super::{duration, positive};
use crate::suite::{Batch, Driver, ListedTest, TestReport, TestToRun, TestVerdict, TestsOrder};
use proto::{limits, listing, v1};
use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

/// Used for a test that comes without a timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What a bot tells of the tests of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestsProgress {
    /// Until the scheduler knows it.
    pub(crate) listing: Option<Arc<[ListedTest]>>,
    /// The number of the first of `reports`: those before were taken.
    pub(crate) reports_from: u64,
    pub(crate) reports: Vec<Arc<TestReport>>,
    /// Batches that the bot has had.
    pub(crate) batches: u32,
    pub(crate) hungry: bool,
    /// Tests that have begun and not ended.
    pub(crate) running: BTreeSet<u32>,
}

/// What the scheduler says of the tests of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestsGrant {
    /// It does not know what tests there are.
    pub(crate) list: bool,
    /// As many reports are durable.
    pub(crate) reports_taken: u64,
    /// Those that the bot has not had, as the scheduler knows it.
    pub(crate) batches: Vec<Batch>,
    /// Nothing comes after these.
    pub(crate) complete: bool,
}

/// How to run tests. Whether to list them is said elsewhere.
pub(super) fn order(wire: &v1::TestsOrder) -> Result<TestsOrder, String> {
    let partitions = || match NonZeroU32::new(wire.partitions) {
        Some(partitions) if wire.partitions <= limits::MAX_PARTITIONS => Ok(partitions),
        _ => Err(format!(
            "its command would be cut into {} parts: 1 to {} are possible",
            wire.partitions,
            limits::MAX_PARTITIONS
        )),
    };
    let driver = match v1::TestDriver::try_from(wire.driver) {
        Ok(v1::TestDriver::Gtest) => Driver::Gtest,
        Ok(v1::TestDriver::Libtest) => Driver::Libtest,
        Ok(v1::TestDriver::Pytest) => Driver::Pytest,
        Ok(v1::TestDriver::Ctest) => Driver::Ctest,
        Ok(v1::TestDriver::Bazel) => Driver::Bazel { partitions: partitions()? },
        Ok(v1::TestDriver::Opaque) => Driver::Opaque { partitions: partitions()? },
        Ok(v1::TestDriver::Unspecified) => return Err("it has tests and names no driver for them".into()),
        Err(_) => {
            return Err(format!(
                "bot {} does not know test driver {}: use a newer bot, or another driver",
                runtime::VERSION,
                wire.driver
            ));
        }
    };
    if wire.partitions != 0 && !matches!(driver, Driver::Bazel { .. } | Driver::Opaque { .. }) {
        let reason =
            "its driver lists tests, and it asks for so many parts: only bazel and opaque have parts";
        return Err(reason.into());
    }
    Ok(TestsOrder { driver, list: false })
}

pub(super) fn grant(wire: v1::TestsGrant) -> TestsGrant {
    let test = |test: v1::GrantedTest| TestToRun {
        index: test.test,
        name: test.name,
        timeout: test.timeout.and_then(positive).unwrap_or(DEFAULT_TIMEOUT),
    };
    let batch = |batch: v1::TestBatch| Batch {
        number: batch.number,
        tests: batch.tests.into_iter().map(test).collect(),
    };
    TestsGrant {
        list: wire.list,
        reports_taken: wire.reports_taken,
        batches: wire.batches.into_iter().map(batch).collect(),
        complete: wire.complete,
    }
}

pub(super) fn progress(progress: TestsProgress) -> v1::TestsProgress {
    let listing = progress.listing.map(|tests| listing::fold(tests.iter().map(listed)));
    v1::TestsProgress {
        listing,
        reports_from: progress.reports_from,
        reports: progress.reports.iter().map(|test| report(test)).collect(),
        batches: progress.batches,
        hungry: progress.hungry,
        running: progress.running.into_iter().collect(),
    }
}

fn listed(test: &ListedTest) -> v1::ListedTest {
    v1::ListedTest {
        name: test.name.clone(),
        group: test.group.clone().unwrap_or_default(),
        exclusive: test.exclusive,
        disabled: test.disabled,
        file: test.file.clone().unwrap_or_default(),
        line: test.line.unwrap_or_default(),
        ..v1::ListedTest::default()
    }
}

fn report(report: &TestReport) -> v1::TestReport {
    let (verdict, how) = match &report.verdict {
        TestVerdict::Passed => (v1::TestVerdict::Passed, ""),
        TestVerdict::Failed => (v1::TestVerdict::Failed, ""),
        TestVerdict::Skipped => (v1::TestVerdict::Skipped, ""),
        TestVerdict::Crashed { how } => (v1::TestVerdict::Crashed, how.as_str()),
        TestVerdict::TimedOut => (v1::TestVerdict::TimedOut, ""),
        TestVerdict::Unknown => (v1::TestVerdict::Unknown, ""),
        // To a scheduler that does not know the difference it is a failure.
        TestVerdict::Infrastructure => (v1::TestVerdict::Failed, ""),
    };
    let mut message = match (how, report.message.as_str()) {
        ("", message) => message.to_owned(),
        (how, "") => how.to_owned(),
        (how, message) => format!("{how}: {message}"),
    };
    message.truncate(message.floor_char_boundary(limits::MAX_TEST_MESSAGE));
    let output = &report.tail[report.tail.len().saturating_sub(limits::MAX_TEST_OUTPUT)..];
    v1::TestReport {
        test: report.index,
        verdict: verdict.into(),
        started: Some(report.started.into()),
        took: duration(report.duration),
        message,
        output: output.to_vec().into(),
        infrastructure: report.verdict == TestVerdict::Infrastructure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;

    fn order_of(driver: i32, partitions: u32) -> Result<TestsOrder, String> {
        order(&v1::TestsOrder { driver, partitions })
    }

    #[test]
    fn an_order_of_every_driver_is_understood_and_others_are_refused_with_a_remedy() {
        for wire in 1..=6 {
            let parts = if wire >= 5 { 64 } else { 0 };
            let order = order_of(wire, parts).unwrap();
            let own = matches!(order.driver, Driver::Bazel { partitions } | Driver::Opaque { partitions } if partitions.get() == 64);
            assert_eq!(own, wire >= 5, "{order:?}");
        }
        let (gtest, opaque) = (v1::TestDriver::Gtest.into(), v1::TestDriver::Opaque.into());
        for ((driver, partitions), words) in [
            ((0, 0), "names no driver"),
            ((77, 0), "does not know test driver 77: use a newer bot"),
            ((gtest, 3), "only bazel and opaque"),
            ((opaque, 0), "0 parts: 1 to 10000"),
            ((opaque, 10_001), "10001 parts"),
        ] {
            let reason = order_of(driver, partitions).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn a_grant_without_timeouts_still_ends() {
        let tests = vec![v1::GrantedTest { test: 3, name: "a.b".into(), timeout: None }];
        let wire = v1::TestsGrant { batches: vec![v1::TestBatch { number: 1, tests }], ..Default::default() };
        let tests = vec![TestToRun { index: 3, name: "a.b".into(), timeout: DEFAULT_TIMEOUT }];
        assert_eq!(grant(wire).batches, [Batch { number: 1, tests }]);
    }

    #[test]
    fn what_a_bot_could_not_do_is_a_failure_to_those_who_know_no_better() {
        let told = |verdict| {
            let (started, duration) = (Timestamp::from_micros(5), Duration::from_secs(1));
            let (message, tail) = ("infrastructure failure: disk: full".to_owned(), Vec::new());
            let wire = report(&TestReport { index: 7, verdict, started, duration, message, tail });
            (wire.verdict(), wire.infrastructure, wire.message)
        };
        let message = || "infrastructure failure: disk: full".to_owned();
        assert_eq!(told(TestVerdict::Infrastructure), (v1::TestVerdict::Failed, true, message()));
        assert_eq!(told(TestVerdict::Failed), (v1::TestVerdict::Failed, false, message()));
    }

    #[test]
    fn a_report_is_cut_to_what_the_scheduler_takes() {
        let crashed = |how: &str, message: &str| TestReport {
            index: 7,
            verdict: TestVerdict::Crashed { how: how.into() },
            started: Timestamp::from_micros(5),
            duration: Duration::from_micros(1_500_000),
            message: message.into(),
            tail: [vec![b'x'; 10], vec![b'y'; limits::MAX_TEST_OUTPUT]].concat(),
        };
        let wire = report(&crashed("signal 11", "in its middle"));
        assert_eq!((wire.test, wire.verdict()), (7, v1::TestVerdict::Crashed));
        assert_eq!(wire.message, "signal 11: in its middle");
        assert_eq!(wire.took, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
        assert!(wire.output.len() == limits::MAX_TEST_OUTPUT && !wire.output.contains(&b'x'));
        let long = "ö".repeat(limits::MAX_TEST_MESSAGE);
        assert_eq!(report(&crashed("", &long)).message, "ö".repeat(limits::MAX_TEST_MESSAGE / 2));
        assert_eq!(report(&crashed("signal 9", "")).message, "signal 9");
    }
}
