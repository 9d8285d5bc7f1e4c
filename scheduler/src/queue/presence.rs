//! What is known of bots and leases only as long as the scheduler runs: nothing of it is in the journal.

use super::{condition::Condition, event::BotReport, roster::Roster, shard::Token};
use proto::{Dimensions, Requirements, SessionId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Sessions that are remembered as replaced, so that a late call of one does not take the bot back.
const REPLACED_SESSIONS: usize = 8;

/// Time between two looks at who has been silent for long: all bots are gone over.
const LOOK_EACH: Duration = Duration::from_secs(3600);

/// A bot that has called.
#[derive(Clone, Debug)]
pub(crate) struct Bot {
    pub(crate) session: SessionId,
    replaced: VecDeque<SessionId>,
    pub(crate) version: String,
    pub(crate) dimensions: Arc<Dimensions>,
    pub(crate) slots: u32,
    pub(crate) draining: bool,
    pub(crate) condition: Condition,
    /// Attempts that take slots without a live lease: it has yet to stop them.
    pub(super) strays: usize,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
}

impl Bot {
    pub(super) fn new(report: &BotReport, now: Timestamp) -> Self {
        Self {
            session: report.session.clone(),
            replaced: VecDeque::new(),
            version: String::new(),
            dimensions: Arc::default(),
            slots: 0,
            draining: false,
            condition: Condition::default(),
            strays: 0,
            first_seen: now,
            last_seen: now,
        }
    }

    /// Whether it takes new work, as far as it says itself.
    pub(super) fn is_willing(&self) -> bool {
        !self.draining && self.condition.is_fit()
    }

    /// Whether a call of this session comes too late.
    pub(super) fn has_replaced(&self, session: &SessionId) -> bool {
        self.replaced.contains(session)
    }
}

/// Bots, and the expiries of live leases.
#[derive(Debug, Default)]
pub(super) struct Presence {
    pub(super) bots: Roster,
    /// The scheduler was away, and bots have until then to find it again.
    pub(super) no_expiration_before: Timestamp,
    /// No bot is known to be lacking before this time: those that are there have had no time to call.
    pub(super) no_lack_before: Timestamp,
    /// Until then bots that were there before the scheduler started may not have called yet.
    pub(super) no_roll_call_before: Timestamp,
    /// Bots that this tick has compared with what is asked for.
    pub(super) compared: usize,
    /// What some bot fits, until then at least.
    pub(super) capacity: BTreeMap<Requirements, Timestamp>,
    /// What no bot fits, at that time.
    pub(super) lacking: (Timestamp, BTreeSet<Requirements>),
    /// When silent bots were last looked for.
    looked: Timestamp,
    leases: BTreeMap<Token, LiveLease>,
    by_expiry: BTreeSet<(Timestamp, Token)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LiveLease {
    expiry: Timestamp,
    output_size: u64,
}

impl Presence {
    /// Takes in what a bot says of itself.
    pub(super) fn greet(&mut self, report: &BotReport, now: Timestamp) {
        let bot = self.bots.get_or_insert_with(&report.bot, || Bot::new(report, now));
        if bot.session != report.session {
            let replaced = std::mem::replace(&mut bot.session, report.session.clone());
            bot.replaced.retain(|session| *session != report.session);
            bot.replaced.truncate(REPLACED_SESSIONS - 1);
            bot.replaced.push_front(replaced);
        }
        bot.version.clone_from(&report.version);
        if bot.dimensions != report.dimensions {
            bot.dimensions = Arc::clone(&report.dimensions);
        }
        bot.slots = report.slots;
        bot.draining = report.draining;
        bot.condition.update(&report.condition);
        bot.last_seen = now;
    }

    /// Gives a lease its life, or a new one.
    pub(super) fn renew(&mut self, token: Token, expiry: Timestamp) {
        let lease = self.leases.entry(token).or_default();
        self.by_expiry.remove(&(lease.expiry, token));
        lease.expiry = expiry;
        self.by_expiry.insert((expiry, token));
    }

    /// Lets a lease live until then at least.
    pub(super) fn prolong(&mut self, token: Token, until: Timestamp) {
        let expiry = self.leases.get(&token).map_or(until, |lease| lease.expiry.max(until));
        self.renew(token, expiry);
    }

    /// Notes how much output of a lease's attempt there is.
    pub(super) fn set_output_size(&mut self, token: Token, size: u64) {
        if let Some(lease) = self.leases.get_mut(&token) {
            lease.output_size = size;
        }
    }

    /// How much output of a lease's attempt there is.
    pub(super) fn output_size(&self, token: Token) -> u64 {
        self.leases.get(&token).map_or(0, |lease| lease.output_size)
    }

    /// Forgets a lease that has ended.
    pub(super) fn end(&mut self, token: Token) {
        if let Some(lease) = self.leases.remove(&token) {
            self.by_expiry.remove(&(lease.expiry, token));
        }
    }

    /// A bot that has not called while the scheduler was away is not lacking before it could.
    pub(super) fn lacks_from(&self, due: Timestamp) -> Timestamp {
        due.max(self.no_expiration_before).max(self.no_lack_before)
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.by_expiry.first().map(|(expiry, _)| *expiry)
    }

    pub(super) fn expired(&self, now: Timestamp) -> impl Iterator<Item = Token> {
        self.by_expiry.iter().take_while(move |(expiry, _)| *expiry <= now).map(|(_, token)| *token)
    }

    /// Forgets bots that have been silent for this long. Goes over all of them, so it does that now and then only.
    pub(super) fn forget_silent(&mut self, now: Timestamp, silence: Duration) {
        if now.since(self.looked) < LOOK_EACH {
            return;
        }
        self.looked = now;
        self.bots.retain(|bot| now.since(bot.last_seen) < silence);
    }
}
