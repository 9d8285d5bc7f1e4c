//! RocksDB underneath: records by sequence number, output by attempt and offset.

use super::{
    error::JournalError,
    output::{AttemptKey, Chunk},
};
use crate::{
    queue::{Record, Transition},
    wire::record::decode,
};
use bytes::{Bytes, BytesMut};
use proto::RunId;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, DBRecoveryMode, Options, WriteBatch,
    WriteOptions,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const RECORDS: &str = "records";
const OUTPUT: &str = "output";

/// What is left of a record whose run was deleted. Numbers stay without gaps, so that a record that is missing is
/// noticed. No version of records begins like this.
const HOLE: &[u8] = &[0];

/// As much as a small group commit, so that the last free bytes of a disk are not taken for room.
const PROBE_BYTES: usize = 64 << 10;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Store {
    db: DB,
    dir: PathBuf,
}

impl Store {
    /// Opens the journal in `dir`, or starts one.
    pub(crate) fn open(dir: &Path) -> Result<Self, JournalError> {
        std::fs::create_dir_all(dir).map_err(|error| JournalError::of_store(dir, &error.to_string()))?;
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
            .map_err(|error| JournalError::of_store(dir, error.as_ref()))?;
        Ok(Self { db, dir: dir.to_owned() })
    }

    /// Hands every record to `take`, in order, and returns the number of the last one. Stops at the first that is
    /// damaged or that `take` refuses.
    pub(crate) fn replay<E: ToString>(
        &self,
        mut take: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<u64, JournalError> {
        let mut last = 0;
        let mut records = self.iterator(RECORDS);
        records.seek_to_first();
        while let Some((key, value)) = records.item() {
            let sequence = last + 1;
            let damaged =
                |problem: String| JournalError::Damaged { dir: self.dir.clone(), sequence, problem };
            if key != sequence.to_be_bytes() {
                return Err(damaged("it is missing".into()));
            }
            if value != HOLE {
                let record = decode(value).map_err(|error| damaged(error.to_string()))?;
                take(record).map_err(|error| damaged(error.to_string()))?;
            }
            last = sequence;
            records.next();
        }
        records.status().map_err(|error| JournalError::Damaged {
            dir: self.dir.clone(),
            sequence: last + 1,
            problem: error.into_string(),
        })?;
        Ok(last)
    }

    /// Makes holes of the records of these runs, but for those that say that they are deleted. Those of one run at once:
    /// after a crash all of them are there, or none. Returns how many there were.
    pub(crate) fn punch(&self, runs: &BTreeSet<RunId>) -> Result<u64, JournalError> {
        let mut of_runs: BTreeMap<RunId, Vec<[u8; 8]>> = BTreeMap::new();
        let mut records = self.iterator(RECORDS);
        records.seek_to_first();
        while let Some((key, value)) = records.item() {
            // All of them were just replayed.
            if let (Ok(record), Ok(key)) = (decode(value), key.try_into())
                && !matches!(record.transition, Transition::RunDeleted { .. })
                && let Some(run) = record.transition.run().filter(|run| runs.contains(run))
            {
                of_runs.entry(run).or_default().push(key);
            }
            records.next();
        }
        records.status().map_err(|error| self.error(&error))?;
        let mut punched = 0;
        for keys in of_runs.values() {
            let mut batch = WriteBatch::default();
            keys.iter().for_each(|key| batch.put_cf(self.family(RECORDS), key, HOLE));
            self.db.write(batch).map_err(|error| self.error(&error))?;
            punched += keys.len() as u64;
        }
        // The log is written in order: what is synced later syncs this.
        Ok(punched)
    }

    /// Makes records, numbered from `first` on, and output durable, and drops the output of runs that are deleted, all or
    /// nothing.
    pub(super) fn write<'a>(
        &self,
        first: u64,
        records: impl IntoIterator<Item = &'a [u8]>,
        output: impl IntoIterator<Item = &'a Chunk>,
        deleted: impl IntoIterator<Item = &'a RunId>,
    ) -> Result<(), JournalError> {
        let mut batch = WriteBatch::default();
        let family = self.family(RECORDS);
        for (sequence, record) in (first..).zip(records) {
            batch.put_cf(family, sequence.to_be_bytes(), record);
        }
        let family = self.family(OUTPUT);
        for chunk in output {
            batch.put_cf(family, output_key(&chunk.attempt, chunk.offset), &chunk.bytes);
        }
        for run in deleted {
            let run = run.as_u64();
            batch.delete_range_cf(family, run.to_be_bytes(), run.saturating_add(1).to_be_bytes());
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|error| self.error(&error))
    }

    /// Whether it can be written: a disk that is full lets it be opened.
    pub(crate) fn probe(&self) -> Result<(), JournalError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let written = self.db.put_opt("probe", [0; PROBE_BYTES], &options);
        written.and_then(|()| self.db.delete("probe")).map_err(|error| self.error(&error))
    }

    /// Bytes of output that are kept of an attempt.
    pub(crate) fn output_size(&self, attempt: &AttemptKey) -> Result<u64, JournalError> {
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

    /// Output from `offset` on, about `most` bytes of it and at least one while there is more.
    pub(crate) fn read_output(
        &self,
        attempt: &AttemptKey,
        offset: u64,
        most: usize,
    ) -> Result<Bytes, JournalError> {
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

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("the journal is opened with it")
    }

    fn iterator(&self, family: &str) -> DBRawIterator<'_> {
        self.db.raw_iterator_cf(self.family(family))
    }

    fn error(&self, error: &rocksdb::Error) -> JournalError {
        JournalError::of_store(&self.dir, error.as_ref())
    }

    #[cfg(test)]
    pub(super) fn put_raw(&self, sequence: u64, value: Option<&[u8]>) {
        match value {
            Some(value) => self.db.put_cf(self.family(RECORDS), sequence.to_be_bytes(), value).unwrap(),
            None => self.db.delete_cf(self.family(RECORDS), sequence.to_be_bytes()).unwrap(),
        }
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
