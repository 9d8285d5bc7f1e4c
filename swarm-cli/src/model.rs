//! Runs, shards, attempts and bots as the scheduler tells them, with valid names only.
//!
//! Made by [`crate::remote`] from wire messages. Decides nothing.

use proto::{
    Digest, Dimensions, EnvironmentPrefix, NamedCache, RelPath, Requirements, RunId, ShardId, Timestamp,
};
use std::time::Duration;

/// What one command is to do, over one isolated input.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    /// Names the step to people, in reports and in output directories.
    pub name: String,
    /// The `.isolated` manifest.
    pub input: Digest,
    /// Replaces the manifest's command when not empty.
    pub command: Vec<String>,
    /// Appended to the command.
    pub extra_args: Vec<String>,
    /// What the shards ask of a bot first.
    pub first: Slice,
    /// What they ask for next, in order.
    pub fallbacks: Vec<Slice>,
    /// Variables to set; an empty value unsets.
    pub environment: Vec<(String, String)>,
    /// Directories of the input that come first in variables such as `PATH`, in order.
    pub environment_prefixes: Vec<EnvironmentPrefix>,
    /// Declared outputs, relative to the root of the input.
    pub outputs: Vec<RelPath>,
    /// Directories that bots keep from one run to the next.
    pub named_caches: Vec<NamedCache>,
    /// Longest run of the command. `None`: the scheduler's default.
    pub hard_timeout: Option<Duration>,
    /// Longest silence of the command. `None`: unbounded.
    pub io_timeout: Option<Duration>,
    /// Between TERM and KILL. `None`: the scheduler's default.
    pub grace: Option<Duration>,
    /// Into how many shards the step is cut.
    pub shards: u32,
    /// Attempts that a shard gets when bots are lost. `None`: the scheduler's default.
    pub max_attempts: Option<u32>,
    /// The same properties give the same result: an earlier success need not be run again.
    pub idempotent: bool,
}

/// What a shard asks of a bot, and for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// All must hold.
    pub requirements: Requirements,
    /// How long a shard may stay pending. `None`: the scheduler's default.
    pub expiration: Option<Duration>,
    /// It stays so though no bot fits.
    pub wait_for_capacity: bool,
}

/// What a user triggers.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// Names the run to people.
    pub name: String,
    /// Who asked for it.
    pub user: String,
    /// `key:value`.
    pub tags: Vec<String>,
    /// 0 to 255, lower is sooner.
    pub priority: u8,
    /// At least one.
    pub steps: Vec<StepSpec>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No shard has been taken yet.
    Pending,
    /// Some shard has been taken.
    Running,
    /// Every shard completed with exit code 0.
    Succeeded,
    /// Every shard ended by its own command or timeout, at least one badly.
    Failed,
    /// Cancelled by a user.
    Canceled,
    /// Some shard expired, lost its bots or hit an error that is not the command's.
    Incomplete,
}

impl RunState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The state in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Where a shard stands, or how an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
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
}

impl ShardState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The state in words.
    pub fn name(self) -> &'static str {
        match self {
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

/// How many shards stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Wait for a bot.
    pub pending: u32,
    /// A bot has them.
    pub running: u32,
    /// Completed with exit code 0.
    pub succeeded: u32,
    /// Ended in any other way.
    pub failed: u32,
}

impl Counts {
    /// Counts these shards.
    pub fn of(shards: &[Shard]) -> Self {
        let mut counts = Self::default();
        for shard in shards {
            *match shard.state {
                ShardState::Pending => &mut counts.pending,
                ShardState::Running => &mut counts.running,
                _ if shard.passed() => &mut counts.succeeded,
                _ => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// All of them.
    pub fn total(self) -> u32 {
        self.pending + self.running + self.succeeded + self.failed
    }
}

/// A run with its shards, or without them in lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What was asked for.
    pub spec: RunSpec,
    /// Where it stands.
    pub state: RunState,
    /// When it was triggered.
    pub created: Timestamp,
    /// When its last shard ended.
    pub ended: Option<Timestamp>,
    /// By step, then by index.
    pub shards: Vec<Shard>,
    /// How many shards stand where.
    pub counts: Counts,
}

/// What changed in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Where the run stands now.
    pub state: RunState,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The shards that changed, whole.
    pub shards: Vec<Shard>,
}

impl Run {
    /// Brings the run up to date.
    pub fn apply(&mut self, changes: Changes) {
        self.state = changes.state;
        self.ended = changes.ended.or(self.ended);
        for changed in changes.shards {
            match self.shards.binary_search_by_key(&changed.id, |shard| shard.id) {
                Ok(at) => self.shards[at] = changed,
                Err(at) => self.shards.insert(at, changed),
            }
        }
        self.counts = Counts::of(&self.shards);
    }

    /// Whether all of its shards are here: many come in several messages.
    pub fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    /// How many of its shards are not here.
    pub fn missing(&self) -> u64 {
        let expected: u64 = self.spec.steps.iter().map(|step| u64::from(step.shards)).sum();
        expected.saturating_sub(self.shards.len() as u64)
    }

    /// The shard of this name.
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    /// What a shard is called where people read: its index, after its step's name when there are several steps.
    pub fn label(&self, id: ShardId) -> String {
        if self.spec.steps.len() > 1 {
            format!("{}/{}", self.step_name(id), id.index)
        } else {
            id.index.to_string()
        }
    }

    /// The name of the step that a shard belongs to; never empty.
    pub fn step_name(&self, id: ShardId) -> String {
        let step = self.spec.steps.get(usize::try_from(id.step).unwrap_or(usize::MAX));
        match step.map(|step| step.name.as_str()) {
            None | Some("") => format!("step-{}", id.step),
            Some(name) => name.to_owned(),
        }
    }
}

/// A bot as the scheduler knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bot {
    /// Its name.
    pub id: String,
    /// What it says of itself.
    pub dimensions: Dimensions,
    /// Of its program.
    pub version: String,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// Shards under lease.
    pub running: Vec<ShardId>,
    /// When it called for the first time.
    pub first_seen: Option<Timestamp>,
    /// When it called last.
    pub last_seen: Option<Timestamp>,
    /// Whether it takes work.
    pub health: BotHealth,
    /// Why an operator keeps it from work; empty otherwise.
    pub message: String,
}

/// Whether a bot takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BotHealth {
    /// It does.
    Alive,
    /// It finishes what it has.
    Draining,
    /// An operator has quarantined it.
    Quarantined,
    /// It finishes what it has and ends.
    Terminating,
    /// It has not called for longer than a lease lives.
    Dead,
}

/// What an operator wants of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BotOrder {
    /// That it takes work.
    Work,
    /// That it finishes what it has and takes nothing new.
    Drain,
    /// The same, because something is wrong with it.
    Quarantine,
    /// That it finishes what it has and ends.
    Terminate,
}

/// What bots can be asked for by. A bot may be in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BotState {
    /// It calls.
    Alive,
    /// It calls, takes work and has none.
    Idle,
    /// It calls and has work.
    Busy,
    /// It takes no new work.
    Draining,
    /// An operator has quarantined it.
    Quarantined,
    /// It has not called for longer than a lease lives.
    Dead,
}

/// Why the pending shards of one step have no bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Of the run.
    pub step: u32,
    /// Indices.
    pub pending_shards: Vec<u32>,
    /// Shards of any run that go first.
    pub ahead: u32,
    /// Fit, and are busy.
    pub busy_bots: Vec<String>,
    /// Fit, and have a free slot.
    pub free_bots: Vec<String>,
    /// Criterion, and the bots that it keeps away.
    pub obstacles: Vec<(String, Vec<String>)>,
    /// When the shards give up.
    pub expires: Option<Timestamp>,
    /// One sentence that sums it up.
    pub summary: String,
    /// Why the first pending shard has its place.
    pub place: String,
    /// The slice that they are at, from 0.
    pub slice: u32,
    /// How many slices there are.
    pub slices: u32,
    /// When they give the slice up, as long as no bot fits.
    pub no_resource: Option<Timestamp>,
}
