//! Calls of bots that wait for news.

use super::{handle::Reply, synchronize::Orders};
use crate::queue::{Offer, Queue, Token, Waiting};
use proto::{BotId, Dimensions, SessionId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

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
    /// Those that could take something.
    waiting: Waiting,
    last_ticket: u64,
}

impl ParkedSet {
    /// The bot's earlier call must have been taken out. One `with_room` is offered what becomes pending.
    pub(super) fn insert(&mut self, parked: Parked, with_room: Option<Arc<Dimensions>>) {
        self.last_ticket += 1;
        self.tickets.insert(parked.bot.clone(), self.last_ticket);
        self.by_end.insert((parked.until, self.last_ticket));
        self.by_ticket.insert(self.last_ticket, parked);
        if let Some(dimensions) = with_room {
            self.waiting.insert(self.last_ticket, dimensions);
        }
    }

    /// Takes out a bot's call.
    pub(super) fn take(&mut self, bot: &BotId) -> Option<Parked> {
        let ticket = self.tickets.remove(bot)?;
        let parked = self.by_ticket.remove(&ticket)?;
        self.by_end.remove(&(parked.until, ticket));
        self.waiting.remove(ticket);
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

    /// What is pending is offered to those who wait.
    pub(super) fn offer(&self, queue: &Queue) -> Offer {
        Offer::of(queue, &self.waiting)
    }

    /// The next call to which something pending is to be offered.
    pub(super) fn next(&mut self, offer: &mut Offer, queue: &Queue) -> Option<&Parked> {
        self.by_ticket.get(&offer.next(queue, &mut self.waiting)?)
    }
}
