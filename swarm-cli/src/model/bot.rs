//! Bots, and what they are to shards.

use proto::{Dimensions, RunId, ShardId, Timestamp};

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
    /// Why an operator, or the bot itself, keeps it from work; empty otherwise.
    pub message: String,
    /// What an operator should know of it beside that; empty otherwise.
    pub notice: String,
    /// What it says of its host: a JSON object, if anything.
    pub state: serde_json::Value,
}

/// Whether a bot takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BotHealth {
    /// It does.
    Alive,
    /// It finishes what it has.
    Draining,
    /// An operator has quarantined it, or it has itself.
    Quarantined,
    /// Somebody works on its host.
    Maintenance,
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
    /// An operator has quarantined it, or it has itself.
    Quarantined,
    /// It says that somebody works on its host.
    Maintenance,
    /// It has not called for longer than a lease lives.
    Dead,
}

/// What a trigger would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The run that the request id has made before.
    pub made: Option<RunId>,
    /// How many shards it would have.
    pub shards: u32,
    /// Of these, the shards that would end with an earlier success.
    pub deduped: u32,
    /// By step, then by slice.
    pub slices: Vec<SliceEvaluation>,
}

/// The bots that are there for a slice of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEvaluation {
    /// From 0.
    pub step: u32,
    /// From 0.
    pub slice: u32,
    /// Fit, and are busy.
    pub busy_bots: Vec<String>,
    /// Fit, and have a free slot.
    pub free_bots: Vec<String>,
    /// Criterion, and the bots that it keeps away.
    pub obstacles: Vec<(String, Vec<String>)>,
}

/// Why the pending shards of one step have no bot, or what those wait for that are not pending yet; without either, what else
/// there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Explanation {
    /// Of the run.
    pub step: u32,
    /// Indices.
    pub pending_shards: Vec<u32>,
    /// Those that are not pending yet, because they wait for earlier steps. Nothing below but the summary is about these.
    pub waiting_shards: Vec<u32>,
    /// The steps that these wait for.
    pub waiting_for: Vec<u32>,
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
