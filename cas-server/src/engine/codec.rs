//! Keys and values of the index. Each begins with a format byte, so that formats can live beside each other: what
//! concerns blobs is as format 1 wrote it, what concerns values came with format 2, what concerns compressed blobs with
//! format 3.

use super::{
    key::{Key, ValueKey},
    pins::{Held, Pin, PinKind},
};
use proto::{Digest, DigestFunction, Timestamp};

/// Of blobs, segments and totals.
const FORMAT: u8 = 1;

/// Of values.
const VALUES: u8 = 2;

/// Of blobs that are compressed, and of totals with such blobs.
const COMPRESSED: u8 = 3;

/// The format of the data directory as a whole, which programs that know less of it refuse to open: with compressed
/// blobs, and large files whose pieces have sums by XXH3. What came before is part of it and read as it is.
pub(crate) const DIRECTORY: u8 = 3;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// In what form bytes are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    #[default]
    Plain,
    /// In frames of zstd, so many bytes of them. Only of blobs.
    Zstd(u64),
}

/// Where bytes are, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the record at this position.
    Packed(Position, Encoding),
    /// In a file of its own, whose name has the position of its record, so that no two uploads share a name.
    File(Position, Encoding),
}

impl Location {
    /// Of the record in the log.
    pub(crate) fn position(self) -> Position {
        match self {
            Self::Packed(position, _) | Self::File(position, _) => position,
        }
    }

    /// Of the bytes there.
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Packed(_, encoding) | Self::File(_, encoding) => encoding,
        }
    }
}

/// What the index knows about a blob or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The bytes: a blob's own name, or what a value is at the moment.
    pub(crate) content: Digest,
    pub(crate) location: Location,
    pub(crate) touched: Timestamp,
}

/// What the index knows about a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentAccount {
    /// Bytes in the file.
    pub(crate) len: u64,
    /// Bytes of it in records that the index points to.
    pub(crate) live: u64,
}

/// What the index knows about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// The log up to here is in the index.
    pub(crate) position: Position,
    /// Entries.
    pub(crate) blobs: u64,
    /// Bytes on disk of blobs with a file of their own.
    pub(crate) file_bytes: u64,
    /// What compression does.
    pub(crate) compressed: Compressed,
}

/// Sums over the blobs that are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compressed {
    /// Bytes of the blobs.
    pub(crate) content_bytes: u64,
    /// Bytes of their frames.
    pub(crate) stored_bytes: u64,
}

/// `format, function, hash`: what all keys of a hash begin with.
pub(crate) fn key_prefix(function: DigestFunction, hash: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(74);
    key.extend([FORMAT, function.number()]);
    key.extend(hash);
    key
}

pub(crate) fn encode_key(key: &Key) -> Vec<u8> {
    match key {
        Key::Blob(digest) => {
            let mut key = key_prefix(digest.function(), digest.hash());
            key.extend(digest.size().to_be_bytes());
            key
        }
        Key::Value(ValueKey(hash)) => [&[VALUES][..], hash].concat(),
    }
}

pub(crate) fn decode_key(key: &[u8]) -> Option<Key> {
    if let Some((&VALUES, hash)) = key.split_first() {
        return Some(Key::Value(ValueKey(hash.try_into().ok()?)));
    }
    let (&[format, function], rest) = key.split_first_chunk()?;
    let function = DigestFunction::from_number(i32::from(function))?;
    let (hash, size) = rest.split_last_chunk()?;
    if format != FORMAT {
        return None;
    }
    Digest::new(function, hash, u64::from_be_bytes(*size)).ok().map(Key::Blob)
}

/// `last touch, key`: sorts by age.
pub(crate) fn encode_age(touched: Timestamp, key: &[u8]) -> Vec<u8> {
    let mut age = touched.as_micros().to_be_bytes().to_vec();
    age.extend(key);
    age
}

pub(crate) fn decode_age(age: &[u8]) -> Option<(Timestamp, Key)> {
    let (touched, key) = age.split_first_chunk()?;
    Some((Timestamp::from_micros(u64::from_be_bytes(*touched)), decode_key(key)?))
}

/// `format, kind, position, last touch`; of a value also the size and the BLAKE3 hash of its bytes, of a compressed blob
/// the length of its frames.
pub(crate) fn encode_entry(key: &Key, entry: &Entry) -> Vec<u8> {
    let (kind, position, encoding) = match entry.location {
        Location::Packed(position, encoding) => (1, position, encoding),
        Location::File(position, encoding) => (2, position, encoding),
    };
    let format = match (key, encoding) {
        (Key::Value(_), _) => VALUES,
        (Key::Blob(_), Encoding::Plain) => FORMAT,
        (Key::Blob(_), Encoding::Zstd(_)) => COMPRESSED,
    };
    let mut value = Vec::with_capacity(58);
    value.extend([format, kind]);
    value.extend(encode_position(position));
    value.extend(entry.touched.as_micros().to_be_bytes());
    if let Key::Value(_) = key {
        value.extend(entry.content.size().to_be_bytes());
        value.extend(entry.content.hash());
    } else if let Encoding::Zstd(len) = encoding {
        value.extend(len.to_be_bytes());
    }
    value
}

pub(crate) fn decode_entry(key: &Key, value: &[u8]) -> Option<Entry> {
    let (&[format, kind], rest) = value.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let (touched, rest) = rest.split_first_chunk()?;
    let (content, encoding) = match (key, format) {
        (Key::Blob(digest), FORMAT) if rest.is_empty() => (*digest, Encoding::Plain),
        (Key::Blob(digest), COMPRESSED) => {
            (*digest, Encoding::Zstd(u64::from_be_bytes(rest.try_into().ok()?)))
        }
        (Key::Value(_), VALUES) => {
            let (size, hash) = rest.split_first_chunk()?;
            let content = Digest::new(DigestFunction::Blake3, hash, u64::from_be_bytes(*size)).ok()?;
            (content, Encoding::Plain)
        }
        _ => return None,
    };
    let position = decode_position(*position);
    let location = match kind {
        1 => Location::Packed(position, encoding),
        2 => Location::File(position, encoding),
        _ => return None,
    };
    Some(Entry { content, location, touched: Timestamp::from_micros(u64::from_be_bytes(*touched)) })
}

pub(crate) fn encode_segment(account: SegmentAccount) -> [u8; 17] {
    let mut value = [FORMAT; 17];
    value[1..9].copy_from_slice(&account.len.to_be_bytes());
    value[9..].copy_from_slice(&account.live.to_be_bytes());
    value
}

pub(crate) fn decode_segment(value: &[u8]) -> Option<SegmentAccount> {
    let value: &[u8; 17] = value.try_into().ok()?;
    let number = |at: usize| Some(u64::from_be_bytes(value[at..at + 8].try_into().ok()?));
    (value[0] == FORMAT).then_some(())?;
    Some(SegmentAccount { len: number(1)?, live: number(9)? })
}

/// `format, position, blobs, bytes of files`; the sums over compressed blobs follow if there are any.
pub(crate) fn encode_totals(totals: &Totals) -> Vec<u8> {
    let Totals { position, blobs, file_bytes, compressed } = totals;
    let plain = *compressed == Compressed::default();
    let mut value = vec![if plain { FORMAT } else { COMPRESSED }];
    value.extend(encode_position(*position));
    let numbers = [*blobs, *file_bytes, compressed.content_bytes, compressed.stored_bytes];
    for number in &numbers[..if plain { 2 } else { 4 }] {
        value.extend(number.to_be_bytes());
    }
    value
}

pub(crate) fn decode_totals(value: &[u8]) -> Option<Totals> {
    let (&[format], rest) = value.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let (numbers, []) = rest.as_chunks() else { return None };
    let numbers: Vec<_> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
    let (blobs, file_bytes, compressed) = match (format, &numbers[..]) {
        (FORMAT, &[blobs, file_bytes]) => (blobs, file_bytes, Compressed::default()),
        (COMPRESSED, &[blobs, file_bytes, content_bytes, stored_bytes]) => {
            (blobs, file_bytes, Compressed { content_bytes, stored_bytes })
        }
        _ => return None,
    };
    Some(Totals { position: decode_position(*position), blobs, file_bytes, compressed })
}

/// `format, kind, generation, created, expires, blobs, bytes, key of the root`; the name is the key.
pub(crate) fn encode_held(held: &Held) -> Vec<u8> {
    let Held { pin, generation } = held;
    let kind = match pin.kind {
        PinKind::Isolated => 1,
        PinKind::Directory => 2,
    };
    let mut value = vec![VALUES, kind];
    for number in [*generation, pin.created.as_micros(), pin.expires.as_micros(), pin.blobs, pin.bytes] {
        value.extend(number.to_be_bytes());
    }
    value.extend(encode_key(&Key::Blob(pin.root)));
    value
}

pub(crate) fn decode_held(name: &[u8], value: &[u8]) -> Option<Held> {
    let (&[format, kind], rest) = value.split_first_chunk()?;
    let kind = match (format, kind) {
        (VALUES, 1) => PinKind::Isolated,
        (VALUES, 2) => PinKind::Directory,
        _ => return None,
    };
    let (numbers, root) = rest.split_at_checked(40)?;
    let number = |at: usize| Some(u64::from_be_bytes(numbers[8 * at..8 * at + 8].try_into().ok()?));
    let Key::Blob(root) = decode_key(root)? else { return None };
    let pin = Pin {
        name: std::str::from_utf8(name).ok()?.parse().ok()?,
        root,
        kind,
        created: Timestamp::from_micros(number(1)?),
        expires: Timestamp::from_micros(number(2)?),
        blobs: number(3)?,
        bytes: number(4)?,
    };
    Some(Held { pin, generation: number(0)? })
}

fn encode_position(position: Position) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&position.segment.to_be_bytes());
    bytes[4..].copy_from_slice(&position.offset.to_be_bytes());
    bytes
}

fn decode_position(bytes: [u8; 8]) -> Position {
    let both = u64::from_be_bytes(bytes);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u64")]
    let (segment, offset) = ((both >> 32) as u32, both as u32);
    Position { segment, offset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (any::<u32>(), any::<u32>()).prop_map(|(segment, offset)| Position { segment, offset })
    }

    fn digest() -> impl Strategy<Value = Digest> {
        (any::<[u8; 64]>(), 0..DigestFunction::KNOWN.len(), 0..=i64::MAX.cast_unsigned()).prop_map(
            |(hash, f, size)| {
                let function = DigestFunction::KNOWN[f];
                Digest::new(function, &hash[..function.hash_len()], size).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn keys_and_values_round_trip(
            digest in digest(), name: [u8; 32], position in position(), packed: bool, touched: u64, len: u64, live: u64,
        ) {
            let touched = Timestamp::from_micros(touched);
            let at = |encoding| match packed {
                true => Location::Packed(position, encoding),
                false => Location::File(position, encoding),
            };
            for (key, content, encoding) in [
                (Key::Blob(digest), digest, Encoding::Plain),
                (Key::Blob(digest), digest, Encoding::Zstd(len)),
                (Key::Value(ValueKey(name)), DigestFunction::Blake3.digest(&name), Encoding::Plain),
            ] {
                let wire = encode_key(&key);
                prop_assert_eq!(decode_key(&wire), Some(key));
                prop_assert_eq!(decode_age(&encode_age(touched, &wire)), Some((touched, key)));
                let entry = Entry { content, location: at(encoding), touched };
                prop_assert_eq!(decode_entry(&key, &encode_entry(&key, &entry)), Some(entry));
            }
            let account = SegmentAccount { len, live };
            prop_assert_eq!(decode_segment(&encode_segment(account)), Some(account));
            let pin = Pin {
                name: "a/b".parse().unwrap(),
                root: digest,
                kind: if packed { PinKind::Isolated } else { PinKind::Directory },
                blobs: len,
                bytes: live,
                created: touched,
                expires: Timestamp::from_micros(len),
            };
            let held = Held { pin, generation: live };
            prop_assert_eq!(decode_held(b"a/b", &encode_held(&held)), Some(held));
            for compressed in [Compressed::default(), Compressed { content_bytes: touched.as_micros(), stored_bytes: len }] {
                let totals = Totals { position, blobs: len, file_bytes: live, compressed };
                prop_assert_eq!(decode_totals(&encode_totals(&totals)), Some(totals));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (decode_key(&bytes), decode_age(&bytes));
            let _ = decode_entry(&Key::Value(ValueKey([0; 32])), &bytes);
            let _ = decode_entry(&Key::Blob(Digest::empty(DigestFunction::Sha1)), &bytes);
            let _ = (decode_held(b"pin", &bytes), decode_segment(&bytes), decode_totals(&bytes));
        }
    }

    #[test]
    fn the_released_formats_stay_readable() {
        let key = Key::Blob(DigestFunction::Sha1.digest(b"abc"));
        assert_eq!(
            hex::encode(encode_key(&key)),
            "0102a9993e364706816aba3e25717850c26c9cd0d89d0000000000000003"
        );
        let at = Position { segment: 1, offset: 2 };
        let location = Location::File(at, Encoding::Plain);
        let touched = Timestamp::from_micros(3);
        let entry = Entry { content: DigestFunction::Sha1.digest(b"abc"), location, touched };
        assert_eq!(hex::encode(encode_entry(&key, &entry)), "010200000001000000020000000000000003");

        let key = Key::Value(ValueKey([7; 32]));
        assert_eq!(hex::encode(encode_key(&key)), format!("02{}", "07".repeat(32)));
        let content = DigestFunction::Blake3.digest(b"abc");
        let entry = Entry { content, ..entry };
        assert_eq!(
            hex::encode(encode_entry(&key, &entry)),
            format!("0202000000010000000200000000000000030000000000000003{}", content.hex())
        );
        let totals = Totals { position: at, blobs: 3, file_bytes: 4, ..Totals::default() };
        let plain = "01000000010000000200000000000000030000000000000004";
        assert_eq!(hex::encode(encode_totals(&totals)), plain);

        let key = Key::Blob(DigestFunction::Sha1.digest(b"abc"));
        let location = Location::Packed(at, Encoding::Zstd(9));
        let entry = Entry { content: DigestFunction::Sha1.digest(b"abc"), location, touched };
        let compressed = "0301000000010000000200000000000000030000000000000009";
        assert_eq!(hex::encode(encode_entry(&key, &entry)), compressed);
        let compressed = Compressed { content_bytes: 5, stored_bytes: 6 };
        let totals = Totals { compressed, ..totals };
        let sums = "00000000000000050000000000000006";
        assert_eq!(hex::encode(encode_totals(&totals)), format!("03{}{sums}", &plain[2..]));
    }
}
