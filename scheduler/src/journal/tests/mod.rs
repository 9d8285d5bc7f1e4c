//! Durable, in order, idempotent, and honest about damage: one suite (`suite.rs`) for every kind of journal.

mod output;
mod postgres;
mod rocks;
mod suite;

use super::{AttemptKey, Group, Journal, JournalError, output::Chunk, replay};
use crate::{
    queue::{Record, Transition},
    wire::record::encode,
};
use bytes::Bytes;
use proto::{RunId, ShardId, Timestamp};
use std::sync::Arc;

/// One kind of journal: where it is kept, and what can happen to it there.
trait Fixture: Send + 'static {
    type Journal: Journal + 'static;

    /// With nothing in it.
    fn new() -> Self;

    /// What is there is opened; the one that was open is dropped before.
    fn open(&self) -> Result<Arc<Self::Journal>, JournalError>;

    /// Everything that keeps it is killed at this instant. What is opened next is what that leaves.
    fn crash(&mut self);

    /// Writes a record past the journal, or takes it away.
    fn put_raw(journal: &Self::Journal, sequence: u64, value: Option<&[u8]>);
}

fn attempt(number: u32) -> AttemptKey {
    let run = RunId::new(Timestamp::from_micros(7_000), 7);
    AttemptKey { shard: ShardId { run, step: 0, index: 1 }, attempt: number }
}

fn record(number: u64) -> Record {
    let run = RunId::new(Timestamp::from_micros(number * 1000), 0);
    Record { at: Timestamp::from_micros(number), transition: Transition::CancelRequested { run } }
}

fn encoded(number: u64) -> Vec<u8> {
    encode(&record(number))
}

fn replayed(journal: &dyn Journal) -> Result<Vec<Record>, JournalError> {
    let mut records = Vec::new();
    replay(journal, |record| {
        records.push(record);
        Ok::<_, String>(())
    })?;
    Ok(records)
}

fn try_write(
    journal: &dyn Journal,
    first: u64,
    records: &[u64],
    output: &[Chunk],
) -> Result<(), JournalError> {
    let records: Vec<_> = records.iter().map(|number| encoded(*number)).collect();
    let records = records.iter().map(Vec::as_slice).collect();
    journal.write(&Group { first, records, output: output.iter().collect(), ..Group::default() })
}

fn write(journal: &dyn Journal, first: u64, records: &[u64], output: &[Chunk]) {
    try_write(journal, first, records, output).unwrap();
}

fn chunk(number: u32, offset: u64, text: &str) -> Chunk {
    Chunk { attempt: attempt(number), offset, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}
