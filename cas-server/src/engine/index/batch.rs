//! [`Batch`]: the only way to change the index.

use super::{Accounts, Durability, Index, TOTALS, database::InUse, get, recent::Recent};
use crate::engine::{
    codec::{
        Encoding, Entry, Location, SegmentAccount, Totals, encode_age, encode_entry, encode_key,
        encode_segment, encode_totals,
    },
    files::Files,
    key::Key,
    record,
};
use cas::Result;
use proto::Timestamp;
use rocksdb::{WriteBatch, WriteOptions};
use std::{
    collections::{BTreeMap, HashMap},
    sync::MutexGuard,
};

/// One change of the index together with its accounts. What is not written is undone.
pub(super) struct Batch<'a> {
    db: InUse<'a>,
    recent: &'a Recent,
    batch: WriteBatch,
    /// What becomes of entries, in order.
    changes: Vec<(Key, Option<Entry>)>,
    pub(super) accounts: MutexGuard<'a, Accounts>,
    /// What became of values in this batch: several changes of one may meet in it. Those of one blob do not.
    values: HashMap<Key, Option<Entry>>,
    undo: Option<Undo>,
}

/// The accounts before a change, as far as it changes them.
struct Undo {
    totals: Totals,
    segment_bytes: u64,
    segments: BTreeMap<u32, Option<SegmentAccount>>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.accounts.totals = undo.totals;
        self.accounts.segment_bytes = undo.segment_bytes;
        for (id, account) in undo.segments {
            match account {
                Some(account) => self.accounts.segments.insert(id, account),
                None => self.accounts.segments.remove(&id),
            };
        }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn begin(index: &'a Index) -> Result<Self> {
        let accounts = index.accounts();
        let undo = Undo {
            totals: accounts.totals,
            segment_bytes: accounts.segment_bytes,
            segments: BTreeMap::new(),
        };
        let db = index.database.get()?;
        let values = HashMap::new();
        let (recent, batch, changes) = (&index.recent, WriteBatch::default(), Vec::new());
        Ok(Self { db, recent, batch, changes, accounts, values, undo: Some(undo) })
    }

    /// What the index has, with what this batch does to values.
    pub(super) fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        match self.values.get(key) {
            Some(entry) => Ok(*entry),
            None => get(&self.db, key),
        }
    }

    /// Removes what is there.
    pub(super) fn take(&mut self, key: Key) -> Result<Option<(Key, Entry)>> {
        let entry = self.entry(&key)?;
        Ok(entry.map(|entry| {
            self.remove(key, entry);
            (key, entry)
        }))
    }

    fn remember_segment(&mut self, id: u32) {
        if let Some(undo) = &mut self.undo {
            undo.segments.entry(id).or_insert_with(|| self.accounts.segments.get(&id).copied());
        }
    }

    fn segment(&mut self, id: u32) -> &mut SegmentAccount {
        self.remember_segment(id);
        self.accounts.segments.entry(id).or_default()
    }

    pub(super) fn set_len(&mut self, id: u32, len: u64) {
        let before = std::mem::replace(&mut self.segment(id).len, len);
        self.accounts.segment_bytes = self.accounts.segment_bytes + len - before;
    }

    pub(super) fn drop_segment(&mut self, id: u32) {
        self.set_len(id, 0);
        self.accounts.segments.remove(&id);
    }

    pub(super) fn put(&mut self, key: Key, entry: Entry) {
        self.write_entry(key, entry);
        self.accounts.totals.blobs += 1;
        self.add(key, entry);
    }

    pub(super) fn relocate(&mut self, key: Key, entry: Entry, to: Location) {
        let moved = Entry { location: to, ..entry };
        self.write_entry(key, moved);
        self.subtract(key, entry);
        self.add(key, moved);
    }

    pub(super) fn touch(&mut self, key: Key, entry: Entry, touched: Timestamp) {
        self.batch.delete_cf(self.db.family("ages"), encode_age(entry.touched, &encode_key(&key)));
        self.write_entry(key, Entry { touched, ..entry });
    }

    pub(super) fn remove(&mut self, key: Key, entry: Entry) {
        let encoded = encode_key(&key);
        self.batch.delete_cf(self.db.family("blobs"), &encoded);
        self.batch.delete_cf(self.db.family("ages"), encode_age(entry.touched, &encoded));
        if let Location::File(position, _) = entry.location {
            self.batch.put_cf(self.db.family("doomed"), Files::name(&entry.content, position), []);
        }
        self.accounts.totals.blobs = self.accounts.totals.blobs.saturating_sub(1);
        self.subtract(key, entry);
        self.note(key, None);
    }

    fn write_entry(&mut self, key: Key, entry: Entry) {
        let encoded = encode_key(&key);
        self.batch.put_cf(self.db.family("ages"), encode_age(entry.touched, &encoded), []);
        self.batch.put_cf(self.db.family("blobs"), encoded, encode_entry(&key, &entry));
        self.note(key, Some(entry));
    }

    fn note(&mut self, key: Key, entry: Option<Entry>) {
        self.changes.push((key, entry));
        if let Key::Value(_) = key {
            self.values.insert(key, entry);
        }
    }

    fn add(&mut self, key: Key, Entry { content, location, .. }: Entry) {
        match location {
            Location::Packed(position, encoding) => {
                self.segment(position.segment).live += record::packed_len(&key, &content, encoding);
            }
            Location::File(_, encoding) => {
                self.accounts.totals.file_bytes += Files::disk_len(&content, encoding);
            }
        }
        if let Encoding::Zstd(len) = location.encoding() {
            let compressed = &mut self.accounts.totals.compressed;
            compressed.content_bytes = compressed.content_bytes.saturating_add(content.size());
            compressed.stored_bytes = compressed.stored_bytes.saturating_add(len);
        }
    }

    fn subtract(&mut self, key: Key, Entry { content, location, .. }: Entry) {
        let (sum, by) = match location {
            Location::Packed(position, encoding) => {
                (&mut self.segment(position.segment).live, record::packed_len(&key, &content, encoding))
            }
            Location::File(_, encoding) => {
                (&mut self.accounts.totals.file_bytes, Files::disk_len(&content, encoding))
            }
        };
        *sum = sum.saturating_sub(by);
        if let Encoding::Zstd(len) = location.encoding() {
            let compressed = &mut self.accounts.totals.compressed;
            compressed.content_bytes = compressed.content_bytes.saturating_sub(content.size());
            compressed.stored_bytes = compressed.stored_bytes.saturating_sub(len);
        }
    }

    pub(super) fn write(mut self, durability: Durability) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        let segments = self.db.family("segments");
        for id in self.undo.iter().flat_map(|undo| undo.segments.keys()) {
            match self.accounts.segments.get(id) {
                Some(account) => batch.put_cf(segments, id.to_be_bytes(), encode_segment(*account)),
                None => batch.delete_cf(segments, id.to_be_bytes()),
            }
        }
        batch.put(TOTALS, encode_totals(&self.accounts.totals));
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let changing = self.recent.change();
        self.db.commit(batch, &options)?;
        changing.apply(std::mem::take(&mut self.changes));
        self.undo = None;
        Ok(())
    }
}
