//! Durable, in order, idempotent, and honest about damage.

use super::{
    output::{Accepted, Chunk, MARKER, accept},
    *,
};
use crate::{
    metrics::Metrics,
    queue::{Record, Token, Transition},
};
use bytes::Bytes;
use prometheus_client::registry::Registry;
use proto::{RunId, ShardId, Timestamp, limits::MAX_OUTPUT_PER_ATTEMPT};
use runtime::SystemClock;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

fn attempt(number: u32) -> AttemptKey {
    let run = RunId::new(Timestamp::from_micros(7_000), 7);
    AttemptKey { shard: ShardId { run, step: 0, index: 1 }, attempt: number }
}

fn record(number: u64) -> Record {
    let run = RunId::new(Timestamp::from_micros(number * 1000), 0);
    Record { at: Timestamp::from_micros(number), transition: Transition::CancelRequested { run } }
}

fn encoded(number: u64) -> Vec<u8> {
    crate::wire::record::encode(&record(number))
}

fn writer(store: &Arc<Store>, last: u64) -> Writer {
    let metrics = Metrics::new(&mut Registry::default());
    Writer::start(Arc::clone(store), last, SystemClock::shared(), metrics)
}

fn replayed(store: &Store) -> Result<Vec<Record>, JournalError> {
    let mut records = Vec::new();
    store.replay(|record| {
        records.push(record);
        Ok::<_, String>(())
    })?;
    Ok(records)
}

fn write(store: &Store, first: u64, records: &[u64], output: &[Chunk]) {
    let records: Vec<_> = records.iter().map(|number| encoded(*number)).collect();
    store.write(first, records.iter().map(Vec::as_slice), output, []).unwrap();
}

fn chunk(number: u32, offset: u64, text: &str) -> Chunk {
    Chunk { attempt: attempt(number), offset, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

#[test]
fn what_was_written_is_replayed_in_order_after_reopening() {
    let dir = TempDir::new().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(replayed(&store).unwrap(), []);
        write(&store, 1, &[1, 2], &[]);
        write(&store, 3, &[3], &[]);
    }
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(replayed(&store).unwrap(), [record(1), record(2), record(3)]);
}

#[test]
fn a_second_scheduler_is_told_that_the_journal_is_in_use() {
    let dir = TempDir::new().unwrap();
    let _first = Store::open(dir.path()).unwrap();
    let second = Store::open(dir.path()).unwrap_err();
    assert!(matches!(second, JournalError::InUse { .. }), "{second:?}");
}

#[test]
fn a_damaged_record_is_named() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, 1, &[1, 2, 3], &[]);
    let good = encoded(2);
    let newer = [&[9], &good[1..]].concat();
    for (bytes, expected) in [
        (Some(&b""[..]), "version"),
        (Some(&good[..good.len() - 1]), "message"),
        (Some(&newer), "newer scheduler"),
        (Some(&good[..1]), "at: is missing"),
        (None, "is missing"),
    ] {
        store.put_raw(2, bytes);
        let error = replayed(&store).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { sequence: 2, .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_record_that_makes_no_sense_is_named() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, 1, &[1, 2], &[]);
    let refused = store.replay(|found| if found == record(2) { Err("there is no run") } else { Ok(()) });
    let error = refused.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { sequence: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("there is no run"), "{error}");
}

#[test]
fn a_journal_cut_off_by_a_crash_keeps_what_is_whole() {
    let dir = TempDir::new().unwrap();
    let copy = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, 1, &[1], &[]);
    write(&store, 2, &[2], &[]);
    // A crash leaves the files as they are now, the last write perhaps half done.
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        if file.path().extension().is_some_and(|extension| extension == "log") {
            let log =
                std::fs::OpenOptions::new().write(true).open(copy.path().join(file.file_name())).unwrap();
            log.set_len(log.metadata().unwrap().len().saturating_sub(3)).unwrap();
        }
    }
    assert_eq!(replayed(&Store::open(copy.path()).unwrap()).unwrap(), [record(1)]);
}

#[test]
fn output_is_read_from_any_offset_and_apart_from_other_attempts() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let output = [chunk(1, 0, "other"), chunk(2, 0, "hello "), chunk(2, 6, "world"), chunk(3, 0, "next")];
    write(&store, 1, &[], &output);
    assert_eq!(store.output_size(&attempt(2)).unwrap(), 11);
    assert_eq!(store.output_size(&attempt(4)).unwrap(), 0);
    let read = |offset, most| store.read_output(&attempt(2), offset, most).unwrap();
    assert_eq!(read(0, 100), "hello world");
    assert_eq!(read(3, 100), "lo world");
    assert_eq!(read(3, 1), "lo ", "whole chunks");
    assert_eq!(read(6, 100), "world");
    assert_eq!(read(11, 100), "");
    assert_eq!(store.read_output(&attempt(4), 0, 100).unwrap(), "");
}

fn took(size: u64, offset: u64, text: &str) -> Accepted {
    accept(attempt(1), size, offset, &Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn repeated_output_is_not_doubled_and_a_gap_is_refused() {
    let fresh = took(0, 0, "abc");
    assert_eq!(
        (fresh.chunks, fresh.size, fresh.received, fresh.complete),
        (vec![chunk(1, 0, "abc")], 3, 3, true)
    );
    let repeated = took(3, 0, "abc");
    assert_eq!((repeated.chunks, repeated.size, repeated.received, repeated.complete), (vec![], 3, 3, true));
    let overlapping = took(3, 1, "bcde");
    assert_eq!((overlapping.chunks, overlapping.size), (vec![chunk(1, 3, "de")], 5));
    let beyond = took(3, 4, "e");
    assert_eq!((beyond.chunks, beyond.size, beyond.received, beyond.complete), (vec![], 3, 3, false));
    let nothing = took(3, 3, "");
    assert_eq!((nothing.chunks, nothing.size, nothing.received, nothing.complete), (vec![], 3, 3, true));
}

#[test]
fn a_long_report_is_kept_in_chunks_that_fit_a_message() {
    let chunk = proto::limits::STREAM_CHUNK;
    let bytes = Bytes::from(vec![7; 3 * chunk + 5]);
    let accepted = accept(attempt(1), 10, 0, &bytes);
    let kept: Vec<_> = accepted.chunks.iter().map(|chunk| (chunk.offset, chunk.bytes.len())).collect();
    let at = |number: usize| 10 + (number * chunk) as u64;
    assert_eq!(kept, [(at(0), chunk), (at(1), chunk), (at(2), chunk - 5)]);
    assert_eq!((accepted.size, accepted.received), (bytes.len() as u64, bytes.len() as u64));
}

#[test]
fn output_beyond_the_limit_is_acknowledged_marked_and_dropped() {
    let most = MAX_OUTPUT_PER_ATTEMPT;
    let full = took(most - 2, most - 2, "abcd");
    let kept = [&b"ab"[..], MARKER].concat();
    assert_eq!(full.chunks[0].bytes, kept);
    assert_eq!((full.size, full.received, full.complete), (most + MARKER.len() as u64, most + 2, true));
    let later = took(full.size, most + 2, "efgh");
    assert_eq!((later.chunks, later.size, later.received), (vec![], full.size, most + 6));
    let exact = took(most - 1, most - 1, "a");
    assert_eq!((exact.size, exact.received), (most, most));
    assert_eq!(took(most, most, "b").chunks[0].bytes, MARKER);
}

#[tokio::test]
async fn releases_run_in_order_once_their_batch_is_durable() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let writer = writer(&store, 0);
    let told = Arc::new(Mutex::new(Vec::new()));
    for number in 1..=100 {
        let mut batch = Batch::default();
        if number % 3 != 0 {
            batch.records.push(encoded(number));
        }
        let (told, store) = (Arc::clone(&told), Arc::clone(&store));
        batch.release(move || {
            let durable = replayed(&store).unwrap();
            assert!(number % 3 == 0 || durable.contains(&record(number)));
            told.lock().unwrap().push(number);
        });
        writer.append(batch).await;
    }
    writer.finish().await.unwrap();
    assert_eq!(*told.lock().unwrap(), (1..=100).collect::<Vec<_>>());
    assert_eq!(replayed(&store).unwrap().len(), 67);
}

#[test]
fn the_records_of_deleted_runs_become_holes_and_their_output_goes() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let run = attempt(1).shard.run;
    write(&store, 1, &[1, 7, 2], &[chunk(1, 0, "gone")]);
    let deleted = Record {
        at: Timestamp::from_micros(9),
        transition: Transition::RunDeleted { run: record(7).transition.run().unwrap(), last_token: Token(5) },
    };
    store.write(4, [&crate::wire::record::encode(&deleted)[..]], [], [&run]).unwrap();
    assert_eq!(store.output_size(&attempt(1)).unwrap(), 0);
    let runs = [record(7).transition.run().unwrap()].into();
    assert_eq!(store.punch(&runs).unwrap(), 1);
    assert_eq!(store.punch(&runs).unwrap(), 0, "once is enough");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(replayed(&store).unwrap(), [record(1), record(2), deleted]);
    store.put_raw(2, None);
    assert!(matches!(replayed(&store), Err(JournalError::Damaged { sequence: 2, .. })), "a gap is no hole");
}
