//! The queue with everything that its decisions set in motion. Lives as long as its journal can be written.

use super::{
    handle::{CallError, Command},
    monotonic::Monotonic,
    parked::ParkedSet,
    supervisor::Settings,
    tails::{Tail, Tails},
    watchers::Watchers,
};
use crate::{
    journal::{
        AttemptKey, Batch, GROUP_BYTES, Journal, JournalError, Opened, Opening, Writer, punch, replay,
    },
    metrics::Metrics,
    queue::{Decided, Effect, Event, Queue, Refusal, Token, Transition},
    vault::Vault,
    wire::record::encode,
};
use proto::{ShardId, Timestamp};
use runtime::{Clock, Entropy};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Calls that come within this time of the first one may go into one batch with it, while more are coming: a group commit
/// costs about as much for a hundred of them as for one.
const GATHER: Duration = Duration::from_millis(2);

/// The gauges are read off the queue this often, and bots that wait ask again.
const PULSE: Duration = Duration::from_secs(1);

/// One engine for each time that the journal is opened.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) queue: Queue,
    pub(super) writer: Writer,
    pub(super) parked: ParkedSet,
    pub(super) tails: Tails,
    pub(super) time: Monotonic,
    /// Nobody is to wait any more.
    pub(super) stopping: bool,
    pub(super) lease_ttl: Duration,
    pub(super) vault: Arc<Vault>,
    journal: Arc<dyn Journal>,
    watchers: Watchers,
    pub(super) entropy: Arc<dyn Entropy>,
    metrics: Metrics,
    next_pulse: Timestamp,
}

impl Engine {
    /// Opens the journal and replays it. Blocks; the writer is a task of the runtime that this thread belongs to.
    pub(super) fn open(
        settings: &Settings,
        opening: Opening,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Result<Self, JournalError> {
        let Opened { journal, at } = settings.journal.open(opening)?;
        // Several hosts may set their clocks as they like: whoever takes over goes on with the time that all of them share.
        let time = Monotonic::new(Arc::clone(&clock), at.unwrap_or_else(|| clock.now()));
        let replayed = Self::over(Arc::clone(&journal), settings, time, clock, entropy, metrics);
        // Another scheduler may be able to read it.
        replayed.inspect_err(|_| journal.close())
    }

    fn over(
        journal: Arc<dyn Journal>,
        settings: &Settings,
        time: Monotonic,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Result<Self, JournalError> {
        let mut queue = Queue::new(settings.tuning).with_pools(settings.pools.clone());
        let mut deleted = BTreeSet::new();
        let last = replay(&*journal, |record| {
            if let Transition::RunDeleted { run, .. } = record.transition
                && queue.run(run).is_some()
            {
                deleted.insert(run);
            }
            queue.replay(&record)
        })?;
        if !deleted.is_empty() {
            let records = punch(&*journal, &deleted)?;
            tracing::info!(runs = deleted.len(), records, "records of deleted runs are dropped");
        }
        for (request, secret) in queue.secrets() {
            // Better no scheduler than one whose commands lack their secrets.
            settings.vault.open(request, secret).map_err(|_| JournalError::WrongKey {
                place: settings.journal.place(),
                key: settings.vault.path().to_owned(),
            })?;
        }
        queue.resume(time.now());
        let live: Vec<_> = queue.leases().collect();
        let attempt = |(_, shard): &(Token, ShardId)| {
            let number = queue.shard(*shard).and_then(|shard| Some(shard.live()?.number));
            AttemptKey { shard: *shard, attempt: number.unwrap_or(0) }
        };
        let sizes = journal.output_sizes(&live.iter().map(attempt).collect::<Vec<_>>())?;
        for ((token, _), size) in live.into_iter().zip(sizes) {
            queue.set_output_size(token, size);
        }
        tracing::info!(
            records = last,
            pending = queue.pending(),
            running = queue.running(),
            "journal opened"
        );
        let writer = Writer::start(Arc::clone(&journal), last, clock, metrics.clone());
        Ok(Self {
            queue,
            writer,
            parked: ParkedSet::default(),
            tails: Tails::default(),
            next_pulse: time.now(),
            time,
            stopping: false,
            lease_ttl: settings.tuning.lease_ttl,
            vault: Arc::clone(&settings.vault),
            journal,
            watchers: Watchers::default(),
            entropy,
            metrics,
        })
    }

    /// Does what it is asked to do, also by those who ask meanwhile, and what follows from it.
    pub(super) async fn handle(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) {
        let mut batch = Batch::default();
        let started = self.time.now();
        let mut next = Some(first);
        while let Some(command) = next {
            self.take(command, self.time.now(), &mut batch);
            let enough = batch.bytes() >= GROUP_BYTES || self.time.now().since(started) >= GATHER;
            next = if enough { None } else { gathered(commands).await };
        }
        self.writer.append(batch).await;
        if self.stopping {
            self.end_streams();
        }
    }

    /// Does what it is asked to do and what follows from it.
    fn take(&mut self, command: Command, now: Timestamp, batch: &mut Batch) {
        match command {
            Command::Trigger { request, spec, reuses, reply } => {
                let made = self.trigger(request, spec, reuses, now, batch);
                batch.release(move || drop(reply.send(made)));
            }
            Command::Synchronize { report, reply } => self.synchronize(report, now, reply, batch),
            Command::Cancel { run, mode, reply } => {
                let canceled = self.cancel(run, mode, now, batch).map_err(CallError::from);
                batch.release(move || drop(reply.send(canceled)));
            }
            Command::CancelRuns { filter, before, mode, reply } => {
                let canceled = self.cancel_runs(&filter, before, mode, now, batch);
                batch.release(move || drop(reply.send(canceled)));
            }
            Command::Delete { run, reply } => {
                let deleted = self.decide(Event::Delete { run }, now, batch).map_err(CallError::from);
                batch.release(move || drop(reply.send(deleted)));
            }
            Command::Order { bot, wanted, message, reply } => {
                let ordered = self.decide(Event::Order { bot: bot.clone(), wanted, message }, now, batch);
                let running = ordered.map(|()| self.queue.running_on(&bot).collect());
                batch.release(move || drop(reply.send(running.map_err(CallError::from))));
            }
            Command::Quarantine { quarantined, reply } => {
                let made = self.decide(Event::Quarantine { quarantined }, now, batch);
                batch.release(move || drop(reply.send(made.map_err(CallError::from))));
            }
            Command::Read(reading) => batch.releases.push(reading(Ok((&self.queue, now)))),
            Command::Watch { run, look } => {
                let found = self.queue.run(run).ok_or(CallError::from(Refusal::UnknownRun { run }));
                let found = found.map(|found| (&self.queue, found, self.watchers.subscribe(found)));
                batch.releases.push(look(found));
            }
            Command::Tail { attempt, reply } => {
                let state = self.tails.subscribe(&self.queue, attempt);
                let tail = state.map(|state| Tail { journal: Arc::downgrade(&self.journal), state });
                batch.release(move || drop(reply.send(Ok(tail))));
            }
        }
    }

    /// Does what is due.
    pub(super) async fn pulse(&mut self) {
        let mut batch = Batch::default();
        let now = self.time.now();
        let late = now.since(self.next_deadline());
        if late > self.heartbeat() {
            tracing::warn!(?late, "the scheduler was stopped or its disk stuck: leases start anew");
            self.queue.stalled(now);
        }
        let pulse = self.next_pulse <= now;
        if pulse || self.queue.next_deadline().is_some_and(|deadline| deadline <= now) {
            let ticked = self.decide(Event::Tick, now, &mut batch);
            debug_assert!(ticked.is_ok(), "time cannot be refused");
        }
        while let Some(parked) = self.parked.take_due(now) {
            self.answer(parked, &mut batch);
        }
        if pulse {
            self.next_pulse = now + PULSE;
            self.metrics.gauge(&self.queue, now);
            // A bot may by now have what was left to others for a while.
            self.offer(now, &mut batch);
        }
        self.writer.append(batch).await;
    }

    /// When something is due.
    pub(super) fn next_deadline(&self) -> Timestamp {
        let deadlines = [self.queue.next_deadline(), self.parked.next_end(), Some(self.next_pulse)];
        deadlines.into_iter().flatten().min().unwrap_or(self.next_pulse)
    }

    /// Ends every wait, and from now on nobody waits.
    pub(super) async fn stop_waiting(&mut self) {
        self.stopping = true;
        let mut batch = Batch::default();
        while let Some(parked) = self.parked.take_any() {
            self.answer(parked, &mut batch);
        }
        self.writer.append(batch).await;
        self.end_streams();
    }

    /// Leaves what is under way to be written. Everything else is dropped, so that the journal can be opened again.
    pub(super) fn into_writer(self) -> Writer {
        self.writer
    }

    fn end_streams(&mut self) {
        self.watchers.clear();
        self.tails.clear();
    }

    /// Applies an event and does what follows from it.
    pub(super) fn decide(&mut self, event: Event, now: Timestamp, batch: &mut Batch) -> Result<(), Refusal> {
        let decided = self.apply(event, now, batch)?;
        self.follow_up(decided.effects, now, batch);
        Ok(())
    }

    /// Applies an event, journals its records and tells those who follow.
    pub(super) fn apply(
        &mut self,
        event: Event,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Decided, Refusal> {
        let decided = self.queue.apply(event, now)?;
        for record in &decided.records {
            self.metrics.count(record, &self.queue);
            batch.records.push(encode(record));
            if let Transition::RunDeleted { run, .. } = record.transition {
                batch.deleted.push(run);
            }
        }
        for (watchers, update) in self.watchers.publish(&decided, &self.queue) {
            // An error means that nobody watches any more.
            batch.release(move || drop(watchers.send(update)));
        }
        for ended in self.tails.ended(&decided, &self.queue) {
            batch.release(ended);
        }
        Ok(decided)
    }

    pub(super) fn follow_up(&mut self, effects: BTreeSet<Effect>, now: Timestamp, batch: &mut Batch) {
        for effect in effects {
            match effect {
                Effect::Offer => self.offer(now, batch),
                Effect::Wake(bot) => {
                    if let Some(parked) = self.parked.take(&bot) {
                        self.answer(parked, batch);
                    }
                }
            }
        }
    }

    /// Lets those of the bots that wait ask for work that fit something pending, the longest waiting first.
    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        let mut offer = self.parked.offer(&self.queue);
        while let Some(parked) = self.parked.next(&mut offer, &self.queue) {
            let (bot, session) = (parked.bot.clone(), parked.session.clone());
            if parked.reply.is_closed() {
                self.parked.take(&bot);
                continue;
            }
            let asked = self.apply(Event::Ask { bot: bot.clone(), session }, now, batch);
            if asked.is_ok_and(|decided| !decided.records.is_empty())
                && let Some(parked) = self.parked.take(&bot)
            {
                self.answer(parked, batch);
            }
        }
    }
}

/// Whoever asks next. Those who have called and are not heard yet are let through first; nobody is waited for who has not.
async fn gathered(commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
    if let Ok(command) = commands.try_recv() {
        return Some(command);
    }
    tokio::task::yield_now().await;
    commands.try_recv().ok()
}
