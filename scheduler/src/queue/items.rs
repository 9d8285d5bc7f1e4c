//! Items: words for the commands of a step, of which each shard gets some.

use proto::limits::ITEM_OVERHEAD;
use std::{num::NonZeroU32, ops::Range, sync::Arc};

/// At least one item, and how they are divided. Each is in one shard, and in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Items {
    items: Arc<[Box<str>]>,
    cut: Cut,
}

/// How items are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// So many for each shard; the last one gets what is left.
    PerShard(NonZeroU32),
    /// So many shards, or as many as there are items, whose numbers of items differ by at most one.
    Shards(NonZeroU32),
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

    /// How they are divided.
    pub(crate) fn cut(&self) -> Cut {
        self.cut
    }

    /// How many shards they make: at least one.
    pub(crate) fn shards(&self) -> u32 {
        let shards = match self.cut {
            Cut::PerShard(most) => self.items.len().div_ceil(most.get() as usize),
            Cut::Shards(shards) => self.items.len().min(shards.get() as usize),
        };
        u32::try_from(shards).unwrap_or(u32::MAX)
    }

    /// Those of a shard.
    pub(crate) fn of(&self, shard: u32) -> &[Box<str>] {
        self.items.get(self.range(shard as usize)).unwrap_or_default()
    }

    /// About what those of a shard take in a message.
    pub(crate) fn bytes(&self, shard: u32) -> usize {
        self.of(shard).iter().map(|item| item.len() + ITEM_OVERHEAD).sum()
    }

    fn range(&self, shard: usize) -> Range<usize> {
        match self.cut {
            Cut::PerShard(most) => {
                let start = shard.saturating_mul(most.get() as usize);
                start..start.saturating_add(most.get() as usize).min(self.items.len())
            }
            Cut::Shards(_) => {
                let shards = self.shards() as usize;
                let (each, more) = (self.items.len() / shards, self.items.len() % shards);
                let start = |shard: usize| shard.saturating_mul(each).saturating_add(shard.min(more));
                start(shard)..start(shard.saturating_add(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(count: usize, cut: Cut) -> Items {
        Items::new((0..count).map(|item| item.to_string().into()).collect(), cut).unwrap()
    }

    fn sizes(items: &Items) -> Vec<usize> {
        (0..items.shards()).map(|shard| items.of(shard).len()).collect()
    }

    fn cuts() -> impl Strategy<Value = Cut> {
        let number = (1..400u32).prop_map(|number| NonZeroU32::new(number).unwrap());
        prop_oneof![number.clone().prop_map(Cut::PerShard), number.prop_map(Cut::Shards)]
    }

    #[test]
    fn no_items_make_no_shard() {
        assert_eq!(Items::new(vec![], Cut::Shards(NonZeroU32::MIN)), Err(NoItems));
    }

    #[test]
    fn the_last_shard_gets_what_is_left_or_all_get_nearly_the_same() {
        let cut = |count, cut: fn(NonZeroU32) -> Cut, number| {
            sizes(&items(count, cut(NonZeroU32::new(number).unwrap())))
        };
        assert_eq!(cut(10, Cut::PerShard, 4), [4, 4, 2]);
        assert_eq!(cut(8, Cut::PerShard, 4), [4, 4]);
        assert_eq!(cut(3, Cut::PerShard, 4), [3]);
        assert_eq!(cut(10, Cut::Shards, 4), [3, 3, 2, 2]);
        assert_eq!(cut(3, Cut::Shards, 4), [1, 1, 1], "no shard without an item");
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_shard_and_the_order_is_kept(count in 1..1000usize, cut in cuts()) {
            let items = items(count, cut);
            let told: Vec<Box<str>> = (0..items.shards()).flat_map(|shard| items.of(shard).to_vec()).collect();
            prop_assert_eq!(&told[..], items.all());
            prop_assert_eq!(items.of(items.shards()), &[] as &[Box<str>]);
            let sizes = sizes(&items);
            let (least, most) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
            prop_assert!(least > 0);
            match cut {
                Cut::PerShard(each) => {
                    prop_assert!(most <= each.get() as usize);
                    prop_assert!(sizes.iter().rev().skip(1).all(|size| *size == each.get() as usize));
                }
                Cut::Shards(shards) => {
                    prop_assert!(most - least <= 1);
                    prop_assert_eq!(sizes.len(), count.min(shards.get() as usize));
                }
            }
        }
    }
}
