//! How any number of blobs becomes batches that every wire takes.

use proto::{Digest, DigestFunction, limits};
use std::collections::BTreeMap;

/// Items in batches of one function each that stay below the limits of a call. Items beyond the limit of bytes, which
/// no batch takes, come apart from the rest.
pub(crate) fn split<T>(items: Vec<T>, digest: impl Fn(&T) -> Digest) -> Split<T> {
    let mut split = Split { batches: Vec::new(), large: Vec::new() };
    let mut open: BTreeMap<DigestFunction, Batch<T>> = BTreeMap::new();
    for item in items {
        let name = digest(&item);
        if !fits(name.size()) {
            split.large.push(item);
            continue;
        }
        let full = open.entry(name.function()).or_default().add(name, item);
        split.batches.extend(full.map(|items| (name.function(), items)));
    }
    split.batches.extend(open.into_iter().map(|(function, batch)| (function, batch.items)));
    split
}

/// Whether a blob of this size may come into any batch.
pub(crate) fn fits(size: u64) -> bool {
    size <= limits::MAX_BATCH_BYTES
}

/// Items of one function, at most as many and as large as one call takes.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    bytes: u64,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: 0 }
    }
}

impl<T> Batch<T> {
    /// Adds an item whose blob [`fits`]. Those that were there before come back when they have to go first.
    pub(crate) fn add(&mut self, digest: Digest, item: T) -> Option<Vec<T>> {
        let is_full = self.bytes + digest.size() > limits::MAX_BATCH_BYTES
            || self.items.len() >= limits::MAX_BATCH_BLOBS;
        let full = is_full.then(|| std::mem::take(self).items);
        self.bytes += digest.size();
        self.items.push(item);
        full
    }
}

/// What [`split`] gives.
pub(crate) struct Split<T> {
    pub(crate) batches: Vec<(DigestFunction, Vec<T>)>,
    pub(crate) large: Vec<T>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_stay_below_the_limits_and_lose_nothing(sizes in proptest::collection::vec(1..6_000_000u64, 0..60)) {
            let digests: Vec<Digest> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| {
                    let function = DigestFunction::ALL[i % 4];
                    let hash = vec![u8::try_from(i).unwrap(); function.hash_len()];
                    Digest::new(function, &hash, *size).unwrap()
                })
                .collect();
            let split = split(digests.clone(), |digest| *digest);
            let mut seen = split.large.clone();
            prop_assert!(split.large.iter().all(|digest| digest.size() > limits::MAX_BATCH_BYTES));
            for (function, batch) in &split.batches {
                prop_assert!(!batch.is_empty() && batch.len() <= limits::MAX_BATCH_BLOBS);
                prop_assert!(batch.iter().all(|digest| digest.function() == *function));
                prop_assert!(batch.iter().map(Digest::size).sum::<u64>() <= limits::MAX_BATCH_BYTES);
                seen.extend(batch);
            }
            let sorted = |mut digests: Vec<Digest>| { digests.sort(); digests };
            prop_assert_eq!(sorted(seen), sorted(digests));
        }
    }
}
