//! Where a shard stands.

use super::Claim;
use super::{LineName, Pending, aged, first_of, last_of, level};
use crate::pools::{Order, Pool};
use proto::{Requirements, ShardId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// Where a shard stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Shards that go before it on a bot that fits.
    pub(crate) ahead: usize,
    pub(crate) priority: u8,
    /// Steps of priority that its line has gained by waiting.
    pub(crate) aged: u64,
    /// Other lines with the same priority.
    pub(crate) lines: usize,
    pub(crate) pool: Pool,
}

impl Pending {
    /// Where a shard stands among those whose requirements `compete` with its own.
    pub(in crate::queue) fn place(
        &self,
        claim: Claim<'_>,
        pool: &Pool,
        now: Timestamp,
        compete: impl Fn(&Requirements) -> bool,
    ) -> Option<Place> {
        let LineName { priority: own_priority, name: own_name, order: own_order } = claim.line;
        let own = self.lines.get(&(own_priority, own_order))?.get(own_name)?.turn;
        let mut lines: BTreeMap<(u8, Order, &str), (usize, usize)> = BTreeMap::new();
        for group in self.groups.values().filter(|group| compete(&group.requirements)) {
            for (&priority, level) in &group.levels {
                for (name, shards) in &level.shards {
                    let (all, before) = lines.entry((priority, group.order, name)).or_default();
                    *all += shards.len();
                    *before += before_in(shards, claim.shard, group.order);
                }
            }
        }
        let before = lines.remove(&(own_priority, own_order, own_name)).map_or(0, |(_, before)| before);
        let own_level = level(own_priority, own, now);
        let first = |((priority, order, name), (all, _)): (&(u8, Order, &str), &(usize, usize))| {
            let lines = self.lines.get(&(*priority, *order));
            let Some(turn) = lines.and_then(|lines| lines.get(*name)) else { return 0 };
            let other = (level(*priority, turn.turn, now), *priority, turn.turn, *name);
            let sooner = other < (own_level, own_priority, own, own_name);
            let rounds = before + usize::from(sooner);
            match priority.cmp(&own_priority) {
                // After its own first shard it has aged no more.
                std::cmp::Ordering::Less => {
                    if rounds > 0 {
                        *all
                    } else {
                        0
                    }
                }
                std::cmp::Ordering::Equal => rounds.min(*all),
                std::cmp::Ordering::Greater => usize::from(sooner),
            }
        };
        let others: usize = lines.iter().map(first).sum();
        Some(Place {
            ahead: before + others,
            priority: own_priority,
            aged: aged(own, now),
            lines: lines.keys().filter(|(priority, ..)| *priority == own_priority).count(),
            pool: pool.clone(),
        })
    }
}

/// How many shards of a line go before this one.
fn before_in(shards: &BTreeSet<ShardId>, shard: ShardId, order: Order) -> usize {
    match order {
        Order::Fifo => shards.range(..shard).count(),
        Order::Lifo => {
            let newer = (Bound::Excluded(last_of(shard.run)), Bound::Unbounded);
            shards.range(newer).count() + shards.range(first_of(shard.run)..shard).count()
        }
    }
}
