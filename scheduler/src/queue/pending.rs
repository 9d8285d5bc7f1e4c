//! The pending shards, in the order in which bots get them.

use proto::{Dimensions, Requirements, ShardId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// When a shard's turn comes: lower first.
pub(super) type Rank = (u8, ShardId);

/// Shards that a bot may be kept from in favour of another bot are skipped, but no more than this many.
const MOST_SKIPPED: usize = 64;

/// Grouped by what they ask of a bot, so that a bot looks at the head of each group that it fits and at nothing else.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Pending {
    groups: BTreeMap<Requirements, BTreeMap<u8, BTreeSet<ShardId>>>,
    expirations: BTreeSet<(Timestamp, ShardId)>,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.expirations.len()
    }

    pub(super) fn insert(&mut self, rank: Rank, requirements: &Requirements, expires: Timestamp) {
        // Most shards find their group: the requirements are cloned only for a new one.
        let group = match self.groups.get_mut(requirements) {
            Some(group) => group,
            None => self.groups.entry(requirements.clone()).or_default(),
        };
        group.entry(rank.0).or_default().insert(rank.1);
        self.expirations.insert((expires, rank.1));
    }

    pub(super) fn remove(&mut self, rank: Rank, requirements: &Requirements, expires: Timestamp) {
        self.expirations.remove(&(expires, rank.1));
        let Some(group) = self.groups.get_mut(requirements) else { return };
        if let Some(shards) = group.get_mut(&rank.0) {
            shards.remove(&rank.1);
            if shards.is_empty() {
                group.remove(&rank.0);
            }
        }
        if group.is_empty() {
            self.groups.remove(requirements);
        }
    }

    /// The first shard that fits a bot with these dimensions and is not better `left` to another.
    pub(super) fn best(&self, dimensions: &Dimensions, left: impl Fn(ShardId) -> bool) -> Option<ShardId> {
        let mut best: Option<Rank> = None;
        for (_, group) in self.groups.iter().filter(|(requirements, _)| requirements.fit(dimensions)) {
            for (&priority, shards) in group {
                if best.is_some_and(|(best, _)| best < priority) {
                    break;
                }
                if let Some(&shard) = shards.iter().take(MOST_SKIPPED).find(|shard| !left(**shard)) {
                    let rank = (priority, shard);
                    best = Some(best.map_or(rank, |best| best.min(rank)));
                    break;
                }
            }
        }
        best.map(|(_, shard)| shard)
    }

    /// How many go before this rank, of those whose requirements `compete` with it.
    pub(super) fn ahead(&self, rank: Rank, compete: impl Fn(&Requirements) -> bool) -> usize {
        let in_group = |group: &BTreeMap<u8, BTreeSet<ShardId>>| -> usize {
            let sooner: usize = group.range(..rank.0).map(|(_, shards)| shards.len()).sum();
            let same = group.get(&rank.0).map_or(0, |shards| shards.range(..rank.1).count());
            sooner + same
        };
        self.groups.iter().filter(|(asked, _)| compete(asked)).map(|(_, group)| in_group(group)).sum()
    }

    /// The pending shards of each group and priority, in order.
    pub(super) fn queues(&self) -> impl Iterator<Item = &BTreeSet<ShardId>> {
        self.groups.values().flat_map(BTreeMap::values)
    }

    pub(super) fn next_expiration(&self) -> Option<Timestamp> {
        self.expirations.first().map(|(expires, _)| *expires)
    }

    pub(super) fn expired(&self, now: Timestamp) -> impl Iterator<Item = ShardId> {
        self.expirations.iter().take_while(move |(expires, _)| *expires <= now).map(|(_, shard)| *shard)
    }
}
