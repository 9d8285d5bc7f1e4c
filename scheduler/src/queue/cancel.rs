//! A user cancels a run.

use super::{
    apply::Queue,
    event::{CancelMode, Decided, Effect, Refusal},
    record::Transition,
    shard::{Ending, ShardState},
};
use proto::{RunId, ShardId, Timestamp};

impl Queue {
    pub(super) fn cancel(
        &mut self,
        id: RunId,
        mode: CancelMode,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        let run = self.run(id).ok_or(Refusal::UnknownRun { run: id })?;
        if run.ended.is_some() {
            return Ok(());
        }
        let in_state = |state| -> Vec<ShardId> {
            run.shards()
                .filter(|(_, shard)| shard.state == state && !shard.killing)
                .map(|(id, _)| id)
                .collect()
        };
        // Those that wait first, so that none becomes pending because others end.
        let mut unstarted = in_state(ShardState::Waiting);
        unstarted.extend(in_state(ShardState::Pending));
        let running = match mode {
            CancelMode::PendingOnly => Vec::new(),
            CancelMode::KillRunning => in_state(ShardState::Running),
        };
        if !run.canceled {
            self.commit(Transition::CancelRequested { run: id }, now, decided);
        }
        for shard in unstarted {
            let message = "the run was cancelled".to_owned();
            self.commit(Transition::ShardEnded { shard, ending: Ending::Canceled, message }, now, decided);
        }
        for shard in running {
            self.kill(shard, now, decided);
        }
        Ok(())
    }

    /// A running shard is to be stopped, and its bot hears of it.
    pub(super) fn kill(&mut self, shard: ShardId, now: Timestamp, decided: &mut Decided) {
        self.commit(Transition::KillRequested { shard }, now, decided);
        let bot = self.shard(shard).and_then(|shard| Some(shard.live()?.bot.clone()));
        decided.effects.extend(bot.map(Effect::Wake));
    }
}
