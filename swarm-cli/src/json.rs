//! What `--json` prints: the scheduler's nouns as documents with stable keys. Times are RFC 3339 in UTC, durations are
//! seconds, digests are `FUNCTION:HEX/SIZE`.
//!
//! Keys may be added; a key that changes its meaning or goes away raises [`crate::json::SCHEMA_VERSION`].

mod bots;
mod earlier;
mod ledger;

pub use bots::{BotJson, EvaluationJson, ExplanationJson, SliceEvaluationJson};
pub use earlier::{AfterJson, OutputOfJson};
pub use ledger::{ExecutionJson, HistoryJson, QuarantineJson, ResultJson, StepTestsJson};

use crate::{
    display::utc,
    model::{Assignment, Attempt, AttemptStats, Counts, FanOut, Run, RunState, Shard, ShardState, Slice},
};
use proto::{BotId, Digest, ShardId};
use serde::Serialize;

/// Of all documents in this module and of the merged report.
pub const SCHEMA_VERSION: u32 = 1;

/// A run; without shards in lists.
#[derive(Debug, Serialize)]
pub struct RunJson<'a> {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: &'a str,
    /// Who asked for it.
    pub user: &'a str,
    /// `key:value`.
    pub tags: &'a [String],
    /// Lower is sooner.
    pub priority: u8,
    /// The shard that triggered it and with which it ends.
    pub parent: Option<String>,
    /// Whether it was triggered with a secret.
    pub has_secret: bool,
    /// Where it stands.
    pub state: RunState,
    /// When it was triggered.
    pub created: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How many shards stand where.
    pub counts: Counts,
    /// What was asked for.
    pub steps: Vec<StepJson<'a>>,
    /// By step, then by index.
    pub shards: Vec<ShardJson<'a>>,
}

/// A step.
#[derive(Debug, Serialize)]
pub struct StepJson<'a> {
    /// Its name for people.
    pub name: &'a str,
    /// The `.isolated` manifest.
    pub input: Option<Digest>,
    /// Replaces the manifest's command when not empty.
    pub command: &'a [String],
    /// Appended to the command.
    pub extra_args: &'a [String],
    /// `key=value|value`.
    pub requirements: Vec<String>,
    /// What is asked for next, in order, in the same words.
    pub fallbacks: Vec<Vec<String>>,
    /// Into how many shards it is cut; of a step that shares out its tests: the one that it begins with; of a step with a
    /// shard for each bot: those that are in this document.
    pub shards: u32,
    /// How many items are divided among its shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
    /// It has a shard for each bot. Left out otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub each_bot: bool,
    /// How its tests are shared out, and how far they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<StepTestsJson<'a>>,
    /// Whether an earlier success of the same properties need not be run again.
    pub idempotent: bool,
    /// The earlier steps that it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AfterJson>,
    /// What earlier steps have left, as a part of its input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<OutputOfJson<'a>>,
}

/// What a bot is told of one shard.
#[derive(Debug, Serialize)]
pub struct AssignmentJson<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `RUN/STEP/INDEX`.
    pub shard: String,
    /// The `.isolated` manifest.
    pub input: Option<Digest>,
    /// The manifests of what earlier shards have left, each with the directory that it is laid out in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<(Option<Digest>, &'a str)>,
    /// Replaces the manifest's command when not empty.
    pub command: &'a [String],
    /// Appended to the command.
    pub extra_args: &'a [String],
    /// In order; an empty value unsets.
    pub environment: Vec<[&'a str; 2]>,
    /// Declared outputs.
    pub outputs: &'a [String],
    /// Name and path of directories that bots keep.
    pub named_caches: Vec<[&'a str; 2]>,
    /// Whether the command misses a secret here.
    pub has_secret: bool,
}

impl<'a> AssignmentJson<'a> {
    /// What the scheduler says of this shard.
    pub fn new(shard: ShardId, told: &'a Assignment, has_secret: bool) -> Self {
        let pairs = |all: &'a [(String, String)]| all.iter().map(|(a, b)| [a.as_str(), b.as_str()]).collect();
        Self {
            schema_version: SCHEMA_VERSION,
            shard: shard.to_string(),
            input: told.input,
            includes: told.includes.iter().map(|(outputs, into)| (*outputs, into.as_str())).collect(),
            command: &told.command,
            extra_args: &told.extra_args,
            environment: pairs(&told.environment),
            outputs: &told.outputs,
            named_caches: pairs(&told.named_caches),
            has_secret,
        }
    }
}

/// A shard.
#[derive(Debug, Serialize)]
pub struct ShardJson<'a> {
    /// `RUN/STEP/INDEX`.
    pub id: String,
    /// Where it stands.
    pub state: ShardState,
    /// Whether its command exited with 0.
    pub passed: bool,
    /// Of the newest attempt's command.
    pub exit_code: Option<i32>,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it ended as it did; empty when there is nothing to say.
    pub reason: &'a str,
    /// Seconds from the trigger to its first bot.
    pub queue: Option<f64>,
    /// The slice that it is at, or ended at: 0 is what it asked for first.
    pub slice: u32,
    /// The one bot that it is for, of a step with a shard for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bot: Option<&'a str>,
    /// Which of its step's items it has: the first, counted from 0, and how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<[u32; 2]>,
    /// The shard whose success it ended with instead of being run.
    pub deduped_from: Option<String>,
    /// Of the manifest of the outputs.
    pub outputs: Option<Digest>,
    /// In order.
    pub attempts: Vec<AttemptJson<'a>>,
}

/// An attempt.
#[derive(Debug, Serialize)]
pub struct AttemptJson<'a> {
    /// 1 for the first.
    pub number: u32,
    /// Who ran it.
    pub bot: &'a str,
    /// When a bot took it.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// How it ended; absent while it runs and when its bot was lost.
    pub state: Option<ShardState>,
    /// Why it ended without a result; empty otherwise.
    pub lost: &'a str,
    /// Of the command.
    pub exit_code: Option<i32>,
    /// That ended the command.
    pub signal: Option<i32>,
    /// Whether the kernel killed the command, or something of it, for lack of memory.
    pub out_of_memory: bool,
    /// Of the manifest of the outputs.
    pub outputs: Option<Digest>,
    /// Bytes of output that the scheduler holds.
    pub output_size: u64,
    /// Whether its bot gave it back, so that it does not count as one of those allowed.
    pub returned: bool,
    /// Where the time went and what was moved.
    pub stats: Option<StatsJson>,
}

/// Where an attempt's time went and what it moved.
#[derive(Debug, Serialize)]
pub struct StatsJson {
    /// Seconds of fetching the input.
    pub fetch: f64,
    /// Seconds of the command.
    pub run: f64,
    /// Seconds of uploading the outputs.
    pub upload: f64,
    /// Input files fetched from the CAS.
    pub cold_items: u64,
    /// Input bytes fetched from the CAS.
    pub cold_bytes: u64,
    /// Input files that the bot's cache had.
    pub hot_items: u64,
    /// Input bytes that the bot's cache had.
    pub hot_bytes: u64,
    /// Output bytes that the CAS did not have.
    pub uploaded_bytes: u64,
}

fn words(slice: &Slice) -> Vec<String> {
    slice.requirements.iter().map(ToString::to_string).collect()
}

impl<'a> From<&'a Run> for RunJson<'a> {
    fn from(run: &'a Run) -> Self {
        let ready = run.ready();
        let step = |(number, step): (u32, &'a crate::model::StepSpec)| StepJson {
            name: &step.name,
            input: step.input,
            command: &step.command,
            extra_args: &step.extra_args,
            requirements: words(&step.first),
            fallbacks: step.fallbacks.iter().map(words).collect(),
            shards: match step.fan_out {
                FanOut::EachBot { .. } => u32::try_from(run.shards_of(number).len()).unwrap_or(u32::MAX),
                _ => step.least_shards(),
            },
            items: step.items().map(|items| items.count),
            each_bot: matches!(step.fan_out, FanOut::EachBot { .. }),
            tests: step.tests().map(|policy| StepTestsJson::new(run, number, policy)),
            idempotent: step.idempotent,
            after: step.after.iter().map(AfterJson::from).collect(),
            includes: step.includes.iter().map(OutputOfJson::from).collect(),
        };
        Self {
            id: run.id.to_string(),
            name: &run.spec.name,
            user: &run.spec.user,
            tags: &run.spec.tags,
            priority: run.spec.priority,
            parent: run.spec.parent.map(|parent| parent.to_string()),
            has_secret: run.has_secret,
            state: run.state,
            created: utc(run.created),
            ended: run.ended.map(utc),
            counts: run.counts,
            steps: (0..).zip(&run.spec.steps).map(step).collect(),
            shards: run.shards.iter().map(|shard| ShardJson::new(run, shard, &ready)).collect(),
        }
    }
}

impl<'a> ShardJson<'a> {
    /// A shard of this run, whose steps were [`Run::ready`] then.
    pub fn new(run: &Run, shard: &'a Shard, ready: &[proto::Timestamp]) -> Self {
        Self {
            id: shard.id.to_string(),
            state: shard.state,
            passed: shard.passed(),
            exit_code: shard.exit_code(),
            ended: shard.ended.map(utc),
            reason: shard.reason(),
            queue: run.queued(shard, ready).map(|queued| queued.as_secs_f64()),
            slice: shard.slice,
            bot: shard.bot.as_ref().map(BotId::as_str),
            items: run.items_of(shard.id).map(|items| [items.start, items.end - items.start]),
            deduped_from: shard.reused.as_ref().map(|reused| reused.from.to_string()),
            outputs: shard.result().and_then(|result| result.outputs),
            attempts: shard.attempts.iter().map(AttemptJson::from).collect(),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptJson<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let result = attempt.result.as_ref();
        Self {
            number: attempt.number,
            bot: &attempt.bot,
            started: attempt.started.map(utc),
            ended: attempt.ended.map(utc),
            state: result.map(|result| result.state),
            lost: &attempt.lost,
            exit_code: result.and_then(|result| result.exit_code),
            signal: result.and_then(|result| result.signal),
            out_of_memory: result.is_some_and(|result| result.out_of_memory),
            outputs: result.and_then(|result| result.outputs),
            output_size: attempt.output_size,
            returned: attempt.returned,
            stats: result.map(|result| StatsJson::from(&result.stats)),
        }
    }
}

impl From<&AttemptStats> for StatsJson {
    fn from(stats: &AttemptStats) -> Self {
        Self {
            fetch: stats.fetch.as_secs_f64(),
            run: stats.run.as_secs_f64(),
            upload: stats.upload.as_secs_f64(),
            cold_items: stats.cold_items,
            cold_bytes: stats.cold_bytes,
            hot_items: stats.hot_items,
            hot_bytes: stats.hot_bytes,
            uploaded_bytes: stats.uploaded_bytes,
        }
    }
}
