//! Calls of bots that wait for news.

use super::{handle::Reply, synchronize::Orders};
use crate::queue::Token;
use proto::{BotId, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A call that is held back.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) bot: BotId,
    pub(super) session: SessionId,
    /// What to say was received of the attempts that it reported.
    pub(super) received: BTreeMap<Token, u64>,
    pub(super) until: Timestamp,
    pub(super) reply: Reply<Orders>,
}

/// At most one call for each bot, the longest waiting first.
#[derive(Debug, Default)]
pub(super) struct ParkedSet {
    by_ticket: BTreeMap<u64, Parked>,
    tickets: HashMap<BotId, u64>,
    by_end: BTreeSet<(Timestamp, u64)>,
    last_ticket: u64,
}

impl ParkedSet {
    /// The bot's earlier call must have been taken out.
    pub(super) fn insert(&mut self, parked: Parked) {
        self.last_ticket += 1;
        self.tickets.insert(parked.bot.clone(), self.last_ticket);
        self.by_end.insert((parked.until, self.last_ticket));
        self.by_ticket.insert(self.last_ticket, parked);
    }

    /// Takes out a bot's call.
    pub(super) fn take(&mut self, bot: &BotId) -> Option<Parked> {
        let ticket = self.tickets.remove(bot)?;
        let parked = self.by_ticket.remove(&ticket)?;
        self.by_end.remove(&(parked.until, ticket));
        Some(parked)
    }

    /// Takes out a call whose wait is over.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Parked> {
        let (_, ticket) = self.by_end.first().filter(|(until, _)| *until <= now)?;
        let bot = self.by_ticket.get(ticket)?.bot.clone();
        self.take(&bot)
    }

    /// Takes out any call.
    pub(super) fn take_any(&mut self) -> Option<Parked> {
        let bot = self.by_ticket.first_key_value()?.1.bot.clone();
        self.take(&bot)
    }

    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(until, _)| *until)
    }

    /// The call after this ticket, so that one can go over all while some are taken out.
    pub(super) fn after(&self, ticket: u64) -> Option<(u64, &Parked)> {
        self.by_ticket.range(ticket + 1..).next().map(|(ticket, parked)| (*ticket, parked))
    }
}
