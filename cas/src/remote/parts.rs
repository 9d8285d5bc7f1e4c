//! The bytes of a blob, found in an answer of `ByteStream.Read` without a copy of them.
//!
//! Each message is a `ReadResponse` of the ByteStream API behind its length ([`proto::framing`]): one field has bytes of the blob;
//! others, of which nobody knows yet, are passed over as Protocol Buffers demand.

use bytes::{Buf as _, Bytes};
use proto::framing::{PREFIX, READ_DATA};

/// `data` of a `ReadResponse`.
const DATA: u64 = READ_DATA as u64;

/// Takes an answer apart, whatever pieces it comes in.
#[derive(Debug, Default)]
pub(super) struct Parts {
    at: At,
    /// Bytes of the message behind those that were seen.
    left: u64,
    /// The message has told its bytes.
    told: bool,
}

/// What comes next.
#[derive(Debug)]
enum At {
    /// Bytes before a message, so many of which are here.
    Prefix { bytes: [u8; PREFIX], came: usize },
    /// The number of a field, and of which kind it is.
    Key(Varint),
    /// A number that nobody asks for.
    Number(Varint),
    /// How long this field is: the blob's bytes or not.
    Length(Varint, bool),
    /// So many bytes, of the blob or not.
    Bytes(u64, bool),
}

/// Why an answer makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error(
        "where a message should begin stands the byte {0}: it is compressed, which nobody asked for, or none"
    )]
    Flag(u8),
    #[error("a field does not end where its message does")]
    Border,
    #[error("a number is too large")]
    Number,
    #[error("a field is of no kind that there is")]
    Kind,
    #[error("a message has its bytes twice")]
    Twice,
}

impl Default for At {
    fn default() -> Self {
        Self::Prefix { bytes: [0; PREFIX], came: 0 }
    }
}

impl Parts {
    /// The next bytes of the blob in `frame`, which is left with what is behind them. `None`: there are no more in it.
    pub(super) fn next(&mut self, frame: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        while !frame.is_empty() {
            let At::Bytes(rest, of_blob) = &mut self.at else {
                self.step(frame.get_u8())?;
                continue;
            };
            let len = usize::try_from(*rest).unwrap_or(usize::MAX).min(frame.len());
            let (part, of_blob) = (frame.split_to(len), *of_blob);
            *rest -= len as u64;
            if *rest == 0 {
                self.end_field();
            }
            if of_blob {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// Whether an answer may end here.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.at, At::Prefix { came: 0, .. })
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        if !matches!(self.at, At::Prefix { .. }) {
            self.left = self.left.checked_sub(1).ok_or(Malformed::Border)?;
        }
        match &mut self.at {
            At::Prefix { bytes, came } => {
                bytes[*came] = byte;
                *came += 1;
                if *came == PREFIX {
                    let [compressed, length @ ..] = *bytes;
                    return self.begin(compressed, u32::from_be_bytes(length));
                }
            }
            At::Key(varint) => {
                if let Some(key) = varint.push(byte)? {
                    self.field(key)?;
                }
            }
            At::Number(varint) => {
                if varint.push(byte)?.is_some() {
                    self.end_field();
                }
            }
            At::Length(varint, of_blob) => {
                let of_blob = *of_blob;
                if let Some(length) = varint.push(byte)? {
                    self.bytes(length, of_blob)?;
                }
            }
            // They are not looked at one by one.
            At::Bytes(..) => {}
        }
        Ok(())
    }

    fn begin(&mut self, compressed: u8, length: u32) -> Result<(), Malformed> {
        if compressed != 0 {
            return Err(Malformed::Flag(compressed));
        }
        (self.left, self.told) = (length.into(), false);
        self.end_field();
        Ok(())
    }

    fn field(&mut self, key: u64) -> Result<(), Malformed> {
        match (key >> 3, key & 7) {
            (0, _) => return Err(Malformed::Kind),
            _ if key > u64::from(u32::MAX) => return Err(Malformed::Number),
            (DATA, 2) if self.told => return Err(Malformed::Twice),
            (number, 2) => {
                self.told |= number == DATA;
                self.at = At::Length(Varint::default(), number == DATA);
            }
            (DATA, _) => return Err(Malformed::Kind),
            (_, 0) => self.at = At::Number(Varint::default()),
            (_, 1) => self.bytes(8, false)?,
            (_, 5) => self.bytes(4, false)?,
            _ => return Err(Malformed::Kind),
        }
        Ok(())
    }

    fn bytes(&mut self, length: u64, of_blob: bool) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(length).ok_or(Malformed::Border)?;
        match length {
            0 => self.end_field(),
            _ => self.at = At::Bytes(length, of_blob),
        }
        Ok(())
    }

    /// Another field, or another message.
    fn end_field(&mut self) {
        self.at = if self.left == 0 { At::default() } else { At::Key(Varint::default()) };
    }
}

/// A number of which the lower seven bits of each byte count, the lowest first; the last byte has its highest bit unset.
#[derive(Debug, Default)]
struct Varint {
    value: u64,
    bits: u32,
}

impl Varint {
    /// The number, when `byte` is its last one.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, Malformed> {
        // Of a tenth byte one bit fits.
        if self.bits > 63 || (self.bits == 63 && byte > 1) {
            return Err(Malformed::Number);
        }
        self.value |= u64::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        Ok((byte < 0x80).then_some(self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;
    use proto::bytestream::ReadResponse;

    /// The blob's bytes in an answer that comes in pieces of these lengths, again and again.
    fn parse(answer: &[u8], lengths: &[usize]) -> Result<(Vec<u8>, bool), Malformed> {
        let (mut parts, mut blob, mut rest) = (Parts::default(), Vec::new(), Bytes::copy_from_slice(answer));
        for length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let mut frame = rest.split_to(rest.len().min(*length));
            while let Some(part) = parts.next(&mut frame)? {
                blob.extend_from_slice(&part);
            }
        }
        Ok((blob, parts.is_whole()))
    }

    fn message(fields: &[u8]) -> Vec<u8> {
        [&[0][..], &(fields.len() as u32).to_be_bytes(), fields].concat()
    }

    /// A field that a `ReadResponse` does not have.
    fn unknown() -> impl Strategy<Value = Vec<u8>> {
        let length = prop::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            Just(vec![0x08, 0xff, 0xff, 0x01]),
            Just(vec![0x11, 1, 2, 3, 4, 5, 6, 7, 8]),
            Just(vec![0x1d, 1, 2, 3, 4]),
            length.prop_map(|bytes| [&[0xa2, 0x06, bytes.len() as u8][..], &bytes].concat()),
        ]
    }

    proptest! {
        #[test]
        fn the_bytes_are_found_whatever_is_around_them_and_wherever_it_is_cut(
            messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), unknown(), unknown()), 0..5),
            lengths in prop::collection::vec(1_usize..50, 1..9),
        ) {
            let (mut answer, mut blob) = (Vec::new(), Vec::new());
            for (data, before, after) in messages {
                blob.extend_from_slice(&data);
                let known = ReadResponse { data: data.into() }.encode_to_vec();
                let fields = [before, known, after].concat();
                ReadResponse::decode(&*fields).unwrap();
                answer.extend(message(&fields));
            }
            prop_assert_eq!(parse(&answer, &lengths), Ok((blob, true)));
            if let Some((_, cut)) = answer.split_last() {
                prop_assert!(!parse(cut, &lengths).unwrap().1);
            }
        }

        #[test]
        fn what_is_taken_means_what_it_means_to_others(fields in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok((blob, true)) = parse(&message(&fields), &[7]) {
                // They take groups, too, and of bytes that come twice the last.
                prop_assert_eq!(ReadResponse::decode(&*fields).unwrap().data, blob);
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let compressed = [&[1][..], &message(&[])[1..]].concat();
        let endless = message(&[0xff; 11]);
        for (answer, error) in [
            (compressed, Malformed::Flag(1)),
            (endless, Malformed::Number),
            (message(&[0x52, 2, 7]), Malformed::Border),
            (message(&[0x52]), Malformed::Border),
            (message(&[0x53]), Malformed::Kind),
            (message(&[0x50, 1]), Malformed::Kind),
            (message(&[0x52, 1, 7, 0x52, 1, 7]), Malformed::Twice),
        ] {
            let more = [answer, message(&[])].concat();
            assert_eq!(parse(&more, &[3]), Err(error));
        }
    }
}
