//! Runs leave history: when a user says so, or when they have been in it for as long as the operator wants.

use super::{
    apply::Queue,
    dedupe::{Likeness, Properties},
    event::{Decided, Refusal},
    record::Transition,
    run::Run,
    shard::Token,
    state::State,
};
use proto::{RunId, ShardId, Timestamp};
use std::collections::BTreeMap;

/// Runs that one tick deletes: the next one comes within a second.
const MOST_DELETED: usize = 100;

/// It takes no more runs when those that it has taken have this many shards: they are deleted within some milliseconds.
const MOST_SHARDS_DELETED: u64 = 10_000;

impl Queue {
    pub(super) fn delete(&mut self, id: RunId, now: Timestamp, decided: &mut Decided) -> Result<(), Refusal> {
        let run = self.run(id).ok_or(Refusal::UnknownRun { run: id })?;
        if run.ended.is_none() {
            return Err(Refusal::NotEnded { run: id });
        }
        let last_token = self.state.last_token();
        self.commit(Transition::RunDeleted { run: id, last_token }, now, decided);
        Ok(())
    }

    /// Deletes what has been in history for long enough.
    pub(super) fn delete_old(&mut self, now: Timestamp, decided: &mut Decided) {
        let Some(retain_for) = self.tuning.retain_for else { return };
        let old = self.state.ended.iter().take_while(|(ended, _)| *ended + retain_for <= now);
        let mut shards = 0;
        let some = old.map(|(_, run)| *run).take(MOST_DELETED).take_while(|run| {
            let room = shards < MOST_SHARDS_DELETED;
            shards += self.run(*run).map_or(0, |run| run.steps.iter().map(|step| step.len() as u64).sum());
            room
        });
        let old: Vec<RunId> = some.collect();
        for run in old {
            let deleted = self.delete(run, now, decided);
            debug_assert!(deleted.is_ok(), "it has ended");
        }
    }
}

impl State {
    /// Takes a run out, as far as it is there, with everything that leads to it.
    pub(super) fn forget(&mut self, id: RunId, last_token: Token) {
        self.raise_token(last_token);
        let first = ShardId { run: id, step: 0, index: 0 };
        let parents: Vec<ShardId> = {
            let of_run = self.children.range(first..).take_while(|(parent, _)| parent.run == id);
            of_run.map(|(parent, _)| *parent).collect()
        };
        for parent in parents {
            self.children.remove(&parent);
        }
        let Some(run) = self.runs.remove(&id) else { return };
        self.requests.remove(&run.request);
        self.books.forget(id);
        self.ended.remove(&(run.ended.unwrap_or_default(), id));
        for (properties, index) in successes(&run) {
            if self.successes.get(&(properties, index)).is_some_and(|shard| shard.run == id) {
                self.successes.remove(&(properties, index));
            }
        }
    }
}

/// Under what its shards have succeeded: each at its own slice.
fn successes(run: &Run) -> Vec<(Properties, u32)> {
    let mut successes = Vec::new();
    for (step, shards) in run.spec.steps.iter().zip(&run.steps).filter(|(step, _)| step.idempotent) {
        let mut known: BTreeMap<u8, Likeness<'_>> = BTreeMap::new();
        for (index, shard) in (0u32..).zip(shards).filter(|(_, shard)| shard.succeeded()) {
            let likeness = || Likeness::of(step, shard.slice, run.spec.secret.as_ref());
            successes.push(known.entry(shard.slice).or_insert_with(likeness).key(index));
        }
    }
    successes
}
