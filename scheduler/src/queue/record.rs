//! What the journal keeps: transitions, in the order in which they were made.

use super::{
    orders::Standing,
    shard::{AttemptResult, Ending, Loss, Reused, Token},
    spec::RunSpec,
    suite::{Listing, Quarantined},
};
use crate::sharding::{TestIndex, TestReport};
use proto::{BotId, RequestId, RunId, SessionId, ShardId, Timestamp};
use std::sync::Arc;

/// One transition and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: Timestamp,
    pub(crate) transition: Transition,
}

/// A change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// A run and its shards, pending or waiting.
    RunCreated { run: RunId, request: RequestId, spec: Arc<RunSpec> },
    /// A pending shard became running.
    Leased { shard: ShardId, attempt: u32, token: Token, bot: BotId, session: SessionId },
    /// The bot is gone; the shard is pending again.
    AttemptLost { shard: ShardId, token: Token, reason: String, output_size: u64, loss: Loss },
    /// The bot reported; the shard has ended.
    AttemptFinished { shard: ShardId, token: Token, result: AttemptResult, output_size: u64 },
    /// A pending or waiting shard ended without a result.
    ShardEnded { shard: ShardId, ending: Ending, message: String },
    /// A pending shard ended with the success of another one.
    ShardDeduped { shard: ShardId, reused: Reused },
    /// A pending shard asks for less.
    SliceGivenUp { shard: ShardId, next: u8 },
    /// A running shard is to be stopped.
    KillRequested { shard: ShardId },
    /// A user cancelled the run.
    CancelRequested { run: RunId },
    /// A run is out of history. Its other records may be gone.
    RunDeleted { run: RunId, last_token: Token },
    /// An operator gave a bot an order.
    BotOrdered { bot: BotId, standing: Standing },
    /// The tests of a step are known, and how many workers it gets.
    TestsListed { run: RunId, step: u32, listing: Arc<Listing>, workers: u32 },
    /// A step whose tests are known gets so many workers more.
    WorkersAdded { run: RunId, step: u32, more: u32 },
    /// A worker's live attempt may run these: its next batch.
    TestsGranted { shard: ShardId, token: Token, tests: Arc<[TestIndex]> },
    /// A worker's attempt has run these. When its lease has ended before, they are kept and count for nothing.
    TestsReported { shard: ShardId, token: Token, reports: Vec<TestReport> },
    /// Failures of a test are known, until a time.
    TestQuarantined { quarantined: Quarantined },
}

impl Transition {
    /// The run that it changes, if it is one.
    pub(crate) fn run(&self) -> Option<RunId> {
        match self {
            Self::RunCreated { run, .. }
            | Self::CancelRequested { run }
            | Self::RunDeleted { run, .. }
            | Self::TestsListed { run, .. }
            | Self::WorkersAdded { run, .. } => Some(*run),
            Self::BotOrdered { .. } | Self::TestQuarantined { .. } => None,
            Self::Leased { shard, .. }
            | Self::AttemptLost { shard, .. }
            | Self::AttemptFinished { shard, .. }
            | Self::ShardEnded { shard, .. }
            | Self::ShardDeduped { shard, .. }
            | Self::SliceGivenUp { shard, .. }
            | Self::TestsGranted { shard, .. }
            | Self::TestsReported { shard, .. }
            | Self::KillRequested { shard } => Some(shard.run),
        }
    }

    /// The run that it cancels, if it does.
    pub(super) fn canceled(&self) -> Option<RunId> {
        match self {
            Self::CancelRequested { run } => Some(*run),
            _ => None,
        }
    }

    /// The one shard that it changes, if it is one.
    pub(crate) fn shard(&self) -> Option<ShardId> {
        match self {
            Self::RunCreated { .. }
            | Self::CancelRequested { .. }
            | Self::RunDeleted { .. }
            | Self::BotOrdered { .. }
            | Self::TestsListed { .. }
            | Self::WorkersAdded { .. }
            | Self::TestsGranted { .. }
            | Self::TestsReported { .. }
            | Self::TestQuarantined { .. } => None,
            Self::Leased { shard, .. }
            | Self::AttemptLost { shard, .. }
            | Self::AttemptFinished { shard, .. }
            | Self::ShardEnded { shard, .. }
            | Self::ShardDeduped { shard, .. }
            | Self::SliceGivenUp { shard, .. }
            | Self::KillRequested { shard } => Some(*shard),
        }
    }
}
