//! Those who follow the output of attempts.

use crate::{
    journal::{AttemptKey, Journal},
    queue::{AttemptEnd, Decided, Queue, Transition},
};
use std::{collections::HashMap, sync::Weak};
use tokio::sync::watch;

/// How far an attempt's output has come. All of it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailState {
    pub(crate) size: u64,
    /// Nothing follows.
    pub(crate) ended: bool,
}

/// An attempt's output and its growth.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Gone when the journal is closed: one who is slow to read must not keep it from being opened again.
    pub(crate) journal: Weak<dyn Journal>,
    pub(crate) state: watch::Receiver<TailState>,
}

/// Attempts whose output somebody follows.
#[derive(Debug, Default)]
pub(super) struct Tails {
    attempts: HashMap<AttemptKey, watch::Sender<TailState>>,
}

impl Tails {
    /// Follows an attempt, if there is such an attempt.
    pub(super) fn subscribe(
        &mut self,
        queue: &Queue,
        attempt: AttemptKey,
    ) -> Option<watch::Receiver<TailState>> {
        let number = usize::try_from(attempt.attempt).ok()?.checked_sub(1)?;
        let found = queue.shard(attempt.shard)?.attempts.get(number)?;
        let state = match &found.end {
            AttemptEnd::Running => TailState { size: queue.output_size(found.token), ended: false },
            AttemptEnd::Finished { output_size, .. } | AttemptEnd::Lost { output_size, .. } => {
                TailState { size: *output_size, ended: true }
            }
        };
        if state.ended {
            return Some(watch::Sender::new(state).subscribe());
        }
        self.attempts.retain(|_, sender| sender.receiver_count() > 0);
        Some(self.attempts.entry(attempt).or_insert_with(|| watch::Sender::new(state)).subscribe())
    }

    /// What is to be told when an attempt's output has become this long.
    pub(super) fn grown(&self, attempt: AttemptKey, size: u64) -> Option<impl FnOnce() + Send + 'static> {
        let sender = self.attempts.get(&attempt)?.clone();
        Some(move || {
            sender.send_if_modified(|state| std::mem::replace(&mut state.size, size) != size);
        })
    }

    /// What is to be told to those whose attempts have ended by a decision.
    pub(super) fn ended(&mut self, decided: &Decided, queue: &Queue) -> Vec<impl FnOnce() + Send + 'static> {
        let mut ended = Vec::new();
        if self.attempts.is_empty() {
            return ended;
        }
        for record in &decided.records {
            let (Transition::AttemptLost { shard, token, output_size, .. }
            | Transition::AttemptFinished { shard, token, output_size, .. }) = &record.transition
            else {
                continue;
            };
            let attempts = queue.shard(*shard).map(|shard| shard.attempts.as_slice()).unwrap_or_default();
            let Some(attempt) = attempts.iter().find(|attempt| attempt.token == *token) else { continue };
            let key = AttemptKey { shard: *shard, attempt: attempt.number };
            if let Some(sender) = self.attempts.remove(&key) {
                let state = TailState { size: *output_size, ended: true };
                ended.push(move || {
                    sender.send_replace(state);
                });
            }
        }
        ended
    }

    /// Ends everybody's stream.
    pub(super) fn clear(&mut self) {
        self.attempts.clear();
    }
}
