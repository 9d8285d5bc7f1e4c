//! Shards and their attempts.

use proto::{BotId, Digest, ShardId, Timestamp};
use std::time::Duration;

/// Where a shard stands, or how an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// Waits for earlier steps.
    Waiting,
    /// Waits for a bot.
    Pending,
    /// A bot has it.
    Running,
    /// The command ran to its end; the exit code tells.
    Completed,
    /// No bot took it in time.
    Expired,
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
    /// No bot fitted any slice.
    NoResource,
    /// A worker that found nothing left to do.
    NotNeeded,
    /// Never run, because an earlier step did not end as it had to.
    Skipped,
}

impl ShardState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Pending | Self::Running)
    }

    /// The state in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::TimedOut => "timed out",
            Self::Canceled => "canceled",
            Self::Killed => "killed",
            Self::BotDied => "bot died",
            Self::ClientError => "client error",
            Self::InternalError => "internal error",
            Self::NoResource => "no resource",
            Self::NotNeeded => "not needed",
            Self::Skipped => "skipped",
        }
    }
}

/// Where an attempt's time went and what it moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptStats {
    /// Fetching the input.
    pub fetch: Duration,
    /// Running the command.
    pub run: Duration,
    /// Uploading the outputs.
    pub upload: Duration,
    /// Input files that were fetched from the CAS.
    pub cold_items: u64,
    /// Input bytes that were fetched from the CAS.
    pub cold_bytes: u64,
    /// Input files that the bot's cache had.
    pub hot_items: u64,
    /// Input bytes that the bot's cache had.
    pub hot_bytes: u64,
    /// Output bytes that the CAS did not have.
    pub uploaded_bytes: u64,
}

/// What a bot said of an attempt that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptResult {
    /// How it ended.
    pub state: ShardState,
    /// Of the command; 128 + signal when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// Why, in words, unless completed.
    pub message: String,
    /// The `.isolated` manifest of the outputs.
    pub outputs: Option<Digest>,
    /// Where the time went.
    pub stats: AttemptStats,
    /// The kernel killed the command, or something of it, for lack of memory.
    pub out_of_memory: bool,
}

/// One execution of a shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// Who ran it.
    pub bot: String,
    /// When a bot took it.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Absent while it runs, and when its bot was lost.
    pub result: Option<AttemptResult>,
    /// Why it ended without a result; empty otherwise.
    pub lost: String,
    /// Bytes of output that the scheduler holds.
    pub output_size: u64,
    /// Its bot gave it back because it had to stop: it does not count as one of the attempts that the shard is allowed.
    pub returned: bool,
}

/// The schedulable unit of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Its name.
    pub id: ShardId,
    /// Where it stands.
    pub state: ShardState,
    /// In order.
    pub attempts: Vec<Attempt>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it ended, for states that carry no result.
    pub message: String,
    /// Cancellation was asked for and the bot has not stopped yet.
    pub killing: bool,
    /// The slice that it is at, or ended at: 0 is the first.
    pub slice: u32,
    /// The success that it ended with instead of being run.
    pub reused: Option<Box<Reused>>,
    /// The one bot that it is for, of a step with a shard for each.
    pub bot: Option<BotId>,
}

/// The success of another shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Reused {
    /// That one.
    pub from: ShardId,
    /// What its bot said.
    pub result: AttemptResult,
}

impl Shard {
    /// The newest attempt.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Where it was run last, or the one bot that is to run it.
    pub fn place(&self) -> &str {
        let own = || self.bot.as_ref().map_or("", BotId::as_str);
        self.attempt().map_or_else(own, |attempt| attempt.bot.as_str())
    }

    /// What the newest attempt's bot said of its end, or what was said of the one whose success it took over.
    pub fn result(&self) -> Option<&AttemptResult> {
        let reused = self.reused.as_ref().map(|reused| &reused.result);
        reused.or_else(|| self.attempt()?.result.as_ref())
    }

    /// The exit code of the command.
    pub fn exit_code(&self) -> Option<i32> {
        self.result()?.exit_code
    }

    /// Whether the command ran to its end with exit code 0.
    pub fn passed(&self) -> bool {
        self.state == ShardState::Completed && self.exit_code() == Some(0)
    }

    /// Whether it has passed, or was a worker that nothing was left for.
    pub fn is_good(&self) -> bool {
        self.passed() || self.state == ShardState::NotNeeded
    }

    /// Why it ended as it did, as far as anybody said; empty otherwise.
    pub fn reason(&self) -> &str {
        let of_result = self.result().map(|result| result.message.as_str());
        let of_loss = self.attempt().map(|attempt| attempt.lost.as_str());
        [Some(self.message.as_str()), of_result, of_loss]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }
}
