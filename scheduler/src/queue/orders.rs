//! What operators want of bots, and what the scheduler itself wants of those that crash tests.

use super::{
    apply::Queue,
    event::{Decided, Effect, Refusal},
    record::Transition,
};
use proto::{BotId, SessionId, Timestamp};

/// What an operator wants of a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BotOrder {
    /// It takes work, as without any order.
    Work,
    /// It finishes what it has and takes nothing new.
    Drain,
    /// The same, because something is wrong with it.
    Quarantine,
    /// It finishes what it has and ends. For this session only: whoever starts it again wants it to work.
    Terminate(SessionId),
}

/// An order and the reason of whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) order: BotOrder,
    pub(crate) message: String,
    /// The bot still takes what no other one fits. Of orders that no operator gave.
    pub(crate) lenient: bool,
}

/// An order as it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Work,
    Drain,
    Quarantine,
    Terminate,
}

impl Queue {
    pub(super) fn order(
        &mut self,
        bot: BotId,
        wanted: Wanted,
        message: String,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        let known = self.presence.bots.get(&bot);
        if known.is_none() && !(wanted == Wanted::Work && self.state.orders.contains_key(&bot)) {
            return Err(Refusal::UnknownBot { bot });
        }
        let order = match (wanted, known) {
            (Wanted::Work, _) | (_, None) => BotOrder::Work,
            (Wanted::Drain, _) => BotOrder::Drain,
            (Wanted::Quarantine, _) => BotOrder::Quarantine,
            (Wanted::Terminate, Some(known)) => BotOrder::Terminate(known.session.clone()),
        };
        let standing = Standing { order, message, lenient: false };
        if standing.order == BotOrder::Work {
            self.sharing.pools.values_mut().for_each(|pool| pool.breaker.forgive(&bot));
        }
        let unchanged = match self.state.orders.get(&bot) {
            None => standing.order == BotOrder::Work,
            Some(stands) => *stands == standing,
        };
        if unchanged {
            return Ok(());
        }
        decided.effects.extend([Effect::Offer, Effect::Wake(bot.clone())]);
        self.commit(Transition::BotOrdered { bot, standing }, now, decided);
        Ok(())
    }

    /// The order that keeps a bot from new work, if there is one.
    pub(crate) fn order_of(&self, bot: &BotId) -> Option<&Standing> {
        let standing = self.state.orders.get(bot)?;
        match &standing.order {
            BotOrder::Terminate(session) => {
                let known = self.presence.bots.get(bot)?;
                (known.session == *session).then_some(standing)
            }
            BotOrder::Work | BotOrder::Drain | BotOrder::Quarantine => Some(standing),
        }
    }

    /// Whether a session of a bot is to end.
    pub(crate) fn is_to_end(&self, bot: &BotId, session: &SessionId) -> bool {
        let standing = self.state.orders.get(bot);
        standing.is_some_and(|standing| standing.order == BotOrder::Terminate(session.clone()))
    }
}
