//! The bots' side: what they hold, when they call, and what they make of an answer.

use super::{
    super::super::{testing::*, *},
    ledger::signature,
};
use proto::{BotId, SessionId, Timestamp};
use std::sync::Arc;

/// Bots of one rack: what every bot is to do is asked of one of them.
pub(super) const RACK: usize = 500;

/// A bot as it sees itself.
#[derive(Debug)]
pub(super) struct BotSide {
    pub(super) id: BotId,
    pub(super) session: SessionId,
    /// Grows with each start, so that nothing of an earlier life comes back.
    pub(super) life: u32,
    pub(super) up: bool,
    /// It stands still until then: its machine is suspended.
    pub(super) frozen_until: Timestamp,
    /// The call that it waits for. The answers to all others are not heard.
    pub(super) call: u64,
    held: Vec<Attempt>,
    said: BotReport,
}

#[derive(Debug)]
struct Attempt {
    lease: LeaseRef,
    result: Option<AttemptResult>,
}

/// What follows from an answer.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Commands that begin.
    pub(super) started: Vec<LeaseRef>,
    /// Commands that are stopped.
    pub(super) killed: Vec<LeaseRef>,
}

impl BotSide {
    pub(super) fn new(number: usize) -> Self {
        let name = format!("b{number}");
        let mut said = report(&name, &format!("{name}-0"), vec![]);
        Arc::make_mut(&mut said.dimensions).insert("rack", &(number / RACK).to_string()).unwrap();
        said.slots = 1 + u32::from(number % 3 == 1);
        Self {
            id: said.bot.clone(),
            session: said.session.clone(),
            life: 0,
            up: true,
            frozen_until: Timestamp::default(),
            call: 0,
            held: vec![],
            said,
        }
    }

    /// All that it had in memory is gone.
    pub(super) fn crash(&mut self) {
        self.up = false;
        self.life += 1;
        self.held.clear();
        self.session = format!("{}-{}", self.id, self.life).parse().unwrap();
        self.said.session = self.session.clone();
    }

    /// Its whole state.
    pub(super) fn report(&self) -> BotReport {
        let held = |attempt: &Attempt| Held {
            lease: attempt.lease,
            output_size: 3,
            result: attempt.result.clone(),
            busy: attempt.result.is_none(),
            tests: None,
        };
        BotReport { held: self.held.iter().map(held).collect(), ..self.said.clone() }
    }

    /// A command has ended. False when it is not held any more, or has ended before.
    pub(super) fn finish(&mut self, lease: &LeaseRef, ending: Ending) -> bool {
        let message = signature(&self.id, &self.session, lease);
        let held = self.held.iter_mut().find(|attempt| attempt.lease == *lease && attempt.result.is_none());
        let Some(attempt) = held else { return false };
        attempt.result = Some(AttemptResult { message, ..result(ending, 0) });
        true
    }

    /// Takes in what it should hold.
    pub(super) fn hear(&mut self, desired: &[(LeaseRef, bool)]) -> Heard {
        self.held.retain(|attempt| desired.iter().any(|(lease, _)| *lease == attempt.lease));
        let mut heard = Heard::default();
        for (lease, kill) in desired {
            if !self.held.iter().any(|attempt| attempt.lease == *lease) {
                self.held.push(Attempt { lease: *lease, result: None });
                heard.started.push(*lease);
            }
            if *kill {
                heard.killed.push(*lease);
            }
        }
        heard
    }

    /// Whether it has something to say that was not heard.
    pub(super) fn has_news(&self) -> bool {
        self.held.iter().any(|attempt| attempt.result.is_some())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty()
    }
}
