//! A user wants a run.

use super::{
    apply::Queue,
    event::{Decided, Refusal},
    record::Transition,
    spec::RunSpec,
};
use proto::{RequestId, RunId, Timestamp};
use std::sync::Arc;

impl Queue {
    pub(super) fn trigger(
        &mut self,
        run: RunId,
        request: RequestId,
        spec: Arc<RunSpec>,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        if let Some(made) = self.run_of(&request) {
            // The answer to a repeated call is the run as it is.
            return if made.spec == spec {
                Ok(())
            } else {
                Err(Refusal::RequestReused { request, run: made.id })
            };
        }
        let (pending, most) = (self.pending(), self.tuning.most_pending);
        let wanted = usize::try_from(spec.shards()).unwrap_or(usize::MAX);
        if pending.saturating_add(wanted) > most {
            return Err(Refusal::Full { pending, most });
        }
        self.commit(Transition::RunCreated { run, request, spec }, now, decided);
        Ok(())
    }
}
