//! Records of the log: what stands in front of a packed blob or value, what says that a large one got a file, and what
//! says that a value is no more.
//!
//! `magic, kind, function, hash, size, [name of the value,] sum of these`, then the bytes, if they are packed. A record
//! proves itself: the sum covers the header, the hash covers the bytes. The hash of a value is a BLAKE3 hash.
//!
//! Of several records about one value the last one counts.

use super::{
    codec::{Location, Position},
    key::{Key, ValueKey},
};
use proto::{Digest, DigestFunction};

const MAGIC: [u8; 4] = *b"iswr";

/// Bytes of a [`sum`].
pub(crate) const SUM_LEN: usize = 8;

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
}

/// Detects damage, not forgery.
pub(crate) fn sum(bytes: &[u8]) -> [u8; SUM_LEN] {
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&DigestFunction::Blake3.digest(bytes).hash()[..SUM_LEN]);
    sum
}

impl Header {
    /// Of a blob.
    pub(crate) fn blob(form: Form, digest: Digest) -> Self {
        Self { form, key: Key::Blob(digest), content: digest }
    }

    /// Of the end of a value.
    pub(crate) fn deleted(key: ValueKey) -> Self {
        Self { form: Form::Deleted, key: key.into(), content: Digest::empty(DigestFunction::Blake3) }
    }

    /// The number at rest: 1 and 2 since format 1, 3 and above since format 2.
    fn kind(&self) -> u8 {
        match (self.key, self.form) {
            (Key::Blob(_), Form::Packed) => 1,
            // The end of a blob is never logged.
            (Key::Blob(_), Form::File | Form::Deleted) => 2,
            (Key::Value(_), Form::Packed) => 3,
            (Key::Value(_), Form::File) => 4,
            (Key::Value(_), Form::Deleted) => 5,
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
        }
        let sum = sum(&out[start..]);
        out.extend(sum);
    }

    /// Reads a header from the front of `bytes`. `None`: there is none, or it is damaged or cut off.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[m0, m1, m2, m3, kind, function], _) = bytes.split_first_chunk()?;
        let (form, named) = match kind {
            1 => (Form::Packed, false),
            2 => (Form::File, false),
            3 => (Form::Packed, true),
            4 => (Form::File, true),
            5 => (Form::Deleted, true),
            _ => return None,
        };
        let function = DigestFunction::from_number(i32::from(function))?;
        let content_end = 6 + function.hash_len() + 8;
        let body = bytes.get(..content_end + if named { ValueKey::LEN } else { 0 })?;
        if [m0, m1, m2, m3] != MAGIC || bytes.get(body.len()..body.len() + SUM_LEN)? != sum(body) {
            return None;
        }
        let (hash, size) = body[6..content_end].split_last_chunk()?;
        let content = Digest::new(function, hash, u64::from_be_bytes(*size)).ok()?;
        let key = match body[content_end..].try_into() {
            Ok(name) => Key::Value(ValueKey(name)),
            Err(_) => Key::Blob(content),
        };
        Some(Self { form, key, content })
    }

    /// Bytes of the header.
    pub(crate) fn len(&self) -> u64 {
        let name = if matches!(self.key, Key::Value(_)) { ValueKey::LEN } else { 0 };
        (4 + 2 + self.content.function().hash_len() + 8 + name + SUM_LEN) as u64
    }

    /// Bytes of the payload.
    pub(crate) fn payload_len(&self) -> u64 {
        match self.form {
            Form::Packed => self.content.size(),
            Form::File | Form::Deleted => 0,
        }
    }

    /// Bytes of the record.
    pub(crate) fn record_len(&self) -> u64 {
        self.len().saturating_add(self.payload_len())
    }

    /// What the index says of it, if it lies at `at`.
    pub(crate) fn location(&self, at: Position) -> Option<Location> {
        match self.form {
            Form::Packed => Some(Location::Packed(at)),
            Form::File => Some(Location::File(at)),
            Form::Deleted => None,
        }
    }
}

/// Bytes that something packed takes in its segment.
pub(crate) fn packed_len(key: &Key, content: &Digest) -> u64 {
    Header { form: Form::Packed, key: *key, content: *content }.record_len()
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
            bytes in proptest::collection::vec(any::<u8>(), 0..50), f in 0..DigestFunction::KNOWN.len(), which in 0..5usize, flip in 0..1000usize,
        ) {
            let digest = DigestFunction::KNOWN[f].digest(&bytes);
            let name = ValueKey([7; 32]);
            let content = DigestFunction::Blake3.digest(&bytes);
            let header = [
                Header::blob(Form::Packed, digest),
                Header::blob(Form::File, digest),
                Header { form: Form::Packed, key: name.into(), content },
                Header { form: Form::File, key: name.into(), content },
                Header::deleted(name),
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
}
