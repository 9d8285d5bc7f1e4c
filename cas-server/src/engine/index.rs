//! The index in RocksDB: the one truth about what is stored and where.
//!
//! Column families: `blobs` (digest -> location, last touch), `ages` (last touch, digest), `segments` (bytes and live
//! bytes of each), `doomed` (names of files whose entries are gone; they are deleted when the entry's end is durable).
//! All changes go through one lock and one [`batch`] each, so that the accounts always agree with the entries. Calls block.

mod batch;
mod database;

use self::{
    batch::Batch,
    database::{Database, InUse, failed},
};
use super::{
    codec::{
        Entry, Location, Position, SegmentAccount, Totals, decode_age, decode_entry, decode_key,
        decode_segment, decode_totals, encode_key, key_prefix,
    },
    options::OpenError,
};
use cas::{Error, Result};
use proto::{Digest, DigestFunction, Timestamp};
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

const FAMILIES: [&str; 4] = ["blobs", "ages", "segments", "doomed"];
const TOTALS: &[u8] = b"totals";

/// Whether a change must be on the disk when the call returns. What is not is there after the death of the process,
/// and after that of the machine the log brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    Unsynced,
}

/// A blob that the log has and the index is to learn of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// The index has no entry for it.
    New { digest: Digest, location: Location },
    /// It was copied; if the index still has it at `from`, it is at `to` now.
    Moved { digest: Digest, from: Location, to: Location },
}

/// Sums over the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) totals: Totals,
    pub(crate) segments: BTreeMap<u32, SegmentAccount>,
    /// Sum of their lengths.
    pub(crate) segment_bytes: u64,
}

/// The open index.
#[derive(Debug)]
pub(crate) struct Index {
    database: Database,
    accounts: Mutex<Accounts>,
}

impl Index {
    /// Opens it, making it if need be.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let refuse = |error: Error| match error {
            Error::Exhausted { .. } => OpenError::Full { path: dir.to_owned() },
            other => OpenError::Index { path: dir.to_owned(), reason: other.to_string() },
        };
        let database = Database::open(dir).map_err(refuse)?;
        let accounts = database.get().and_then(|db| load(&db)).map_err(refuse)?;
        Ok(Self { database, accounts: Mutex::new(accounts) })
    }

    /// Opens the database anew if it has failed to write and there is space for it now. To be called now and then.
    pub(crate) fn heal(&self, free: u64) -> Result<()> {
        if !self.database.needs_reopening(free) {
            return Ok(());
        }
        // Changes begin with this lock: none is under way.
        let mut accounts = self.accounts();
        self.database.reopen()?;
        *accounts = load(&self.database.get()?)?;
        tracing::info!("the index takes changes again");
        Ok(())
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums as they are now.
    pub(crate) fn sums(&self) -> Accounts {
        self.accounts().clone()
    }

    /// Entries and bytes on disk.
    pub(crate) fn used(&self) -> (u64, u64) {
        let accounts = self.accounts();
        let (blobs, bytes) = (accounts.totals.blobs, accounts.totals.file_bytes + accounts.segment_bytes);
        drop(accounts);
        let Ok(db) = self.database.get() else { return (blobs, bytes) };
        let own = |name| db.property_int_value_cf(db.family(name), "rocksdb.total-sst-files-size");
        (blobs, bytes + FAMILIES.into_iter().filter_map(|name| own(name).ok().flatten()).sum::<u64>())
    }

    /// What is known about these, in the order given.
    pub(crate) fn get(&self, digests: &[Digest]) -> Result<Vec<Option<Entry>>> {
        let keys: Vec<_> = digests.iter().map(encode_key).collect();
        let db = self.database.get()?;
        let values = db.batched_multi_get_cf(db.family("blobs"), &keys, false);
        values
            .into_iter()
            .map(|value| Ok(value.map_err(failed)?.and_then(|value| decode_entry(&value))))
            .collect()
    }

    /// The blob of this hash, whatever its size.
    pub(crate) fn find_hash(&self, function: DigestFunction, hash: &[u8]) -> Result<Option<Digest>> {
        let prefix = key_prefix(function, hash);
        let from = IteratorMode::From(&prefix, Direction::Forward);
        let db = self.database.get()?;
        let Some(item) = db.iterator_cf(db.family("blobs"), from).next() else { return Ok(None) };
        let (key, _) = item.map_err(failed)?;
        Ok(key.starts_with(&prefix).then(|| decode_key(&key)).flatten())
    }

    /// Takes in what the log has up to `end`. `lens` are the lengths of the segments that grew.
    pub(crate) fn commit(
        &self,
        changes: &[Change],
        lens: &BTreeMap<u32, u64>,
        end: Position,
        now: Timestamp,
    ) -> Result<()> {
        let mut batch = Batch::begin(self)?;
        for change in changes {
            match *change {
                Change::New { digest, location } => batch.put(digest, Entry { location, touched: now }),
                Change::Moved { digest, from, to } => {
                    let entry = batch.entry(&digest)?;
                    if let Some(entry) = entry.filter(|entry| entry.location == from) {
                        batch.relocate(digest, entry, to);
                    }
                }
            }
        }
        for (&segment, &len) in lens {
            batch.set_len(segment, len);
        }
        batch.accounts.totals.position = end;
        batch.write(Durability::Unsynced)
    }

    /// Writes down that these were used.
    pub(crate) fn touch(&self, touches: impl IntoIterator<Item = (Digest, Timestamp)>) -> Result<()> {
        let mut batch = Batch::begin(self)?;
        for (digest, touched) in touches {
            if let Some(entry) = batch.entry(&digest)?.filter(|entry| entry.touched < touched) {
                batch.touch(digest, entry, touched);
            }
        }
        batch.write(Durability::Unsynced)
    }

    /// Those that were used least recently and before `before`, the oldest first, until `enough` says so.
    pub(crate) fn oldest(
        &self,
        before: Timestamp,
        mut enough: impl FnMut(&Digest, &Entry) -> bool,
    ) -> Result<Vec<(Digest, Entry)>> {
        let mut found = Vec::new();
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(before.as_micros().to_be_bytes());
        let db = self.database.get()?;
        for item in db.iterator_cf_opt(db.family("ages"), options, IteratorMode::Start) {
            let (age, _) = item.map_err(failed)?;
            let (_, digest) = decode_age(&age).ok_or_else(|| unreadable("an age"))?;
            let entry = get(&db, &digest)?.ok_or_else(|| unreadable("an age without an entry"))?;
            let last = enough(&digest, &entry);
            found.push((digest, entry));
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// Forgets blobs, if they still are where they are said to be. Gives those that it forgot; their files are doomed.
    pub(crate) fn remove(
        &self,
        blobs: &[(Digest, Location)],
        durability: Durability,
    ) -> Result<Vec<(Digest, Entry)>> {
        let mut batch = Batch::begin(self)?;
        let mut removed = Vec::new();
        for &(digest, location) in blobs {
            if let Some(entry) = batch.entry(&digest)?.filter(|entry| entry.location == location) {
                batch.remove(digest, entry);
                removed.push((digest, entry));
            }
        }
        batch.write(durability)?;
        Ok(removed)
    }

    /// What the index has in a segment. Looks at every entry: only for when the segment itself does not tell.
    pub(crate) fn inhabitants(&self, id: u32) -> Result<Vec<(Digest, Location)>> {
        let mut found = Vec::new();
        let db = self.database.get()?;
        for item in db.iterator_cf(db.family("blobs"), IteratorMode::Start) {
            let (key, value) = item.map_err(failed)?;
            let (Some(digest), Some(entry)) = (decode_key(&key), decode_entry(&value)) else { continue };
            if matches!(entry.location, Location::Packed(position) if position.segment == id) {
                found.push((digest, entry.location));
            }
        }
        Ok(found)
    }

    /// Forgets a segment, durably: its file may go now.
    pub(crate) fn remove_segment(&self, id: u32) -> Result<()> {
        let mut batch = Batch::begin(self)?;
        batch.drop_segment(id);
        batch.write(Durability::Synced)
    }

    /// Names of the files to delete.
    pub(crate) fn doomed(&self) -> Result<Vec<String>> {
        let db = self.database.get()?;
        let names = db.iterator_cf(db.family("doomed"), IteratorMode::Start);
        names.map(|item| Ok(String::from_utf8_lossy(&item.map_err(failed)?.0).into_owned())).collect()
    }

    /// Forgets the names of files that were deleted.
    pub(crate) fn pardon(&self, names: &[String]) -> Result<()> {
        let mut batch = WriteBatch::default();
        let db = self.database.get()?;
        names.iter().for_each(|name| batch.delete_cf(db.family("doomed"), name));
        db.commit(batch, &WriteOptions::default())
    }

    /// Fails if the index takes no changes.
    pub(crate) fn probe(&self) -> Result<()> {
        Batch::begin(self)?.write(Durability::Unsynced)
    }

    /// Makes everything that was written durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.database.get()?.sync()
    }
}

fn load(db: &InUse<'_>) -> Result<Accounts> {
    let totals = match db.get(TOTALS).map_err(failed)? {
        Some(value) => decode_totals(&value).ok_or_else(|| unreadable("totals"))?,
        None => Totals::default(),
    };
    let mut segments = BTreeMap::new();
    for item in db.iterator_cf(db.family("segments"), IteratorMode::Start) {
        let (key, value) = item.map_err(failed)?;
        let id = key.as_ref().try_into().map(u32::from_be_bytes).map_err(|_| unreadable("a segment"))?;
        segments.insert(id, decode_segment(&value).ok_or_else(|| unreadable("a segment"))?);
    }
    let segment_bytes = segments.values().map(|segment: &SegmentAccount| segment.len).sum();
    Ok(Accounts { totals, segments, segment_bytes })
}

fn get(db: &InUse<'_>, digest: &Digest) -> Result<Option<Entry>> {
    let value = db.get_pinned_cf(db.family("blobs"), encode_key(digest)).map_err(failed)?;
    Ok(value.and_then(|value| decode_entry(&value)))
}

fn unreadable(what: &str) -> Error {
    Error::Internal { reason: format!("index: {what} makes no sense") }
}
