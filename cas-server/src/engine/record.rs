//! Records of the log: what stands in front of a packed blob, and what says that a large blob got a file.
//!
//! `magic, kind, function, hash, size, sum of these`, then the payload of a packed blob. A record proves itself: the
//! sum covers the header, the hash covers the payload.

use proto::{Digest, DigestFunction};

const MAGIC: [u8; 4] = *b"iswr";

/// Bytes of a [`sum`].
pub(crate) const SUM_LEN: usize = 8;

/// No header is longer.
pub(crate) const MAX_HEADER: usize = 4 + 2 + 64 + 8 + SUM_LEN;

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The blob follows.
    Packed = 1,
    /// The blob has a file of its own.
    File = 2,
}

/// The front of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
}

/// Detects damage, not forgery.
pub(crate) fn sum(bytes: &[u8]) -> [u8; SUM_LEN] {
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&DigestFunction::Blake3.digest(bytes).hash()[..SUM_LEN]);
    sum
}

impl Header {
    /// Appends the header's bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(MAGIC);
        out.extend([self.kind as u8, self.digest.function().number()]);
        out.extend(self.digest.hash());
        out.extend(self.digest.size().to_be_bytes());
        let sum = sum(&out[start..]);
        out.extend(sum);
    }

    /// Reads a header from the front of `bytes`. `None`: there is none, or it is damaged or cut off.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[m0, m1, m2, m3, kind, function], _) = bytes.split_first_chunk()?;
        let kind = match kind {
            1 => Kind::Packed,
            2 => Kind::File,
            _ => return None,
        };
        let function = DigestFunction::from_number(i32::from(function))?;
        let hash_end = 6 + function.hash_len();
        let body = bytes.get(..hash_end + 8)?;
        let (hash, size) = body[6..].split_last_chunk()?;
        if [m0, m1, m2, m3] != MAGIC || bytes.get(body.len()..body.len() + SUM_LEN)? != sum(body) {
            return None;
        }
        Some(Self { kind, digest: Digest::new(function, hash, u64::from_be_bytes(*size)).ok()? })
    }

    /// Bytes of the header.
    pub(crate) fn len(&self) -> u64 {
        (4 + 2 + self.digest.function().hash_len() + 8 + SUM_LEN) as u64
    }

    /// Bytes of the payload.
    pub(crate) fn payload_len(&self) -> u64 {
        match self.kind {
            Kind::Packed => self.digest.size(),
            Kind::File => 0,
        }
    }

    /// Bytes of the record.
    pub(crate) fn record_len(&self) -> u64 {
        self.len().saturating_add(self.payload_len())
    }
}

/// Bytes that a packed blob takes in its segment.
pub(crate) fn packed_len(digest: &Digest) -> u64 {
    Header { kind: Kind::Packed, digest: *digest }.record_len()
}

/// Where the next header may be in bytes that do not begin with one.
pub(crate) fn next_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).position(|window| window == MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_round_trip_and_any_flipped_bit_shows(
            bytes in proptest::collection::vec(any::<u8>(), 0..50), f in 0..4usize, packed: bool, flip in 0..1000usize,
        ) {
            let kind = if packed { Kind::Packed } else { Kind::File };
            let header = Header { kind, digest: DigestFunction::ALL[f].digest(&bytes) };
            let mut wire = Vec::new();
            header.write(&mut wire);
            prop_assert_eq!(wire.len() as u64, header.len());
            prop_assert!(wire.len() <= MAX_HEADER);
            prop_assert_eq!(Header::parse(&wire), Some(header));
            prop_assert_eq!(Header::parse(&wire[..wire.len() - 1]), None);
            let bit = flip % (wire.len() * 8);
            wire[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Header::parse(&wire), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Header::parse(&bytes);
        }
    }
}
