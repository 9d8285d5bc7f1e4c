//! [`Batch`]: the only way to change the index.

use super::{Accounts, Durability, Index, TOTALS, database::InUse, get};
use crate::engine::{
    codec::{
        Entry, Location, SegmentAccount, Totals, encode_age, encode_entry, encode_key, encode_segment,
        encode_totals,
    },
    files::Files,
    record,
};
use cas::Result;
use proto::{Digest, Timestamp};
use rocksdb::{WriteBatch, WriteOptions};
use std::{collections::BTreeMap, sync::MutexGuard};

/// One change of the index together with its accounts. What is not written is undone.
pub(super) struct Batch<'a> {
    db: InUse<'a>,
    batch: WriteBatch,
    pub(super) accounts: MutexGuard<'a, Accounts>,
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
        Ok(Self { db, batch: WriteBatch::default(), accounts, undo: Some(undo) })
    }

    /// What the index has, without what this batch does.
    pub(super) fn entry(&self, digest: &Digest) -> Result<Option<Entry>> {
        get(&self.db, digest)
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

    pub(super) fn put(&mut self, digest: Digest, entry: Entry) {
        self.write_entry(digest, entry);
        self.accounts.totals.blobs += 1;
        self.add(digest, entry.location);
    }

    pub(super) fn relocate(&mut self, digest: Digest, entry: Entry, to: Location) {
        self.write_entry(digest, Entry { location: to, ..entry });
        self.subtract(digest, entry.location);
        self.add(digest, to);
    }

    pub(super) fn touch(&mut self, digest: Digest, entry: Entry, touched: Timestamp) {
        self.batch.delete_cf(self.db.family("ages"), encode_age(entry.touched, &encode_key(&digest)));
        self.write_entry(digest, Entry { touched, ..entry });
    }

    pub(super) fn remove(&mut self, digest: Digest, entry: Entry) {
        let key = encode_key(&digest);
        self.batch.delete_cf(self.db.family("blobs"), &key);
        self.batch.delete_cf(self.db.family("ages"), encode_age(entry.touched, &key));
        if let Location::File(position) = entry.location {
            self.batch.put_cf(self.db.family("doomed"), Files::name(&digest, position), []);
        }
        self.accounts.totals.blobs = self.accounts.totals.blobs.saturating_sub(1);
        self.subtract(digest, entry.location);
    }

    fn write_entry(&mut self, digest: Digest, entry: Entry) {
        let key = encode_key(&digest);
        self.batch.put_cf(self.db.family("ages"), encode_age(entry.touched, &key), []);
        self.batch.put_cf(self.db.family("blobs"), key, encode_entry(&entry));
    }

    fn add(&mut self, digest: Digest, location: Location) {
        match location {
            Location::Packed(position) => self.segment(position.segment).live += record::packed_len(&digest),
            Location::File(_) => self.accounts.totals.file_bytes += Files::disk_len(&digest),
        }
    }

    fn subtract(&mut self, digest: Digest, location: Location) {
        let (sum, by) = match location {
            Location::Packed(position) => {
                (&mut self.segment(position.segment).live, record::packed_len(&digest))
            }
            Location::File(_) => (&mut self.accounts.totals.file_bytes, Files::disk_len(&digest)),
        };
        *sum = sum.saturating_sub(by);
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
        self.db.commit(batch, &options)?;
        self.undo = None;
        Ok(())
    }
}
