//! What a user triggered, and what has become of it.

use super::{
    earlier::Progress,
    shard::{Ending, Shard, ShardState},
    spec::RunSpec,
    suite::Suite,
};
use proto::{BotId, RequestId, RunId, ShardId, Timestamp};
use std::{collections::BTreeMap, sync::Arc};

/// A run with all of its shards. Stays in history when it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) request: RequestId,
    pub(crate) spec: Arc<RunSpec>,
    pub(crate) created: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// A user cancelled it.
    pub(crate) canceled: bool,
    /// By step, then by index.
    pub(crate) steps: Vec<Vec<Shard>>,
    /// By step.
    pub(super) progress: Vec<Progress>,
    pub(crate) tally: Tally,
    /// The tests of the steps that share them out and have listed them.
    pub(crate) suites: BTreeMap<u32, Suite>,
}

/// The state of a run, derived from its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// No shard has been taken by a bot yet.
    Pending,
    /// Some have, and not all have ended.
    Running,
    /// Every command ended with exit code 0.
    Succeeded,
    /// Every shard ended by its own command or timeout, at least one badly.
    Failed,
    /// A user cancelled at least one shard.
    Canceled,
    /// At least one shard ended for a reason that is not its command's.
    Incomplete,
}

/// Reasons that are not the command's.
const INCOMPLETE: [Ending; 5] =
    [Ending::Expired, Ending::NoResource, Ending::BotDied, Ending::ClientError, Ending::InternalError];

impl Run {
    /// All shards pending, or waiting.
    pub(crate) fn new(id: RunId, request: RequestId, spec: Arc<RunSpec>, now: Timestamp) -> Self {
        let mut tally = Tally::default();
        let (mut steps, mut progress) = (Vec::new(), Vec::new());
        for step in &spec.steps {
            let (state, counted) = if step.after.is_empty() {
                (ShardState::Pending, &mut tally.pending)
            } else {
                (ShardState::Waiting, &mut tally.waiting)
            };
            let shards = step.fan_out.shards();
            *counted += shards;
            progress.push(Progress { open: shards, failed: false });
            steps.push((0..shards).map(|_| Shard::in_state(state, now)).collect());
        }
        let suites = BTreeMap::new();
        Self { id, request, spec, created: now, ended: None, canceled: false, steps, progress, tally, suites }
    }

    /// Its state.
    pub(crate) fn state(&self) -> RunState {
        let tally = &self.tally;
        let any = |endings: &[Ending]| endings.iter().any(|ending| tally.ended.contains_key(ending));
        if tally.open() > 0 {
            let untouched = tally.running == 0 && tally.ended.is_empty();
            return if untouched { RunState::Pending } else { RunState::Running };
        }
        if !self.canceled && self.suites.values().any(|suite| suite.ledger.is_stopped()) {
            RunState::Failed
        } else if any(&[Ending::Canceled, Ending::Killed]) {
            RunState::Canceled
        } else if any(&INCOMPLETE) || self.lacks_tests() {
            RunState::Incomplete
        } else if tally.failed() + tally.skipped() > 0
            || self.suites.values().any(|suite| suite.ledger.counts().red() > 0)
        {
            RunState::Failed
        } else {
            RunState::Succeeded
        }
    }

    /// Whether there are tests that nobody has told of, or steps that should have had some and have none.
    fn lacks_tests(&self) -> bool {
        let steps = (0u32..).zip(&self.spec.steps).filter(|(_, step)| step.fan_out.tests().is_some());
        // What was skipped has no tests for a reason that is told of another step.
        let mut steps = steps.filter(|(step, _)| !self.is_skipped(*step));
        steps.any(|(step, _)| self.suites.get(&step).is_none_or(Suite::lacks_tests))
    }

    /// One of its shards.
    pub(crate) fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.steps.get(id.step as usize)?.get(id.index as usize)
    }

    /// The one bot that a shard is for, if it is.
    pub(crate) fn bot_of(&self, id: ShardId) -> Option<&BotId> {
        self.spec.steps.get(id.step as usize)?.fan_out.bot(id.index)
    }

    /// All shards with their ids, in order.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        let run = self.id;
        (0u32..).zip(&self.steps).flat_map(move |(step, shards)| {
            (0u32..).zip(shards).map(move |(index, shard)| (ShardId { run, step, index }, shard))
        })
    }
}

/// How many shards are in which state.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// For earlier steps.
    pub(crate) waiting: u32,
    pub(crate) pending: u32,
    pub(crate) running: u32,
    /// Without zeros.
    pub(crate) ended: BTreeMap<Ending, u32>,
    /// Of the completed ones, those with exit code 0.
    pub(crate) succeeded: u32,
}

impl Tally {
    /// Not ended.
    pub(crate) fn open(&self) -> u32 {
        self.waiting + self.pending + self.running
    }

    /// Never run because of earlier steps.
    pub(crate) fn skipped(&self) -> u32 {
        self.ended.get(&Ending::Skipped).copied().unwrap_or_default()
    }

    /// Ended in another way than with exit code 0 or without being needed. Without those that were skipped.
    pub(crate) fn failed(&self) -> u32 {
        let unneeded = self.ended.get(&Ending::NotNeeded).copied().unwrap_or_default();
        self.ended.values().sum::<u32>() - self.succeeded - unneeded - self.skipped()
    }

    /// Counts one shard's change of state.
    pub(super) fn move_one(&mut self, from: ShardState, to: ShardState) {
        match from {
            ShardState::Waiting => self.waiting -= 1,
            ShardState::Pending => self.pending -= 1,
            ShardState::Running => self.running -= 1,
            ShardState::Ended(_) => {}
        }
        match to {
            ShardState::Waiting => self.waiting += 1,
            ShardState::Pending => self.pending += 1,
            ShardState::Running => self.running += 1,
            ShardState::Ended(ending) => *self.ended.entry(ending).or_default() += 1,
        }
    }
}
