//! Pins in the index. Families: `pins` (name -> root, times, generation), `pinned` (digest, generation) and `closures`
//! (generation, digest).

use super::{Index, failed, unreadable};
use crate::engine::{
    codec::{decode_held, encode_held, encode_key},
    key::Key,
    pins::{Held, PinName},
};
use cas::Result;
use proto::Digest;
use rocksdb::{Direction, IteratorMode, WriteBatch, WriteOptions};

/// Rows that are cleared in one batch.
const STRIDE: usize = 8192;

impl Index {
    /// All pins.
    pub(crate) fn pins(&self) -> Result<Vec<Held>> {
        let db = self.database.get()?;
        let rows = db.iterator_cf(db.family("pins"), IteratorMode::Start);
        rows.map(|row| {
            let (name, value) = row.map_err(failed)?;
            decode_held(&name, &value).ok_or_else(|| unreadable("a pin"))
        })
        .collect()
    }

    /// Writes a pin down, durably, and with it all rows that were written before.
    pub(crate) fn put_pin(&self, held: &Held) -> Result<()> {
        let mut batch = WriteBatch::default();
        let db = self.database.get()?;
        batch.put_cf(db.family("pins"), held.pin.name.as_str(), encode_held(held));
        db.commit(batch, &synced())
    }

    /// Forgets a pin, durably.
    pub(crate) fn delete_pin(&self, name: &PinName) -> Result<()> {
        let mut batch = WriteBatch::default();
        let db = self.database.get()?;
        batch.delete_cf(db.family("pins"), name.as_str());
        db.commit(batch, &synced())
    }

    /// Adds rows to a closure.
    pub(crate) fn write_closure(&self, generation: u64, digests: &[Digest]) -> Result<()> {
        let mut batch = WriteBatch::default();
        let db = self.database.get()?;
        let generation = generation.to_be_bytes();
        for digest in digests {
            let key = encode_key(&Key::Blob(*digest));
            batch.put_cf(db.family("pinned"), [&key, &generation[..]].concat(), []);
            batch.put_cf(db.family("closures"), [&generation[..], &key].concat(), []);
        }
        db.commit(batch, &WriteOptions::default())
    }

    /// Removes all rows of a closure.
    pub(crate) fn clear_closure(&self, generation: u64) -> Result<()> {
        let generation = generation.to_be_bytes();
        loop {
            let mut batch = WriteBatch::default();
            let db = self.database.get()?;
            let from = IteratorMode::From(&generation, Direction::Forward);
            for row in db.iterator_cf(db.family("closures"), from).take(STRIDE) {
                let (row, _) = row.map_err(failed)?;
                let Some(key) = row.strip_prefix(&generation[..]) else { break };
                batch.delete_cf(db.family("pinned"), [key, &generation[..]].concat());
                batch.delete_cf(db.family("closures"), &row);
            }
            if batch.is_empty() {
                return Ok(());
            }
            db.commit(batch, &WriteOptions::default())?;
        }
    }

    /// Generations that have rows.
    pub(crate) fn generations(&self) -> Result<Vec<u64>> {
        let db = self.database.get()?;
        let mut found = Vec::new();
        let mut next = Some(0_u64);
        while let Some(from) = next {
            let from = from.to_be_bytes();
            let mode = IteratorMode::From(&from, Direction::Forward);
            let Some(row) = db.iterator_cf(db.family("closures"), mode).next() else { break };
            let (row, _) = row.map_err(failed)?;
            let (generation, _) = row.split_first_chunk().ok_or_else(|| unreadable("a closure"))?;
            let generation = u64::from_be_bytes(*generation);
            found.push(generation);
            next = generation.checked_add(1);
        }
        Ok(found)
    }

    /// Generations of closures that something is in.
    pub(crate) fn pinners(&self, key: &Key) -> Result<Vec<u64>> {
        let prefix = encode_key(key);
        let db = self.database.get()?;
        let mut found = Vec::new();
        for row in db.iterator_cf(db.family("pinned"), IteratorMode::From(&prefix, Direction::Forward)) {
            let (row, _) = row.map_err(failed)?;
            let Some(generation) = row.strip_prefix(&prefix[..]) else { break };
            let generation = generation.try_into().map_err(|_| unreadable("a pinned blob"))?;
            found.push(u64::from_be_bytes(generation));
        }
        Ok(found)
    }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
