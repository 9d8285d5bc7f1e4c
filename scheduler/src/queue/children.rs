//! Runs that the command of a shard has triggered: they end with its attempt.

use super::{
    apply::Queue,
    event::{CancelMode, Decided},
    record::Transition,
};
use proto::{RunId, ShardId, Timestamp};

impl Queue {
    /// Cancels the runs of those shards whose attempts have ended or are to be stopped by what was decided, and so on
    /// with theirs. A run that has another one in its line is older than it: this ends.
    pub(super) fn cancel_orphans(&mut self, now: Timestamp, decided: &mut Decided) {
        let mut seen = 0;
        while seen < decided.records.len() {
            let parent = match &decided.records[seen].transition {
                Transition::AttemptLost { shard, .. }
                | Transition::AttemptFinished { shard, .. }
                | Transition::KillRequested { shard } => Some(*shard),
                _ => None,
            };
            seen += 1;
            for child in parent.map(|parent| self.children(parent)).unwrap_or_default() {
                let canceled = self.cancel(child, CancelMode::KillRunning, now, decided);
                debug_assert!(canceled.is_ok(), "the run is there");
            }
        }
    }

    fn children(&self, parent: ShardId) -> Vec<RunId> {
        self.state.children.get(&parent).into_iter().flatten().copied().collect()
    }
}
