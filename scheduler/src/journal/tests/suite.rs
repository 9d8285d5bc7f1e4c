//! What every kind of journal promises.

use super::*;
use crate::{
    journal::{Batch, Writer, punch},
    metrics::Metrics,
    queue::Token,
    wire::record::decode,
};
use prometheus_client::registry::Registry;
use runtime::SystemClock;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
    mpsc,
};

/// A test of each promise, for one kind.
macro_rules! keeps_every_promise {
    ($fixture:ty) => {
        $crate::journal::tests::suite::keeps_every_promise! { $fixture:
            what_was_written_is_replayed_in_order_after_reopening
            a_damaged_record_is_named
            a_record_that_makes_no_sense_is_named
            records_of_every_earlier_scheduler_are_read
            output_is_read_from_any_offset_and_apart_from_other_attempts
            output_in_many_small_pieces_is_read_in_bounded_parts
            releases_run_in_order_once_their_batch_is_durable
            the_records_of_deleted_runs_become_holes_and_their_output_goes
            a_group_that_a_crash_interrupts_is_whole_or_not_there
        }
    };
    ($fixture:ty: $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let test = || $crate::journal::tests::suite::$promise(<$fixture as super::Fixture>::new());
                tokio::task::spawn_blocking(test).await.unwrap();
            }
        )*
    };
}
pub(super) use keeps_every_promise;

pub(super) fn what_was_written_is_replayed_in_order_after_reopening(fixture: impl Fixture) {
    let journal = fixture.open().unwrap();
    assert_eq!(replayed(&*journal).unwrap(), []);
    write(&*journal, 1, &[1, 2], &[]);
    write(&*journal, 3, &[3], &[]);
    drop(journal);
    let journal = fixture.open().unwrap();
    assert_eq!(replayed(&*journal).unwrap(), [record(1), record(2), record(3)]);
    let many: Vec<u64> = (4..=10_000).collect();
    write(&*journal, 4, &many, &[]);
    drop(journal);
    let records = replayed(&*fixture.open().unwrap()).unwrap();
    assert_eq!(records, (1..=10_000).map(record).collect::<Vec<_>>());
}

pub(super) fn a_damaged_record_is_named<F: Fixture>(fixture: F) {
    let journal = fixture.open().unwrap();
    write(&*journal, 1, &[1, 2, 3], &[]);
    let good = encoded(2);
    let newer = [&[9], &good[1..]].concat();
    for (bytes, expected) in [
        (Some(&b""[..]), "version"),
        (Some(&good[..good.len() - 1]), "message"),
        (Some(&newer), "newer scheduler"),
        (Some(&good[..1]), "at: is missing"),
        (None, "is missing"),
    ] {
        F::put_raw(&journal, 2, bytes);
        let error = replayed(&*journal).unwrap_err();
        assert!(matches!(&error, JournalError::Damaged { damage, .. } if damage.sequence == 2), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

pub(super) fn a_record_that_makes_no_sense_is_named(fixture: impl Fixture) {
    let journal = fixture.open().unwrap();
    write(&*journal, 1, &[1, 2], &[]);
    let refused = replay(&*journal, |found| if found == record(2) { Err("there is no run") } else { Ok(()) });
    let error = refused.unwrap_err();
    assert!(matches!(&error, JournalError::Damaged { damage, .. } if damage.sequence == 2), "{error:?}");
    assert!(error.to_string().contains("there is no run"), "{error}");
}

pub(super) fn records_of_every_earlier_scheduler_are_read<F: Fixture>(fixture: F) {
    let journal = fixture.open().unwrap();
    let golden: Vec<Vec<u8>> =
        include_str!("../../wire/record/golden.txt").lines().map(|line| hex(line.trim())).collect();
    assert!(golden.len() > 8);
    for (number, bytes) in (1..).zip(&golden) {
        F::put_raw(&journal, number, Some(bytes));
    }
    drop(journal);
    let expected: Vec<Record> = golden.iter().map(|bytes| decode(bytes).unwrap()).collect();
    assert_eq!(replayed(&*fixture.open().unwrap()).unwrap(), expected);
}

fn hex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

pub(super) fn output_is_read_from_any_offset_and_apart_from_other_attempts(fixture: impl Fixture) {
    let journal = fixture.open().unwrap();
    let output = [chunk(1, 0, "other"), chunk(2, 0, "hello "), chunk(2, 6, "world"), chunk(3, 0, "next")];
    write(&*journal, 1, &[], &output);
    let sizes = journal.output_sizes(&[attempt(2), attempt(4), attempt(1), attempt(2)]).unwrap();
    assert_eq!(sizes, [11, 0, 5, 11]);
    let read = |offset, most| journal.read_output(&attempt(2), offset, most).unwrap();
    assert_eq!(read(0, 100), "hello world");
    assert_eq!(read(3, 100), "lo world");
    assert_eq!(read(3, 1), "lo ", "whole chunks");
    assert_eq!(read(6, 100), "world");
    assert_eq!(read(11, 100), "");
    assert_eq!(journal.read_output(&attempt(4), 0, 100).unwrap(), "");
}

pub(super) fn output_in_many_small_pieces_is_read_in_bounded_parts(fixture: impl Fixture) {
    let journal = fixture.open().unwrap();
    let output: Vec<Chunk> = (0..5000).map(|n| chunk(1, n * 6, &format!("{n:05}\n"))).collect();
    write(&*journal, 1, &[], &output);
    let mut whole = Vec::new();
    while whole.len() < 30_000 {
        let part = journal.read_output(&attempt(1), whole.len() as u64, 10_000).unwrap();
        assert!((1..10_100).contains(&part.len()), "{} bytes", part.len());
        whole.extend_from_slice(&part);
    }
    let expected: Vec<u8> = output.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
    assert_eq!(whole, expected);
    let large = Bytes::from(vec![7; proto::limits::STREAM_CHUNK]);
    let large = Chunk { attempt: attempt(2), offset: 0, bytes: large };
    write(&*journal, 1, &[], std::slice::from_ref(&large));
    assert_eq!(journal.read_output(&attempt(2), 0, proto::limits::STREAM_CHUNK).unwrap(), large.bytes);
}

pub(super) fn releases_run_in_order_once_their_batch_is_durable(fixture: impl Fixture) {
    let journal = fixture.open().unwrap();
    let opened: Arc<dyn Journal> = journal.clone();
    let metrics = Metrics::new(&mut Registry::default());
    let writer = Writer::start(opened, 0, SystemClock::shared(), metrics);
    let told = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Handle::current();
    for number in 1..=100 {
        let mut batch = Batch::default();
        if number % 3 != 0 {
            batch.records.push(encoded(number));
        }
        let (told, journal) = (Arc::clone(&told), Arc::clone(&journal));
        batch.release(move || {
            let durable = tokio::task::block_in_place(|| replayed(&*journal).unwrap());
            assert!(number % 3 == 0 || durable.contains(&record(number)));
            told.lock().unwrap().push(number);
        });
        runtime.block_on(writer.append(batch));
    }
    runtime.block_on(writer.finish()).unwrap();
    assert_eq!(*told.lock().unwrap(), (1..=100).collect::<Vec<_>>());
    drop(journal);
    assert_eq!(replayed(&*fixture.open().unwrap()).unwrap().len(), 67);
}

pub(super) fn the_records_of_deleted_runs_become_holes_and_their_output_goes<F: Fixture>(fixture: F) {
    let journal = fixture.open().unwrap();
    let run = attempt(1).shard.run;
    let next = AttemptKey {
        shard: ShardId { run: record(8).transition.run().unwrap(), ..attempt(1).shard },
        attempt: 1,
    };
    let kept = Chunk { attempt: next, ..chunk(1, 0, "stays") };
    write(&*journal, 1, &[1, 7, 2], &[chunk(1, 0, "gone"), kept]);
    let deleted = Record {
        at: Timestamp::from_micros(9),
        transition: Transition::RunDeleted { run: record(7).transition.run().unwrap(), last_token: Token(5) },
    };
    let bytes = encode(&deleted);
    let late = chunk(1, 4, "late");
    let (records, output) = (vec![bytes.as_slice()], vec![&late]);
    journal.write(&Group { first: 4, records, output, deleted: vec![run], ..Group::default() }).unwrap();
    assert_eq!(journal.output_sizes(&[attempt(1), next]).unwrap(), [0, 5]);
    let runs = [record(7).transition.run().unwrap()].into();
    assert_eq!(punch(&*journal, &runs).unwrap(), 1);
    assert_eq!(punch(&*journal, &runs).unwrap(), 0, "once is enough");
    drop(journal);
    let journal = fixture.open().unwrap();
    assert_eq!(replayed(&*journal).unwrap(), [record(1), record(2), deleted]);
    F::put_raw(&journal, 2, None);
    let error = replayed(&*journal).unwrap_err();
    let is_gap = matches!(&error, JournalError::Damaged { damage, .. } if damage.sequence == 2);
    assert!(is_gap, "a gap is no hole: {error}");
}

/// Groups of three records and a chunk, until a crash stops them.
pub(super) fn a_group_that_a_crash_interrupts_is_whole_or_not_there(mut fixture: impl Fixture) {
    let mut expected = 0;
    for _ in 0..3 {
        let journal = fixture.open().unwrap();
        let crashed = AtomicBool::new(false);
        let told = std::thread::scope(|scope| {
            let (tell, hear) = mpsc::channel();
            let (journal, crashed) = (&*journal, &crashed);
            scope.spawn(move || {
                for group in expected.. {
                    let written = write_group(journal, group);
                    if written.is_err() || crashed.load(Ordering::SeqCst) || tell.send(group).is_err() {
                        return;
                    }
                }
            });
            while hear.recv().unwrap() < expected + 20 {}
            fixture.crash();
            crashed.store(true, Ordering::SeqCst);
            expected + 21
        });
        drop(journal);
        let journal = fixture.open().unwrap();
        let records = replayed(&*journal).unwrap();
        let groups = records.len() as u64 / 3;
        assert!(groups >= told, "{told} groups were acknowledged, {groups} are there");
        assert_eq!(records, (1..=groups * 3).map(record).collect::<Vec<_>>());
        assert_eq!(journal.output_sizes(&[attempt(1)]).unwrap(), [groups * 4]);
        expected = groups;
    }
}

fn write_group(journal: &dyn Journal, group: u64) -> Result<(), JournalError> {
    let first = group * 3 + 1;
    try_write(journal, first, &[first, first + 1, first + 2], &[chunk(1, group * 4, "line")])
}
