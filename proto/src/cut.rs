//! How a list of items is divided among shards. The scheduler cuts by it, and clients tell by it which items a shard has.

use std::{num::NonZeroU32, ops::Range};

/// How items are divided: each is in one shard, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// So many for each shard; the last one gets what is left.
    PerShard(NonZeroU32),
    /// So many shards, or as many as there are items, whose numbers of items differ by at most one.
    Shards(NonZeroU32),
}

impl Cut {
    /// How many shards so many items make. None has no item.
    pub fn shards(self, items: u32) -> u32 {
        match self {
            Self::PerShard(most) => items.div_ceil(most.get()),
            Self::Shards(shards) => items.min(shards.get()),
        }
    }

    /// Which of so many items a shard has, both counted from 0. None when there is no such shard.
    pub fn range(self, items: u32, shard: u32) -> Option<Range<u32>> {
        let shards = self.shards(items);
        if shard >= shards {
            return None;
        }
        Some(match self {
            Self::PerShard(most) => {
                let start = shard * most.get();
                start..start.saturating_add(most.get()).min(items)
            }
            Self::Shards(_) => {
                let (each, more) = (items / shards, items % shards);
                let start = |shard: u32| shard * each + shard.min(more);
                start(shard)..start(shard + 1)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(items: u32, cut: Cut) -> Vec<Range<u32>> {
        (0..).map_while(|shard| cut.range(items, shard)).collect()
    }

    fn sizes(items: u32, cut: fn(NonZeroU32) -> Cut, number: u32) -> Vec<u32> {
        let cut = cut(NonZeroU32::new(number).unwrap());
        ranges(items, cut).iter().map(|range| range.end - range.start).collect()
    }

    #[test]
    fn the_last_shard_gets_what_is_left_or_all_get_nearly_the_same() {
        assert_eq!(sizes(10, Cut::PerShard, 4), [4, 4, 2]);
        assert_eq!(sizes(8, Cut::PerShard, 4), [4, 4]);
        assert_eq!(sizes(3, Cut::PerShard, u32::MAX), [3]);
        assert_eq!(sizes(10, Cut::Shards, 4), [3, 3, 2, 2]);
        assert_eq!(sizes(3, Cut::Shards, 4), [1, 1, 1], "no shard without an item");
        assert!(sizes(0, Cut::Shards, 4).is_empty());
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_shard_and_the_order_is_kept(
            items in 0..2000u32,
            number in 1..400u32,
            evenly in any::<bool>(),
        ) {
            let number = NonZeroU32::new(number).unwrap();
            let cut = if evenly { Cut::Shards(number) } else { Cut::PerShard(number) };
            let ranges = ranges(items, cut);
            prop_assert_eq!(ranges.len(), cut.shards(items) as usize);
            prop_assert!(ranges.iter().cloned().flatten().eq(0..items));
            let sizes = ranges.iter().map(|range| range.end - range.start);
            let (least, most) = (sizes.clone().min().unwrap_or(1), sizes.clone().max().unwrap_or(1));
            prop_assert!(least > 0);
            match cut {
                Cut::PerShard(each) => {
                    prop_assert!(most <= each.get());
                    prop_assert!(sizes.rev().skip(1).all(|size| size == each.get()));
                }
                Cut::Shards(shards) => {
                    prop_assert!(most - least <= 1);
                    prop_assert_eq!(sizes.len(), items.min(shards.get()) as usize);
                }
            }
        }
    }
}
