//! The queue: one event in, one decision out.

use super::{
    event::{Decided, Desired, Effect, Event, LeaseRef, Refusal},
    presence::{Bot, Presence},
    record::{Record, Transition},
    run::Run,
    shard::{Attempt, Shard, Token},
    sharing::Sharing,
    spec::SealedSecret,
    state::{Impossible, State},
};
use crate::pools::Pools;
use proto::{BotId, RequestId, RunId, SessionId, ShardId, Timestamp, limits};
use std::{ops::Bound, time::Duration};

/// Bots that cannot reach the scheduler try again within this time.
const RECONNECT: Duration = Duration::from_secs(15);

/// A bot is told all that it should hold in one message. With more than it can read it would hear nothing any more.
const MOST_BYTES_HELD: usize = limits::MAX_MESSAGE_BYTES / 2;

/// What an operator may choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// How long a bot may be silent before it loses its leases.
    pub(crate) lease_ttl: Duration,
    /// Most pending shards over all runs.
    pub(crate) most_pending: usize,
    /// How old a success may be that an idempotent shard ends with.
    pub(crate) reuse_for: Duration,
    /// How long a shard waits while no bot fits, unless it waits for one. [`Tuning::grace`] is what holds.
    pub(crate) no_resource_after: Duration,
    /// How long runs stay in history that have ended. None: for ever.
    pub(crate) retain_for: Option<Duration>,
}

impl Tuning {
    /// How long a bot that is silent still is one that is there: at least for as long as it keeps its leases.
    pub(super) fn grace(&self) -> Duration {
        self.no_resource_after.max(self.lease_ttl)
    }
}

/// All runs, and the bots that are there.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(super) state: State,
    pub(super) presence: Presence,
    pub(super) sharing: Sharing,
    pub(super) tuning: Tuning,
}

impl Queue {
    /// Without runs.
    pub(crate) fn new(tuning: Tuning) -> Self {
        let (state, presence, sharing) = (State::default(), Presence::default(), Sharing::default());
        Self { state, presence, sharing, tuning }
    }

    /// With this order of pending shards, which has to be known before any are.
    pub(crate) fn with_pools(mut self, pools: Pools) -> Self {
        self.state.pools = pools;
        self
    }

    /// Takes in a record of the journal. To be called for all of them in order, then [`Self::resume`].
    pub(crate) fn replay(&mut self, record: &Record) -> Result<(), Impossible> {
        self.state.evolve(record)
    }

    /// Ends the replay. Bots could not reach the scheduler until now.
    pub(crate) fn resume(&mut self, now: Timestamp) {
        self.spare(now + self.tuning.lease_ttl.max(RECONNECT));
        self.presence.no_lack_before = now + self.tuning.grace().max(RECONNECT);
        // One that has never leased anything was waited for by nobody.
        if self.state.last_token() > Token::default() {
            self.presence.no_roll_call_before = now + RECONNECT;
        }
    }

    /// The scheduler did nothing for a while: it was stopped, or its disk was stuck. Bots may have called in vain.
    pub(crate) fn stalled(&mut self, now: Timestamp) {
        self.spare(now + self.tuning.lease_ttl);
    }

    /// No lease that is live and nothing that is pending expires before this time.
    fn spare(&mut self, until: Timestamp) {
        for token in self.state.leases.keys() {
            self.presence.prolong(*token, until);
        }
        self.presence.no_expiration_before = self.presence.no_expiration_before.max(until);
    }

    /// Decides what follows from an event. A refused event changes nothing that is kept.
    pub(crate) fn apply(&mut self, event: Event, now: Timestamp) -> Result<Decided, Refusal> {
        let mut decided = Decided::default();
        match event {
            Event::Trigger(trigger) => self.trigger(trigger, now, &mut decided)?,
            Event::Synchronize(report) => self.synchronize(&report, now, &mut decided)?,
            Event::Ask { bot, session } => self.ask(&bot, &session, now, &mut decided),
            Event::Cancel { run, mode } => self.cancel(run, mode, now, &mut decided)?,
            Event::Order { bot, wanted, message } => self.order(bot, wanted, message, now, &mut decided)?,
            Event::Delete { run } => self.delete(run, now, &mut decided)?,
            Event::Quarantine { quarantined } => {
                self.commit(Transition::TestQuarantined { quarantined }, now, &mut decided);
            }
            Event::Tick => self.tick(now, &mut decided),
        }
        self.feed_changed(now, &mut decided);
        self.cancel_orphans(now, &mut decided);
        self.advance(now, &mut decided);
        Ok(decided)
    }

    /// Makes a transition that was decided on.
    pub(super) fn commit(&mut self, transition: Transition, now: Timestamp, decided: &mut Decided) {
        let held = self.tests_held(&transition);
        let record = Record { at: now, transition };
        self.state.evolve(&record).expect("it was decided from this very state");
        match &record.transition {
            Transition::Leased { shard, token, bot, .. } => {
                self.presence.renew(*token, now + self.tuning.lease_ttl);
                self.worker_begins(*shard, bot, now);
            }
            Transition::AttemptLost { shard, token, .. }
            | Transition::AttemptFinished { shard, token, .. } => {
                self.presence.end(*token);
                self.worker_ends(*shard, *token, &held, now);
            }
            Transition::RunCreated { .. }
            | Transition::TestsListed { .. }
            | Transition::WorkersAdded { .. } => {
                decided.effects.insert(Effect::Offer);
            }
            Transition::ShardEnded { .. }
            | Transition::ShardDeduped { .. }
            | Transition::SliceGivenUp { .. }
            | Transition::KillRequested { .. }
            | Transition::CancelRequested { .. }
            | Transition::RunDeleted { .. }
            | Transition::BotOrdered { .. }
            | Transition::TestsGranted { .. }
            | Transition::TestsReported { .. }
            | Transition::TestQuarantined { .. } => {}
        }
        if let Some(run) = record.transition.run()
            && self.run(run).is_none_or(|run| run.ended.is_some())
        {
            self.forget_plans(run);
        }
        decided.records.push(record);
    }

    /// A run.
    pub(crate) fn run(&self, id: RunId) -> Option<&Run> {
        self.state.runs.get(&id)
    }

    /// The run that a request made.
    pub(crate) fn run_of(&self, request: &RequestId) -> Option<&Run> {
        self.run(*self.state.requests.get(request)?)
    }

    /// A shard.
    pub(crate) fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.state.shard(id)
    }

    /// The live attempt under this lease, if this session of this bot holds it.
    pub(crate) fn live(&self, lease: &LeaseRef, bot: &BotId, session: &SessionId) -> Option<&Attempt> {
        let attempt = self.shard(lease.shard)?.live()?;
        let same = attempt.token == lease.token && attempt.number == lease.attempt;
        (same && attempt.bot == *bot && attempt.session == *session).then_some(attempt)
    }

    /// Every attempt that a session of a bot should hold.
    pub(crate) fn desired(&self, bot: &BotId, session: &SessionId) -> Vec<Desired> {
        let desire = |token: &Token| {
            let id = *self.state.leases.get(token)?;
            let shard = self.shard(id)?;
            let attempt = shard.live().filter(|attempt| attempt.session == *session)?;
            let (run, step) = self.state.context(id)?;
            let lease = LeaseRef { shard: id, attempt: attempt.number, token: *token };
            let secret = run.spec.secret.clone().map(|secret| (run.request.clone(), secret));
            let tests = self.grant_of(id, step, *token);
            Some(Desired { lease, step: step.clone(), secret, kill: shard.killing, tests })
        };
        self.state.held.get(bot).into_iter().flatten().filter_map(desire).collect()
    }

    /// Every live lease and its shard.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (Token, ShardId)> {
        self.state.leases.iter().map(|(token, shard)| (*token, *shard))
    }

    /// How many shards are running.
    pub(crate) fn running(&self) -> usize {
        self.state.leases.len()
    }

    /// Shards under a live lease of this bot.
    pub(crate) fn running_on(&self, bot: &BotId) -> impl Iterator<Item = ShardId> {
        let tokens = self.state.held.get(bot).into_iter().flatten();
        tokens.filter_map(|token| self.state.leases.get(token).copied())
    }

    /// How many shards are pending.
    pub(crate) fn pending(&self) -> usize {
        self.state.pending.len()
    }

    /// How many shards wait for earlier steps.
    pub(crate) fn waiting(&self) -> usize {
        self.state.waiting
    }

    /// Since when the longest waiting shard has been pending. Shards are queued by age, but for those that have lost a
    /// bot, which keep their place and start to wait anew, and for steps that have waited for others.
    pub(crate) fn oldest_pending(&self) -> Option<Timestamp> {
        let mut oldest = None;
        for queued in self.state.pending.queues() {
            let mut next = queued.first();
            while let Some(id) = next
                && let (Some(shard), Some((_, step))) = (self.shard(*id), self.state.context(*id))
            {
                oldest = Some(oldest.map_or(shard.pending_since, |oldest| shard.pending_since.min(oldest)));
                // All others of its step that have lost no bot are as old.
                let last = if shard.attempts.is_empty() { ShardId { index: u32::MAX, ..*id } } else { *id };
                if shard.attempts.is_empty() && step.after.is_empty() {
                    break;
                }
                next = queued.range((Bound::Excluded(last), Bound::Unbounded)).next();
            }
        }
        oldest
    }

    /// The bots that have called since the scheduler started.
    pub(crate) fn bots(&self) -> impl Iterator<Item = (&BotId, &Bot)> {
        self.presence.bots.iter()
    }

    /// Whether a bot has been silent for longer than a lease lives.
    pub(crate) fn is_dead(&self, bot: &Bot, now: Timestamp) -> bool {
        now.since(bot.last_seen) > self.tuning.lease_ttl
    }

    /// Bytes of output of a running attempt.
    pub(crate) fn output_size(&self, token: Token) -> u64 {
        self.presence.output_size(token)
    }

    /// Bytes of output of the running attempt of a shard, if it has one.
    pub(crate) fn live_output(&self, shard: &Shard) -> u64 {
        shard.live().map_or(0, |attempt| self.output_size(attempt.token))
    }

    /// Tells how much output of a running attempt there is, after a replay.
    pub(crate) fn set_output_size(&mut self, token: Token, size: u64) {
        self.presence.set_output_size(token, size);
    }

    /// How many more attempts a bot can take.
    pub(super) fn free_slots(&self, id: &BotId) -> usize {
        let Some(bot) = self.presence.bots.get(id).filter(|bot| bot.is_willing()) else { return 0 };
        let is_kept_away = self.order_of(id).is_some_and(|standing| !standing.lenient);
        if is_kept_away || self.bytes_held(id) >= MOST_BYTES_HELD {
            return 0;
        }
        (bot.slots as usize).saturating_sub(self.taken_slots(id, bot))
    }

    pub(super) fn taken_slots(&self, id: &BotId, bot: &Bot) -> usize {
        self.state.held.get(id).map_or(0, |tokens| tokens.len()) + bot.strays
    }

    /// How large the steps of its attempts are.
    fn bytes_held(&self, id: &BotId) -> usize {
        let steps = self.running_on(id).filter_map(|shard| Some((shard, self.state.context(shard)?)));
        let secret = |run: &Run| run.spec.secret.as_ref().map_or(0, |secret| secret.sealed.len());
        steps
            .map(|(shard, (run, step))| {
                step.bytes(shard.index) + secret(run) + run.included_bytes(shard.step)
            })
            .sum()
    }

    /// The secrets of runs that have not ended, with the requests that they were sealed for.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&RequestId, &SealedSecret)> {
        let runs = self.state.runs.values().filter(|run| run.ended.is_none());
        runs.filter_map(|run| Some((&run.request, run.spec.secret.as_ref()?)))
    }
}
