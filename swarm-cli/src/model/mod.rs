//! Runs, shards, attempts and bots as the scheduler tells them, with valid names only.
//!
//! Made by [`crate::remote`] from wire messages. Decides nothing.

mod bot;
mod run;
mod shard;
mod spec;

pub use bot::{Bot, BotHealth, BotOrder, BotState, Evaluation, Explanation, SliceEvaluation};
pub use run::{Changes, Counts, Run, RunState};
pub use shard::{Attempt, AttemptResult, AttemptStats, Reused, Shard, ShardState};
pub use spec::{RunSpec, Slice, StepSpec};
