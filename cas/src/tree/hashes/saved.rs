//! The file of a hash cache, used as it was read: nothing is made of its records but a list of where they begin.
//!
//! A line that names the format; the records, in the order of path and function, each: length of the path (`u16`), path, age (`u8`), number of the function
//! (`u8`), size, inode, device, mtime and ctime (`u64`, the times `i64`), hash; the BLAKE3 hash of all that. Little-endian.

use super::{Key, Record, Stamp};
use proto::{Digest, DigestFunction, RelPath};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

/// Changes with the format, so that other versions' files count as foreign.
const MAGIC: &[u8] = b"isoswarm-hashes-2\n";

/// Checksum of all before it, at the end of the file.
const CHECKSUM: DigestFunction = DigestFunction::Blake3;

/// A digest that nobody asked for in this many saves is forgotten.
const MAX_AGE: u8 = 30;

/// Bytes of a record beside its path and its hash.
const FIXED: usize = 2 + 1 + 1 + 5 * 8;

#[derive(Debug, Default)]
pub(super) struct Saved {
    bytes: Vec<u8>,
    records: Vec<Place>,
}

/// Where somebody found a record last. Whoever asks in the order of paths finds the next one right behind it.
#[derive(Debug, Default)]
pub(in crate::tree) struct Cursor(usize);

/// A record in the bytes.
#[derive(Debug)]
struct Place {
    at: usize,
    /// Whether somebody asked for it.
    used: AtomicBool,
}

/// A record as it stands in the bytes.
struct Raw<'a> {
    path: &'a [u8],
    age: u8,
    function: DigestFunction,
    numbers: &'a [u8; 5 * 8],
    hash: &'a [u8],
}

impl Saved {
    /// `None`: the bytes are not what was saved.
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM.hash_len())?)?;
        if CHECKSUM.digest(body).hash() != checksum {
            return None;
        }
        let mut rest = Reader(body.strip_prefix(MAGIC)?);
        // About as many as there are: a record with a path of 60 bytes and a hash of 32.
        let about = body.len() / (FIXED + 92);
        let mut records = Vec::with_capacity(about);
        while !rest.0.is_empty() {
            let at = body.len() - rest.0.len();
            rest.record()?;
            records.push(Place { at, used: AtomicBool::new(false) });
        }
        Some(Self { bytes, records })
    }

    /// What stands at `at`. `None` behind the last one.
    fn raw(&self, at: usize) -> Option<Raw<'_>> {
        Reader(self.bytes.get(self.records.get(at)?.at..)?).record()
    }

    pub(super) fn get(
        &self,
        function: DigestFunction,
        path: &RelPath,
        cursor: &mut Cursor,
    ) -> Option<Record> {
        let wanted = (path.as_str().as_bytes(), function.number());
        let is_at = |at: usize| self.raw(at).filter(|raw| raw.key() == wanted);
        let (at, raw) = match is_at(cursor.0) {
            Some(raw) => (cursor.0, raw),
            None => {
                let before = |at: usize| self.raw(at).is_some_and(|raw| raw.key() < wanted);
                let at = partition_point(self.records.len(), before);
                (at, is_at(at)?)
            }
        };
        cursor.0 = at + 1;
        self.records[at].used.store(true, Ordering::Relaxed);
        raw.parsed()
    }

    /// The bytes of a file with these records and `fresh` ones, which win. Forgets what was not used for long, makes what
    /// was not used one save older.
    pub(super) fn with(&self, fresh: &BTreeMap<Key, Record>) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.reserve(self.bytes.len() + fresh.len() * (FIXED + 92));
        let mut fresh = fresh.iter().map(Fresh::new).peekable();
        for (place, raw) in
            self.records.iter().enumerate().filter_map(|(at, place)| Some((place, self.raw(at)?)))
        {
            while let Some(new) = fresh.next_if(|new| new.raw().key() < raw.key()) {
                new.raw().write(&mut bytes);
            }
            let age = if place.used.load(Ordering::Relaxed) { 0 } else { raw.age.saturating_add(1) };
            let is_replaced = fresh.peek().is_some_and(|new| new.raw().key() == raw.key());
            if age < MAX_AGE && !is_replaced {
                Raw { age, ..raw }.write(&mut bytes);
            }
        }
        fresh.for_each(|new| new.raw().write(&mut bytes));
        let checksum = CHECKSUM.digest(&bytes);
        bytes.extend_from_slice(checksum.hash());
        bytes
    }
}

/// The first number below `count` that nothing comes `before`, as among what is sorted.
fn partition_point(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from.midpoint(to);
        if before(middle) { from = middle + 1 } else { to = middle }
    }
    from
}

/// A record that is not in any file yet.
struct Fresh<'a> {
    key: &'a Key,
    digest: &'a Digest,
    numbers: [u8; 5 * 8],
}

impl<'a> Fresh<'a> {
    fn new((key, Record { stamp, digest }): (&'a Key, &'a Record)) -> Self {
        let mut numbers = [0; 5 * 8];
        let (mtime, ctime) = (stamp.mtime.cast_unsigned(), stamp.ctime.cast_unsigned());
        let each = [stamp.size, stamp.inode, stamp.device, mtime, ctime];
        for (into, number) in numbers.chunks_exact_mut(8).zip(each) {
            into.copy_from_slice(&number.to_le_bytes());
        }
        Self { key, digest, numbers }
    }

    fn raw(&self) -> Raw<'_> {
        let (path, function) = self.key;
        let (path, hash) = (path.as_str().as_bytes(), self.digest.hash());
        Raw { path, age: 0, function: *function, numbers: &self.numbers, hash }
    }
}

impl Raw<'_> {
    /// What the records are sorted by.
    fn key(&self) -> (&[u8], u8) {
        (self.path, self.function.number())
    }

    fn parsed(&self) -> Option<Record> {
        let (numbers, _) = self.numbers.as_chunks::<8>();
        let number = |at: usize| u64::from_le_bytes(numbers[at]);
        let stamp = Stamp {
            size: number(0),
            inode: number(1),
            device: number(2),
            mtime: number(3).cast_signed(),
            ctime: number(4).cast_signed(),
        };
        let digest = Digest::new(self.function, self.hash, stamp.size).ok()?;
        Some(Record { stamp, digest })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        // Paths are far shorter than this: the kernel takes 4096 bytes.
        bytes.extend_from_slice(&(self.path.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.path);
        bytes.extend_from_slice(&[self.age, self.function.number()]);
        bytes.extend_from_slice(self.numbers);
        bytes.extend_from_slice(self.hash);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn record(&mut self) -> Option<Raw<'a>> {
        let length = u16::from_le_bytes(*self.array()?);
        let path = self.take(length.into())?;
        let [age, function] = *self.array()?;
        let function = DigestFunction::from_number(function.into())?;
        Some(Raw { path, age, function, numbers: self.array()?, hash: self.take(function.hash_len())? })
    }
}
