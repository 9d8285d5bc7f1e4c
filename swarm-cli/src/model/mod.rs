//! Runs, shards, attempts, tests and bots as the scheduler tells them, with valid names only.
//!
//! Made by [`crate::remote`] from wire messages. Decides nothing.

mod bot;
mod run;
mod shard;
mod spec;
mod test;

pub use bot::{Bot, BotHealth, BotOrder, BotState, Evaluation, Explanation, SliceEvaluation};
pub use run::{Changes, Counts, Run, RunState};
pub use shard::{Attempt, AttemptResult, AttemptStats, Reused, Shard, ShardState};
pub use spec::{After, Assignment, Demand, FanOut, Items, OutputOf, RunSpec, Slice, StepSpec};
pub use test::{
    Driver, Execution, OutcomeCounts, Quarantine, StepTests, TestHistory, TestOutcome, TestPast, TestResult,
    TestVerdict, TestsPage, TestsPolicy,
};
