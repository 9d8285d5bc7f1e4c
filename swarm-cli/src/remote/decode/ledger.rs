//! Tests, as they are told.

use super::{Malformed, duration, malformed, present};
use crate::model::{
    Driver, Execution, OutcomeCounts, Quarantine, StepTests, TestHistory, TestOutcome, TestPast, TestResult,
    TestVerdict, TestsPage, TestsPolicy,
};
use proto::{Timestamp, v1};

pub(super) fn policy(wire: &v1::TestsPolicy) -> Result<TestsPolicy, Malformed> {
    Ok(TestsPolicy {
        driver: driver(wire.driver())?,
        // As it turned out, so that parts that are run again are the same.
        partitions: if wire.partitions > 0 { wire.partitions } else { wire.decided_partitions },
        max_workers: Some(wire.max_workers).filter(|&most| most > 0),
        target_time: wire.target_time.and_then(duration),
        retries: wire.retries,
        fail_fast: wire.fail_fast,
        suite: wire.suite.clone(),
        only: wire.only.clone(),
        test_timeout: wire.test_timeout.and_then(duration),
    })
}

pub(in crate::remote) fn driver(wire: v1::TestDriver) -> Result<Driver, Malformed> {
    Ok(match wire {
        v1::TestDriver::Gtest => Driver::Gtest,
        v1::TestDriver::Libtest => Driver::Libtest,
        v1::TestDriver::Pytest => Driver::Pytest,
        v1::TestDriver::Ctest => Driver::Ctest,
        v1::TestDriver::Bazel => Driver::Bazel,
        v1::TestDriver::Opaque => Driver::Opaque,
        v1::TestDriver::Unspecified => {
            return Err(Malformed { what: "driver", detail: "it is none that is known here".into() });
        }
    })
}

pub(super) fn step_tests(wire: &v1::StepTests) -> StepTests {
    StepTests { step: wire.step, counts: wire.counts.as_ref().map(counts), verified: wire.verified }
}

fn counts(wire: &v1::TestCounts) -> OutcomeCounts {
    OutcomeCounts {
        listed: wire.listed,
        open: wire.open,
        running: wire.running,
        passed: wire.passed,
        failed: wire.failed,
        flaky: wire.flaky,
        skipped: wire.skipped,
        crashed: wire.crashed,
        timed_out: wire.timed_out,
        unknown: wire.unknown,
        missing: wire.missing,
        quarantined: wire.quarantined,
        estimate: wire.estimate.and_then(duration).unwrap_or_default(),
        estimate_done: wire.estimate_done.and_then(duration).unwrap_or_default(),
    }
}

pub(in crate::remote) fn tests_page(wire: v1::ListTestsResponse) -> Result<TestsPage, Malformed> {
    Ok(TestsPage {
        results: wire.results.into_iter().map(result).collect::<Result<_, _>>()?,
        next: wire.next_page_token,
        counts: wire.counts.as_ref().map(counts),
        ended: wire.ended,
    })
}

fn result(wire: v1::TestResult) -> Result<TestResult, Malformed> {
    let outcome = outcome(wire.outcome())?;
    let test = wire.test.ok_or_else(|| Malformed { what: "test", detail: "it is missing".into() })?;
    Ok(TestResult {
        index: wire.index,
        name: test.name,
        group: test.group,
        disabled: test.disabled,
        file: test.file,
        line: Some(test.line).filter(|&line| line > 0),
        outcome,
        executions: wire.executions.into_iter().map(execution).collect::<Result<_, _>>()?,
        estimate: wire.estimate.and_then(duration),
    })
}

fn outcome(wire: v1::TestOutcome) -> Result<TestOutcome, Malformed> {
    Ok(match wire {
        v1::TestOutcome::Open => TestOutcome::Open,
        v1::TestOutcome::Passed => TestOutcome::Passed,
        v1::TestOutcome::Failed => TestOutcome::Failed,
        v1::TestOutcome::Flaky => TestOutcome::Flaky,
        v1::TestOutcome::Skipped => TestOutcome::Skipped,
        v1::TestOutcome::Crashed => TestOutcome::Crashed,
        v1::TestOutcome::TimedOut => TestOutcome::TimedOut,
        v1::TestOutcome::Unknown => TestOutcome::Unknown,
        v1::TestOutcome::Missing => TestOutcome::Missing,
        v1::TestOutcome::Quarantined => TestOutcome::Quarantined,
        v1::TestOutcome::Unspecified => {
            return Err(Malformed {
                what: "outcome of a test",
                detail: "it is none that is known here".into(),
            });
        }
    })
}

fn execution(wire: v1::TestExecution) -> Result<Execution, Malformed> {
    let report = wire.report.unwrap_or_default();
    Ok(Execution {
        verdict: verdict(report.verdict(), report.infrastructure),
        started: report.started.as_ref().map(Timestamp::from),
        took: report.took.and_then(duration).unwrap_or_default(),
        message: report.message,
        output: report.output,
        bot: wire.bot_id,
        shard: wire.shard_id.parse().map_err(malformed("shard id"))?,
        attempt: wire.attempt,
        duplicate: wire.duplicate,
    })
}

/// An execution without a verdict has not ended.
fn verdict(wire: v1::TestVerdict, infrastructure: bool) -> TestVerdict {
    match wire {
        v1::TestVerdict::Failed if infrastructure => TestVerdict::Infrastructure,
        v1::TestVerdict::Unspecified => TestVerdict::Running,
        v1::TestVerdict::Passed => TestVerdict::Passed,
        v1::TestVerdict::Failed => TestVerdict::Failed,
        v1::TestVerdict::Skipped => TestVerdict::Skipped,
        v1::TestVerdict::Crashed => TestVerdict::Crashed,
        v1::TestVerdict::TimedOut => TestVerdict::TimedOut,
        v1::TestVerdict::Unknown => TestVerdict::Unknown,
    }
}

pub(in crate::remote) fn history(wire: v1::TestHistory) -> Result<TestHistory, Malformed> {
    let past = |past: &v1::TestPast| {
        Ok(TestPast {
            run: past.run_id.parse().map_err(malformed("run id"))?,
            at: past.at.as_ref().map(Timestamp::from).unwrap_or_default(),
            verdict: verdict(past.verdict(), past.infrastructure),
            took: past.took.and_then(duration).unwrap_or_default(),
            bot: past.bot_id.clone(),
        })
    };
    Ok(TestHistory {
        past: wire.past.iter().map(past).collect::<Result<_, _>>()?,
        suite: wire.suite,
        test: wire.test,
        platform: wire.platform,
        estimate: wire.estimate.and_then(duration),
        passes: wire.passes,
        failures: wire.failures,
        flakes: wire.flakes,
    })
}

pub(in crate::remote) fn quarantine(wire: v1::TestQuarantine) -> Result<Quarantine, Malformed> {
    let expires = present("expiry", wire.expires.as_ref())?.into();
    Ok(Quarantine { suite: wire.suite, test: wire.test, owner: wire.owner, reason: wire.reason, expires })
}
