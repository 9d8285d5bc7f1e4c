//! Bots that have tests and are not heard of: their leases go on, but others run what they have, too.

use super::{apply::Queue, event::Decided, shard::Loss};
use crate::sharding::WorkerId;
use proto::{RunId, Timestamp};
use std::{collections::BTreeSet, time::Duration};

/// The tests of a bot that two ticks have found silent for so long are given to others, too: bots with tests call each
/// [`super::WORKER_CALLS`], and the end of a lease is not waited for.
const SILENT: Duration = Duration::from_millis(2500);

/// Whether a bot has been heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Silence {
    #[default]
    Heard,
    /// A tick has found it silent. The scheduler itself may have been stopped: the next one will show.
    Suspected,
    /// Others have its tests, too.
    Certain,
}

impl Queue {
    /// Gives the tests of bots that are not heard of any more to others, too. When all tests have their verdicts, nobody
    /// waits for such a bot: its lease ends.
    pub(super) fn doubt_silent(&mut self, now: Timestamp, decided: &mut Decided) {
        let (mut over, mut steps) = (Vec::new(), BTreeSet::new());
        for (token, hand) in &mut self.sharing.hands {
            let shard =
                self.state.leases.get(token).and_then(|id| Some((*id, self.state.shard(*id)?.live()?)));
            let Some((id, live)) = shard else { continue };
            let seen = self.presence.bots.get(&live.bot).map(|bot| bot.last_seen);
            if seen.is_none_or(|seen| now.since(seen) < SILENT) {
                continue;
            }
            hand.silence = match hand.silence {
                Silence::Heard => Silence::Suspected,
                Silence::Suspected | Silence::Certain => Silence::Certain,
            };
            if hand.silence == Silence::Certain
                && let Some(pool) = self.sharing.pools.get_mut(&(id.run, id.step))
            {
                pool.shares.silent(WorkerId(id.index), now);
                steps.insert((id.run, id.step));
                let suite = self.state.runs.get(&id.run).and_then(|run| run.suites.get(&id.step));
                // It may be about to tell what it has left: it is given time for that, and nothing is held against it.
                let is_long = now >= self.presence.no_expiration_before
                    && seen.is_some_and(|seen| now.since(seen) >= self.tuning.lease_ttl / 3);
                if is_long && suite.is_some_and(|suite| suite.ledger.is_complete()) {
                    over.push((*token, format!("bot {} was silent when all tests were done", live.bot)));
                }
            }
        }
        for (token, reason) in over {
            self.lose(token, reason, Loss::Returned, now, decided);
        }
        for (run, step) in steps {
            self.call_workers(run, step, now, decided);
        }
    }

    /// Whether tests of a step that came back are with nobody but silent bots.
    pub(super) fn has_returned(&self, run: RunId, step: u32) -> bool {
        self.sharing.pools.get(&(run, step)).is_some_and(|pool| pool.shares.has_returned())
    }

    /// What silent bots have is run by bots that have no work any more, when too few of the step's workers are left: as
    /// workers of their own, because a shard ends once.
    fn call_workers(&mut self, run: RunId, step: u32, now: Timestamp, decided: &mut Decided) {
        let (Some(of_run), Some(pool)) = (self.run(run), self.sharing.pools.get(&(run, step))) else {
            return;
        };
        let is_over = of_run.canceled
            || of_run
                .suites
                .get(&step)
                .is_none_or(|suite| suite.ledger.is_complete() || suite.ledger.is_stopped());
        let wanted = pool.shares.wanted(of_run.steps.get(step as usize).map_or(0, Vec::len));
        if is_over || wanted == 0 {
            return;
        }
        self.add_workers(run, step, wanted, now, decided);
    }
}
