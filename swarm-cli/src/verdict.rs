//! What a run is worth. Pure.

use crate::{
    display::count,
    model::{Run, Shard, ShardState},
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
}

/// Tests that did not pass, by the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedTests {
    /// How many, in any shard.
    pub tests: u64,
    /// How many of them in shards that exited with 0.
    pub in_passed_shards: u64,
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
pub fn judge(run: &Run, failed: FailedTests) -> Verdict {
    let mut outcome = Outcome::Passed;
    let mut reasons = Vec::new();
    let kinds: [(Kind, &str); 9] = [
        (Kind::NonZero, "exited with an error"),
        (Kind::State(ShardState::TimedOut), "timed out"),
        (Kind::State(ShardState::Canceled), "canceled before a bot took them"),
        (Kind::State(ShardState::Killed), "killed"),
        (Kind::State(ShardState::Expired), "expired: no bot took them in time"),
        (Kind::State(ShardState::BotDied), "lost with their bots"),
        (Kind::State(ShardState::ClientError), "could not be set up"),
        (Kind::State(ShardState::InternalError), "failed on the bot's side"),
        (Kind::NotEnded, "not ended"),
    ];
    for (kind, what) in kinds {
        let n = run.shards.iter().filter(|shard| Kind::of(shard) == Some(kind)).count() as u64;
        if n > 0 {
            outcome = outcome.max(kind.outcome());
            reasons.push(format!("{} {what}", count(n, "shard")));
        }
    }
    if failed.tests > 0 {
        outcome = outcome.max(Outcome::Failed);
        reasons.push(match failed.in_passed_shards {
            0 => format!("{} failed", count(failed.tests, "test")),
            n => format!("{} failed, {n} in shards that exited with 0", count(failed.tests, "test")),
        });
    }
    if run.shards.is_empty() {
        outcome = Outcome::Incomplete;
        reasons.push("the run has no shards".into());
    }
    Verdict { outcome, reasons }
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
            _ if shard.passed() => None,
            ShardState::Completed => Some(Self::NonZero),
            state if state.is_final() => Some(Self::State(state)),
            _ => Some(Self::NotEnded),
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::NonZero | Self::State(ShardState::TimedOut) => Outcome::Failed,
            Self::State(_) | Self::NotEnded => Outcome::Incomplete,
        }
    }
}
