//! What calls take and answer, beside the nouns of the model.

use crate::model::{BotState, Changes, Run, RunState};
use proto::{Requirements, RunId, ShardId, Timestamp};

/// What trigger answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triggered {
    /// The run.
    pub run: RunId,
    /// How many shards it has.
    pub shards: u32,
    /// Of these, the shards that have ended with an earlier success.
    pub deduped: u32,
    /// Whether this request made the run, or an earlier one of the same id.
    pub novelty: Novelty,
}

/// Whether a request made a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It did.
    Created,
    /// An earlier request of the same id did.
    Existing,
}

/// What a cancellation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelScope {
    /// Shards that no bot has taken.
    Pending,
    /// Also those that are running.
    PendingAndRunning,
}

/// What a cancellation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canceled {
    /// Pending shards that ended.
    pub canceled: u32,
    /// Running shards that are being stopped.
    pub killing: u32,
}

/// What a cancellation of many runs did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanceledRuns {
    /// That had not ended, newest first.
    pub runs: Vec<RunId>,
    /// Pending shards of all of them.
    pub canceled: u32,
    /// Running shards of all of them.
    pub killing: u32,
}

/// Whether a cancellation is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It is.
    No,
    /// It is only told what it would do.
    Yes,
}

/// In which order to be told of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestsOrder {
    /// That of the listing, each once.
    Listing,
    /// That in which they change, as long as they do.
    Changes,
}

/// Which bots to list.
#[derive(Clone, Debug, Default)]
pub struct BotFilter {
    /// All must hold.
    pub requirements: Requirements,
    /// Any of them; empty: every state.
    pub states: Vec<BotState>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Empty: every state.
    pub states: Vec<RunState>,
    /// Empty: every user.
    pub user: String,
    /// All must be on the run.
    pub tags: Vec<String>,
    /// A part of the run's name.
    pub name: String,
    /// At this time or later.
    pub created_after: Option<Timestamp>,
    /// Before this time.
    pub created_before: Option<Timestamp>,
    /// The shard that they were triggered by.
    pub parent: Option<ShardId>,
}

/// One message of a watch.
#[derive(Clone, Debug)]
pub enum Update {
    /// The run as it is.
    Whole(Box<Run>),
    /// What changed since.
    Changes(Changes),
}
