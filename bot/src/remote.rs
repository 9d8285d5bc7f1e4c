//! The scheduler on the wire. The only place of the bot that knows its messages: `request` writes what goes out, `answer`
//! and `assignment` read what comes back, `suite` does both for tests.

mod answer;
mod assignment;
mod request;
mod suite;

pub(crate) use assignment::assignment;
pub(crate) use suite::{TestsGrant, TestsProgress};

use crate::attempt::{Assignment, AttemptResult, Lease, Refused};
use answer::answer;
use bytes::Bytes;
use proto::{BotId, CacheName, Digest, Dimensions, SessionId, Timestamp, limits, v1};
use request::request;
use runtime::connect::Failover;
use std::time::Duration;

/// Who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) bot: BotId,
    pub(crate) session: SessionId,
    pub(crate) slots: u32,
}

/// The whole state of the bot, as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) accepting: Accepting,
    pub(crate) word: Word,
    pub(crate) held: Vec<HeldAttempt>,
    /// Leases that are given back unfinished, because the bot has to stop.
    pub(crate) returned: Vec<Lease>,
    /// Named caches that the next attempt may have, the one that was used last first.
    pub(crate) caches: Vec<CacheName>,
    pub(crate) wait: Duration,
}

/// What the bot says of itself and its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) dimensions: Dimensions,
    /// Why it keeps itself from work; empty when it does not. One line, as the next two.
    pub(crate) quarantined: String,
    /// The same, because somebody works on the host.
    pub(crate) maintenance: String,
    /// What an operator should know beside that.
    pub(crate) notice: String,
    /// A JSON object. Empty: nothing new.
    pub(crate) state: String,
}

/// Whether the bot takes new attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Work,
    /// It finishes what it has.
    Nothing,
}

/// One attempt that the bot holds.
#[derive(Clone, Debug)]
pub(crate) struct HeldAttempt {
    pub(crate) lease: Lease,
    pub(crate) output_offset: u64,
    pub(crate) output: Bytes,
    pub(crate) result: Option<AttemptResult>,
    /// Of a worker.
    pub(crate) tests: Option<TestsProgress>,
}

/// What the scheduler wants.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) desired: Vec<Desired>,
    pub(crate) call_again: Duration,
    /// The bot is to end when it has finished what it has.
    pub(crate) terminate: bool,
    /// By the scheduler's clock.
    pub(crate) now: Option<Timestamp>,
    /// The program that the bot should be.
    pub(crate) program: Option<Digest>,
}

/// One attempt that the bot should hold.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) lease: Lease,
    pub(crate) assignment: Result<Assignment, Refused>,
    pub(crate) wish: Wish,
    /// Bytes of output that the scheduler has made durable.
    pub(crate) output_received: u64,
    /// Of a worker.
    pub(crate) tests: Option<TestsGrant>,
}

/// What is to become of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Kill,
}

/// The scheduler behind a channel.
#[derive(Clone, Debug)]
pub(crate) struct Scheduler {
    client: v1::bots_client::BotsClient<Failover>,
    identity: Identity,
}

impl Scheduler {
    pub(crate) fn new(channel: Failover, identity: Identity) -> Self {
        let client = v1::bots_client::BotsClient::new(channel)
            .max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
        Self { client, identity }
    }

    /// The same bot in another session.
    pub(crate) fn in_session(&self, session: SessionId) -> Self {
        Self { client: self.client.clone(), identity: Identity { session, ..self.identity.clone() } }
    }

    /// One call of `Synchronize`. The caller bounds its time.
    pub(crate) async fn synchronize(&self, statement: Statement) -> Result<Answer, tonic::Status> {
        let request = request(&self.identity, statement);
        let response = self.client.clone().synchronize(request).await?;
        Ok(answer(response.into_inner()))
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    // Fails beyond what 64 bits of seconds hold.
    prost_types::Duration::try_from(duration).ok()
}

fn positive(wire: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(wire).ok().filter(|duration| !duration.is_zero())
}
