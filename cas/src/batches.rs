//! How any number of blobs becomes batches that every wire takes.

use proto::{Digest, DigestFunction, limits};
use std::collections::BTreeMap;

/// Items in batches of one function each that stay below the limits of a call. Items beyond the limit of bytes, which
/// no batch takes, come apart from the rest.
pub(crate) fn split<T>(items: Vec<T>, digest: impl Fn(&T) -> Digest) -> Split<T> {
    let mut split = Split { batches: Vec::new(), large: Vec::new() };
    let mut open: BTreeMap<DigestFunction, (u64, Vec<T>)> = BTreeMap::new();
    for item in items {
        let name = digest(&item);
        if name.size() > limits::MAX_BATCH_BYTES {
            split.large.push(item);
            continue;
        }
        let (bytes, batch) = open.entry(name.function()).or_default();
        if *bytes + name.size() > limits::MAX_BATCH_BYTES || batch.len() >= limits::MAX_BATCH_BLOBS {
            split.batches.push((name.function(), std::mem::take(batch)));
            *bytes = 0;
        }
        *bytes += name.size();
        batch.push(item);
    }
    let rest = open.into_iter().filter(|(_, (_, batch))| !batch.is_empty());
    split.batches.extend(rest.map(|(function, (_, batch))| (function, batch)));
    split
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
