//! What should not be run on one bot as long as others fit: a test that has failed there, and anything when one test after
//! another crashes there.
//!
//! A bot on which tests of a step crash in a row gets no more of that step, as long as there is a bot for it on which they do
//! not: broken code crashes everywhere, and then all go on. When others run tests of the same step and these hardly ever
//! crash, the bot is to blame: it is quarantined as by an operator, but leniently, so that it still takes what no other bot
//! fits. Nothing waits for ever for a bot that is there, and nobody has to lift it before work goes on.

use super::{
    apply::Queue,
    event::{Decided, Effect},
    explain::Subject,
    orders::{BotOrder, Standing},
    pool::MOST_CRASHES,
    record::Transition,
    shard::{ShardState, Token},
};
use crate::sharding::WorkerId;
use proto::{BotId, Requirements, RunId, ShardId, Timestamp};

impl Queue {
    /// Whether another bot takes what asks for this, now or when it has room.
    pub(super) fn fits_beside(&self, bot: &BotId, asked: &Requirements, now: Timestamp) -> bool {
        self.beside(bot, asked, now).next().is_some()
    }

    /// These bots.
    fn beside(&self, bot: &BotId, asked: &Requirements, now: Timestamp) -> impl Iterator<Item = &BotId> {
        let fit = self.bots().filter(move |(other, known)| {
            *other != bot
                && known.slots > 0
                && known.is_willing()
                && self.order_of(other).is_none()
                && !self.is_dead(known, now)
                && asked.fit(&known.dimensions)
        });
        fit.map(|(other, _)| other)
    }

    /// Whether a bot should leave a pending shard to others, for as long as these are there: it crashes tests of its step, or
    /// is in quarantine for that.
    pub(super) fn is_shunned(&self, id: ShardId, bot: &BotId, now: Timestamp) -> bool {
        let is_lenient = self.order_of(bot).is_some_and(|standing| standing.lenient);
        (is_lenient || self.has_tripped(id.run, id.step, bot)) && self.fits_beside_for(id, bot, now)
    }

    fn has_tripped(&self, run: RunId, step: u32, bot: &BotId) -> bool {
        self.sharing.pools.get(&(run, step)).is_some_and(|pool| pool.breaker.has_tripped(bot))
    }

    /// Whether another bot takes a shard at the slice that it is at, and does not crash tests of its step itself.
    fn fits_beside_for(&self, id: ShardId, bot: &BotId, now: Timestamp) -> bool {
        let (Some(shard), Some((_, step))) = (self.shard(id), self.state.context(id)) else { return false };
        let asked = step.asked(id.index, shard.slice);
        self.beside(bot, &asked.requirements, now).any(|other| !self.has_tripped(id.run, id.step, other))
    }

    /// Whether anything is pending that a bot in lenient quarantine may take. Saves going over all shards.
    pub(super) fn has_use_for(&self, bot: &BotId, now: Timestamp) -> bool {
        let Some(known) = self.presence.bots.get(bot) else { return false };
        let is_its_own =
            |asked: &Requirements| asked.fit(&known.dimensions) && !self.fits_beside(bot, asked, now);
        self.order_of(bot).is_none() || self.state.pending.asked().any(is_its_own)
    }

    /// Too many tests in a row have crashed on a bot: its workers get no more of the step when others are there for that, or
    /// fit and can be called. Otherwise it goes on, and so do those that were let go for the same before.
    pub(super) fn break_off(&mut self, id: ShardId, bot: &BotId, now: Timestamp, decided: &mut Decided) {
        let (run, step) = (id.run, id.step);
        if !self.fits_beside_for(id, bot, now) {
            return self.call_back(run, step, now, decided);
        }
        if self.sound_workers(run, step) == 0 {
            self.add_workers(run, step, 1, now, decided);
            if self.shards_of(run, step, ShardState::Pending).is_empty() {
                return;
            }
        }
        let on_bot = |id: ShardId| {
            let live = self.shard(id)?.live().filter(|live| live.bot == *bot)?;
            Some((id, live.token))
        };
        let running = self.shards_of(run, step, ShardState::Running);
        let dismissed: Vec<(ShardId, Token)> = running.into_iter().filter_map(on_bot).collect();
        for (id, token) in dismissed {
            self.dismiss(id, token, now);
        }
        decided.effects.insert(Effect::Wake(bot.clone()));
    }

    /// Nobody does better than those that were let go: it is not the bots.
    fn call_back(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        let tripped = self.sharing.pools.get(&(run, step)).map_or(0, |pool| pool.breaker.tripped().count());
        let missing = tripped.saturating_sub(self.workers_live(run, step));
        if self.suite(run, step).is_some_and(|suite| !suite.ledger.is_granted()) {
            self.add_workers(run, step, u32::try_from(missing).unwrap_or(u32::MAX), now, decided);
        }
    }

    /// A test that has failed on a bot is to be run on another one. When all workers of its step are on that bot, one is
    /// called from elsewhere, if a bot is free for it and the step may have it.
    pub(super) fn call_elsewhere(&mut self, id: ShardId, bot: &BotId, now: Timestamp, decided: &mut Decided) {
        let Some(pool) = self.sharing.pools.get(&(id.run, id.step)) else { return };
        let Some((_, step)) = self.state.context(id) else { return };
        if !pool.shares.needs_another(WorkerId(id.index)) {
            return;
        }
        let most = step.fan_out.tests().and_then(|policy| policy.max_workers);
        let tripped = self.has_tripped(id.run, id.step, bot);
        let may_have = tripped
            || most.is_none_or(|most| {
                self.shards_of(id.run, id.step, ShardState::Running).len() < most.get() as usize
            });
        let asked = &step.first.requirements;
        // Somebody has to come when this bot is to get no more.
        let comes = |other: &BotId| {
            !self.has_tripped(id.run, id.step, other) && (tripped || self.free_slots(other) > 0)
        };
        if may_have && self.beside(bot, asked, now).any(comes) {
            self.add_workers(id.run, id.step, 1, now, decided);
            if !self.shards_of(id.run, id.step, ShardState::Pending).is_empty()
                && let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step))
            {
                pool.shares.hold_back(WorkerId(id.index), now);
            }
        }
    }

    /// Quarantines bots whose tests crash while the same step's hardly ever do on others.
    pub(super) fn quarantine_to_blame(&mut self, id: ShardId, now: Timestamp, decided: &mut Decided) {
        let Some(pool) = self.sharing.pools.get(&(id.run, id.step)) else { return };
        let to_blame: Vec<BotId> =
            pool.breaker.to_blame().filter(|bot| self.order_of(bot).is_none()).cloned().collect();
        for bot in to_blame {
            let message = format!(
                "{MOST_CRASHES} tests in a row of run {} crashed on it, and hardly any on other bots; it takes only what \
                 no other bot fits",
                id.run
            );
            let standing = Standing { order: BotOrder::Quarantine, message, lenient: true };
            self.commit(Transition::BotOrdered { bot, standing }, now, decided);
        }
    }

    /// What is said of bots on which tests of a run crash one after the other, by step.
    pub(crate) fn explain_crashes(&self, subject: Subject, now: Timestamp) -> Vec<(u32, String)> {
        let run = match subject {
            Subject::Run(run) => run,
            Subject::Shard(shard) => shard.run,
        };
        let mut notes = Vec::new();
        for ((_, step), pool) in self.sharing.pools.range((run, 0)..=(run, u32::MAX)) {
            let first = ShardId { run, step: *step, index: 0 };
            for bot in pool.breaker.tripped() {
                let follows = if self.fits_beside_for(first, bot, now) {
                    "it gets no more of them while others fit"
                } else {
                    "it goes on with them, because no bot fits that does better"
                };
                notes.push((
                    *step,
                    format!("{MOST_CRASHES} tests in a row have crashed on bot {bot}: {follows}"),
                ));
            }
        }
        notes
    }

    /// Workers of a step that go on taking tests, on bots that do not crash them.
    fn sound_workers(&self, run: RunId, step: u32) -> usize {
        let live = self.workers_going_on(run, step).filter_map(|id| self.shard(id)?.live());
        live.filter(|live| !self.has_tripped(run, step, &live.bot)).count()
    }
}
