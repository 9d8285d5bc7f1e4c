//! A bot says what it is and does, or waits for work.

use super::{
    apply::Queue,
    event::{BotReport, Decided, Effect, Held, Refusal},
    record::Transition,
    shard::{Ending, Loss, Token},
};
use proto::{BotId, SessionId, ShardId, Timestamp};

/// A shard that was given back more often than this is taken to be the reason: from then on it counts.
const MOST_RETURNS: usize = 100;

impl Queue {
    pub(super) fn synchronize(
        &mut self,
        report: &BotReport,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        let known = self.presence.bots.get(&report.bot);
        // As long as the session that replaced it is alive: should that have been a stray call, the bot gets back in.
        if known.is_some_and(|bot| bot.has_replaced(&report.session) && !self.is_dead(bot, now)) {
            let (bot, session) = (report.bot.clone(), report.session.clone());
            return Err(Refusal::SessionReplaced { bot, session });
        }
        self.presence.greet(report, now);
        self.take_back(report, now, decided);
        self.lose_older_sessions(report, now, decided);
        let mut finished = 0;
        let mut strays = 0;
        for held in &report.held {
            match self.take_report(held, report, now, decided) {
                Reported::Running => {}
                Reported::Finished => finished += 1,
                Reported::Stray => strays += usize::from(held.busy),
            }
        }
        if let Some(bot) = self.presence.bots.get_mut(&report.bot) {
            bot.strays = strays;
        }
        for token in self.state.held.get(&report.bot).into_iter().flatten() {
            self.presence.renew(*token, now + self.tuning.lease_ttl);
        }
        for held in &report.held {
            if self.live(&held.lease, &report.bot, &report.session).is_some() {
                self.feed_one(held.lease.shard, held.lease.token, now, decided);
            }
        }
        // Before their pending shards are given to anybody.
        self.cancel_orphans(now, decided);
        // One at a time, so that work spreads over the bots that wait: whoever got some and has room asks again. What
        // has just ended is replaced at once.
        for _ in 0..finished.max(1) {
            if !self.lease_next(&report.bot, &report.session, now, decided) {
                break;
            }
        }
        Ok(())
    }

    /// A bot that waits gets a lease if there is work for it by now.
    pub(super) fn ask(&mut self, bot: &BotId, session: &SessionId, now: Timestamp, decided: &mut Decided) {
        if self.presence.bots.get(bot).is_some_and(|known| known.session == *session) {
            self.lease_next(bot, session, now, decided);
        }
    }

    /// Takes leases back that the bot will not finish. The token says that they are its own, whatever the session: the
    /// bot returns them under a new one, so that no stray call of the old one takes work again.
    fn take_back(&mut self, report: &BotReport, now: Timestamp, decided: &mut Decided) {
        for lease in &report.returned {
            let shard = self.shard(lease.shard);
            let live = shard.and_then(|shard| Some((shard.live()?, shard.attempts.len() - shard.spent())));
            let Some((_, returns)) =
                live.filter(|(live, _)| live.token == lease.token && live.bot == report.bot)
            else {
                continue;
            };
            let loss = if returns < MOST_RETURNS { Loss::Returned } else { Loss::Counted };
            self.lose(lease.token, format!("bot {} had to stop", report.bot), loss, now, decided);
        }
    }

    fn lose_older_sessions(&mut self, report: &BotReport, now: Timestamp, decided: &mut Decided) {
        let older = |token: &&Token| {
            let shard = self.state.leases.get(token).and_then(|id| self.shard(*id));
            shard.and_then(|shard| shard.live()).is_some_and(|attempt| attempt.session != report.session)
        };
        let held = self.state.held.get(&report.bot);
        let lost: Vec<Token> = held.into_iter().flatten().filter(older).copied().collect();
        for token in lost {
            let reason = format!("bot {} was stopped or restarted", report.bot);
            self.lose(token, reason, Loss::Counted, now, decided);
        }
    }

    fn take_report(
        &mut self,
        held: &Held,
        report: &BotReport,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Reported {
        let lease = held.lease;
        if self.live(&lease, &report.bot, &report.session).is_none() {
            self.take_late(held, &report.bot, now, decided);
            return Reported::Stray;
        }
        self.presence.set_output_size(lease.token, held.output_size);
        self.take_progress(held, &report.bot, now, decided);
        let Some(result) = &held.result else { return Reported::Running };
        if result.ending == Ending::InternalError && self.may_be_tried_elsewhere(lease.shard) {
            let reason = format!("bot {} could not do its part: {}", report.bot, result.message);
            self.lose(lease.token, reason, Loss::Counted, now, decided);
            return Reported::Finished;
        }
        if result.ending == Ending::TimedOut {
            self.succeed_worker(lease.shard, lease.token, now, decided);
        }
        let finished = Transition::AttemptFinished {
            shard: lease.shard,
            token: lease.token,
            result: result.clone(),
            output_size: held.output_size,
        };
        self.commit(finished, now, decided);
        Reported::Finished
    }

    /// Whether a shard has attempts left that nobody has called off. A bot's own trouble is no verdict on the shard.
    fn may_be_tried_elsewhere(&self, id: ShardId) -> bool {
        let (Some(shard), Some((run, step))) = (self.shard(id), self.state.context(id)) else { return false };
        !shard.killing && !run.canceled && shard.spent() < step.max_attempts.get() as usize
    }

    /// Gives a bot the first shard that it should have. Says whether there was one.
    fn lease_next(
        &mut self,
        bot: &BotId,
        session: &SessionId,
        now: Timestamp,
        decided: &mut Decided,
    ) -> bool {
        if self.free_slots(bot) == 0 || !self.has_use_for(bot, now) {
            return false;
        }
        let Some(known) = self.presence.bots.get(bot) else { return false };
        let left = |shard| self.is_left_to_others(shard, bot, now) || self.is_shunned(shard, bot, now);
        let Some(shard) = self.state.pending.best(&known.dimensions, now, left) else { return false };
        let attempts = self.shard(shard).map_or(0, |shard| shard.attempts.len());
        let leased = Transition::Leased {
            shard,
            attempt: u32::try_from(attempts + 1).unwrap_or(u32::MAX),
            token: self.state.next_token(),
            bot: bot.clone(),
            session: session.clone(),
        };
        self.commit(leased, now, decided);
        true
    }

    /// Whether a shard that this bot has lost should go to another bot that could take it. For the life of one lease
    /// only, so that nothing starves.
    pub(super) fn is_left_to_others(&self, id: ShardId, bot: &BotId, now: Timestamp) -> bool {
        let Some(shard) = self.shard(id) else { return false };
        if !shard.attempts.iter().any(|attempt| attempt.bot == *bot)
            || now.since(shard.pending_since) >= self.tuning.lease_ttl
        {
            return false;
        }
        let Some((_, step)) = self.state.context(id) else { return false };
        if step.fan_out.bot(id.index).is_some() {
            return false;
        }
        let asked = step.slice(shard.slice);
        self.bots().any(|(other, known)| {
            other != bot
                && known.is_willing()
                && self.order_of(other).is_none()
                && known.slots > 0
                && !self.is_dead(known, now)
                && !shard.attempts.iter().any(|attempt| attempt.bot == *other)
                && asked.requirements.fit(&known.dimensions)
        })
    }

    /// Takes a lease away whose bot is gone, and decides what becomes of the shard.
    pub(super) fn lose(
        &mut self,
        token: Token,
        reason: String,
        loss: Loss,
        now: Timestamp,
        decided: &mut Decided,
    ) {
        let Some(&id) = self.state.leases.get(&token) else { return };
        let Some(shard) = self.shard(id) else { return };
        let Some((run, step)) = self.state.context(id) else { return };
        // The live one is among them.
        let attempts = shard.spent() - usize::from(loss == Loss::Returned);
        let ending = if shard.killing {
            Some((Ending::Killed, "the run was cancelled and the bot was lost".to_owned()))
        } else if run.canceled {
            Some((Ending::Canceled, "the bot was lost and the run was cancelled meanwhile".to_owned()))
        } else if attempts >= step.max_attempts.get() as usize {
            Some((
                Ending::BotDied,
                format!("every bot of {attempts} attempts was lost; the last one: {reason}"),
            ))
        } else {
            None
        };
        let bot = shard.live().map(|attempt| attempt.bot.clone());
        let output_size = self.output_size(token);
        self.commit(Transition::AttemptLost { shard: id, token, reason, output_size, loss }, now, decided);
        decided.effects.extend(bot.map(Effect::Wake));
        match ending {
            Some((ending, message)) => {
                self.commit(Transition::ShardEnded { shard: id, ending, message }, now, decided);
            }
            None => {
                decided.effects.insert(Effect::Offer);
            }
        }
    }
}

/// What a bot's word on one attempt amounts to.
enum Reported {
    Running,
    Finished,
    /// Under no live lease: not its business any more.
    Stray,
}
