//! What the scheduler counts, for Prometheus.

use crate::queue::{Ending, Queue, Record, Transition};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use proto::Timestamp;

/// Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pending: Gauge,
    waiting: Gauge,
    oldest_pending: Gauge,
    running: Gauge,
    bots_alive: Gauge,
    runs: Counter,
    leases: Counter,
    attempts_lost: Counter,
    shards_ended: Family<State, Counter>,
    shards_deduped: Counter,
    tests_listed: Counter,
    tests_reported: Counter,
    slices_given_up: Counter,
    dispatch: Histogram,
    pub(crate) journal_sync: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

impl Metrics {
    /// Zeros, registered under their names.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let seconds = |buckets: &[f64]| Histogram::new(buckets.iter().copied());
        let metrics = Self {
            pending: Gauge::default(),
            waiting: Gauge::default(),
            oldest_pending: Gauge::default(),
            running: Gauge::default(),
            bots_alive: Gauge::default(),
            runs: Counter::default(),
            leases: Counter::default(),
            attempts_lost: Counter::default(),
            shards_ended: Family::default(),
            shards_deduped: Counter::default(),
            slices_given_up: Counter::default(),
            tests_listed: Counter::default(),
            tests_reported: Counter::default(),
            dispatch: seconds(&[0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0]),
            journal_sync: seconds(&[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0]),
        };
        let m = metrics.clone();
        registry.register("shards_pending", "Shards that wait for a bot", m.pending);
        registry.register("shards_waiting", "Shards that wait for earlier steps of their runs", m.waiting);
        registry.register("oldest_pending_seconds", "Age of the longest waiting shard", m.oldest_pending);
        registry.register("leases", "Live leases: shards that are running", m.running);
        registry.register("bots_alive", "Bots that have called within the life of a lease", m.bots_alive);
        registry.register("runs", "Runs triggered", m.runs);
        registry.register("leases_granted", "Leases granted", m.leases);
        registry.register("attempts_lost", "Attempts whose bot was lost", m.attempts_lost);
        registry.register("shards_ended", "Shards that have ended, by state", m.shards_ended);
        registry.register("shards_deduped", "Of these, with an earlier success", m.shards_deduped);
        registry.register("slices_given_up", "Fallbacks of shards that nobody took", m.slices_given_up);
        registry.register("tests_listed", "Tests of steps that share them out", m.tests_listed);
        registry.register("tests_reported", "Executions of tests", m.tests_reported);
        registry.register("dispatch_seconds", "From pending to leased", m.dispatch);
        registry.register("journal_sync_seconds", "One group commit of the journal", m.journal_sync);
        metrics
    }

    /// Counts a transition that was just made.
    pub(crate) fn count(&self, record: &Record, queue: &Queue) {
        let shard = record.transition.shard().and_then(|id| queue.shard(id));
        match &record.transition {
            Transition::RunCreated { .. } => drop(self.runs.inc()),
            Transition::Leased { .. } => {
                self.leases.inc();
                let waited = shard.map(|shard| record.at.since(shard.pending_since)).unwrap_or_default();
                self.dispatch.observe(waited.as_secs_f64());
            }
            Transition::AttemptLost { .. } => drop(self.attempts_lost.inc()),
            Transition::AttemptFinished { result, .. } => self.count_end(result.ending),
            Transition::ShardEnded { ending, .. } => self.count_end(*ending),
            Transition::ShardDeduped { .. } => {
                self.count_end(Ending::Completed);
                self.shards_deduped.inc();
            }
            Transition::SliceGivenUp { .. } => drop(self.slices_given_up.inc()),
            Transition::KillRequested { .. }
            | Transition::CancelRequested { .. }
            | Transition::RunDeleted { .. }
            | Transition::BotOrdered { .. }
            | Transition::WorkersAdded { .. }
            | Transition::TestsGranted { .. }
            | Transition::TestQuarantined { .. } => {}
            Transition::TestsListed { listing, .. } => {
                self.tests_listed.inc_by(listing.tests.len() as u64);
            }
            Transition::TestsReported { reports, .. } => {
                self.tests_reported.inc_by(reports.len() as u64);
            }
        }
    }

    fn count_end(&self, ending: Ending) {
        let state = match ending {
            Ending::Completed => "completed",
            Ending::Expired => "expired",
            Ending::TimedOut => "timed_out",
            Ending::Canceled => "canceled",
            Ending::Killed => "killed",
            Ending::BotDied => "bot_died",
            Ending::ClientError => "client_error",
            Ending::InternalError => "internal_error",
            Ending::NoResource => "no_resource",
            Ending::NotNeeded => "not_needed",
            Ending::Skipped => "skipped",
        };
        self.shards_ended.get_or_create(&State { state }).inc();
    }

    /// Reads the gauges off the queue.
    pub(crate) fn gauge(&self, queue: &Queue, now: Timestamp) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.pending.set(whole(queue.pending()));
        self.waiting.set(whole(queue.waiting()));
        self.running.set(whole(queue.running()));
        let oldest = queue.oldest_pending().map(|since| now.since(since).as_secs()).unwrap_or_default();
        self.oldest_pending.set(oldest.cast_signed());
        self.bots_alive.set(whole(queue.bots().filter(|(_, bot)| !queue.is_dead(bot, now)).count()));
    }
}
