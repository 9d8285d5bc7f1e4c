//! Why shards are still pending.

use super::{apply::Queue, event::Refusal, presence::Bot, shard::ShardState, spec::StepSpec};
use proto::{BotId, RunId, ShardId, Timestamp};
use std::{collections::BTreeMap, fmt};

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Every pending shard of a run.
    Run(RunId),
    /// One shard.
    Shard(ShardId),
}

/// Why the pending shards of one step are pending. They share their requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepExplanation {
    pub(crate) step: u32,
    pub(crate) pending: Vec<u32>,
    /// Shards that go before the first of these.
    pub(crate) ahead: usize,
    /// Bots that fit and are busy.
    pub(crate) busy: Vec<BotId>,
    /// Bots that fit and have a free slot.
    pub(crate) free: Vec<BotId>,
    pub(crate) obstacles: Vec<Obstacle>,
    /// When the first of them expires.
    pub(crate) expires: Timestamp,
}

/// A criterion and the bots that it keeps away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) criterion: String,
    pub(crate) bots: Vec<BotId>,
}

impl Queue {
    /// One explanation for each step that has pending shards.
    pub(crate) fn explain(&self, subject: Subject, now: Timestamp) -> Result<Vec<StepExplanation>, Refusal> {
        let id = match subject {
            Subject::Run(run) => run,
            Subject::Shard(shard) => shard.run,
        };
        let run = self.run(id).ok_or(Refusal::UnknownRun { run: id })?;
        if let Subject::Shard(shard) = subject
            && run.shard(shard).is_none()
        {
            return Err(Refusal::UnknownShard { shard });
        }
        let asked = |shard| matches!(subject, Subject::Run(_)) || subject == Subject::Shard(shard);
        let mut explanations = Vec::new();
        for ((step, shards), spec) in (0u32..).zip(&run.steps).zip(&run.spec.steps) {
            let pending = |(index, _): &(u32, _)| asked(ShardId { run: id, step, index: *index });
            let pending: Vec<_> = (0u32..)
                .zip(shards)
                .filter(|(_, shard)| shard.state == ShardState::Pending)
                .filter(pending)
                .collect();
            let Some(&(first, _)) = pending.first() else { continue };
            let since = pending.iter().map(|(_, shard)| shard.pending_since).min().unwrap_or(now);
            let fits = self.sort_bots(spec, now);
            explanations.push(StepExplanation {
                step,
                pending: pending.iter().map(|(index, _)| *index).collect(),
                ahead: self.state.pending.ahead((run.spec.priority, ShardId { run: id, step, index: first })),
                busy: fits.busy,
                free: fits.free,
                obstacles: fits.obstacles,
                expires: since + spec.expiration,
            });
        }
        Ok(explanations)
    }

    fn sort_bots(&self, spec: &StepSpec, now: Timestamp) -> SortedBots {
        let mut sorted = SortedBots::default();
        let mut obstacles: BTreeMap<String, Vec<BotId>> = BTreeMap::new();
        for (id, bot) in self.bots() {
            let criteria = self.criteria_against(bot, spec, now);
            for criterion in &criteria {
                obstacles.entry(criterion.clone()).or_default().push(id.clone());
            }
            if criteria.is_empty() {
                let fitting = if self.free_slots(id) > 0 { &mut sorted.free } else { &mut sorted.busy };
                fitting.push(id.clone());
            }
        }
        sorted.obstacles =
            obstacles.into_iter().map(|(criterion, bots)| Obstacle { criterion, bots }).collect();
        sorted
    }

    fn criteria_against(&self, bot: &Bot, spec: &StepSpec, now: Timestamp) -> Vec<String> {
        let mut criteria: Vec<String> =
            spec.requirements.unmet(&bot.dimensions).map(ToString::to_string).collect();
        if self.is_dead(bot, now) {
            criteria.push("the bot is dead".into());
        }
        if bot.draining {
            criteria.push("the bot is draining".into());
        }
        if bot.slots == 0 {
            criteria.push("the bot has no slots".into());
        }
        criteria
    }
}

#[derive(Default)]
struct SortedBots {
    busy: Vec<BotId>,
    free: Vec<BotId>,
    obstacles: Vec<Obstacle>,
}

/// One sentence that sums it up.
impl fmt::Display for StepExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = match self.pending.len() {
            1 => "1 shard waits".to_owned(),
            many => format!("{many} shards wait"),
        };
        if !self.free.is_empty() {
            return write!(f, "{waiting} and will be taken by bots that have a free slot");
        }
        if !self.busy.is_empty() {
            let busy = self.busy.len();
            let ahead = self.ahead;
            return write!(f, "{waiting} behind {ahead} others: every bot that fits is busy ({busy})");
        }
        let widest = self.obstacles.iter().max_by_key(|obstacle| obstacle.bots.len());
        match widest {
            None => write!(f, "{waiting} and no bot has called since the scheduler started"),
            Some(obstacle) => {
                let (criterion, bots) = (&obstacle.criterion, obstacle.bots.len());
                write!(f, "{waiting} and no bot fits: `{criterion}` keeps {bots} away")
            }
        }
    }
}
