//! Blobs compressed at rest: frames of zstd (RFC 8878), one for each [`FRAME`] bytes of the blob, one behind the other. Any
//! of them can be read alone; all of them, and those from any one on, are a valid stream for whoever takes zstd.
//!
//! A packed blob is one frame with its sum behind it. The file of a large one ends with a [`Table`]. The sums guard what
//! is stored, so that it can go out as it is. What comes out of a frame has the checksum in it (XXH64) to match, and of
//! a packed blob the hash.

use super::{
    codec::Encoding,
    record::{SUM_LEN, sum},
    segments::ReadError,
};
use bytes::Bytes;
use std::{io, ops::Range};
use zstd::stream::raw::CParameter;

/// Bytes of a blob in one frame of a large file.
pub(crate) const FRAME: u64 = 1 << 20;

#[expect(clippy::cast_possible_truncation, reason = "1 MiB")]
pub(crate) const FRAME_LEN: usize = FRAME as usize;

/// The fastest level: uploads wait for it, and the next ones save a few percent more.
const LEVEL: i32 = 1;

/// A shorter blob is not tried: its record would save less than the header grows by.
const WORTHWHILE: usize = 256;

/// Whether it is worth it: an eighth is saved.
pub(crate) fn pays(content: u64, stored: u64) -> bool {
    stored <= content - content / 8
}

/// Makes frames.
pub(crate) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(crate) fn new() -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self(compressor))
    }

    /// One frame, which tells how much is in it.
    pub(crate) fn frame(&mut self, content: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(content)
    }

    /// What the record of a packed blob has, and what it is.
    pub(crate) fn pack(&mut self, blob: Bytes) -> io::Result<(Encoding, Bytes)> {
        if blob.len() < WORTHWHILE {
            return Ok((Encoding::Plain, blob));
        }
        let mut payload = self.frame(&blob)?;
        let len = payload.len() as u64;
        if !pays(blob.len() as u64, len) {
            return Ok((Encoding::Plain, blob));
        }
        let sum = sum(&payload);
        payload.extend(sum);
        payload.shrink_to_fit();
        Ok((Encoding::Zstd(len), payload.into()))
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Whether the payload of a record is as [`Compressor::pack`] made it.
pub(crate) fn is_sound(payload: &[u8]) -> bool {
    payload.split_last_chunk().is_some_and(|(frame, expected)| sum(frame) == *expected)
}

/// The frame in the payload of a record.
pub(crate) fn frame_of(payload: &Bytes) -> Bytes {
    payload.slice(..payload.len().saturating_sub(SUM_LEN))
}

/// What is in a frame, which has to be `len` bytes.
pub(crate) fn inflate(frame: &[u8], len: u64) -> Result<Vec<u8>, ReadError> {
    let len = usize::try_from(len).map_err(|_| ReadError::Damaged)?;
    let content = zstd::bulk::decompress(frame, len).map_err(|_| ReadError::Damaged)?;
    if content.len() == len { Ok(content) } else { Err(ReadError::Damaged) }
}

/// Where the frames of a large file end, and their sums: `length, sum` of each, and a sum of all these.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(Vec<(u64, [u8; SUM_LEN])>);

/// Bytes of the table for each frame: a length of 4 bytes, and a sum.
const ROW: usize = 4 + SUM_LEN;

impl Table {
    /// Bytes of the table of a blob.
    pub(crate) fn disk_len(size: u64) -> u64 {
        size.div_ceil(FRAME).saturating_mul(ROW as u64).saturating_add(SUM_LEN as u64)
    }

    /// Frames.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Bytes of all frames.
    pub(crate) fn stored(&self) -> u64 {
        self.0.last().map_or(0, |(end, _)| *end)
    }

    pub(crate) fn push(&mut self, frame: &[u8]) {
        self.0.push((self.stored() + frame.len() as u64, sum(frame)));
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ROW + SUM_LEN);
        let mut start = 0;
        for (end, sum) in &self.0 {
            let len = u32::try_from(end - start).expect("a frame of 1 MiB is not much longer than that");
            bytes.extend(len.to_be_bytes());
            bytes.extend(sum);
            start = *end;
        }
        bytes.extend(sum(&bytes));
        bytes
    }

    /// Of a blob of `size` bytes that is stored as `stored` bytes.
    pub(crate) fn decode(bytes: &[u8], size: u64, stored: u64) -> Option<Self> {
        let (rows, expected) = bytes.split_last_chunk::<SUM_LEN>()?;
        let (rows, []) = rows.as_chunks::<ROW>() else { return None };
        if sum(rows.as_flattened()) != *expected || rows.len() as u64 != size.div_ceil(FRAME) {
            return None;
        }
        let mut end = 0;
        let table = rows.iter().map(|row| {
            let (len, sum) = row.split_first_chunk()?;
            end += u64::from(u32::from_be_bytes(*len));
            Some((end, sum.try_into().ok()?))
        });
        let table = Self(table.collect::<Option<_>>()?);
        (table.stored() == stored).then_some(table)
    }

    /// Where a frame begins; the end of all, if there is none of this number.
    pub(crate) fn start(&self, frame: u64) -> u64 {
        let before = frame.checked_sub(1).map(|before| usize::try_from(before).unwrap_or(usize::MAX));
        before.map_or(0, |before| self.0.get(before).map_or(self.stored(), |(end, _)| *end))
    }

    /// These frames in the bytes that they are stored as, each verified.
    pub(crate) fn cut<'a>(&self, frames: Range<u64>, stored: &'a [u8]) -> Result<Vec<&'a [u8]>, ReadError> {
        let from = self.start(frames.start);
        let cut = |frame: u64| {
            let at = |offset: u64| usize::try_from(offset - from).ok();
            let bytes = stored.get(at(self.start(frame))?..at(self.start(frame + 1))?)?;
            let (_, expected) = self.0.get(usize::try_from(frame).ok()?)?;
            (sum(bytes) == *expected).then_some(bytes)
        };
        frames.map(cut).collect::<Option<_>>().ok_or(ReadError::Damaged)
    }

    /// The frames from `first` on in groups of about as many stored bytes as a frame has of the blob, so that many small
    /// ones go together.
    pub(crate) fn groups(&self, first: u64) -> Vec<Range<u64>> {
        let mut groups: Vec<Range<u64>> = Vec::new();
        for frame in first..self.len() {
            match groups.last_mut() {
                Some(group) if self.start(frame + 1) - self.start(group.start) <= FRAME => {
                    group.end = frame + 1;
                }
                _ => groups.push(frame..frame + 1),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_survives_the_disk_and_any_flipped_bit_shows(lens in proptest::collection::vec(1..3000usize, 1..20), flip: usize) {
            let mut table = Table::default();
            lens.iter().for_each(|len| table.push(&vec![7; *len]));
            let size = lens.len() as u64 * FRAME - 5;
            let mut bytes = table.encode();
            prop_assert_eq!(bytes.len() as u64, Table::disk_len(size));
            let decoded = Table::decode(&bytes, size, table.stored());
            prop_assert_eq!(decoded.as_ref(), Some(&table));
            prop_assert_eq!(Table::decode(&bytes, size, table.stored() + 1), None);
            prop_assert_eq!(Table::decode(&bytes, size + FRAME, table.stored()), None);
            let groups = table.groups(0);
            prop_assert_eq!(groups.iter().map(|group| group.end - group.start).sum::<u64>(), table.len());
            let bit = flip % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Table::decode(&bytes, size, table.stored()), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), size: u64) {
            let _ = (Table::decode(&bytes, size, size), inflate(&bytes, size % 1000), is_sound(&bytes), frame_of(&bytes.into()));
        }
    }

    /// What format 3 wrote: a frame of any encoder may be there, but it is to be read for ever.
    #[test]
    fn the_released_format_stays_readable() {
        let mut table = Table::default();
        table.push(b"abc");
        let expected = format!("00000003{}", hex::encode(sum(b"abc")));
        assert_eq!(hex::encode(&table.encode()[..ROW]), expected);
        let frame = hex::decode(GOLDEN).unwrap();
        assert_eq!(inflate(&frame, 300).unwrap(), [b'a'; 300]);
        assert!(matches!(inflate(&frame, 299), Err(ReadError::Damaged)));
        assert!(matches!(inflate(&frame, 301), Err(ReadError::Damaged)));
    }

    const GOLDEN: &str = "28b52ffd642c004d00001061610100272ac002c7cfcfb9";
}
