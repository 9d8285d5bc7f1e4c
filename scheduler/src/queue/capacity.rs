//! Slices: what a shard asks for next when nobody takes it, or when nobody could.
//!
//! A bot that fits is capacity, whatever else keeps it from work: it may be busy, drained or silent for a while. Only
//! when none has been there for the grace is a slice given up that does not wait for one.

use super::{
    apply::Queue,
    event::{Decided, Effect},
    record::Transition,
    shard::Ending,
    spec::Slice,
};
use proto::{Requirements, ShardId, Timestamp};
use std::collections::BTreeSet;

/// Bots that one tick compares with what is asked for. Ten thousand are looked at within some milliseconds; what is
/// left over waits for the next tick.
pub(super) const MOST_COMPARED: usize = 20_000;

impl Queue {
    /// Gives up slices that no bot fits.
    pub(super) fn look_for_capacity(&mut self, now: Timestamp, decided: &mut Decided) {
        let grace = self.tuning.grace();
        self.presence.capacity.retain(|_, until| *until > now);
        let mut compared = self.presence.compared;
        let mut found: Vec<(Requirements, Timestamp)> = Vec::new();
        let mut lacking: Vec<ShardId> = Vec::new();
        for (requirements, shards) in self.state.pending.impatient() {
            let overdue = |since: Timestamp| self.presence.lacks_from(since + grace) <= now;
            let waits = shards.first_key_value().is_none_or(|(since, _)| !overdue(*since));
            if waits || self.presence.capacity.contains_key(requirements) {
                continue;
            }
            if compared >= MOST_COMPARED {
                break;
            }
            match self.last_fit(requirements, now, &mut compared) {
                Some(seen) => found.push((requirements.clone(), seen + grace)),
                None => {
                    let overdue = shards.iter().take_while(|(since, _)| overdue(**since));
                    lacking.extend(overdue.flat_map(|(_, shards)| shards.iter().copied()));
                }
            }
        }
        self.presence.compared = compared;
        self.presence.capacity.extend(found);
        for shard in lacking {
            self.give_up(shard, Ending::NoResource, now, decided);
        }
    }

    /// When a bot that fits was seen last, if that is within the grace.
    fn last_fit(
        &self,
        requirements: &Requirements,
        now: Timestamp,
        compared: &mut usize,
    ) -> Option<Timestamp> {
        let fits = |bot: &super::Bot| {
            *compared += 1;
            let there = now.since(bot.last_seen) < self.tuning.grace();
            (there && requirements.fit(&bot.dimensions)).then_some(bot.last_seen)
        };
        self.presence.bots.values().find_map(fits)
    }

    /// Whether some bot fits, or none is known to be lacking: bots have yet to call, or this tick has compared enough. Then
    /// [`Self::look_for_capacity`] finds out later. What was found out is remembered: a hundred thousand shards may ask
    /// the same at once.
    fn has_capacity(&mut self, requirements: &Requirements, now: Timestamp) -> bool {
        if self.presence.capacity.get(requirements).is_some_and(|until| *until > now) {
            return true;
        }
        if self.presence.lacking.0 != now {
            self.presence.lacking = (now, BTreeSet::new());
        }
        if self.presence.lacking.1.contains(requirements) {
            return false;
        }
        if now < self.presence.no_lack_before || self.presence.compared >= MOST_COMPARED {
            return true;
        }
        let mut compared = self.presence.compared;
        let seen = self.last_fit(requirements, now, &mut compared);
        self.presence.compared = compared;
        match seen {
            Some(seen) => {
                let until = seen + self.tuning.grace();
                self.presence.capacity.insert(requirements.clone(), until);
            }
            None => drop(self.presence.lacking.1.insert(requirements.clone())),
        }
        seen.is_some()
    }

    /// When a pending shard of this slice is given up, if no bot fits it and it does not wait for one.
    pub(super) fn no_resource(&self, slice: &Slice, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let lacks = !slice.wait_for_capacity && self.last_fit(&slice.requirements, now, &mut 0).is_none();
        lacks.then(|| self.presence.lacks_from(since + self.tuning.grace()))
    }

    /// A pending shard asks for what comes next, as far as there is a bot for it or it waits for one; or it ends.
    pub(super) fn give_up(&mut self, id: ShardId, ending: Ending, now: Timestamp, decided: &mut Decided) {
        let (Some(shard), Some((_, step))) = (self.shard(id), self.state.context(id)) else { return };
        if self.is_spare(id) {
            return self.end_unneeded(id, "other workers share the tests", now, decided);
        }
        let (step, given_up, since) = (step.clone(), shard.slice, shard.pending_since);
        let next = (given_up.saturating_add(1)..step.slices()).find(|next| {
            let slice = step.slice(*next);
            slice.wait_for_capacity || self.has_capacity(&slice.requirements, now)
        });
        if let Some(next) = next {
            self.commit(Transition::SliceGivenUp { shard: id, next }, now, decided);
            decided.effects.insert(Effect::Offer);
            return;
        }
        let waited = now.since(since);
        let message = if ending == Ending::NoResource {
            format!(
                "no bot that fits has been there for {:?}: `swarm explain` of a run that waits names what is lacking",
                self.tuning.grace()
            )
        } else {
            format!("no bot took it within {waited:?}; `swarm explain` says what keeps bots away")
        };
        self.commit(Transition::ShardEnded { shard: id, ending, message }, now, decided);
    }
}
