//! Users' calls that change runs.

use super::{
    engine::Engine,
    handle::{CallError, Canceled, CanceledRuns, Triggered},
};
use crate::{
    journal::Batch,
    queue::{CancelMode, Ending, Event, Refusal, Reuse, RunFilter, RunSpec, Transition, Trigger},
};
use proto::{RequestId, RunId, Timestamp};
use std::sync::Arc;

impl Engine {
    pub(super) fn trigger(
        &mut self,
        request: RequestId,
        spec: Arc<RunSpec>,
        reuses: Vec<Reuse>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Triggered, CallError> {
        let known = self.queue.run_of(&request).is_some();
        let trigger = Trigger { run: self.new_run_id(now), request: request.clone(), spec, reuses };
        self.decide(Event::Trigger(trigger), now, batch)?;
        let missing = || CallError::Unavailable { reason: "the run is gone".into() };
        let run = self.queue.run_of(&request).ok_or_else(missing)?;
        let deduped = self.queue.deduped(run.id);
        Ok(Triggered { run: run.id, created: !known, shards: run.spec.shards(), deduped })
    }

    fn new_run_id(&self, now: Timestamp) -> RunId {
        loop {
            // The upper bits of a generator are its best.
            let random = u32::try_from(self.entropy.next() >> 32).unwrap_or_default();
            let id = RunId::new(now, random);
            if self.queue.run(id).is_none() {
                return id;
            }
        }
    }

    pub(super) fn cancel(
        &mut self,
        run: RunId,
        mode: CancelMode,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Canceled, Refusal> {
        let decided = self.apply(Event::Cancel { run, mode }, now, batch)?;
        let count = |wanted: fn(&Transition) -> bool| {
            let made = decided.records.iter().filter(|record| wanted(&record.transition)).count();
            u32::try_from(made).unwrap_or(u32::MAX)
        };
        let canceled = count(|made| matches!(made, Transition::ShardEnded { ending: Ending::Canceled, .. }));
        let killing = count(|made| matches!(made, Transition::KillRequested { .. }));
        self.follow_up(decided.effects, now, batch);
        Ok(Canceled { canceled, killing })
    }

    /// All of them or, when the batch cannot be made durable, none.
    pub(super) fn cancel_runs(
        &mut self,
        filter: &RunFilter,
        before: Option<RunId>,
        mode: CancelMode,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<CanceledRuns, CallError> {
        let selection = self.queue.cancelable(filter, before);
        let mut shards = Canceled { canceled: 0, killing: 0 };
        for run in &selection.runs {
            let canceled = self.cancel(*run, mode, now, batch)?;
            shards.canceled += canceled.canceled;
            shards.killing += canceled.killing;
        }
        Ok(CanceledRuns { runs: selection.runs, shards, next: selection.next })
    }
}
