//! Tells the scheduler what is over, and nothing else: what a former process of the bot has left on the disk, and what
//! this one still has when it ends.

use super::{Attempts, Bot, call::Call, call::CallError};
use crate::{
    attempt::Lease,
    remote::Scheduler,
    synchronize::{Action, Synchronizer},
};
use proto::SessionId;
use std::{future::Future, time::Duration};

/// So many answers without any progress, and what is left is given up: it is not wanted, and not refused either.
const FRUITLESS: u32 = 10;

/// What a former process of the bot has left: told in its session, under which alone its leases are valid.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) session: SessionId,
    pub(super) synchronizer: Synchronizer,
}

impl Bot {
    /// Tells what a former process has left, for as long as it takes, unless `stop` comes first: then it stays on the disk.
    /// What it could not end is lost to the scheduler as soon as the new session begins.
    pub(super) async fn settle_former(&mut self, stop: impl Future<Output = ()>) {
        let Some(Former { session, mut synchronizer }) = self.former.take() else { return };
        let scheduler = self.scheduler.in_session(session.clone());
        let settled = tokio::select! {
            settled = self.settle(&scheduler, &mut synchronizer) => Some(settled),
            () = stop => None,
        };
        let Some(settled) = settled else {
            self.former = Some(Former { session, synchronizer });
            return;
        };
        match settled {
            Ok(_) => tracing::info!("the scheduler has what was left from before"),
            Err(error) => tracing::warn!(%error, "what was left from before is dropped"),
        }
        for lease in synchronizer.leases() {
            self.attempts.forget(lease);
        }
    }

    /// Tells the results that there are, within `limit`. Says which leases came meanwhile; an error means that nobody wants
    /// the results.
    pub(super) async fn settle_own(&mut self, limit: Duration) -> Result<Vec<Lease>, CallError> {
        self.synchronizer.drain();
        let scheduler = self.scheduler.clone();
        let mut synchronizer = std::mem::replace(&mut self.synchronizer, Synchronizer::new(0));
        let settled = tokio::time::timeout(limit, self.settle(&scheduler, &mut synchronizer)).await;
        self.synchronizer = synchronizer;
        settled.unwrap_or(Ok(Vec::new()))
    }

    /// Calls until the scheduler has all output and results that `synchronizer` knows of.
    async fn settle(
        &mut self,
        scheduler: &Scheduler,
        synchronizer: &mut Synchronizer,
    ) -> Result<Vec<Lease>, CallError> {
        let (mut leased, mut fruitless) = (Vec::new(), 0);
        while let Some(from) = synchronizer.untold_from() {
            let now = self.clock.elapsed();
            self.clock.sleep(from.saturating_sub(now)).await;
            let left = synchronizer.untold();
            let plan = synchronizer.plan(self.clock.elapsed());
            let mut call = Some(Call::begin(scheduler, plan, &self.attempts, self.health.word().clone()));
            let ended = Call::ended(&mut call).await;
            let now = self.clock.elapsed();
            match ended.answer {
                Ok(answer) => {
                    let actions = synchronizer.answered(&ended.plan, answer, now);
                    leased.extend(perform(actions, &mut self.attempts));
                    fruitless = if synchronizer.untold() < left { 0 } else { fruitless + 1 };
                    if fruitless >= FRUITLESS {
                        let reason = "the scheduler does not take it".to_owned();
                        return Err(CallError::Refused { reason });
                    }
                }
                Err(error @ CallError::Failed(_)) => {
                    synchronizer.failed(now, |most| self.entropy.jitter(most));
                    if synchronizer.failures() == 1 {
                        tracing::warn!(%error, "cannot tell the scheduler what is over, trying on");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(leased)
    }
}

/// Only lets go of what is over. New leases are named.
fn perform(actions: Vec<Action>, attempts: &mut Attempts) -> Vec<Lease> {
    let mut leased = Vec::new();
    for action in actions {
        match action {
            Action::Forget(lease) => attempts.forget(lease),
            Action::Start(lease, _) => leased.push(lease),
            Action::Kill(_) | Action::Tests(..) => {}
        }
    }
    leased
}
