//! What is in a pack: a file of many small blobs.
//!
//! ```text
//! bytes of the blobs, one after the other
//! "isopack1", number of the function, number of blobs (4 bytes each), length of the bytes (8 bytes)
//! for each blob, in the order of digests: hash, offset, size (4 bytes each)
//! ```
//!
//! Numbers are little-endian. The second part and the third are the tail, whose BLAKE3 digest is the name of the file: so a tail
//! that was read is the one that was written, and its length is known from the name.

use super::SMALL;
use proto::{Digest, DigestFunction};

const MAGIC: [u8; 8] = *b"isopack1";
const HEAD: usize = 24;
/// Offset and size.
const NUMBERS: usize = 8;

/// The tail of a pack.
#[derive(Debug)]
pub(super) struct Table {
    function: DigestFunction,
    /// Length of the blobs' bytes.
    payload: u64,
    /// All of it, as it is in the file: entries of `width` bytes behind the head.
    tail: Vec<u8>,
    width: usize,
}

/// A blob on its way into a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    pub(super) digest: Digest,
    pub(super) offset: u32,
}

impl Table {
    /// Of blobs of one function, of up to [`SMALL`] bytes, which may come in any order and more than once.
    pub(super) fn new(function: DigestFunction, payload: u64, mut blobs: Vec<Packed>) -> Self {
        blobs.sort_unstable_by_key(|blob| (blob.digest, blob.offset));
        blobs.dedup_by_key(|blob| blob.digest);
        let width = function.hash_len() + NUMBERS;
        let mut tail = Vec::with_capacity(HEAD + blobs.len() * width);
        tail.extend_from_slice(&MAGIC);
        tail.extend_from_slice(&u32::from(function.number()).to_le_bytes());
        tail.extend_from_slice(&(blobs.len() as u32).to_le_bytes());
        tail.extend_from_slice(&payload.to_le_bytes());
        for Packed { digest, offset } in blobs {
            tail.extend_from_slice(digest.hash());
            tail.extend_from_slice(&offset.to_le_bytes());
            tail.extend_from_slice(&(digest.size() as u32).to_le_bytes());
        }
        Self { function, payload, tail, width }
    }

    /// Length of the tail of so many blobs.
    pub(super) fn tail_len(function: DigestFunction, blobs: usize) -> u64 {
        (HEAD + blobs * (function.hash_len() + NUMBERS)) as u64
    }

    /// As it is written behind the bytes.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// `None`: it is no tail, or one of no blobs, or of some that are too large, out of order, or not in the bytes.
    pub(super) fn from_tail(tail: Vec<u8>) -> Option<Self> {
        let (head, entries) = tail.split_at_checked(HEAD)?;
        let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (function, count) = (number(8)?, number(12)? as usize);
        let payload = u64::from_le_bytes(head.get(16..)?.try_into().ok()?);
        let function = DigestFunction::from_number(i32::try_from(function).ok()?)?;
        let width = function.hash_len() + NUMBERS;
        let is_one = head.starts_with(&MAGIC) && count > 0 && entries.len() == count.checked_mul(width)?;
        let table = Self { function, payload, tail, width };
        let fits = |entry| {
            let (offset, digest) = table.entry(entry);
            (1..=SMALL).contains(&digest.size())
                && offset + digest.size() <= payload
                && (entry == 0 || table.entry(entry - 1).1 < digest)
        };
        (is_one && (0..count).all(fits)).then_some(table)
    }

    pub(super) fn function(&self) -> DigestFunction {
        self.function
    }

    /// How many blobs.
    pub(super) fn len(&self) -> usize {
        (self.tail.len() - HEAD) / self.width
    }

    /// Length of the blobs' bytes.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Offset and digest of a blob, by its number.
    pub(super) fn entry(&self, number: usize) -> (u64, Digest) {
        let entry = &self.tail[HEAD + number * self.width..][..self.width];
        let (hash, numbers) = entry.split_at(self.function.hash_len());
        let number =
            |at: usize| u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
        let digest = Digest::new(self.function, hash, u64::from(number(4)));
        // The hash has the function's length, and the size is small.
        (u64::from(number(0)), digest.unwrap_or_else(|_| Digest::empty(self.function)))
    }

    /// Which of `wanted`, which are in the order of digests, are here: their places in it, and their numbers here. Takes as long
    /// as the shorter of both, times the logarithm of the gaps in the longer one.
    pub(super) fn find(&self, wanted: &[(Digest, usize)]) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        let (mut here, mut there) = (0, 0);
        while here < self.len() && there < wanted.len() {
            let sought = wanted[there].0;
            here += gallop(self.len() - here, |step| self.entry(here + step).1 < sought);
            if here == self.len() {
                break;
            }
            let digest = self.entry(here).1;
            there += gallop(wanted.len() - there, |step| wanted[there + step].0 < digest);
            while there < wanted.len() && wanted[there].0 == digest {
                found.push((wanted[there].1, here as u32));
                there += 1;
            }
        }
        found
    }
}

/// The number of steps for which `is_before` holds, of at most `most`, asked about in growing strides.
fn gallop(most: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut stride) = (0, 1);
    while low + stride <= most && is_before(low + stride - 1) {
        low += stride;
        stride *= 2;
    }
    let mut high = most.min(low + stride - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn digest(function: DigestFunction, number: u16) -> Digest {
        function.digest(&number.to_le_bytes()[..1 + usize::from(number % 2)])
    }

    proptest! {
        #[test]
        fn what_was_packed_is_found_and_nothing_else(
            function in proptest::sample::select(DigestFunction::KNOWN.to_vec()),
            packed in proptest::collection::vec(0..400u16, 1..200),
            wanted in proptest::collection::btree_set(0..400u16, 0..200),
        ) {
            let blobs: Vec<Packed> = (0..)
                .zip(&packed)
                .map(|(at, number)| Packed { digest: digest(function, *number), offset: at * 2 })
                .collect();
            let written = Table::new(function, packed.len() as u64 * 2, blobs.clone());
            prop_assert_eq!(written.tail().len() as u64, Table::tail_len(function, written.len()));
            let table = Table::from_tail(written.tail().to_vec()).unwrap();
            prop_assert_eq!(table.payload(), packed.len() as u64 * 2);

            let mut first = BTreeMap::new();
            for blob in &blobs {
                first.entry(blob.digest).or_insert(u64::from(blob.offset));
            }
            prop_assert_eq!(table.len(), first.len());
            let mut sought: Vec<(Digest, usize)> =
                wanted.iter().map(|number| digest(function, *number)).enumerate().map(|(at, digest)| (digest, at)).collect();
            sought.sort_unstable();
            let found = table.find(&sought);
            let expected: BTreeSet<usize> =
                sought.iter().filter(|(digest, _)| first.contains_key(digest)).map(|(_, at)| *at).collect();
            prop_assert_eq!(found.iter().map(|(at, _)| *at).collect::<BTreeSet<_>>(), expected);
            for (at, number) in found {
                let (offset, digest) = table.entry(number as usize);
                prop_assert!(sought.contains(&(digest, at)));
                prop_assert_eq!(first[&digest], offset);
            }
        }

        #[test]
        fn no_tail_makes_it_panic_or_read_beyond_the_bytes(tail in proptest::collection::vec(any::<u8>(), 0..200), flip in 0..2000usize) {
            let _ = Table::from_tail(tail);
            let blobs: Vec<Packed> = (0..20u16)
                .map(|number| Packed { digest: digest(DigestFunction::Sha1, number), offset: 0 })
                .collect();
            let mut tail = Table::new(DigestFunction::Sha1, 2, blobs).tail().to_vec();
            let bit = flip % (tail.len() * 8);
            tail[bit / 8] ^= 1 << (bit % 8);
            if let Some(table) = Table::from_tail(tail) {
                for number in 0..table.len() {
                    let (offset, digest) = table.entry(number);
                    prop_assert!(offset + digest.size() <= table.payload());
                }
            }
        }
    }
}
