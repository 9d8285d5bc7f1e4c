//! The index in RocksDB: the one truth about what is stored and where.
//!
//! Column families: `blobs` (digest or value's name -> location, last touch), `ages` (last touch, the same), `segments` (bytes and live
//! bytes of each), `doomed` (names of files whose entries are gone; they are deleted when the entry's end is durable),
//! and three for pins.
//! All changes go through one lock and one [`batch`] each, so that the accounts always agree with the entries. Calls block.

mod batch;
mod database;
mod pins;
mod recent;

use self::{
    batch::Batch,
    database::{Database, InUse, failed},
    recent::Recent,
};
use super::{
    codec::{
        Compressed, Entry, Location, Position, SegmentAccount, Totals, decode_age, decode_entry, decode_key,
        decode_segment, decode_totals, encode_key, key_prefix,
    },
    key::{Key, ValueKey},
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

const FAMILIES: [&str; 7] = ["blobs", "ages", "segments", "doomed", "pins", "pinned", "closures"];
const TOTALS: &[u8] = b"totals";

/// Entries that are read in one go to be kept in memory.
const WARM_AT_A_TIME: usize = 1024;
/// Times that changes may come in between.
const MAX_REFUSED: usize = 10_000;

/// Whether a change must be on the disk when the call returns. What is not is there after the death of the process,
/// and after that of the machine the log brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    Unsynced,
}

/// What the log has and the index is to learn of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// A blob that the index has no entry for.
    New { digest: Digest, location: Location },
    /// A value that is new, or takes the place of what it was.
    Put { key: ValueKey, content: Digest, location: Location },
    /// A value that is no more.
    Deleted { key: ValueKey },
    /// It was copied; if the index still has it at `from`, it is at `to` now.
    Moved { key: Key, from: Location, to: Location },
}

impl Change {
    fn key(&self) -> Key {
        match *self {
            Self::New { digest, .. } => digest.into(),
            Self::Put { key, .. } | Self::Deleted { key } => key.into(),
            Self::Moved { key, .. } => key,
        }
    }
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
    recent: Recent,
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
        let recent = Recent::new(accounts.totals.blobs == 0);
        Ok(Self { database, recent, accounts: Mutex::new(accounts) })
    }

    /// Opens the database anew if it has failed to write and there is space for it now. To be called now and then.
    pub(crate) fn heal(&self, free: u64) -> Result<()> {
        if !self.database.needs_reopening(free) {
            return Ok(());
        }
        // Changes begin with this lock: none is under way.
        let mut accounts = self.accounts();
        let changing = self.recent.change();
        self.database.reopen()?;
        drop(changing);
        *accounts = load(&self.database.get()?)?;
        tracing::info!("the index takes changes again");
        Ok(())
    }

    /// Why it gives and takes nothing at the moment.
    pub(crate) fn check(&self) -> Result<()> {
        self.database.check()
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums as they are now.
    pub(crate) fn sums(&self) -> Accounts {
        self.accounts().clone()
    }

    /// The sums over compressed blobs.
    pub(crate) fn compressed(&self) -> Compressed {
        self.accounts().totals.compressed
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
    pub(crate) fn get<K: Copy + Into<Key>>(&self, keys: &[K]) -> Result<Vec<Option<Entry>>> {
        let moment = self.recent.now();
        let mut unknown = Vec::new();
        let mut remember = |(place, key): (usize, &K)| {
            let key = (*key).into();
            self.recent.get(&key).unwrap_or_else(|| {
                unknown.push((place, key));
                None
            })
        };
        let mut entries: Vec<_> = keys.iter().enumerate().map(&mut remember).collect();
        if !unknown.is_empty() {
            let found = self.get_stored(unknown.iter().map(|(_, key)| key))?;
            for (&(place, _), entry) in unknown.iter().zip(&found) {
                entries[place] = *entry;
            }
            let found = unknown.iter().zip(found).filter_map(|((_, key), entry)| Some((*key, entry?)));
            self.recent.learn(moment, found);
        }
        Ok(entries)
    }

    /// The same from memory, if all of it is there.
    pub(crate) fn recall<K: Copy + Into<Key>>(&self, keys: &[K]) -> Option<Vec<Option<Entry>>> {
        keys.iter().map(|key| self.recent.get(&(*key).into())).collect()
    }

    fn get_stored<'a>(&self, keys: impl Iterator<Item = &'a Key> + Clone) -> Result<Vec<Option<Entry>>> {
        let encoded: Vec<_> = keys.clone().map(encode_key).collect();
        let db = self.database.get()?;
        let values = db.batched_multi_get_cf(db.family("blobs"), &encoded, false);
        let found = keys.zip(values);
        found
            .map(|(key, value)| Ok(value.map_err(failed)?.and_then(|value| decode_entry(key, &value))))
            .collect()
    }

    /// Takes all entries into memory if there are not too many, so that look-ups ask the database nothing. Ends early
    /// when `stop` says so. Beside very many changes it gives up, which costs nothing but time later.
    pub(crate) fn warm(&self, stop: impl Fn() -> bool) -> Result<()> {
        if self.accounts().totals.blobs > recent::CAPACITY {
            return Ok(());
        }
        if !self.recent.begin_learning() {
            return Ok(());
        }
        let read = self.learn_all(stop);
        self.recent.stop_learning();
        read
    }

    fn learn_all(&self, stop: impl Fn() -> bool) -> Result<()> {
        let mut last = None;
        let mut refused = 0;
        while self.recent.is_learning() && refused < MAX_REFUSED && !stop() {
            let moment = self.recent.now();
            let entries = self.entries(last.as_ref(), WARM_AT_A_TIME)?;
            if !self.recent.learn(moment, entries.iter().copied()) {
                refused += 1;
                continue;
            }
            last = entries.last().map(|(key, _)| *key);
            if entries.len() < WARM_AT_A_TIME {
                self.recent.end_learning();
            }
        }
        Ok(())
    }

    /// The blob of this hash, whatever its size, if memory tells.
    pub(crate) fn recall_hash(&self, function: DigestFunction, hash: &[u8]) -> Option<Option<Digest>> {
        self.recent.find_hash(function, hash)
    }

    /// The same from the database.
    pub(crate) fn find_hash(&self, function: DigestFunction, hash: &[u8]) -> Result<Option<Digest>> {
        let prefix = key_prefix(function, hash);
        let from = IteratorMode::From(&prefix, Direction::Forward);
        let db = self.database.get()?;
        let Some(item) = db.iterator_cf(db.family("blobs"), from).next() else { return Ok(None) };
        let (key, _) = item.map_err(failed)?;
        match decode_key(&key) {
            Some(Key::Blob(digest)) if key.starts_with(&prefix) => Ok(Some(digest)),
            _ => Ok(None),
        }
    }

    /// Takes in what the log has up to `end`. `lens` are the lengths of the segments that grew. Gives what values were
    /// before; their files are doomed.
    pub(crate) fn commit(
        &self,
        changes: &[Change],
        lens: &BTreeMap<u32, u64>,
        end: Position,
        now: Timestamp,
    ) -> Result<Vec<(Key, Entry)>> {
        let mut batch = Batch::begin(self)?;
        let mut replaced = Vec::new();
        // In the order of the keys the database finds their places faster. The changes of one key stay in order.
        let mut sorted: Vec<&Change> = changes.iter().collect();
        sorted.sort_by_key(|change| change.key());
        for change in sorted {
            match *change {
                Change::New { digest, location } => {
                    batch.put(digest.into(), Entry { content: digest, location, touched: now });
                }
                Change::Put { key, content, location } => {
                    replaced.extend(batch.take(key.into())?);
                    batch.put(key.into(), Entry { content, location, touched: now });
                }
                Change::Deleted { key } => replaced.extend(batch.take(key.into())?),
                Change::Moved { key, from, to } => {
                    let entry = batch.entry(&key)?;
                    if let Some(entry) = entry.filter(|entry| entry.location == from) {
                        batch.relocate(key, entry, to);
                    }
                }
            }
        }
        for (&segment, &len) in lens {
            batch.set_len(segment, len);
        }
        batch.accounts.totals.position = end;
        batch.write(Durability::Unsynced)?;
        Ok(replaced)
    }

    /// Writes down that these were used.
    pub(crate) fn touch(&self, touches: impl IntoIterator<Item = (Key, Timestamp)>) -> Result<()> {
        let mut batch = Batch::begin(self)?;
        for (key, touched) in touches {
            if let Some(entry) = batch.entry(&key)?.filter(|entry| entry.touched < touched) {
                batch.touch(key, entry, touched);
            }
        }
        batch.write(Durability::Unsynced)
    }

    /// Those that were used least recently and before `before`, the oldest first, until `enough` says so.
    pub(crate) fn oldest(
        &self,
        before: Timestamp,
        mut enough: impl FnMut(&Key, &Entry) -> bool,
    ) -> Result<Vec<(Key, Entry)>> {
        let mut found = Vec::new();
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(before.as_micros().to_be_bytes());
        let db = self.database.get()?;
        for item in db.iterator_cf_opt(db.family("ages"), options, IteratorMode::Start) {
            let (age, _) = item.map_err(failed)?;
            let (_, key) = decode_age(&age).ok_or_else(|| unreadable("an age"))?;
            let entry = get(&db, &key)?.ok_or_else(|| unreadable("an age without an entry"))?;
            let last = enough(&key, &entry);
            found.push((key, entry));
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// Forgets what still is where it is said to be. Gives what it forgot; their files are doomed.
    pub(crate) fn remove<K: Copy + Into<Key>>(
        &self,
        victims: &[(K, Location)],
        durability: Durability,
    ) -> Result<Vec<(Key, Entry)>> {
        let mut batch = Batch::begin(self)?;
        let mut removed = Vec::new();
        for &(key, location) in victims {
            let key = key.into();
            if let Some(entry) = batch.entry(&key)?.filter(|entry| entry.location == location) {
                batch.remove(key, entry);
                removed.push((key, entry));
            }
        }
        batch.write(durability)?;
        Ok(removed)
    }

    /// The entries behind `after`, in the order of their keys.
    pub(crate) fn entries(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Entry)>> {
        let after = after.map(encode_key);
        let mode =
            after.as_deref().map_or(IteratorMode::Start, |key| IteratorMode::From(key, Direction::Forward));
        let mut found = Vec::new();
        let db = self.database.get()?;
        for item in db.iterator_cf(db.family("blobs"), mode) {
            let (encoded, value) = item.map_err(failed)?;
            if after.as_deref() == Some(&encoded) {
                continue;
            }
            let key = decode_key(&encoded).ok_or_else(|| unreadable("a key"))?;
            let entry = decode_entry(&key, &value).ok_or_else(|| unreadable("an entry"))?;
            found.push((key, entry));
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// What the index has in a segment. Looks at every entry: only for when the segment itself does not tell.
    pub(crate) fn inhabitants(&self, id: u32) -> Result<Vec<(Key, Location)>> {
        let mut found = Vec::new();
        let db = self.database.get()?;
        for item in db.iterator_cf(db.family("blobs"), IteratorMode::Start) {
            let (key, value) = item.map_err(failed)?;
            let Some(key) = decode_key(&key) else { continue };
            let Some(entry) = decode_entry(&key, &value) else { continue };
            if matches!(entry.location, Location::Packed(position, _) if position.segment == id) {
                found.push((key, entry.location));
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

    /// Before the index is closed: makes everything that was written durable, and leaves no log that the next
    /// opening would have to read.
    pub(crate) fn settle(&self) -> Result<()> {
        self.database.get()?.settle()
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

fn get(db: &InUse<'_>, key: &Key) -> Result<Option<Entry>> {
    let value = db.get_pinned_cf(db.family("blobs"), encode_key(key)).map_err(failed)?;
    Ok(value.and_then(|value| decode_entry(key, &value)))
}

fn unreadable(what: &str) -> Error {
    Error::Internal { reason: format!("index: {what} makes no sense") }
}
