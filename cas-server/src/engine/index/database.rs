//! The RocksDB below the index. It can be opened anew while it is in use: after a full disk RocksDB does not always take
//! writes again by itself, whatever space there is by then.

use super::FAMILIES;
use crate::engine::descriptors::index_files;
use cas::{Error, Result};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, FlushOptions,
    LogLevel, Options, WriteBatch, WriteOptions,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Of each column family.
const WRITE_BUFFER: usize = 16 << 20;

/// Opening writes what is in memory to files.
const SPACE_TO_OPEN: u64 = 2 * WRITE_BUFFER as u64;

/// The database, unless it could not be opened anew.
#[derive(Debug)]
pub(super) struct Database {
    dir: PathBuf,
    db: RwLock<Option<DB>>,
    /// A write has failed since it was opened.
    failing: AtomicBool,
}

/// The database in use: it is not closed meanwhile. Whoever holds one must not ask for a second one.
#[derive(Debug)]
pub(super) struct InUse<'a> {
    db: RwLockReadGuard<'a, Option<DB>>,
    failing: &'a AtomicBool,
}

impl Database {
    /// Opens it, making it if need be.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let db = RwLock::new(Some(open(dir)?));
        Ok(Self { dir: dir.to_owned(), db, failing: AtomicBool::new(false) })
    }

    /// For a call or two.
    pub(super) fn get(&self) -> Result<InUse<'_>> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        if db.is_none() {
            return Err(closed());
        }
        Ok(InUse { db, failing: &self.failing })
    }

    /// Whether it is open. Does not wait: while it is opened anew it is not.
    pub(super) fn check(&self) -> Result<()> {
        match self.db.try_read() {
            Ok(db) if db.is_some() => Ok(()),
            Err(TryLockError::Poisoned(db)) if db.get_ref().is_some() => Ok(()),
            _ => Err(closed()),
        }
    }

    /// Whether it is worth opening it anew, with so much free space on its file system.
    pub(super) fn needs_reopening(&self, free: u64) -> bool {
        self.failing.load(Ordering::Relaxed) && free >= SPACE_TO_OPEN
    }

    /// Closes it and opens it again, once nobody uses it. What it took is there again, and what it refused may be.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // It locks its directory.
        drop(db.take());
        *db = Some(open(&self.dir)?);
        self.failing.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl std::ops::Deref for InUse<'_> {
    type Target = DB;

    fn deref(&self) -> &DB {
        self.db.as_ref().expect("looked at before it was given out")
    }
}

impl InUse<'_> {
    pub(super) fn family(&self, name: &str) -> &ColumnFamily {
        self.cf_handle(name).expect("opened with every family")
    }

    /// Writes all of a batch or nothing.
    pub(super) fn commit(&self, batch: WriteBatch, options: &WriteOptions) -> Result<()> {
        self.noted(self.write_opt(batch, options))
    }

    /// Makes everything that was written durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.noted(self.flush_wal(true))
    }

    /// Writes what is in memory to tables, durably.
    pub(super) fn settle(&self) -> Result<()> {
        self.sync()?;
        let families: Vec<_> =
            FAMILIES.into_iter().chain(["default"]).map(|name| self.family(name)).collect();
        self.noted(self.flush_cfs_opt(&families, &FlushOptions::default()))
    }

    fn noted(&self, outcome: Result<(), rocksdb::Error>) -> Result<()> {
        outcome.map_err(|error| {
            self.failing.store(true, Ordering::Relaxed);
            failed(error)
        })
    }
}

fn open(dir: &Path) -> Result<DB> {
    let cache = Cache::new_lru_cache(64 << 20);
    let families = FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
    DB::open_cf_descriptors(&db_options(), dir, families).map_err(failed)
}

fn db_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.increase_parallelism(2);
    options.set_max_open_files(i32::try_from(index_files()).unwrap_or(i32::MAX));
    options.set_max_total_wal_size(64 << 20);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_level_compaction_dynamic_level_bytes(true);
    options
}

fn closed() -> Error {
    let reason = "index: it is closed since it failed, and is tried again every few seconds";
    Error::Unavailable { reason: reason.into() }
}

/// RocksDB tells causes in words only.
pub(super) fn failed(error: rocksdb::Error) -> Error {
    let reason = format!("index: {error}");
    if reason.contains("No space left") {
        Error::Exhausted { reason }
    } else if reason.contains("Too many open files") {
        Error::Unavailable { reason }
    } else {
        Error::Internal { reason }
    }
}
