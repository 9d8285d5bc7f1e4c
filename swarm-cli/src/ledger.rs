//! The tests of a run, as the scheduler has kept account of them.

use crate::{
    model::{OutcomeCounts, Run, TestResult, TestsPolicy},
    remote::{CallError, Scheduler, TestsOrder},
};
use proto::limits::MAX_TESTS_PER_STEP;

/// Most bytes of output of failed tests that are kept; of those beyond it only the logs tell.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// The tests of one step, and what has become of them.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Which step.
    pub step: u32,
    /// How they were shared out.
    pub policy: TestsPolicy,
    /// `None`: they were never listed.
    pub counts: Option<OutcomeCounts>,
    /// In the order of the listing.
    pub results: Vec<TestResult>,
}

/// Reads the ledgers of all steps that share out tests.
pub async fn ledgers(scheduler: &Scheduler, run: &Run) -> Result<Vec<Ledger>, CallError> {
    let mut ledgers = Vec::new();
    let mut room = MAX_OUTPUT;
    for (step, policy) in run.steps_with_tests() {
        let mut ledger = Ledger { step, policy: policy.clone(), counts: None, results: Vec::new() };
        let mut token = String::new();
        loop {
            let page = scheduler.tests(run.id, step, TestsOrder::Listing, &token).await?;
            ledger.counts = page.counts.or(ledger.counts);
            let goes_on = !page.results.is_empty() && !page.next.is_empty();
            for mut result in page.results {
                bound(&mut result, &mut room);
                ledger.results.push(result);
            }
            if ledger.results.len() > MAX_TESTS_PER_STEP {
                let reason = format!("it tells of more than {MAX_TESTS_PER_STEP} tests of step {step}");
                return Err(CallError::Internal { reason });
            }
            if !goes_on {
                break;
            }
            token = page.next;
        }
        ledgers.push(ledger);
    }
    Ok(ledgers)
}

fn bound(result: &mut TestResult, room: &mut usize) {
    for execution in &mut result.executions {
        match room.checked_sub(execution.output.len()) {
            Some(left) => *room = left,
            None => execution.output = bytes::Bytes::new(),
        }
    }
}

impl Ledger {
    /// How many tests it should tell of and does not.
    pub fn untold(&self) -> u64 {
        let listed = self.counts.map_or(0, |counts| u64::from(counts.listed));
        listed.saturating_sub(self.results.len() as u64)
    }
}
