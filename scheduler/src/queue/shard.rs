//! The schedulable unit of a step, and its attempts.

use proto::{BotId, Digest, SessionId, ShardId, Timestamp};
use std::time::Duration;

/// Fences: grows with every lease of the scheduler, so that a report under an older one is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Token(pub(crate) u64);

/// Where a shard is in its life: waiting perhaps, then pending and running in turn, then ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShardState {
    /// For earlier steps.
    Waiting,
    /// Waits for a bot.
    Pending,
    /// Its last attempt is under a live lease.
    Running,
    /// Nothing changes it any more.
    Ended(Ending),
}

/// How a shard or an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// The command ran to its end.
    Completed,
    /// Nobody took it in time.
    Expired,
    /// No bot fitted.
    NoResource,
    /// Ended by the hard or the I/O timeout.
    TimedOut,
    /// Cancelled while pending.
    Canceled,
    /// Cancelled while running.
    Killed,
    /// Every attempt that it was allowed lost its bot.
    BotDied,
    /// The input cannot be had or cannot be run.
    ClientError,
    /// The bot could not do its part.
    InternalError,
    /// A worker that found nothing left to do.
    NotNeeded,
    /// Never run, because an earlier step did not end as it had to.
    Skipped,
}

/// A shard with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) state: ShardState,
    /// In order; all but the last have lost their bot.
    pub(crate) attempts: Vec<Attempt>,
    /// When it last became pending.
    pub(crate) pending_since: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// Why it ended, when no result says so.
    pub(crate) message: Box<str>,
    /// Its running attempt is to be stopped.
    pub(crate) killing: bool,
    /// What it asks for, of the slices of its step.
    pub(crate) slice: u8,
    /// The success that it ended with instead of being run.
    pub(crate) reused: Option<Box<Reused>>,
}

/// The success of another shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reused {
    pub(crate) from: ShardId,
    pub(crate) result: AttemptResult,
}

impl Shard {
    /// Pending since `now`, never attempted.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self::in_state(ShardState::Pending, now)
    }

    /// In its first state.
    pub(super) fn in_state(state: ShardState, now: Timestamp) -> Self {
        Self {
            state,
            attempts: Vec::new(),
            pending_since: now,
            ended: None,
            message: Box::default(),
            killing: false,
            slice: 0,
            reused: None,
        }
    }

    /// What it ended with, if a bot said so of it or of the one whose success it took over.
    pub(crate) fn result(&self) -> Option<&AttemptResult> {
        let reused = self.reused.as_ref().map(|reused| &reused.result);
        reused.or_else(|| self.attempts.last().and_then(Attempt::result))
    }

    /// The attempt under a live lease.
    pub(crate) fn live(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.end == AttemptEnd::Running)
    }

    /// Attempts that count as some of those that it is allowed.
    pub(crate) fn spent(&self) -> usize {
        let returned =
            |attempt: &&Attempt| matches!(attempt.end, AttemptEnd::Lost { loss: Loss::Returned, .. });
        self.attempts.len() - self.attempts.iter().filter(returned).count()
    }

    /// Whether its command ended with exit code 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.state == ShardState::Ended(Ending::Completed)
            && self.result().is_some_and(|result| result.exit_code == Some(0))
    }
}

/// One execution of a shard by one bot under one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// 1 for the first.
    pub(crate) number: u32,
    pub(crate) token: Token,
    pub(crate) bot: BotId,
    pub(crate) session: SessionId,
    pub(crate) started: Timestamp,
    pub(crate) end: AttemptEnd,
}

impl Attempt {
    /// What the bot said of it, if it did.
    pub(crate) fn result(&self) -> Option<&AttemptResult> {
        match &self.end {
            AttemptEnd::Finished { result, .. } => Some(result),
            AttemptEnd::Running | AttemptEnd::Lost { .. } => None,
        }
    }
}

/// Whether and how an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// Not yet.
    Running,
    /// The bot reported.
    Finished { at: Timestamp, result: Box<AttemptResult>, output_size: u64 },
    /// The bot is gone.
    Lost { at: Timestamp, reason: String, output_size: u64, loss: Loss },
}

/// Whether a lost attempt is one of those that a shard is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It is: its bot died, was silent or could not do its part.
    Counted,
    /// It is not: its bot had to stop and gave it back.
    Returned,
}

/// What a bot says of a finished attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttemptResult {
    pub(crate) ending: Ending,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) message: String,
    pub(crate) outputs: Option<Digest>,
    pub(crate) stats: Option<AttemptStats>,
    /// The kernel killed for lack of memory.
    pub(crate) out_of_memory: bool,
}

/// What an attempt cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct AttemptStats {
    pub(crate) fetch: Duration,
    pub(crate) run: Duration,
    pub(crate) upload: Duration,
    pub(crate) cold_items: u64,
    pub(crate) cold_bytes: u64,
    pub(crate) hot_items: u64,
    pub(crate) hot_bytes: u64,
    pub(crate) uploaded_bytes: u64,
}
