//! What the journal replays to. [`State::evolve`] makes every transition, and nothing else changes the state.

use super::{
    dedupe::{Likeness, Properties},
    event::LeaseRef,
    orders::{BotOrder, Standing},
    pending::{Claim, LineName, Pending, Turn, take_out},
    record::{Record, Transition},
    run::Run,
    shard::{Attempt, AttemptEnd, AttemptResult, Ending, Loss, Shard, ShardState, Token},
    spec::{RunSpec, Slice, StepSpec},
    suites::Books,
};
use crate::{pools::Pools, sharding::LeaseEnd};
use proto::{BotId, RequestId, RunId, SessionId, ShardId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

/// A record that does not fit the state: the journal is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {problem}")]
pub(crate) struct Impossible {
    subject: String,
    problem: &'static str,
}

pub(super) fn impossible(subject: impl ToString, problem: &'static str) -> Impossible {
    Impossible { subject: subject.to_string(), problem }
}

/// Runs, leases, and the index of what is pending.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) requests: BTreeMap<RequestId, RunId>,
    /// Live leases.
    pub(super) leases: BTreeMap<Token, ShardId>,
    /// The same by bot, without empty sets. Never gone over: its order is another one in each process.
    pub(super) held: HashMap<BotId, BTreeSet<Token>>,
    pub(super) pending: Pending,
    /// Shards that wait for earlier steps.
    pub(super) waiting: usize,
    /// What decides on lines and their order. Not out of records, which say what was leased and not why: it may be another
    /// one each time.
    pub(super) pools: Pools,
    /// Runs that have not ended, by the shard that has triggered them. Without empty sets.
    pub(super) children: BTreeMap<ShardId, BTreeSet<RunId>>,
    /// Runs by the time when they ended.
    pub(super) ended: BTreeSet<(Timestamp, RunId)>,
    /// The newest success of each idempotent shard, by what makes it up.
    pub(super) successes: BTreeMap<(Properties, u32), ShardId>,
    /// Tests, as known from all runs.
    pub(super) books: Books,
    /// Without [`BotOrder::Work`].
    pub(super) orders: BTreeMap<BotId, Standing>,
    last_token: Token,
    /// Names that attempts share: the history is long, and bots are few.
    bots: HashSet<BotId>,
    sessions: HashSet<SessionId>,
}

/// The same name, out of those that are known.
fn shared<T: Hash + Eq + Clone>(known: &mut HashSet<T>, name: &T) -> T {
    if let Some(known) = known.get(name) {
        return known.clone();
    }
    known.insert(name.clone());
    name.clone()
}

impl State {
    /// Makes one transition, or refuses it and changes nothing.
    pub(super) fn evolve(&mut self, record: &Record) -> Result<(), Impossible> {
        let at = record.at;
        match &record.transition {
            Transition::RunCreated { run, request, spec } => self.create(*run, request, spec, at),
            Transition::Leased { shard, attempt, token, bot, session } => {
                let lease = LeaseRef { shard: *shard, attempt: *attempt, token: *token };
                self.lease(lease, bot, session, at)
            }
            Transition::AttemptLost { shard, token, reason, output_size, loss } => {
                let end =
                    AttemptEnd::Lost { at, reason: reason.clone(), output_size: *output_size, loss: *loss };
                self.end_attempt(*shard, *token, end)?;
                self.set(*shard, ShardState::Pending, at).map(drop)
            }
            Transition::AttemptFinished { shard, token, result, output_size } => {
                self.finish(*shard, *token, result, *output_size, at)
            }
            Transition::ShardEnded { shard, ending, message } => {
                let is_waiting = self.shard(*shard).is_some_and(|shard| shard.state == ShardState::Waiting);
                self.in_state(*shard, if is_waiting { ShardState::Waiting } else { ShardState::Pending })?;
                self.set(*shard, ShardState::Ended(*ending), at)?.message = message.as_str().into();
                Ok(())
            }
            Transition::ShardDeduped { shard, reused } => {
                self.in_state(*shard, ShardState::Pending)?.reused = Some(Box::new(reused.clone()));
                self.set(*shard, ShardState::Ended(Ending::Completed), at).map(drop)
            }
            Transition::SliceGivenUp { shard, next } => {
                self.in_state(*shard, ShardState::Pending)?;
                if self.context(*shard).is_none_or(|(_, step)| *next >= step.slices()) {
                    return Err(impossible(shard, "has no such slice"));
                }
                self.move_to(*shard, ShardState::Pending, Some(*next), at).map(drop)
            }
            Transition::KillRequested { shard } => {
                self.in_state(*shard, ShardState::Running)?.killing = true;
                Ok(())
            }
            Transition::BotOrdered { bot, standing } => {
                if standing.order == BotOrder::Work {
                    self.orders.remove(bot);
                } else {
                    self.orders.insert(bot.clone(), standing.clone());
                }
                Ok(())
            }
            Transition::TestsListed { run, step, listing, workers } => {
                self.list_tests(*run, *step, listing, *workers, at)
            }
            Transition::WorkersAdded { run, step, more } => self.add_workers(*run, *step, *more, at),
            Transition::TestsGranted { shard, token, tests } => self.grant_tests(*shard, *token, tests),
            Transition::TestsReported { shard, token, reports } => self.report_tests(*shard, *token, reports),
            Transition::TestQuarantined { quarantined } => {
                self.quarantine(quarantined, at);
                Ok(())
            }
            Transition::RunDeleted { run, last_token } => {
                if self.runs.get(run).is_some_and(|run| run.ended.is_none()) {
                    return Err(impossible(run, "has not ended and is deleted"));
                }
                self.forget(*run, *last_token);
                Ok(())
            }
            Transition::CancelRequested { run } => {
                self.runs.get_mut(run).ok_or_else(|| impossible(run, "does not exist"))?.canceled = true;
                Ok(())
            }
        }
    }

    /// A shard.
    pub(super) fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.runs.get(&id.run)?.shard(id)
    }

    /// The run and the step that a shard belongs to.
    pub(super) fn context(&self, id: ShardId) -> Option<(&Run, &Arc<StepSpec>)> {
        let run = self.runs.get(&id.run)?;
        Some((run, run.spec.steps.get(id.step as usize)?))
    }

    /// The newest lease.
    pub(super) fn last_token(&self) -> Token {
        self.last_token
    }

    /// No lease up to this one is granted again.
    pub(super) fn raise_token(&mut self, token: Token) {
        self.last_token = self.last_token.max(token);
    }

    /// The lease that the next one follows.
    pub(super) fn next_token(&self) -> Token {
        Token(self.last_token.0 + 1)
    }

    fn create(
        &mut self,
        id: RunId,
        request: &RequestId,
        spec: &Arc<RunSpec>,
        at: Timestamp,
    ) -> Result<(), Impossible> {
        if self.runs.contains_key(&id) {
            return Err(impossible(id, "exists already"));
        }
        if self.requests.contains_key(request) {
            return Err(impossible(request, "has made a run already"));
        }
        for (step, spec_of_step) in (0u32..).zip(&spec.steps).filter(|(_, step)| step.after.is_empty()) {
            let shard = |index| ShardId { run: id, step, index };
            let shards: Vec<ShardId> = (0..spec_of_step.fan_out.shards()).map(shard).collect();
            self.line_up(spec, spec_of_step, &shards, at);
        }
        if let Some(parent) = spec.parent {
            self.children.entry(parent).or_default().insert(id);
        }
        self.requests.insert(request.clone(), id);
        let run = Run::new(id, request.clone(), Arc::clone(spec), at);
        self.waiting += run.tally.waiting as usize;
        self.runs.insert(id, run);
        Ok(())
    }

    /// Shards of a step, which have become pending, get into line.
    pub(super) fn line_up(&mut self, spec: &RunSpec, step: &StepSpec, shards: &[ShardId], at: Timestamp) {
        let turn = Turn { lease: self.last_token.0, since: at };
        // Shards that are each for one bot ask for different things.
        let alike = if step.fan_out.bot(0).is_some() { 1 } else { shards.len().max(1) };
        for shards in shards.chunks(alike) {
            let slice = step.asked(shards[0].index, 0);
            let line = LineName::of(&self.pools, spec, &slice.requirements);
            self.pending.insert_all(line, shards, &slice, at, turn);
        }
    }

    fn lease(
        &mut self,
        lease: LeaseRef,
        bot: &BotId,
        session: &SessionId,
        at: Timestamp,
    ) -> Result<(), Impossible> {
        let LeaseRef { shard: id, attempt: number, token } = lease;
        if token <= self.last_token {
            return Err(impossible(id, "is leased under an old token"));
        }
        let shard = self.in_state(id, ShardState::Pending)?;
        if shard.attempts.len() + 1 != number as usize {
            return Err(impossible(id, "skips an attempt"));
        }
        let bot = shared(&mut self.bots, bot);
        let session = shared(&mut self.sessions, session);
        self.held.entry(bot.clone()).or_default().insert(token);
        self.leases.insert(token, id);
        self.last_token = token;
        let shard = self.set(id, ShardState::Running, at)?;
        // Most shards have one attempt, and all of them stay in memory.
        shard.attempts.reserve_exact(1);
        shard.attempts.push(Attempt { number, token, bot, session, started: at, end: AttemptEnd::Running });
        Ok(())
    }

    fn finish(
        &mut self,
        id: ShardId,
        token: Token,
        result: &AttemptResult,
        output_size: u64,
        at: Timestamp,
    ) -> Result<(), Impossible> {
        let end = AttemptEnd::Finished { at, result: Box::new(result.clone()), output_size };
        self.end_attempt(id, token, end)?;
        let shard = self.set(id, ShardState::Ended(result.ending), at)?;
        let slice = Some(shard.slice).filter(|_| shard.succeeded());
        if let (Some(slice), Some((run, step))) = (slice, self.context(id))
            && step.idempotent
        {
            let key = Likeness::of(step, slice, run.spec.secret.as_ref()).key(id.index);
            self.successes.insert(key, id);
        }
        Ok(())
    }

    /// Ends the live attempt of a shard and its lease. The shard's own state is the caller's to set.
    fn end_attempt(&mut self, id: ShardId, token: Token, end: AttemptEnd) -> Result<(), Impossible> {
        let shard = self.in_state(id, ShardState::Running)?;
        let attempt = shard.attempts.last_mut().filter(|attempt| attempt.token == token);
        let attempt = attempt.ok_or_else(|| impossible(id, "is not held under this token"))?;
        let lease_end = match end {
            AttemptEnd::Lost { loss: Loss::Counted, .. } => LeaseEnd::Lost,
            _ => LeaseEnd::Orderly,
        };
        attempt.end = end;
        let bot = attempt.bot.clone();
        self.release_tests(id, token, lease_end);
        self.leases.remove(&token);
        if let Some(tokens) = self.held.get_mut(&bot) {
            tokens.remove(&token);
            if tokens.is_empty() {
                self.held.remove(&bot);
            }
        }
        Ok(())
    }

    pub(super) fn in_state(&mut self, id: ShardId, state: ShardState) -> Result<&mut Shard, Impossible> {
        let run = self.runs.get_mut(&id.run);
        let shard = run.and_then(|run| run.steps.get_mut(id.step as usize)?.get_mut(id.index as usize));
        let shard = shard.ok_or_else(|| impossible(id, "does not exist"))?;
        if shard.state == state { Ok(shard) } else { Err(impossible(id, "is in another state")) }
    }

    fn set(&mut self, id: ShardId, to: ShardState, at: Timestamp) -> Result<&mut Shard, Impossible> {
        self.move_to(id, to, None, at)
    }

    /// The place that changes the state or the slice of a shard, and with it every index and count; but that all shards of a
    /// step that waits become pending at once ([`Self::release`]).
    fn move_to(
        &mut self,
        id: ShardId,
        to: ShardState,
        slice: Option<u8>,
        at: Timestamp,
    ) -> Result<&mut Shard, Impossible> {
        let missing = || impossible(id, "does not exist");
        let run = self.runs.get_mut(&id.run).ok_or_else(missing)?;
        let step = run.spec.steps.get(id.step as usize).ok_or_else(missing)?;
        let shards = run.steps.get_mut(id.step as usize).ok_or_else(missing)?;
        let shard = shards.get_mut(id.index as usize).ok_or_else(missing)?;
        let line = |asked: &Slice| LineName::of(&self.pools, &run.spec, &asked.requirements);
        let before = step.asked(id.index, shard.slice);
        let turn = Turn { lease: self.last_token.0, since: at };
        if shard.state == ShardState::Pending {
            self.pending.remove(Claim { line: line(&before), shard: id }, &before, shard.pending_since);
        }
        self.waiting -= usize::from(shard.state == ShardState::Waiting);
        shard.slice = slice.unwrap_or(shard.slice);
        run.tally.move_one(shard.state, to);
        shard.state = to;
        match to {
            ShardState::Waiting => self.waiting += 1,
            ShardState::Pending => {
                shard.pending_since = at;
                shard.killing = false;
                let asked = step.asked(id.index, shard.slice);
                self.pending.insert(Claim { line: line(&asked), shard: id }, &asked, at, turn);
            }
            ShardState::Running => self.pending.served(line(&before), turn),
            ShardState::Ended(_) => {
                shard.ended = Some(at);
                shard.killing = false;
                let released = run.count_end(id);
                if run.tally.open() == 0 {
                    self.end_run(id.run, at);
                }
                for step in released {
                    self.release(id.run, step, at);
                }
            }
        }
        self.in_state(id, to)
    }

    fn end_run(&mut self, id: RunId, at: Timestamp) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.ended = Some(at);
        self.ended.insert((at, id));
        if let Some(parent) = run.spec.parent {
            take_out(&mut self.children, &parent, &id);
        }
    }
}
