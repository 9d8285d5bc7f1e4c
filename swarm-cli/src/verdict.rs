//! What a run is worth. Pure.

use crate::{
    display::{count, some_of},
    model::{Run, RunState, Shard, ShardState},
};
use runtime::Exit;

/// Whether the suite passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every shard and every reported test passed.
    Passed,
    /// Every shard ran to its end or its timeout, and something did not pass.
    Failed,
    /// Some shard did not run to its end: the suite may or may not be good.
    Incomplete,
}

/// An outcome and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// Why it is not [`Outcome::Passed`], each in a few words.
    pub reasons: Vec<String>,
    /// Whether nobody can know if all tests of some step were run.
    pub unverified: bool,
}

/// What the reports say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Tests that did not pass, in any shard.
    pub failed: u64,
    /// How many of them in shards that exited with 0.
    pub failed_in_passed_shards: u64,
    /// Shards whose reports are wanted and cannot be read.
    pub unreadable: u64,
    /// Passed shards whose reports are wanted and not there, while other shards of their step report.
    pub unreported: u64,
    /// What the ledgers say, one for each step whose tests are shared out.
    pub accounts: Vec<Account>,
}

/// What the ledger of a step says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which step.
    pub step: u32,
    /// And what it is called.
    pub name: String,
    /// Whether its tests were listed.
    pub listed: bool,
    /// Tests that did not pass.
    pub failed: u64,
    /// Tests of which nobody can say whether they are good.
    pub unresolved: u64,
    /// The first of these, by name.
    pub named: Vec<String>,
    /// The first failure that stood was to end the step.
    pub fail_fast: bool,
    /// Nobody can know whether all tests were run.
    pub unverified: bool,
}

impl Account {
    /// Whether it says what the step is worth, however its workers ended.
    fn settles(&self) -> bool {
        self.listed && (self.unresolved == 0 || self.was_cut_short())
    }

    /// Whether tests were left out because others had failed.
    fn was_cut_short(&self) -> bool {
        self.fail_fast && self.failed > 0
    }
}

impl Findings {
    /// The steps of which nobody can know whether all tests were run.
    pub fn unverified(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().filter(|account| account.unverified).map(|account| account.name.as_str())
    }
}

impl Verdict {
    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Passed => Exit::Success,
            Outcome::Failed => Exit::TestsFailed,
            Outcome::Incomplete => Exit::Incomplete,
        }
    }
}

/// Judges a run that has ended. Exit codes cannot be talked away by reports, nor failing tests by exit codes.
pub fn judge(run: &Run, findings: &Findings) -> Verdict {
    let settled: Vec<u32> =
        findings.accounts.iter().filter(|one| one.settles()).map(|one| one.step).collect();
    let shards = run.shards.iter().filter(|shard| !settled.contains(&shard.id.step));
    let mut reasons = Vec::new();
    let mut outcome = judge_shards(&shards.collect::<Vec<_>>(), &mut reasons);
    let failed = findings.failed + findings.accounts.iter().map(|account| account.failed).sum::<u64>();
    if failed > 0 {
        outcome = outcome.max(Outcome::Failed);
        let failed = count(failed, "test");
        reasons.push(match findings.failed_in_passed_shards {
            0 => format!("{failed} failed"),
            n => format!("{failed} failed, {n} in shards that exited with 0"),
        });
    }
    let skipped = |step| run.shards_of(step).iter().any(|shard| shard.state == ShardState::Skipped);
    for account in findings.accounts.iter().filter(|account| !skipped(account.step)) {
        outcome = outcome.max(judge_account(account, &mut reasons));
    }
    if findings.unreadable > 0 {
        outcome = Outcome::Incomplete;
        reasons.push(format!("the reports of {} cannot be read", count(findings.unreadable, "shard")));
    }
    if findings.unreported > 0 {
        outcome = Outcome::Incomplete;
        reasons.push(format!("{} passed without a report", count(findings.unreported, "shard")));
    }
    if run.missing() > 0 {
        outcome = Outcome::Incomplete;
        reasons.push(format!("the scheduler did not tell of {}", count(run.missing(), "shard")));
    }
    if run.shards.is_empty() {
        outcome = Outcome::Incomplete;
        reasons.push("the run has no shards".into());
    }
    // Our account of tests is no better than the scheduler's, which knows what we may not have been told.
    if outcome == Outcome::Passed && !findings.accounts.is_empty() && run.state != RunState::Succeeded {
        outcome = if run.state == RunState::Failed { Outcome::Failed } else { Outcome::Incomplete };
        reasons.push(format!("the scheduler calls the run {}", run.state.name()));
    }
    Verdict { outcome, reasons, unverified: findings.unverified().next().is_some() }
}

/// By how they ended.
fn judge_shards(shards: &[&Shard], reasons: &mut Vec<String>) -> Outcome {
    let mut outcome = Outcome::Passed;
    let kinds: [(Kind, &str); 11] = [
        (Kind::NonZero, "exited with an error"),
        (Kind::State(ShardState::TimedOut), "timed out"),
        (Kind::State(ShardState::Canceled), "canceled before a bot took it"),
        (Kind::State(ShardState::Killed), "killed"),
        (Kind::State(ShardState::Expired), "expired: no bot took it in time"),
        (Kind::State(ShardState::NoResource), "without a bot that fits"),
        (Kind::State(ShardState::BotDied), "lost with its bots"),
        (Kind::State(ShardState::ClientError), "could not be set up"),
        (Kind::State(ShardState::InternalError), "failed on the bot's side"),
        (Kind::State(ShardState::Skipped), "skipped because of an earlier step"),
        (Kind::NotEnded, "not ended"),
    ];
    for (kind, what) in kinds {
        let n = shards.iter().filter(|shard| Kind::of(shard) == Some(kind)).count() as u64;
        if n > 0 {
            outcome = outcome.max(kind.outcome());
            reasons.push(format!("{} {what}", count(n, "shard")));
        }
    }
    outcome
}

fn judge_account(account: &Account, reasons: &mut Vec<String>) -> Outcome {
    if !account.listed {
        reasons.push(format!("the tests of {} were never listed", account.name));
        return Outcome::Incomplete;
    }
    if account.unresolved == 0 {
        return Outcome::Passed;
    }
    let n = count(account.unresolved, "test");
    if account.was_cut_short() {
        reasons.push(format!("{n} not run after the first failure"));
        return Outcome::Failed;
    }
    reasons.push(format!("{n} without a verdict ({})", some_of(&account.named, account.unresolved)));
    Outcome::Incomplete
}

/// How a shard is not a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    NonZero,
    State(ShardState),
    NotEnded,
}

impl Kind {
    fn of(shard: &Shard) -> Option<Self> {
        match shard.state {
            _ if shard.is_good() => None,
            ShardState::Completed => Some(Self::NonZero),
            state if state.is_final() => Some(Self::State(state)),
            _ => Some(Self::NotEnded),
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            // What led to it counts for itself.
            Self::NonZero | Self::State(ShardState::TimedOut | ShardState::Skipped) => Outcome::Failed,
            Self::State(_) | Self::NotEnded => Outcome::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{completed, ended, pending, run, running};

    fn judged(shards: Vec<Shard>, findings: Findings) -> String {
        let verdict = judge(&run(RunState::Failed, shards), &findings);
        format!("{:?} {}: {}", verdict.outcome, verdict.exit().code(), verdict.reasons.join(", "))
    }

    #[test]
    fn every_way_to_end_has_its_verdict() {
        let state = |state| vec![completed(0, 0), ended(1, state, "")];
        let red = |failed, failed_in_passed_shards| Findings {
            failed,
            failed_in_passed_shards,
            ..Findings::default()
        };
        let table = [
            judged(vec![completed(0, 0), completed(1, 0)], Findings::default()),
            judged(vec![completed(0, 0), completed(1, 1), completed(2, 139)], red(3, 0)),
            judged(vec![completed(0, 0)], red(1, 1)),
            judged(state(ShardState::TimedOut), Findings::default()),
            judged(state(ShardState::Canceled), Findings::default()),
            judged(state(ShardState::Killed), Findings::default()),
            judged(state(ShardState::Expired), Findings::default()),
            judged(state(ShardState::NoResource), Findings::default()),
            judged(state(ShardState::BotDied), Findings::default()),
            judged(state(ShardState::ClientError), Findings::default()),
            judged(state(ShardState::InternalError), Findings::default()),
            judged(state(ShardState::Skipped), Findings::default()),
            judged(vec![completed(0, 2), ended(1, ShardState::Expired, "")], red(1, 0)),
            judged(vec![pending(0), running(1)], Findings::default()),
            judged(vec![completed(0, 0)], Findings { unreadable: 1, ..Findings::default() }),
            judged(vec![completed(0, 0)], Findings { unreported: 1, ..Findings::default() }),
            judged(vec![], Findings::default()),
        ];
        insta::assert_snapshot!(table.join("\n"), @r"
        Passed 0: 
        Failed 1: 2 shards exited with an error, 3 tests failed
        Failed 1: 1 test failed, 1 in shards that exited with 0
        Failed 1: 1 shard timed out
        Incomplete 6: 1 shard canceled before a bot took it
        Incomplete 6: 1 shard killed
        Incomplete 6: 1 shard expired: no bot took it in time
        Incomplete 6: 1 shard without a bot that fits
        Incomplete 6: 1 shard lost with its bots
        Incomplete 6: 1 shard could not be set up
        Incomplete 6: 1 shard failed on the bot's side
        Failed 1: 1 shard skipped because of an earlier step
        Incomplete 6: 1 shard exited with an error, 1 shard expired: no bot took it in time, 1 test failed
        Incomplete 6: 2 shards not ended
        Incomplete 6: the reports of 1 shard cannot be read
        Incomplete 6: 1 shard passed without a report
        Incomplete 6: the run has no shards
        ");
    }

    #[test]
    fn a_shard_that_nobody_told_of_is_no_pass() {
        let mut run = run(RunState::Succeeded, vec![completed(0, 0)]);
        run.spec.steps[0].fan_out = crate::model::FanOut::Shards(2);
        let verdict = judge(&run, &Findings::default());
        assert_eq!(verdict.outcome, Outcome::Incomplete);
        assert_eq!(verdict.reasons, ["the scheduler did not tell of 1 shard"]);
    }
}
