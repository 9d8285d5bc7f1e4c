//! Records on their way into the segment that grows, without a copy of what they are about.

use super::record::Header;
use bytes::Bytes;
use rustix::io::{Errno, pwritev};
use std::{
    fs::File,
    io::{self, IoSlice},
    ops::Range,
};

/// A shorter payload is copied behind its header: that costs less than a part of its own.
const COPIED: usize = 512;

/// Parts that the system takes in one call (`IOV_MAX`).
const PARTS: usize = 1024;

/// Records, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Headers, and short payloads.
    copied: Vec<u8>,
    /// Longer payloads, each with the bytes of `copied` that come before it.
    shared: Vec<(Range<usize>, Bytes)>,
    len: u64,
}

impl Tail {
    /// Bytes of all records.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, header: &Header, payload: Bytes) {
        header.write(&mut self.copied);
        self.len += header.len() + payload.len() as u64;
        if payload.len() < COPIED {
            self.copied.extend_from_slice(&payload);
        } else {
            self.shared.push((self.placed()..self.copied.len(), payload));
        }
    }

    /// Bytes of `copied` that come before some payload.
    fn placed(&self) -> usize {
        self.shared.last().map_or(0, |(before, _)| before.end)
    }

    /// Writes all of them to a file, from `at` on.
    pub(crate) fn write(&self, file: &File, mut at: u64) -> io::Result<()> {
        let shared = self.shared.iter().flat_map(|(before, payload)| [&self.copied[before.clone()], payload]);
        let parts = shared.chain([&self.copied[self.placed()..]]);
        let mut parts: Vec<_> = parts.filter(|part| !part.is_empty()).map(IoSlice::new).collect();
        let mut rest = &mut parts[..];
        while !rest.is_empty() {
            let most = rest.len().min(PARTS);
            match pwritev(file, &rest[..most], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{codec::Encoding, record::Form};
    use proptest::prelude::*;
    use proto::DigestFunction;
    use std::os::unix::fs::FileExt as _;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn records_lie_one_behind_the_other(sizes in proptest::collection::vec(0..2000usize, 0..2000), at in 0..5000u64) {
            let (mut tail, mut expected) = (Tail::default(), Vec::new());
            for (number, size) in sizes.into_iter().enumerate() {
                let payload = vec![u8::try_from(number % 251).unwrap(); size];
                let digest = DigestFunction::Blake3.digest(&payload);
                let header = Header::blob(Form::Packed, digest, Encoding::Plain);
                header.write(&mut expected);
                expected.extend_from_slice(&payload);
                tail.push(&header, payload.into());
                prop_assert_eq!(tail.len(), expected.len() as u64);
            }
            let file = tempfile::tempfile().unwrap();
            tail.write(&file, at).unwrap();
            let mut written = vec![0; expected.len()];
            file.read_exact_at(&mut written, at).unwrap();
            prop_assert!(written == expected);
            prop_assert_eq!(file.metadata().unwrap().len(), if expected.is_empty() { 0 } else { at + expected.len() as u64 });
        }
    }
}
