//! Bots, and what they are to shards.

use crate::{
    display::utc,
    model::{Bot, BotHealth, Evaluation, Explanation, SliceEvaluation},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A bot.
#[derive(Debug, Serialize)]
pub struct BotJson<'a> {
    /// Its name.
    pub id: &'a str,
    /// Whether it takes work.
    pub health: BotHealth,
    /// Why an operator, or the bot itself, keeps it from work; empty otherwise.
    pub message: &'a str,
    /// What an operator should know of it beside that; empty otherwise.
    pub notice: &'a str,
    /// What it says of itself.
    pub dimensions: BTreeMap<&'a str, &'a [String]>,
    /// Of its program.
    pub version: &'a str,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// Shards under lease.
    pub running: Vec<String>,
    /// When it called for the first time.
    pub first_seen: Option<String>,
    /// When it called last.
    pub last_seen: Option<String>,
    /// What it says of its host; null when it has said nothing yet.
    pub state: &'a serde_json::Value,
}

/// Why the pending shards of a step have no bot.
#[derive(Debug, Serialize)]
pub struct ExplanationJson<'a> {
    /// Of the run.
    pub step: u32,
    /// One sentence.
    pub summary: &'a str,
    /// Indices.
    pub pending_shards: &'a [u32],
    /// Those that are not pending yet, because they wait for earlier steps.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub waiting_shards: &'a [u32],
    /// The steps that these wait for.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub waiting_for: &'a [u32],
    /// Shards of any run that go first.
    pub ahead: u32,
    /// Why the first of them has its place.
    pub place: &'a str,
    /// Fit, and are busy.
    pub busy_bots: &'a [String],
    /// Fit, and have a free slot.
    pub free_bots: &'a [String],
    /// Criterion, and the bots that it keeps away.
    pub obstacles: BTreeMap<&'a str, &'a [String]>,
    /// When the shards give up.
    pub expires: Option<String>,
    /// The slice that they are at, from 0.
    pub slice: u32,
    /// How many slices there are.
    pub slices: u32,
    /// When they give the slice up, as long as no bot fits.
    pub no_resource: Option<String>,
}

/// What a trigger would come to.
#[derive(Debug, Serialize)]
pub struct EvaluationJson<'a> {
    /// The run that the request id has made before.
    pub made: Option<String>,
    /// How many shards it would have.
    pub shards: u32,
    /// Of these, the shards that would end with an earlier success.
    pub deduped: u32,
    /// By step, then by slice.
    pub slices: Vec<SliceEvaluationJson<'a>>,
}

/// The bots that are there for a slice of a step.
#[derive(Debug, Serialize)]
pub struct SliceEvaluationJson<'a> {
    /// From 0.
    pub step: u32,
    /// From 0.
    pub slice: u32,
    /// Fit, and are busy.
    pub busy_bots: &'a [String],
    /// Fit, and have a free slot.
    pub free_bots: &'a [String],
    /// Criterion, and the bots that it keeps away.
    pub obstacles: BTreeMap<&'a str, &'a [String]>,
}

impl<'a> From<&'a Evaluation> for EvaluationJson<'a> {
    fn from(evaluation: &'a Evaluation) -> Self {
        let slice = |slice: &'a SliceEvaluation| SliceEvaluationJson {
            step: slice.step,
            slice: slice.slice,
            busy_bots: &slice.busy_bots,
            free_bots: &slice.free_bots,
            obstacles: slice.obstacles.iter().map(|(what, bots)| (what.as_str(), &bots[..])).collect(),
        };
        Self {
            made: evaluation.made.map(|run| run.to_string()),
            shards: evaluation.shards,
            deduped: evaluation.deduped,
            slices: evaluation.slices.iter().map(slice).collect(),
        }
    }
}

impl<'a> From<&'a Bot> for BotJson<'a> {
    fn from(bot: &'a Bot) -> Self {
        Self {
            id: &bot.id,
            health: bot.health,
            message: &bot.message,
            notice: &bot.notice,
            dimensions: bot.dimensions.iter().collect(),
            version: &bot.version,
            slots: bot.slots,
            running: bot.running.iter().map(ToString::to_string).collect(),
            first_seen: bot.first_seen.map(utc),
            last_seen: bot.last_seen.map(utc),
            state: &bot.state,
        }
    }
}

impl<'a> From<&'a Explanation> for ExplanationJson<'a> {
    fn from(step: &'a Explanation) -> Self {
        Self {
            step: step.step,
            summary: &step.summary,
            pending_shards: &step.pending_shards,
            waiting_shards: &step.waiting_shards,
            waiting_for: &step.waiting_for,
            ahead: step.ahead,
            place: &step.place,
            busy_bots: &step.busy_bots,
            free_bots: &step.free_bots,
            obstacles: step.obstacles.iter().map(|(what, bots)| (what.as_str(), &bots[..])).collect(),
            expires: step.expires.map(utc),
            slice: step.slice,
            slices: step.slices,
            no_resource: step.no_resource.map(utc),
        }
    }
}
