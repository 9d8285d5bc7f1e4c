//! A directory of RocksDB's.

use super::*;
use crate::journal::{Location, Opening, RocksJournal};
use std::path::Path;
use tempfile::TempDir;

struct Directory(TempDir);

impl Fixture for Directory {
    type Journal = RocksJournal;

    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn open(&self) -> Result<Arc<RocksJournal>, JournalError> {
        RocksJournal::open(self.0.path()).map(Arc::new)
    }

    /// A crash leaves the files as they are now.
    fn crash(&mut self) {
        let left = TempDir::new().unwrap();
        copy(self.0.path(), left.path());
        self.0 = left;
    }

    fn put_raw(journal: &RocksJournal, sequence: u64, value: Option<&[u8]>) {
        journal.put_raw(sequence, value);
    }
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

super::suite::keeps_every_promise!(Directory);

#[test]
fn a_second_scheduler_is_told_that_the_journal_is_in_use() {
    let dir = TempDir::new().unwrap();
    let location = Location::Directory(dir.path().to_owned());
    let _first = location.open(Opening::AtStart).unwrap();
    let second = location.open(Opening::AtStart).unwrap_err();
    assert!(matches!(second, JournalError::InUse { .. }), "{second:?}");
}

#[test]
fn a_log_that_is_torn_at_its_end_keeps_what_is_whole() {
    let dir = TempDir::new().unwrap();
    let left = TempDir::new().unwrap();
    let journal = RocksJournal::open(dir.path()).unwrap();
    write(&journal, 1, &[1], &[]);
    write(&journal, 2, &[2], &[]);
    copy(dir.path(), left.path());
    for file in std::fs::read_dir(left.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            log.set_len(log.metadata().unwrap().len().saturating_sub(3)).unwrap();
        }
    }
    assert_eq!(replayed(&RocksJournal::open(left.path()).unwrap()).unwrap(), [record(1)]);
}
