//! A user wants a run.

use super::{
    apply::Queue,
    event::{Decided, Refusal, Trigger},
    explain::SortedBots,
    record::Transition,
    shard::Reused,
    spec::RunSpec,
};
use proto::{RunId, ShardId, Timestamp};
use std::sync::Arc;

/// Slices whose bots are looked for in one evaluation: all others wait for it.
const MOST_EVALUATED: usize = 16;

impl Queue {
    pub(super) fn trigger(
        &mut self,
        trigger: Trigger,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        if self.is_made(&trigger)? {
            return Ok(());
        }
        let Trigger { run, request, spec, reuses } = trigger;
        let spec = self.with_decided_parts(&self.with_present_bots(&spec, now)?, now);
        self.has_room(&spec, reuses.len())?;
        self.commit(Transition::RunCreated { run, request, spec: Arc::clone(&spec) }, now, decided);
        for (step, _) in (0u32..).zip(&spec.steps).filter(|(_, step)| step.after.is_empty()) {
            self.list_known(run, step, now, decided);
        }
        for reuse in reuses {
            let shard = ShardId { run, step: reuse.step, index: reuse.index };
            let success = self.shard(reuse.from).filter(|from| from.succeeded());
            if let Some(result) = success.and_then(|from| from.result()) {
                let reused = Reused { from: reuse.from, result: result.clone() };
                self.commit(Transition::ShardDeduped { shard, reused }, now, decided);
            }
        }
        Ok(())
    }

    /// Lists the tests of a pending step if an earlier run has listed the same.
    pub(super) fn list_known(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        let Some((_, spec)) = self.state.context(ShardId { run, step, index: 0 }) else { return };
        let listing = self.state.listing_of(spec).cloned();
        if let (Some(policy), Some(listing)) = (spec.fan_out.tests().cloned(), listing) {
            self.list(run, step, &policy, listing, now, decided);
        }
    }

    /// Whether there is the run already: the answer to a repeated call is the run as it is. Otherwise there may be one.
    fn is_made(&self, trigger: &Trigger) -> Result<bool, Refusal> {
        let Trigger { request, spec, .. } = trigger;
        if let Some(made) = self.run_of(request) {
            let refusal = || Refusal::RequestReused { request: request.clone(), run: made.id };
            return if made.spec.as_asked() == spec.as_asked() { Ok(true) } else { Err(refusal()) };
        }
        if let Some(parent) = spec.parent {
            let shard = self.shard(parent).ok_or(Refusal::UnknownShard { shard: parent })?;
            if shard.live().is_none() || shard.killing {
                return Err(Refusal::ParentEnded { parent });
            }
        }
        Ok(false)
    }

    /// Whether what would be pending or wait beside what is and does is not too much.
    fn has_room(&self, spec: &RunSpec, reused: usize) -> Result<(), Refusal> {
        let (pending, most) = (self.pending() + self.waiting(), self.tuning.most_pending);
        let wanted = usize::try_from(spec.shards()).unwrap_or(usize::MAX).saturating_sub(reused);
        if pending.saturating_add(wanted) > most {
            return Err(Refusal::Full { pending, most });
        }
        Ok(())
    }

    /// What a trigger would come to.
    pub(crate) fn evaluate(&self, trigger: &Trigger, now: Timestamp) -> Result<Evaluation, Refusal> {
        let made = self.is_made(trigger)?.then(|| self.run_of(&trigger.request)).flatten();
        let spec = match made {
            Some(made) => Arc::clone(&made.spec),
            None => self.with_decided_parts(&self.with_present_bots(&trigger.spec, now)?, now),
        };
        if made.is_none() {
            self.has_room(&spec, trigger.reuses.len())?;
        }
        let mut slices = Vec::new();
        for (step, spec) in (0u32..).zip(&spec.steps) {
            for slice in 0..spec.slices() {
                if slices.len() == MOST_EVALUATED {
                    break;
                }
                slices.push(SliceEvaluation {
                    step,
                    slice,
                    bots: self.sort_bots(spec.slice(slice), &[], now),
                });
            }
        }
        Ok(Evaluation { made: made.map(|run| run.id), shards: spec.shards(), slices })
    }
}

/// What a trigger would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evaluation {
    /// The run that the request has made before.
    pub(crate) made: Option<RunId>,
    /// How many it has.
    pub(crate) shards: u64,
    /// By step, then by slice; the first [`MOST_EVALUATED`].
    pub(crate) slices: Vec<SliceEvaluation>,
}

/// The bots that are there for a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceEvaluation {
    pub(crate) step: u32,
    pub(crate) slice: u8,
    pub(crate) bots: SortedBots,
}
