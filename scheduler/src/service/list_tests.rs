//! The tests of a step: all of them, or what has changed.

use super::{Service, list::PAGE_BYTES, status};
use crate::{
    queue::{Queue, Refusal, Run, Suite},
    sharding::{Estimates, TestIndex},
    shell::TestsView,
    wire::{
        field::{FieldError, InField, to_wire},
        suite,
    },
};
use prost::Message as _;
use proto::{RunId, v1};
use std::{collections::BTreeSet, time::Duration};
use tonic::Status;

const DEFAULT_PAGE: usize = 1000;
const LARGEST_PAGE: usize = 10_000;

struct Asked {
    run: RunId,
    step: u32,
    /// Where the page begins.
    from: usize,
    size: usize,
    changed: bool,
}

pub(super) async fn list_tests(
    service: &Service,
    request: v1::ListTestsRequest,
) -> Result<v1::ListTestsResponse, Status> {
    let asked = Asked {
        run: request.run_id.parse().in_field("run_id")?,
        step: request.step,
        from: match request.page_token.as_str() {
            "" => 0,
            token => token.parse().in_field("page_token")?,
        },
        size: match request.page_size as usize {
            0 => DEFAULT_PAGE,
            size => size.min(LARGEST_PAGE),
        },
        changed: request.changed,
    };
    let found = service.shell.read(move |queue, _| page(queue, &asked)).await?;
    found.map_err(|missing| match missing {
        Missing::Refused(refusal) => status::of_refusal(&refusal),
        Missing::Field(error) => error.into(),
    })
}

enum Missing {
    Refused(Refusal),
    Field(FieldError),
}

fn page(queue: &Queue, asked: &Asked) -> Result<v1::ListTestsResponse, Missing> {
    let run = queue.run(asked.run).ok_or(Missing::Refused(Refusal::UnknownRun { run: asked.run }))?;
    let step = run.spec.steps.get(asked.step as usize);
    if step.is_none_or(|step| step.fan_out.tests().is_none()) {
        let problem = format!("{} is no step that shares out tests", asked.step);
        return Err(Missing::Field(FieldError::new("step", problem)));
    }
    let ended = run.ended.is_some();
    let Some(suite) = queue.suite(asked.run, asked.step) else {
        let next_page_token = if asked.changed { asked.from.to_string() } else { String::new() };
        return Ok(v1::ListTestsResponse { next_page_token, ended, ..Default::default() });
    };
    let estimates = queue.planned(asked.run, asked.step);
    let (results, next) = results(run, suite, estimates.as_ref(), asked);
    Ok(v1::ListTestsResponse {
        results,
        next_page_token: next.map(|next| next.to_string()).unwrap_or_default(),
        counts: Some(counts(queue, asked, suite, estimates.as_ref())),
        ended,
    })
}

/// One page, and where the next one begins.
fn results(
    run: &Run,
    suite: &Suite,
    estimates: Option<&Estimates>,
    asked: &Asked,
) -> (Vec<v1::TestResult>, Option<usize>) {
    let log = suite.changed_after(asked.from);
    let listed = suite.listing.tests.len();
    let tests: Box<dyn Iterator<Item = TestIndex>> = if asked.changed {
        Box::new(log.iter().copied())
    } else {
        let last = u32::try_from(listed).unwrap_or(u32::MAX);
        Box::new((u32::try_from(asked.from).unwrap_or(u32::MAX)..last).map(TestIndex))
    };
    let (mut results, mut told, mut bytes, mut next) = (Vec::new(), BTreeSet::new(), 0, asked.from);
    for test in tests {
        if results.len() == asked.size || bytes > PAGE_BYTES {
            return (results, Some(next));
        }
        next += 1;
        // The last word on each: what comes again in this page is the same.
        if told.insert(test)
            && let Some(result) =
                suite::result_to_wire(run, suite, test, estimates.and_then(|known| known.known(test)))
        {
            bytes += result.encoded_len();
            results.push(result);
        }
    }
    (results, asked.changed.then_some(next))
}

fn counts(queue: &Queue, asked: &Asked, suite: &Suite, estimates: Option<&Estimates>) -> v1::TestCounts {
    let Some(view) = TestsView::of(queue, asked.run, asked.step) else { return v1::TestCounts::default() };
    let Some(estimates) = estimates else { return suite::counts_to_wire(&view) };
    let tests = (0u32..).zip(suite.listing.tests.iter()).filter(|(_, test)| !test.disabled);
    let (mut all, mut done) = (Duration::ZERO, Duration::ZERO);
    for test in tests.map(|(index, _)| TestIndex(index)) {
        let estimate = estimates.of(test);
        all += estimate;
        if suite.ledger.verdict(test).is_some() {
            done += estimate;
        }
    }
    v1::TestCounts {
        estimate: Some(to_wire(all)),
        estimate_done: Some(to_wire(done)),
        ..suite::counts_to_wire(&view)
    }
}
