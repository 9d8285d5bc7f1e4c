//! The file of a hash cache, used as it was read: nothing is made of its records but an index.
//!
//! A line that names the format; the records, each: length of the path (`u16`), path, age (`u8`), number of the function
//! (`u8`), size, inode, device, mtime and ctime (`u64`, the times `i64`), hash; the BLAKE3 hash of all that. Little-endian.

use super::{Key, Record, Stamp};
use proto::{Digest, DigestFunction, RelPath};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};
use twox_hash::XxHash3_64;

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
    /// By the hash of function and path. Of two that collide, one is unknown.
    index: HashMap<u64, usize>,
    records: Vec<Place>,
}

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

fn key(function: DigestFunction, path: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(u64::from(function.number()), path)
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
        let (mut index, mut records) = (HashMap::with_capacity(about), Vec::with_capacity(about));
        while !rest.0.is_empty() {
            let at = body.len() - rest.0.len();
            let raw = rest.record()?;
            index.insert(key(raw.function, raw.path), records.len());
            records.push(Place { at, used: AtomicBool::new(false) });
        }
        Some(Self { bytes, index, records })
    }

    fn raw(&self, place: &Place) -> Option<Raw<'_>> {
        Reader(&self.bytes[place.at..]).record()
    }

    pub(super) fn get(&self, function: DigestFunction, path: &RelPath) -> Option<Record> {
        let place = &self.records[*self.index.get(&key(function, path.as_str().as_bytes()))?];
        let raw = self.raw(place)?;
        if (raw.function, raw.path) != (function, path.as_str().as_bytes()) {
            return None;
        }
        place.used.store(true, Ordering::Relaxed);
        raw.parsed()
    }

    /// The bytes of a file with these records and `fresh` ones, which win. Forgets what was not used for long, makes what
    /// was not used one save older.
    pub(super) fn with(&self, fresh: &HashMap<Key, Record>) -> Vec<u8> {
        let replaced: std::collections::HashSet<u64> =
            fresh.keys().map(|(function, path)| key(*function, path.as_str().as_bytes())).collect();
        let mut bytes = MAGIC.to_vec();
        bytes.reserve(self.bytes.len() + fresh.len() * (FIXED + 92));
        for raw in self.records.iter().filter_map(|place| {
            let raw = self.raw(place)?;
            let age = if place.used.load(Ordering::Relaxed) { 0 } else { raw.age.saturating_add(1) };
            Some(Raw { age, ..raw })
        }) {
            if raw.age < MAX_AGE && !replaced.contains(&key(raw.function, raw.path)) {
                raw.write(&mut bytes);
            }
        }
        for ((function, path), Record { stamp, digest }) in fresh {
            let mut numbers = [0; 5 * 8];
            let each = [
                stamp.size,
                stamp.inode,
                stamp.device,
                stamp.mtime.cast_unsigned(),
                stamp.ctime.cast_unsigned(),
            ];
            for (into, number) in numbers.chunks_exact_mut(8).zip(each) {
                into.copy_from_slice(&number.to_le_bytes());
            }
            let path = path.as_str().as_bytes();
            Raw { path, age: 0, function: *function, numbers: &numbers, hash: digest.hash() }
                .write(&mut bytes);
        }
        let checksum = CHECKSUM.digest(&bytes);
        bytes.extend_from_slice(checksum.hash());
        bytes
    }
}

impl Raw<'_> {
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
