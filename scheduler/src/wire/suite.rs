//! Tests: what bots list and report, and what they are granted.

use super::field::{FieldError, duration, text, to_wire};
use crate::{
    queue::{Grant, GrantedTest, Listing, PastExecution, Place, Progress, Quarantined, Run, Suite},
    sharding::{Attempt, ListedTest, Standing, TestIndex, TestOutcome, TestReport, Verdict},
    shell::TestsView,
};
use bytes::Bytes;
use proto::{Timestamp, limits, listing, v1};
use std::{collections::HashSet, sync::Arc, time::Duration};

const LONGEST_OWNER: usize = 256;
const LONGEST_REASON: usize = 1024;

/// What a bot tells of the tests of an attempt.
pub(super) fn parse_progress(wire: &v1::TestsProgress) -> Result<Progress, FieldError> {
    if wire.reports.len() > limits::MAX_REPORTS_PER_SYNC {
        let problem = format!("must be at most {} at a time", limits::MAX_REPORTS_PER_SYNC);
        return Err(FieldError::new("reports", problem));
    }
    Ok(Progress {
        listing: wire.listing.as_ref().map(parse_listing).transpose()?.map(Arc::new),
        reports_from: wire.reports_from,
        reports: parse_reports(&wire.reports)?,
        batches: wire.batches,
        hungry: wire.hungry,
        running: wire.running.iter().copied().map(TestIndex).collect(),
    })
}

/// A listing, with each name once.
pub(super) fn parse_listing(wire: &v1::TestListing) -> Result<Listing, FieldError> {
    if wire.tests.len() > limits::MAX_TESTS_PER_STEP {
        let problem = format!("are more than {}", limits::MAX_TESTS_PER_STEP);
        return Err(FieldError::new("listing.tests", problem));
    }
    let mut names = HashSet::with_capacity(wire.tests.len());
    let (mut tests, mut places) =
        (Vec::with_capacity(wire.tests.len()), Vec::with_capacity(wire.tests.len()));
    // Tests of one group or file come one after the other, and share its name.
    let (mut group, mut file): (Arc<str>, Arc<str>) = ("".into(), "".into());
    let mut room = limits::MAX_LISTING_TEXT;
    for (number, test) in listing::unfold(wire).enumerate() {
        let within = |error: FieldError| error.within(&format!("listing.tests[{number}]"));
        let test = test.map_err(|error| within(FieldError::new("shared", error.to_string())))?;
        let length = test.name.len() + test.group.len() + test.file.len();
        room = room.checked_sub(length).ok_or_else(|| {
            let problem = format!("have more than {} bytes of text", limits::MAX_LISTING_TEXT);
            FieldError::new("listing.tests", problem)
        })?;
        let name: Arc<str> = text("name", &test.name, limits::MAX_TEST_NAME).map_err(within)?.into();
        if name.is_empty() || !names.insert(Arc::clone(&name)) {
            let problem = format!("`{name}` is empty or comes twice: each test needs a name of its own");
            return Err(within(FieldError::new("name", problem)));
        }
        if *group != *test.group {
            group = text("group", &test.group, limits::MAX_TEST_NAME).map_err(within)?.into();
        }
        if *file != *test.file {
            file = text("file", &test.file, limits::MAX_TEST_NAME).map_err(within)?.into();
        }
        let (exclusive, disabled) = (test.exclusive, test.disabled);
        let group = Some(Arc::clone(&group)).filter(|group| !group.is_empty());
        tests.push(ListedTest { name, group, exclusive, disabled });
        places.push(Place { file: Arc::clone(&file), line: test.line });
    }
    Ok(Listing { tests: tests.into(), places })
}

/// The other way round.
pub(super) fn listing_to_wire(listing: &Listing) -> v1::TestListing {
    let tests = listing.tests.iter().zip(&listing.places);
    listing::fold(tests.map(|(test, place)| listed_to_wire(test, place)))
}

/// One test.
pub(super) fn listed_to_wire(test: &ListedTest, place: &Place) -> v1::ListedTest {
    v1::ListedTest {
        name: test.name.to_string(),
        group: test.group.as_deref().unwrap_or_default().to_owned(),
        exclusive: test.exclusive,
        disabled: test.disabled,
        file: place.file.to_string(),
        line: place.line,
        ..v1::ListedTest::default()
    }
}

/// Reports in order.
pub(super) fn parse_reports(reports: &[v1::TestReport]) -> Result<Vec<TestReport>, FieldError> {
    let parse = |(number, report)| {
        parse_report(report).map_err(|error: FieldError| error.within(&format!("reports[{number}]")))
    };
    reports.iter().enumerate().map(parse).collect()
}

fn parse_report(wire: &v1::TestReport) -> Result<TestReport, FieldError> {
    let unknown = || FieldError::new("verdict", format!("{} is none", wire.verdict));
    let end = wire.message.floor_char_boundary(limits::MAX_TEST_MESSAGE);
    let message: Arc<str> = wire.message[..end].into();
    let outcome = match v1::TestVerdict::try_from(wire.verdict).map_err(|_| unknown())? {
        v1::TestVerdict::Unspecified => return Err(unknown()),
        v1::TestVerdict::Passed => TestOutcome::Passed,
        v1::TestVerdict::Failed if wire.infrastructure => TestOutcome::Infrastructure,
        v1::TestVerdict::Failed => TestOutcome::Failed,
        v1::TestVerdict::Skipped => TestOutcome::Skipped,
        v1::TestVerdict::Crashed => TestOutcome::Crashed(Arc::clone(&message)),
        v1::TestVerdict::TimedOut => TestOutcome::TimedOut,
        v1::TestVerdict::Unknown => TestOutcome::Unknown,
    };
    // What is kept reads as it was written: bytes that are no text take more room as text.
    let output = String::from_utf8_lossy(&wire.output);
    let output = &output[output.ceil_char_boundary(output.len().saturating_sub(limits::MAX_TEST_OUTPUT))..];
    Ok(TestReport {
        test: TestIndex(wire.test),
        outcome,
        duration: duration("took", wire.took.as_ref())?.unwrap_or_default(),
        started: wire.started.as_ref().map(Timestamp::from).unwrap_or_default(),
        message,
        output: output.into(),
    })
}

/// One report.
pub(super) fn report_to_wire(report: &TestReport) -> v1::TestReport {
    v1::TestReport {
        test: report.test.0,
        verdict: outcome_to_wire(&report.outcome).into(),
        started: Some(report.started.into()),
        took: Some(to_wire(report.duration)),
        message: report.message.to_string(),
        output: Bytes::copy_from_slice(report.output.as_bytes()),
        infrastructure: report.outcome == TestOutcome::Infrastructure,
    }
}

/// How one execution ended.
pub(super) fn outcome_to_wire(outcome: &TestOutcome) -> v1::TestVerdict {
    match outcome {
        TestOutcome::Passed => v1::TestVerdict::Passed,
        TestOutcome::Failed | TestOutcome::Infrastructure => v1::TestVerdict::Failed,
        TestOutcome::Skipped => v1::TestVerdict::Skipped,
        TestOutcome::Crashed(_) => v1::TestVerdict::Crashed,
        TestOutcome::TimedOut => v1::TestVerdict::TimedOut,
        TestOutcome::Unknown => v1::TestVerdict::Unknown,
    }
}

/// What a bot is told of the tests of an attempt.
pub(super) fn grant_to_wire(grant: &Grant) -> v1::TestsGrant {
    let batch = |(number, tests): &(u32, Vec<GrantedTest>)| v1::TestBatch {
        number: *number,
        tests: tests
            .iter()
            .map(|granted| v1::GrantedTest {
                test: granted.test.0,
                name: granted.name.to_string(),
                timeout: Some(to_wire(granted.timeout)),
            })
            .collect(),
    };
    v1::TestsGrant {
        list: grant.list,
        reports_taken: grant.reports_taken,
        batches: grant.batches.iter().map(batch).collect(),
        complete: grant.complete,
    }
}

/// Which tests' failures are known, as the wire has it.
pub(crate) fn parse_quarantine(wire: &v1::TestQuarantine) -> Result<Quarantined, FieldError> {
    let expires = wire.expires.as_ref().ok_or_else(|| {
        FieldError::new("expires", "is missing: a quarantine without an end is a deleted test")
    })?;
    let test = text("test", &wire.test, limits::MAX_TEST_NAME)?;
    let owner = text("owner", &wire.owner, LONGEST_OWNER)?;
    if test.is_empty() || owner.is_empty() {
        return Err(FieldError::new("test, owner", "are both needed: somebody has to look after it"));
    }
    Ok(Quarantined {
        suite: text("suite", &wire.suite, LONGEST_OWNER)?,
        test,
        owner,
        reason: text("reason", &wire.reason, LONGEST_REASON)?,
        expires: Timestamp::from(expires),
    })
}

/// The other way round.
pub(crate) fn quarantine_to_wire(quarantined: &Quarantined) -> v1::TestQuarantine {
    v1::TestQuarantine {
        suite: quarantined.suite.clone(),
        test: quarantined.test.clone(),
        owner: quarantined.owner.clone(),
        reason: quarantined.reason.clone(),
        expires: Some(quarantined.expires.into()),
    }
}

/// What has become of the tests of a step.
pub(crate) fn tests_to_wire(view: &TestsView) -> v1::StepTests {
    v1::StepTests { step: view.step, counts: Some(counts_to_wire(view)), verified: view.verified }
}

/// How many tests of a step are what.
pub(crate) fn counts_to_wire(view: &TestsView) -> v1::TestCounts {
    let whole = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let of = |verdict: Verdict| whole(view.counts.verdicts.get(&verdict).copied().unwrap_or_default());
    v1::TestCounts {
        listed: whole(view.listed),
        open: whole(view.counts.open),
        running: whole(view.running),
        passed: of(Verdict::Passed),
        failed: of(Verdict::Failed),
        flaky: of(Verdict::Flaky),
        skipped: of(Verdict::Skipped),
        crashed: of(Verdict::Crashed),
        timed_out: of(Verdict::TimedOut),
        unknown: of(Verdict::Unknown),
        missing: of(Verdict::Missing),
        quarantined: of(Verdict::Quarantined),
        estimate: None,
        estimate_done: None,
    }
}

/// What a test has come to.
pub(crate) fn verdict_to_wire(verdict: Option<Verdict>) -> v1::TestOutcome {
    match verdict {
        None => v1::TestOutcome::Open,
        Some(Verdict::Passed) => v1::TestOutcome::Passed,
        Some(Verdict::Flaky) => v1::TestOutcome::Flaky,
        Some(Verdict::Skipped) => v1::TestOutcome::Skipped,
        Some(Verdict::Quarantined) => v1::TestOutcome::Quarantined,
        Some(Verdict::Failed) => v1::TestOutcome::Failed,
        Some(Verdict::Crashed) => v1::TestOutcome::Crashed,
        Some(Verdict::TimedOut) => v1::TestOutcome::TimedOut,
        Some(Verdict::Unknown) => v1::TestOutcome::Unknown,
        Some(Verdict::Missing) => v1::TestOutcome::Missing,
    }
}

/// A test and its executions. None when there is no such test.
pub(crate) fn result_to_wire(
    run: &Run,
    suite: &Suite,
    test: TestIndex,
    estimate: Option<Duration>,
) -> Option<v1::TestResult> {
    let position = test.0 as usize;
    let (listed, place) = (suite.listing.tests.get(position)?, suite.listing.places.get(position)?);
    let execution = |attempt: &Attempt| {
        let worked = suite.worker(attempt.token);
        let bot = worked.and_then(|(shard, number)| {
            run.shard(shard)?.attempts.iter().find(|attempt| attempt.number == number)
        });
        v1::TestExecution {
            report: Some(report_to_wire(&attempt.report)),
            bot_id: bot.map(|attempt| attempt.bot.to_string()).unwrap_or_default(),
            shard_id: worked.map(|(shard, _)| shard.to_string()).unwrap_or_default(),
            attempt: worked.map_or(0, |(_, number)| number),
            duplicate: attempt.standing != Standing::Counted,
        }
    };
    Some(v1::TestResult {
        index: test.0,
        test: Some(listed_to_wire(listed, place)),
        outcome: verdict_to_wire(suite.ledger.verdict(test)).into(),
        executions: suite.ledger.attempts(test).iter().map(execution).collect(),
        estimate: estimate.map(to_wire),
    })
}

/// What became of a test in an earlier run.
pub(crate) fn execution_to_past(execution: &PastExecution<'_>) -> v1::TestPast {
    v1::TestPast {
        run_id: execution.run.to_string(),
        at: Some(execution.attempt.report.started.into()),
        verdict: outcome_to_wire(&execution.attempt.report.outcome).into(),
        took: Some(to_wire(execution.attempt.report.duration)),
        bot_id: execution.bot.map(ToString::to_string).unwrap_or_default(),
        infrastructure: execution.attempt.report.outcome == TestOutcome::Infrastructure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_what_a_test_ran_on_is_told_from_its_own() {
        let failed = v1::TestReport { verdict: v1::TestVerdict::Failed.into(), ..Default::default() };
        for (infrastructure, outcome) in [(false, TestOutcome::Failed), (true, TestOutcome::Infrastructure)] {
            let parsed = parse_report(&v1::TestReport { infrastructure, ..failed.clone() }).unwrap();
            assert_eq!(parsed.outcome, outcome);
            let wire = report_to_wire(&parsed);
            assert_eq!((wire.verdict(), wire.infrastructure), (v1::TestVerdict::Failed, infrastructure));
        }
    }
}
