//! A user wants a run.

use super::{
    apply::Queue,
    event::{Decided, Refusal, Trigger},
    record::Transition,
    shard::Reused,
};
use proto::{ShardId, Timestamp};

impl Queue {
    pub(super) fn trigger(
        &mut self,
        trigger: Trigger,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        let Trigger { run, request, spec, reuses } = trigger;
        if let Some(made) = self.run_of(&request) {
            // The answer to a repeated call is the run as it is.
            return if made.spec == spec {
                Ok(())
            } else {
                Err(Refusal::RequestReused { request, run: made.id })
            };
        }
        let (pending, most) = (self.pending(), self.tuning.most_pending);
        let wanted = usize::try_from(spec.shards()).unwrap_or(usize::MAX).saturating_sub(reuses.len());
        if pending.saturating_add(wanted) > most {
            return Err(Refusal::Full { pending, most });
        }
        self.commit(Transition::RunCreated { run, request, spec }, now, decided);
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
}
