//! Which runs and which bots somebody asks for.

use super::{
    apply::Queue,
    orders::BotOrder,
    presence::Bot,
    run::{Run, RunState},
    shard::ShardState,
};
use proto::{BotId, RunId, ShardId, Timestamp};
use std::{ops::Bound, time::Duration};

/// Runs that one call looks at: a filter that nothing passes must not hold up the queue. A page may be short for it.
pub(crate) const MOST_LOOKED_AT: usize = 10_000;

/// Runs that one bulk cancellation takes, and shards after which it takes no further run.
const MOST_RUNS: usize = 1000;
const MOST_SHARDS: u32 = 10_000;

/// What a run must be. Empty parts hold for every run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunFilter {
    /// Any of them.
    pub(crate) states: Vec<RunState>,
    pub(crate) user: String,
    /// All of them.
    pub(crate) tags: Vec<String>,
    /// A part of its name.
    pub(crate) name: String,
    /// At this time or later.
    pub(crate) created_after: Option<Timestamp>,
    /// Before this time.
    pub(crate) created_before: Option<Timestamp>,
    /// The shard that they were triggered by.
    pub(crate) parent: Option<ShardId>,
}

impl RunFilter {
    /// Whether a run is asked for.
    pub(crate) fn passes(&self, run: &Run) -> bool {
        (self.states.is_empty() || self.states.contains(&run.state()))
            && (self.user.is_empty() || self.user == run.spec.user)
            && self.tags.iter().all(|tag| run.spec.tags.contains(tag))
            && run.spec.name.contains(&self.name)
            && self.created_after.is_none_or(|after| after <= run.created)
            && self.created_before.is_none_or(|before| run.created < before)
            && self.parent.is_none_or(|parent| run.spec.parent == Some(parent))
    }
}

/// Runs for a bulk cancellation, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) runs: Vec<RunId>,
    /// Where to go on; none when these are all.
    pub(crate) next: Option<RunId>,
}

/// What a bot can be asked for by. A bot may be in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BotState {
    /// It calls.
    Alive,
    /// It calls, takes work and has none.
    Idle,
    /// It calls and has work.
    Busy,
    /// It takes no new work.
    Draining,
    /// An operator has quarantined it, or it has itself.
    Quarantined,
    /// It says that somebody works on its host.
    Maintenance,
    /// It has been silent for longer than a lease lives.
    Dead,
}

impl Queue {
    /// Runs older than `before`, newest first, from which `filter` is to choose. Ids sort by time of creation: what is
    /// triggered while somebody goes through pages comes before all of them.
    pub(crate) fn candidates(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
    ) -> impl Iterator<Item = &Run> + use<'_> {
        // Ids know milliseconds.
        let of_time = filter.created_before.map(|end| RunId::new(end + Duration::from_millis(1), 0));
        let end = before.into_iter().chain(of_time).min().map_or(Bound::Unbounded, Bound::Excluded);
        let start = filter.created_after.map_or(RunId::new(Timestamp::default(), 0), |at| RunId::new(at, 0));
        let empty = matches!(end, Bound::Excluded(end) if end <= start);
        let range = (!empty).then(|| self.state.runs.range((Bound::Included(start), end)).rev());
        range.into_iter().flatten().map(|(_, run)| run)
    }

    /// Runs that have not ended, as many as one cancellation should take.
    pub(crate) fn cancelable(&self, filter: &RunFilter, before: Option<RunId>) -> Selection {
        let mut selection = Selection::default();
        let mut shards = 0;
        for (looked_at, run) in self.candidates(filter, before).enumerate() {
            if looked_at == MOST_LOOKED_AT || selection.runs.len() == MOST_RUNS || shards >= MOST_SHARDS {
                return selection;
            }
            if run.ended.is_none() && filter.passes(run) {
                shards += run.tally.open();
                selection.runs.push(run.id);
            }
            selection.next = Some(run.id);
        }
        selection.next = None;
        selection
    }

    /// How many shards of a run a cancellation would end at once, and how many it would stop when it may.
    pub(crate) fn would_cancel(&self, run: RunId) -> (u32, u32) {
        let Some(run) = self.run(run) else { return (0, 0) };
        let killing = run.shards().filter(|(_, shard)| shard.state == ShardState::Running && shard.killing);
        let killing = u32::try_from(killing.count()).unwrap_or(u32::MAX);
        (run.tally.waiting + run.tally.pending, run.tally.running.saturating_sub(killing))
    }

    /// Bots whose ids come after this one, by id.
    pub(crate) fn bots_after(&self, after: Option<&BotId>) -> impl Iterator<Item = (&BotId, &Bot)> {
        self.presence.bots.after(after)
    }

    /// Whether a bot is in this state.
    pub(crate) fn bot_is(&self, id: &BotId, bot: &Bot, state: BotState, now: Timestamp) -> bool {
        let alive = !self.is_dead(bot, now);
        let order = self.order_of(id).map(|standing| &standing.order);
        let busy = self.running_on(id).next().is_some();
        match state {
            BotState::Alive => alive,
            BotState::Idle => alive && !busy && bot.is_willing() && order.is_none(),
            BotState::Busy => alive && busy,
            BotState::Draining => {
                alive && (bot.draining || order.is_some_and(|order| *order != BotOrder::Quarantine))
            }
            BotState::Quarantined => {
                order == Some(&BotOrder::Quarantine) || (alive && !bot.condition.quarantined.is_empty())
            }
            BotState::Maintenance => alive && !bot.condition.maintenance.is_empty(),
            BotState::Dead => !alive,
        }
    }
}
