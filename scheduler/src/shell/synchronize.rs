//! A bot's call: output goes to the journal, the report to the queue, and the answer back now or when there is news.

use super::{
    engine::Engine,
    handle::{CallError, Reply},
    parked::Parked,
};
use crate::{
    journal::{AttemptKey, Batch, output},
    queue::{BotReport, Desired, Event, Held, Refusal, Token, WORKER_CALLS},
    wire::report::{HeldAttempt, Order, Report},
};
use proto::{BotId, SessionId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// While an attempt is to be stopped, its bot is told again this often, in case the answer that said so was lost.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// What a bot is told.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) desired: Vec<Order>,
    pub(crate) call_again: Duration,
    /// It is to end when it has finished what it has.
    pub(crate) terminate: bool,
}

impl Engine {
    pub(super) fn synchronize(
        &mut self,
        report: Report,
        now: Timestamp,
        reply: Reply<Orders>,
        batch: &mut Batch,
    ) {
        let earlier = self.parked.take(&report.bot);
        let output = self.take_output(&report, batch);
        let (bot, session) = (report.bot.clone(), report.session.clone());
        let decided = match self.apply(Event::Synchronize(to_queue(&report, &output.kept)), now, batch) {
            Ok(decided) => decided,
            Err(refusal) => {
                // A late call of a session that is over must not end the wait of the one that took its place.
                if let Some(earlier) = earlier {
                    self.park(earlier);
                }
                return batch.release(move || drop(reply.send(Err(refusal.into()))));
            }
        };
        if let Some(earlier) = earlier {
            self.replace(earlier, &session, batch);
        }
        let parked = Parked {
            until: now + report.wait.min(self.heartbeat()),
            received: output.received,
            bot,
            session,
            reply,
        };
        let desired = self.queue.desired(&parked.bot, &parked.session);
        if has_news(&report, &parked, &desired) || report.wait.is_zero() || self.stopping {
            self.tell(parked, desired, batch);
        } else {
            let killing = desired.iter().any(|desired| desired.kill).then_some(KILL_AGAIN);
            let working = desired.iter().any(|desired| desired.tests.is_some()).then_some(WORKER_CALLS);
            let until = killing.into_iter().chain(working).min().map_or(parked.until, |most| now + most);
            self.park(Parked { until: until.min(parked.until), ..parked });
        }
        self.follow_up(decided.effects, now, batch);
    }

    fn park(&mut self, parked: Parked) {
        let with_room = self.queue.with_room(&parked.bot);
        self.parked.insert(parked, with_room);
    }

    /// Answers a call that was held back.
    pub(super) fn answer(&mut self, parked: Parked, batch: &mut Batch) {
        let desired = self.queue.desired(&parked.bot, &parked.session);
        self.tell(parked, desired, batch);
    }

    /// Answers a call with what its bot should hold.
    fn tell(&mut self, parked: Parked, desired: Vec<Desired>, batch: &mut Batch) {
        let order = |desired: Desired| {
            let token = desired.lease.token;
            let received = parked.received.get(&token).copied();
            let run = self.queue.run(desired.lease.shard.run);
            let secret = desired.secret.map(|(request, sealed)| self.vault.open(&request, &sealed));
            Order {
                secret: secret.transpose().inspect_err(|error| {
                    tracing::error!(shard = %desired.lease.shard, %error, "a command is refused");
                }),
                lease: desired.lease,
                step: desired.step,
                includes: run.map(|run| run.included(desired.lease.shard.step)).unwrap_or_default(),
                kill: desired.kill,
                tests: desired.tests,
                output_received: received.unwrap_or_else(|| self.queue.output_size(token)),
            }
        };
        let desired = desired.into_iter().map(order).collect();
        let terminate = self.queue.is_to_end(&parked.bot, &parked.session);
        let orders = Orders { desired, call_again: self.heartbeat(), terminate };
        // An error means that the bot has hung up. It calls again and is told again.
        batch.release(move || drop(parked.reply.send(Ok(orders))));
    }

    /// A bot that calls this often keeps its leases though a call or two are lost.
    pub(super) fn heartbeat(&self) -> Duration {
        self.lease_ttl / 3
    }

    /// Ends a call that a later one of the same bot has made pointless.
    fn replace(&mut self, earlier: Parked, session: &SessionId, batch: &mut Batch) {
        if earlier.session == *session {
            return self.answer(earlier, batch);
        }
        let refusal = Refusal::SessionReplaced { bot: earlier.bot, session: earlier.session };
        batch.release(move || drop(earlier.reply.send(Err(CallError::from(refusal)))));
    }

    /// Journals what is new of the output of attempts that the bot holds.
    fn take_output(&mut self, report: &Report, batch: &mut Batch) -> Output {
        let mut taken = Output::default();
        for held in &report.held {
            let token = held.lease.token;
            if taken.kept.contains_key(&token) || !self.holds(&report.bot, &report.session, held) {
                continue;
            }
            let attempt = AttemptKey { shard: held.lease.shard, attempt: held.lease.attempt };
            let size = self.queue.output_size(token);
            let accepted = output::accept(attempt, size, held.output_offset, &held.output);
            if accepted.size != size
                && let Some(grown) = self.tails.grown(attempt, accepted.size)
            {
                batch.release(grown);
            }
            batch.output.extend(accepted.chunks);
            taken.received.insert(token, accepted.received);
            taken.kept.insert(token, Kept { size: accepted.size, complete: accepted.complete });
        }
        taken
    }

    fn holds(&self, bot: &BotId, session: &SessionId, held: &HeldAttempt) -> bool {
        self.queue.live(&held.lease, bot, session).is_some()
    }
}

/// Whether the bot should hear at once: it reported something, or it holds other than it should.
fn has_news(report: &Report, parked: &Parked, desired: &[Desired]) -> bool {
    let said_something = report.held.iter().any(|held| {
        let received = parked.received.get(&held.lease.token);
        !held.output.is_empty()
            || held.result.is_some()
            || received.is_some_and(|received| *received != held.output_offset)
            || held.tests.as_ref().is_some_and(|tests| tests.listing.is_some() || !tests.reports.is_empty())
    });
    let hungry = |token: Token| {
        let held = report.held.iter().find(|held| held.lease.token == token);
        held.and_then(|held| held.tests.as_ref()).is_some_and(|tests| tests.hungry)
    };
    let has_tests = desired.iter().any(|desired| {
        desired
            .tests
            .as_ref()
            .is_some_and(|grant| !grant.batches.is_empty() || (grant.complete && hungry(desired.lease.token)))
    });
    let desired: BTreeSet<Token> = desired.iter().map(|desired| desired.lease.token).collect();
    let held: BTreeSet<Token> = report.held.iter().map(|held| held.lease.token).collect();
    said_something || has_tests || desired != held
}

/// What became of the output in a report.
#[derive(Default)]
struct Output {
    received: BTreeMap<Token, u64>,
    kept: BTreeMap<Token, Kept>,
}

struct Kept {
    size: u64,
    complete: bool,
}

fn to_queue(report: &Report, kept: &BTreeMap<Token, Kept>) -> BotReport {
    let held = |held: &HeldAttempt| {
        let kept = kept.get(&held.lease.token);
        Held {
            lease: held.lease,
            output_size: kept.map_or(0, |kept| kept.size),
            // A result counts when all that came before it is here: the bot will report it again with the rest.
            result: held.result.clone().filter(|_| kept.is_some_and(|kept| kept.complete)),
            busy: held.result.is_none(),
            tests: held.tests.clone(),
        }
    };
    BotReport {
        bot: report.bot.clone(),
        session: report.session.clone(),
        version: report.version.clone(),
        dimensions: Arc::clone(&report.dimensions),
        slots: report.slots,
        draining: report.draining,
        condition: report.condition.clone(),
        held: report.held.iter().map(held).collect(),
        returned: report.returned.clone(),
    }
}
