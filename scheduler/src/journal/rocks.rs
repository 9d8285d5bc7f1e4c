//! RocksDB underneath: records by sequence number, output by attempt and offset.

use super::{AttemptKey, Damage, Group, Journal, JournalError, Place, Take, replay::HOLE};
use bytes::{Bytes, BytesMut};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, DBRecoveryMode, Options, WriteBatch,
    WriteOptions,
};
use std::path::Path;

const RECORDS: &str = "records";
const OUTPUT: &str = "output";

/// As much as a small group commit, so that the last free bytes of a disk are not taken for room.
const PROBE_BYTES: usize = 64 << 10;

/// An open journal in a directory of its own, which RocksDB locks.
#[derive(Debug)]
pub(crate) struct RocksJournal {
    db: DB,
    place: Place,
}

impl RocksJournal {
    /// Opens the journal in `dir`, or starts one.
    pub(crate) fn open(dir: &Path) -> Result<Self, JournalError> {
        let place = Place::in_directory(dir);
        std::fs::create_dir_all(dir).map_err(|error| failure(&place, &error.to_string()))?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // A record that was cut off by a crash was never acknowledged. Damage before the end is an error.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_total_wal_size(64 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_open_files(256);
        let families = [("default", 1), (RECORDS, 8), (OUTPUT, 16)].map(|(name, mebibytes)| {
            let mut options = Options::default();
            options.set_write_buffer_size(mebibytes << 20);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = DB::open_cf_descriptors(&options, dir, families)
            .map_err(|error| failure(&place, error.as_ref()))?;
        Ok(Self { db, place })
    }

    /// Whether it can be written: a disk that is full lets it be opened.
    pub(crate) fn probe(&self) -> Result<(), JournalError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let written = self.db.put_opt("probe", [0; PROBE_BYTES], &options);
        written.and_then(|()| self.db.delete("probe")).map_err(|error| self.error(&error))
    }

    fn output_size(&self, attempt: &AttemptKey) -> Result<u64, JournalError> {
        let mut chunks = self.iterator(OUTPUT);
        chunks.seek_for_prev(output_key(attempt, u64::MAX));
        let size = match chunks.item().and_then(|(key, value)| Some((offset_in(key, attempt)?, value.len())))
        {
            Some((offset, len)) => offset + len as u64,
            None => 0,
        };
        chunks.status().map_err(|error| self.error(&error))?;
        Ok(size)
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("the journal is opened with it")
    }

    fn iterator(&self, family: &str) -> DBRawIterator<'_> {
        self.db.raw_iterator_cf(self.family(family))
    }

    fn error(&self, error: &rocksdb::Error) -> JournalError {
        failure(&self.place, error.as_ref())
    }

    #[cfg(test)]
    pub(super) fn put_raw(&self, sequence: u64, value: Option<&[u8]>) {
        match value {
            Some(value) => self.db.put_cf(self.family(RECORDS), sequence.to_be_bytes(), value).unwrap(),
            None => self.db.delete_cf(self.family(RECORDS), sequence.to_be_bytes()).unwrap(),
        }
    }
}

impl Journal for RocksJournal {
    fn scan(&self, take: &mut Take<'_>) -> Result<(), JournalError> {
        let mut last = 0;
        let damaged = |damage: Damage| JournalError::Damaged { place: self.place.clone(), damage };
        let mut records = self.iterator(RECORDS);
        records.seek_to_first();
        while let Some((key, value)) = records.item() {
            let key = key.try_into().map_err(|_| {
                let problem = "its number is none".to_owned();
                damaged(Damage { sequence: last + 1, problem })
            })?;
            last = u64::from_be_bytes(key);
            take(last, value).map_err(damaged)?;
            records.next();
        }
        records.status().map_err(|error| damaged(Damage { sequence: last + 1, problem: error.into_string() }))
    }

    fn write(&self, group: &Group<'_>) -> Result<(), JournalError> {
        // The directory is locked: it can be nobody else's.
        if group.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let family = self.family(RECORDS);
        for (sequence, record) in (group.first..).zip(&group.records) {
            batch.put_cf(family, sequence.to_be_bytes(), record);
        }
        for sequence in &group.holes {
            batch.put_cf(family, sequence.to_be_bytes(), HOLE);
        }
        let family = self.family(OUTPUT);
        for chunk in &group.output {
            batch.put_cf(family, output_key(&chunk.attempt, chunk.offset), &chunk.bytes);
        }
        for run in &group.deleted {
            let run = run.as_u64();
            batch.delete_range_cf(family, run.to_be_bytes(), run.saturating_add(1).to_be_bytes());
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|error| self.error(&error))
    }

    fn output_sizes(&self, attempts: &[AttemptKey]) -> Result<Vec<u64>, JournalError> {
        attempts.iter().map(|attempt| self.output_size(attempt)).collect()
    }

    fn read_output(&self, attempt: &AttemptKey, offset: u64, most: usize) -> Result<Bytes, JournalError> {
        let mut chunks = self.iterator(OUTPUT);
        // The chunk that holds the offset starts at it or before.
        chunks.seek_for_prev(output_key(attempt, offset));
        if chunks.item().and_then(|(key, _)| offset_in(key, attempt)).is_none() {
            chunks.seek(output_key(attempt, offset));
        }
        let mut bytes = BytesMut::new();
        while bytes.len() < most
            && let Some((key, value)) = chunks.item()
            && let Some(start) = offset_in(key, attempt)
        {
            let skip = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
            bytes.extend_from_slice(value.get(skip..).unwrap_or_default());
            chunks.next();
        }
        chunks.status().map_err(|error| self.error(&error))?;
        Ok(bytes.freeze())
    }

    /// RocksDB unlocks the directory when it is dropped.
    fn close(&self) {}
}

/// What RocksDB says comes as text.
fn failure(place: &Place, reason: &str) -> JournalError {
    let place = place.clone();
    if reason.contains("No space left on device") || reason.contains("Disk quota exceeded") {
        JournalError::NoSpace { place }
    } else if reason.contains("lock hold by current process") || reason.contains("While lock file") {
        JournalError::InUse { place }
    } else {
        JournalError::Store { place, reason: reason.to_owned() }
    }
}

fn output_key(attempt: &AttemptKey, offset: u64) -> [u8; AttemptKey::LEN + 8] {
    let mut key = [0; AttemptKey::LEN + 8];
    key[..AttemptKey::LEN].copy_from_slice(&attempt.bytes());
    key[AttemptKey::LEN..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in a key, if it is this attempt's.
fn offset_in(key: &[u8], attempt: &AttemptKey) -> Option<u64> {
    let offset = key.strip_prefix(&attempt.bytes())?;
    Some(u64::from_be_bytes(offset.try_into().ok()?))
}
