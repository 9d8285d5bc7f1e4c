//! Those who follow runs.

use crate::{
    queue::{Decided, Queue, Run, RunState, Shard, Transition},
    sharding::Counts,
};
use proto::{BotId, RunId, ShardId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::broadcast;

/// Updates that a watcher may be behind before it gets a fresh snapshot instead.
const BACKLOG: usize = 256;

/// A shard as it was at some time.
#[derive(Clone, Debug)]
pub(crate) struct ShardView {
    pub(crate) id: ShardId,
    pub(crate) shard: Shard,
    /// Bytes of output of its running attempt.
    pub(crate) live_output: u64,
    /// The one bot that it is for, if it is.
    pub(crate) bot: Option<BotId>,
}

/// What changed in a run by one decision.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) state: RunState,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) shards: Vec<ShardView>,
    /// What has become of the tests of steps that have some, where it has changed.
    pub(crate) tests: Vec<TestsView>,
}

/// The tests of a step as they were at some time.
#[derive(Clone, Debug)]
pub(crate) struct TestsView {
    pub(crate) step: u32,
    pub(crate) counts: Counts,
    pub(crate) listed: usize,
    pub(crate) running: usize,
    pub(crate) verified: bool,
}

impl TestsView {
    /// As they are now. None when they are not listed.
    pub(crate) fn of(queue: &Queue, run: RunId, step: u32) -> Option<Self> {
        let suite = queue.suite(run, step)?;
        Some(Self {
            step,
            counts: suite.ledger.counts().clone(),
            listed: suite.listing.tests.len(),
            running: queue.tests_running(run, step),
            verified: suite.verified,
        })
    }
}

/// Runs that somebody follows.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    runs: BTreeMap<RunId, broadcast::Sender<Arc<Update>>>,
}

/// What a decision has changed in a run.
#[derive(Debug, Default)]
struct Changed {
    shards: BTreeSet<ShardId>,
    /// Those whose tests have changed.
    steps: BTreeSet<u32>,
    /// Those that have ended, with what has waited for them.
    closed: BTreeSet<u32>,
}

impl Changed {
    fn add(&mut self, transition: &Transition, queue: &Queue) {
        self.shards.extend(transition.shard());
        if let Some(id) = transition.shard()
            && let Some(run) = queue.run(id.run)
            && run.has_ended(id.step)
            && self.closed.insert(id.step)
        {
            // Tests that nobody has told of are missing from now on.
            self.steps.insert(id.step);
            self.shards.extend(run.later(id.step).flat_map(|step| run.shards_of(step)));
        }
        match transition {
            Transition::TestsListed { run, step, .. } | Transition::WorkersAdded { run, step, .. } => {
                self.steps.insert(*step);
                // Some of its workers are new.
                let shards = queue.run(*run).into_iter().flat_map(|run| run.shards());
                self.shards.extend(shards.map(|(id, _)| id).filter(|id| id.step == *step));
            }
            Transition::TestsGranted { shard, .. }
            | Transition::TestsReported { shard, .. }
            | Transition::AttemptLost { shard, .. }
            | Transition::AttemptFinished { shard, .. } => {
                self.steps.insert(shard.step);
            }
            _ => {}
        }
    }
}

/// An update that is to be told.
pub(super) type Publication = (broadcast::Sender<Arc<Update>>, Arc<Update>);

impl Watchers {
    /// Starts to follow a run. Changes that are not yet told may be older than what a snapshot of now shows: whoever
    /// takes one resubscribes when it is told.
    pub(super) fn subscribe(&mut self, run: &Run) -> broadcast::Receiver<Arc<Update>> {
        if run.ended.is_some() {
            return broadcast::Sender::new(1).subscribe();
        }
        self.runs.retain(|_, sender| sender.receiver_count() > 0);
        self.runs.entry(run.id).or_insert_with(|| broadcast::Sender::new(BACKLOG)).subscribe()
    }

    /// What a decision means to those who follow.
    pub(super) fn publish(&mut self, decided: &Decided, queue: &Queue) -> Vec<Publication> {
        let mut changed: BTreeMap<RunId, Changed> = BTreeMap::new();
        for record in &decided.records {
            if let Transition::RunDeleted { run, .. } = &record.transition {
                // It may have ended in this very decision: nobody is told any more, so they must not wait.
                self.runs.remove(run);
                changed.remove(run);
            } else if let Some(run) = record.transition.run()
                && self.runs.contains_key(&run)
            {
                changed.entry(run).or_default().add(&record.transition, queue);
            }
        }
        changed
            .into_iter()
            .filter_map(|(run, changed)| self.publish_run(queue.run(run)?, &changed, queue))
            .collect()
    }

    fn publish_run(&mut self, run: &Run, changed: &Changed, queue: &Queue) -> Option<Publication> {
        let sender = self.runs.get(&run.id)?.clone();
        if sender.receiver_count() == 0 {
            self.runs.remove(&run.id);
            return None;
        }
        if run.ended.is_some() {
            self.runs.remove(&run.id);
        }
        let view = |id: &ShardId| {
            let shard = run.shard(*id)?;
            let (shard, live_output) = (shard.clone(), queue.live_output(shard));
            Some(ShardView { id: *id, shard, live_output, bot: run.bot_of(*id).cloned() })
        };
        let shards = changed.shards.iter().filter_map(view).collect();
        // What nobody has told of is missing from then on.
        let steps =
            if run.ended.is_some() { run.suites.keys().copied().collect() } else { changed.steps.clone() };
        let tests = steps.iter().filter_map(|step| TestsView::of(queue, run.id, *step)).collect();
        Some((sender, Arc::new(Update { state: run.state(), ended: run.ended, shards, tests })))
    }

    /// Ends everybody's stream.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        queue::{Event, Trigger, Tuning},
        wire::spec::{Defaults, parse_run},
    };
    use proto::{DigestFunction, v1};
    use std::{num::NonZeroU32, time::Duration};
    use tokio::sync::broadcast::error::TryRecvError;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_watch_ends_when_its_run_is_deleted_as_soon_as_it_has_ended() {
        let tuning = Tuning {
            lease_ttl: HOUR,
            most_pending: 10,
            reuse_for: HOUR,
            no_resource_after: HOUR,
            retain_for: Some(Duration::ZERO),
        };
        let input = DigestFunction::Blake3.digest(b"x");
        let policy = v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: 1 });
        let fan_out = Some(v1::FanOut { policy: Some(policy) });
        let step = v1::StepSpec { input: Some(input.into()), fan_out, ..Default::default() };
        let defaults = Defaults { expiration: HOUR, hard: HOUR, grace: HOUR, max_attempts: NonZeroU32::MIN };
        let spec = parse_run(&v1::RunSpec { steps: vec![step], ..Default::default() }, &defaults).unwrap();
        let now = Timestamp::from_micros(1_000_000);
        let (run, request) = (RunId::new(now, 1), "r".parse().unwrap());
        let mut queue = Queue::new(tuning);
        let trigger = Trigger { run, request, spec: Arc::new(spec), reuses: vec![] };
        queue.apply(Event::Trigger(trigger), now).unwrap();
        let mut watchers = Watchers::default();
        let mut updates = watchers.subscribe(queue.run(run).unwrap());
        let decided = queue.apply(Event::Tick, now + HOUR).unwrap();
        assert!(queue.run(run).is_none(), "it has expired and is gone");
        assert!(watchers.publish(&decided, &queue).is_empty());
        assert_eq!(updates.try_recv().unwrap_err(), TryRecvError::Closed);
    }
}
