//! Items: words for the commands of a step, of which each shard gets some.

use proto::{Cut, limits::ITEM_OVERHEAD};
use std::sync::Arc;

/// At least one item, and how they are divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Items {
    items: Arc<[Box<str>]>,
    cut: Cut,
}

/// There must be a shard, and a shard must have something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("are missing: give at least one")]
pub(crate) struct NoItems;

impl Items {
    /// Checks that there are some.
    pub(crate) fn new(items: Vec<Box<str>>, cut: Cut) -> Result<Self, NoItems> {
        if items.is_empty() { Err(NoItems) } else { Ok(Self { items: items.into(), cut }) }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Box<str>] {
        &self.items
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.items.len()).unwrap_or(u32::MAX)
    }

    /// How they are divided.
    pub(crate) fn cut(&self) -> Cut {
        self.cut
    }

    /// How many shards they make: at least one.
    pub(crate) fn shards(&self) -> u32 {
        self.cut.shards(self.count())
    }

    /// Those of a shard.
    pub(crate) fn of(&self, shard: u32) -> &[Box<str>] {
        let range = self.cut.range(self.count(), shard).unwrap_or_default();
        self.items.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// About what those of a shard take in a message.
    pub(crate) fn bytes(&self, shard: u32) -> usize {
        self.of(shard).iter().map(|item| item.len() + ITEM_OVERHEAD).sum()
    }
}
