//! The journal: what the scheduler has decided and what attempts have printed, durable in RocksDB.
//!
//! It keeps transitions, not inputs: a heartbeat without news costs no write. One writer commits for everybody
//! (`writer.rs`): whatever has come in while the last group was synced goes into the next one, and what is to be told
//! is released only when its group is on disk.
//!
//! The whole history is replayed at start and stays in memory: some microseconds and about 430 bytes for each shard that
//! ever was, with one attempt (`queue/tests/history.rs` measures it). A snapshot of the state beside the records will cut
//! both when histories grow into the millions; the records themselves stay.

mod error;
pub(crate) mod output;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use error::JournalError;
pub(crate) use output::AttemptKey;
pub(crate) use store::Store;
pub(crate) use writer::{Batch, Release, Writer};
