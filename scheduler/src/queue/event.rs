//! What the queue is told, and what it decides.

use super::{
    condition::Condition,
    dedupe::Reuse,
    orders::Wanted,
    progress::Progress,
    record::Record,
    shard::{AttemptResult, Token},
    sharing::Grant,
    spec::{RunSpec, SealedSecret, StepSpec},
    suite::Quarantined,
};
use proto::{BotId, Dimensions, RequestId, RunId, SessionId, ShardId};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A user wants a run.
    Trigger(Trigger),
    /// A bot says what it is and does.
    Synchronize(BotReport),
    /// A bot that has spoken is still waiting for work.
    Ask { bot: BotId, session: SessionId },
    /// A user cancels a run.
    Cancel { run: RunId, mode: CancelMode },
    /// An operator gives a bot an order.
    Order { bot: BotId, wanted: Wanted, message: String },
    /// A user says that failures of a test are known.
    Quarantine { quarantined: Quarantined },
    /// A user deletes a run that has ended.
    Delete { run: RunId },
    /// Time has passed.
    Tick,
}

/// A run that a user wants.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    /// Its id, should it be new.
    pub(crate) run: RunId,
    pub(crate) request: RequestId,
    pub(crate) spec: Arc<RunSpec>,
    /// What need not be run: out of [`super::Queue::reusable`], without those whose outputs are gone.
    pub(crate) reuses: Vec<Reuse>,
}

/// How far a cancellation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelMode {
    /// Running shards go on to their end.
    PendingOnly,
    /// Running shards are stopped, too.
    KillRunning,
}

/// A bot's whole state.
#[derive(Clone, Debug)]
pub(crate) struct BotReport {
    pub(crate) bot: BotId,
    pub(crate) session: SessionId,
    pub(crate) version: String,
    pub(crate) dimensions: Arc<Dimensions>,
    pub(crate) slots: u32,
    pub(crate) draining: bool,
    pub(crate) condition: Condition,
    pub(crate) held: Vec<Held>,
    /// Leases that it gives back unfinished, because it has to stop.
    pub(crate) returned: Vec<LeaseRef>,
}

/// An attempt that a bot holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lease: LeaseRef,
    /// Bytes of its output that have reached us.
    pub(crate) output_size: u64,
    /// Set when it has ended and all of its output has reached us.
    pub(crate) result: Option<AttemptResult>,
    /// It still takes one of the bot's slots.
    pub(crate) busy: bool,
    /// Of a worker.
    pub(crate) tests: Option<Progress>,
}

/// Names one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseRef {
    pub(crate) shard: ShardId,
    pub(crate) attempt: u32,
    pub(crate) token: Token,
}

/// An attempt that a bot should hold.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) lease: LeaseRef,
    pub(crate) step: Arc<StepSpec>,
    /// The secret of its run, and the request that it was sealed for.
    pub(crate) secret: Option<(RequestId, SealedSecret)>,
    /// It is to be stopped.
    pub(crate) kill: bool,
    /// Of a worker.
    pub(crate) tests: Option<Grant>,
}

/// What the queue made of an event: the state has these transitions in it already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    /// To be made durable before anybody is told.
    pub(crate) records: Vec<Record>,
    /// To be done next, in any order.
    pub(crate) effects: BTreeSet<Effect>,
}

/// What follows from a decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// Shards became pending: bots that wait should ask.
    Offer,
    /// What this bot should do has changed: answer its call if it waits.
    Wake(BotId),
}

/// Why an event changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request id stands for another run.
    #[error(
        "request id `{request}` already made run {run} from another specification: choose a new request id for each run"
    )]
    RequestReused { request: RequestId, run: RunId },
    /// No such run.
    #[error("there is no run {run}")]
    UnknownRun { run: RunId },
    /// Nothing could end the new run any more.
    #[error(
        "shard {parent} is not running: only the command of a running shard can trigger runs that end with it"
    )]
    ParentEnded { parent: ShardId },
    /// Only what has ended can be deleted.
    #[error("run {run} has not ended: cancel it first")]
    NotEnded { run: RunId },
    /// No such shard.
    #[error("there is no shard {shard}")]
    UnknownShard { shard: ShardId },
    /// No such bot.
    #[error("bot {bot} has not called since the scheduler started: `swarm bots` lists those that have")]
    UnknownBot { bot: BotId },
    /// Another process took over the bot's id.
    #[error(
        "session {session} of bot {bot} is over: another process has taken this bot id, give each bot its own"
    )]
    SessionReplaced { bot: BotId, session: SessionId },
    /// There would be no shard.
    #[error(
        "steps[{step}] has a shard for each bot that fits, and none does: {why}; ask for less, or count bots that were \
         seen lately"
    )]
    NoBot { step: usize, why: String },
    /// Who is there is not known yet.
    #[error(
        "the scheduler was started just now and bots have yet to call: ask for each of them in {wait:.0?}"
    )]
    Gathering { wait: Duration },
    /// More bots fit than a run may have shards.
    #[error(
        "the run has {shards} shards with one for each bot that fits, and {most} is the most: ask for more"
    )]
    TooManyShards { shards: u64, most: u32 },
    /// Known when the bots are.
    #[error(
        "step {step} would be given the outputs of {shards} shards with those for each bot that fits, and {most} is \
         the most: ask for more of these bots"
    )]
    TooManyIncluded { step: u32, shards: u64, most: u32 },
    /// Too much is pending.
    #[error("{pending} shards are pending already, and {most} is the most: try again when some have run")]
    Full { pending: usize, most: usize },
    /// It waits for earlier steps, or was skipped.
    #[error(
        "shard {shard} was never ready: what it is given is known when the steps that it waits for have ended"
    )]
    NotReady { shard: ShardId },
}
