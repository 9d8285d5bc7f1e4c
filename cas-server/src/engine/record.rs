//! Records of the log: what stands in front of a packed blob or value, what says that a large one got a file, and what
//! says that a value is no more.
//!
//! `magic, kind, function, hash, size, [name of the value, | length of the frames,] sum of these`, then the bytes, if they
//! are packed. A record proves itself: the sum covers the header, the hash covers the bytes. The hash of a value is a
//! BLAKE3 hash. Behind a packed blob that is compressed stands a sum of its frame, so that it can be verified as it is.
//!
//! Of several records about one value the last one counts.

use super::{
    codec::{Encoding, Location, Position},
    key::{Key, ValueKey},
};
use proto::{Digest, DigestFunction};

const MAGIC: [u8; 4] = *b"iswr";

/// Bytes of a [`sum`].
pub(crate) const SUM_LEN: usize = 8;

/// Bytes of the length of frames in a header.
const LENGTH_LEN: usize = 8;

/// No header is longer.
pub(crate) const MAX_HEADER: usize = 4 + 2 + 64 + 8 + ValueKey::LEN + SUM_LEN;

/// Where the bytes are that a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// They follow.
    Packed,
    /// They have a file of their own.
    File,
    /// There are none any more. Only of values.
    Deleted,
}

/// The front of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) form: Form,
    pub(crate) key: Key,
    /// The bytes.
    pub(crate) content: Digest,
    /// How they are stored.
    pub(crate) encoding: Encoding,
}

/// Detects damage, not forgery.
pub(crate) fn sum(bytes: &[u8]) -> [u8; SUM_LEN] {
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&DigestFunction::Blake3.digest(bytes).hash()[..SUM_LEN]);
    sum
}

impl Header {
    /// Of a blob.
    pub(crate) fn blob(form: Form, digest: Digest, encoding: Encoding) -> Self {
        Self { form, key: Key::Blob(digest), content: digest, encoding }
    }

    /// Of a value.
    pub(crate) fn value(form: Form, key: ValueKey, content: Digest) -> Self {
        Self { form, key: key.into(), content, encoding: Encoding::Plain }
    }

    /// Of the end of a value.
    pub(crate) fn deleted(key: ValueKey) -> Self {
        Self::value(Form::Deleted, key, Digest::empty(DigestFunction::Blake3))
    }

    /// The number at rest: 1 and 2 since format 1, 3 to 5 since format 2, 6 and 7 since format 3.
    fn kind(&self) -> u8 {
        match (self.key, self.form, self.encoding) {
            (Key::Blob(_), Form::Packed, Encoding::Plain) => 1,
            // The end of a blob is never logged.
            (Key::Blob(_), Form::File | Form::Deleted, Encoding::Plain) => 2,
            (Key::Value(_), Form::Packed, _) => 3,
            (Key::Value(_), Form::File, _) => 4,
            (Key::Value(_), Form::Deleted, _) => 5,
            (Key::Blob(_), Form::Packed, Encoding::Zstd(_)) => 6,
            (Key::Blob(_), Form::File | Form::Deleted, Encoding::Zstd(_)) => 7,
        }
    }

    /// Appends the header's bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(MAGIC);
        out.extend([self.kind(), self.content.function().number()]);
        out.extend(self.content.hash());
        out.extend(self.content.size().to_be_bytes());
        if let Key::Value(ValueKey(name)) = self.key {
            out.extend(name);
        } else if let Encoding::Zstd(len) = self.encoding {
            out.extend(len.to_be_bytes());
        }
        let sum = sum(&out[start..]);
        out.extend(sum);
    }

    /// Reads a header from the front of `bytes`. `None`: there is none, or it is damaged or cut off.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[m0, m1, m2, m3, kind, function], _) = bytes.split_first_chunk()?;
        let (form, more) = match kind {
            1 => (Form::Packed, 0),
            2 => (Form::File, 0),
            3 => (Form::Packed, ValueKey::LEN),
            4 => (Form::File, ValueKey::LEN),
            5 => (Form::Deleted, ValueKey::LEN),
            6 => (Form::Packed, LENGTH_LEN),
            7 => (Form::File, LENGTH_LEN),
            _ => return None,
        };
        let function = DigestFunction::from_number(i32::from(function))?;
        let content_end = 6 + function.hash_len() + 8;
        let body = bytes.get(..content_end + more)?;
        if [m0, m1, m2, m3] != MAGIC || bytes.get(body.len()..body.len() + SUM_LEN)? != sum(body) {
            return None;
        }
        let (hash, size) = body[6..content_end].split_last_chunk()?;
        let content = Digest::new(function, hash, u64::from_be_bytes(*size)).ok()?;
        let rest = &body[content_end..];
        Some(match (<[u8; ValueKey::LEN]>::try_from(rest), <[u8; LENGTH_LEN]>::try_from(rest)) {
            (Ok(name), _) => Self::value(form, ValueKey(name), content),
            (_, Ok(len)) => Self::blob(form, content, Encoding::Zstd(u64::from_be_bytes(len))),
            _ => Self::blob(form, content, Encoding::Plain),
        })
    }

    /// Bytes of the header.
    pub(crate) fn len(&self) -> u64 {
        let more = match (self.key, self.encoding) {
            (Key::Value(_), _) => ValueKey::LEN,
            (Key::Blob(_), Encoding::Plain) => 0,
            (Key::Blob(_), Encoding::Zstd(_)) => LENGTH_LEN,
        };
        (4 + 2 + self.content.function().hash_len() + 8 + more + SUM_LEN) as u64
    }

    /// Bytes of the payload.
    pub(crate) fn payload_len(&self) -> u64 {
        match (self.form, self.encoding) {
            (Form::Packed, Encoding::Plain) => self.content.size(),
            (Form::Packed, Encoding::Zstd(len)) => len.saturating_add(SUM_LEN as u64),
            (Form::File | Form::Deleted, _) => 0,
        }
    }

    /// Bytes of the record.
    pub(crate) fn record_len(&self) -> u64 {
        self.len().saturating_add(self.payload_len())
    }

    /// What the index says of it, if it lies at `at`.
    pub(crate) fn location(&self, at: Position) -> Option<Location> {
        match self.form {
            Form::Packed => Some(Location::Packed(at, self.encoding)),
            Form::File => Some(Location::File(at, self.encoding)),
            Form::Deleted => None,
        }
    }
}

/// Bytes that something packed takes in its segment.
pub(crate) fn packed_len(key: &Key, content: &Digest, encoding: Encoding) -> u64 {
    Header { form: Form::Packed, key: *key, content: *content, encoding }.record_len()
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
            bytes in proptest::collection::vec(any::<u8>(), 0..50), f in 0..DigestFunction::KNOWN.len(), which in 0..7usize, flip in 0..1000usize,
        ) {
            let digest = DigestFunction::KNOWN[f].digest(&bytes);
            let name = ValueKey([7; 32]);
            let content = DigestFunction::Blake3.digest(&bytes);
            let header = [
                Header::blob(Form::Packed, digest, Encoding::Plain),
                Header::blob(Form::File, digest, Encoding::Plain),
                Header::value(Form::Packed, name, content),
                Header::value(Form::File, name, content),
                Header::deleted(name),
                Header::blob(Form::Packed, digest, Encoding::Zstd(7)),
                Header::blob(Form::File, digest, Encoding::Zstd(u64::MAX)),
            ][which];
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

    #[test]
    fn the_released_kinds_stay_readable() {
        let digest = DigestFunction::Sha1.digest(b"abc");
        let content = "a9993e364706816aba3e25717850c26c9cd0d89d0000000000000003";
        for (header, expected) in [
            (Header::blob(Form::Packed, digest, Encoding::Plain), format!("697377720102{content}")),
            (Header::blob(Form::File, digest, Encoding::Plain), format!("697377720202{content}")),
            (
                Header::blob(Form::Packed, digest, Encoding::Zstd(9)),
                format!("697377720602{content}0000000000000009"),
            ),
            (
                Header::blob(Form::File, digest, Encoding::Zstd(9)),
                format!("697377720702{content}0000000000000009"),
            ),
        ] {
            let mut wire = Vec::new();
            header.write(&mut wire);
            assert_eq!(hex::encode(&wire[..wire.len() - SUM_LEN]), expected);
        }
    }
}
