//! What workers could not do, beside the verdicts of the tests that they told of. Pure.

use crate::{
    display::count,
    ledger::Ledger,
    model::{Run, Shard, ShardState},
};
use proto::ShardId;
use serde::Serialize;
use std::collections::BTreeMap;

/// So many are told of in words; all are in JSON.
const MAX_TOLD: usize = 3;

/// What the tests of one attempt have left, which is gone: their logs, and all else among its outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostOutputs {
    /// `RUN/STEP/INDEX`.
    pub shard: String,
    /// 1 for the first.
    pub attempt: u32,
    /// Who ran it.
    pub bot: String,
    /// How many runs of tests it had told of: their verdicts stand.
    pub tests: u64,
    /// Why.
    pub reason: String,
}

/// The attempts that have told of tests and left nothing of them.
pub(super) fn lost_outputs(run: &Run, ledgers: &[Ledger]) -> Vec<LostOutputs> {
    let mut told: BTreeMap<(ShardId, u32), u64> = BTreeMap::new();
    let results = ledgers.iter().flat_map(|ledger| &ledger.results);
    for one in results.flat_map(|result| &result.executions).filter(|one| !one.duplicate) {
        *told.entry((one.shard, one.attempt)).or_default() += 1;
    }
    let lost = told.into_iter().filter_map(|((id, number), tests)| {
        let attempt = run.shard(id)?.attempts.iter().find(|attempt| attempt.number == number)?;
        let reason = match &attempt.result {
            None => attempt.lost.as_str(),
            Some(result) if result.state == ShardState::InternalError && result.outputs.is_none() => {
                result.message.as_str()
            }
            Some(_) => "",
        };
        let (shard, bot, reason) = (id.to_string(), attempt.bot.clone(), reason.to_owned());
        (!reason.is_empty()).then_some(LostOutputs { shard, attempt: number, bot, tests, reason })
    });
    lost.collect()
}

/// The same in words, and what runners did wrong when their tests were over.
pub(super) fn notes(run: &Run, ledgers: &[Ledger], lost: &[LostOutputs]) -> Vec<String> {
    let lost = lost.iter().map(|LostOutputs { shard, attempt, bot, tests, reason }| {
        let tests = count(*tests, "test");
        format!(
            "the logs and outputs of {tests} are lost (shard {shard}, attempt {attempt} on {bot}): {reason}"
        )
    });
    let steps = |shard: &&Shard| ledgers.iter().any(|ledger| ledger.step == shard.id.step);
    let failed = run.shards.iter().filter(steps).filter_map(|shard| {
        let result = shard.result().filter(|result| result.state == ShardState::Completed)?;
        // 1 says that a test has not passed.
        let is_told = matches!(result.exit_code, Some(0 | 1)) || result.message.is_empty();
        (!is_told).then(|| format!("worker {} has failed after its tests: {}", shard.id, result.message))
    });
    [bounded(lost.collect()), bounded(failed.collect())].concat()
}

fn bounded(mut notes: Vec<String>) -> Vec<String> {
    if let Some(more) = notes.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        notes.truncate(MAX_TOLD);
        notes.push(format!("and {more} more of the kind"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Driver, RunState, TestOutcome, TestVerdict},
        report::{ReportJson, merge, schema::departures},
        testing::{completed, ended, ledger, run_with_tests, running, tested},
        verdict::{Outcome, judge},
    };

    const REASON: &str = "bot bot-0 could not do its part: cannot archive the outputs: no space";

    /// A worker that was tried elsewhere when all of its tests were told of: nothing was left for it.
    fn gone() -> Shard {
        let mut attempts = running(0).attempts;
        attempts[0].lost = REASON.into();
        Shard { attempts, ..ended(0, ShardState::NotNeeded, "other workers have taken all the tests") }
    }

    #[test]
    fn what_a_worker_has_lost_is_told_though_all_its_tests_have_passed() {
        let run = run_with_tests(Driver::Gtest, RunState::Succeeded, vec![gone(), completed(1, 0)]);
        let names = ["A.a", "A.b"].map(|name| tested(name, TestOutcome::Passed, &[TestVerdict::Passed]));
        let report = merge(&run, BTreeMap::new(), &[ledger(&run, names.into())]);
        let verdict = judge(&run, &report.findings);
        assert_eq!(verdict.outcome, Outcome::Passed, "the tests' verdicts stand");
        let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
        assert!(
            note.starts_with("the logs and outputs of 2 tests are lost") && note.contains(REASON),
            "{note}"
        );
        let document = serde_json::to_value(ReportJson::new(&run, &report, &verdict)).unwrap();
        assert_eq!(departures(&document), Vec::<String>::new());
        let lost = &document["lost_outputs"];
        assert_eq!((lost[0]["tests"].as_u64(), lost[0]["reason"].as_str()), (Some(2), Some(REASON)));
    }

    #[test]
    fn a_worker_that_has_told_of_no_test_has_lost_nothing() {
        let run = run_with_tests(Driver::Gtest, RunState::Succeeded, vec![gone(), completed(1, 0)]);
        let mut told = tested("A.a", TestOutcome::Passed, &[TestVerdict::Passed]);
        told.executions[0].shard.index = 1;
        let report = merge(&run, BTreeMap::new(), &[ledger(&run, vec![told])]);
        assert_eq!((report.lost_outputs, report.notes), (vec![], vec![]));
    }

    #[test]
    fn a_runner_that_fails_after_its_tests_is_told_of() {
        let mut shards = vec![completed(0, 2), completed(1, 1)];
        for shard in &mut shards {
            shard.attempts[0].result.as_mut().unwrap().message = "what t.py::a has left".into();
        }
        let run = run_with_tests(Driver::Pytest, RunState::Failed, shards);
        let passed = tested("t.py::a", TestOutcome::Passed, &[TestVerdict::Passed]);
        let report = merge(&run, BTreeMap::new(), &[ledger(&run, vec![passed])]);
        let expected =
            format!("worker {} has failed after its tests: what t.py::a has left", run.shards[0].id);
        assert_eq!(report.notes, [expected]);
        assert_eq!(judge(&run, &report.findings).outcome, Outcome::Failed);
    }
}
