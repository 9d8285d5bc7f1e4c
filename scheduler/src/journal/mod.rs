//! The journal: what the scheduler has decided and what attempts have printed, durable in RocksDB or in PostgreSQL.
//!
//! It keeps transitions, not inputs: a heartbeat without news costs no write. One writer commits for everybody
//! (`writer.rs`): whatever has come in while the last group was synced goes into the next one, and what is to be told
//! is released only when its group is on disk.
//!
//! The whole history is replayed at start and stays in memory: some microseconds and about 430 bytes for each shard that
//! ever was, with one attempt (`queue/tests/history.rs` measures it). A snapshot of the state beside the records will cut
//! both when histories grow into the millions; the records themselves stay.

mod error;
mod location;
pub(crate) mod output;
mod postgres;
mod replay;
mod rocks;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use error::{Damage, JournalError, Place};
pub(crate) use location::{Location, Opened, Opening};
pub(crate) use output::AttemptKey;
pub(crate) use postgres::{Candidate, PostgresJournal};
pub use postgres::{PostgresUrl, PostgresUrlError};
pub(crate) use replay::{punch, replay};
pub(crate) use rocks::RocksJournal;
pub(crate) use writer::{Batch, GROUP_BYTES, Release, Writer};

use bytes::Bytes;
use output::Chunk;
use proto::RunId;
use std::fmt;

/// An open journal. Every method blocks; none is called on a thread that serves.
pub(crate) trait Journal: fmt::Debug + Send + Sync {
    /// Hands the number and the bytes of every record to `take`, in order, until one is refused.
    fn scan(&self, take: &mut Take<'_>) -> Result<(), JournalError>;

    /// Makes a group durable, all or nothing. A group with nothing in it finds out whether the journal is still this
    /// scheduler's: whatever is told after that was true when it was asked.
    fn write(&self, group: &Group<'_>) -> Result<(), JournalError>;

    /// Bytes of output that are kept of each of these attempts.
    fn output_sizes(&self, attempts: &[AttemptKey]) -> Result<Vec<u64>, JournalError>;

    /// Output from `offset` on, about `most` bytes of it and at least one while there is more.
    fn read_output(&self, attempt: &AttemptKey, offset: u64, most: usize) -> Result<Bytes, JournalError>;

    /// Lets others have it at once. Nothing is written any more.
    fn close(&self);
}

/// What takes records in.
pub(crate) type Take<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Damage> + 'a;

/// What becomes durable together.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    /// The number of the first record; the others follow.
    pub(crate) first: u64,
    pub(crate) records: Vec<&'a [u8]>,
    /// Numbers of records that are to become holes.
    pub(crate) holes: Vec<u64>,
    pub(crate) output: Vec<&'a Chunk>,
    /// Runs whose output goes, also that in this group.
    pub(crate) deleted: Vec<RunId>,
}

impl Group<'_> {
    fn is_empty(&self) -> bool {
        let Self { first: _, records, holes, output, deleted } = self;
        records.is_empty() && holes.is_empty() && output.is_empty() && deleted.is_empty()
    }
}
