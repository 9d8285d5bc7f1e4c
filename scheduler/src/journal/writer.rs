//! Group commit: one thread writes and syncs for everybody, and a task tells what has become durable.

use super::{Group, Journal, JournalError, Place, output::Chunk};
use crate::metrics::Metrics;
use proto::RunId;
use runtime::Clock;
use std::{fmt, sync::Arc};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

/// Batches that wait for the disk, each with some milliseconds' calls at most. The shell waits when there are more.
const QUEUE: usize = 256;

/// A group stops growing at this many bytes, and so does a batch.
pub(crate) const GROUP_BYTES: usize = 8 << 20;

/// Groups that are durable and not told yet. Telling is quick.
const TOLD: usize = 16;

/// What is told once its batch is durable. It is run by a task and must not block.
pub(crate) type Release = Box<dyn FnOnce() + Send>;

/// What one decision leaves to do.
#[derive(Default)]
pub(crate) struct Batch {
    /// Encoded records.
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) output: Vec<Chunk>,
    /// Runs whose output is to go.
    pub(crate) deleted: Vec<RunId>,
    /// Run in order when all before them and all of the above is durable; dropped when it cannot be made so.
    pub(crate) releases: Vec<Release>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, output, deleted: _, releases } = self;
        write!(f, "Batch({} records, {} chunks, {} releases)", records.len(), output.len(), releases.len())
    }
}

impl Batch {
    /// Tells something when the batch is durable.
    pub(crate) fn release(&mut self, release: impl FnOnce() + Send + 'static) {
        self.releases.push(Box::new(release));
    }

    /// What it takes in the journal.
    pub(crate) fn bytes(&self) -> usize {
        let records: usize = self.records.iter().map(Vec::len).sum();
        let output: usize = self.output.iter().map(|chunk| chunk.bytes.len()).sum();
        records + output
    }
}

/// The thread, the way to it, and who tells what it has written.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: mpsc::Sender<Batch>,
    thread: JoinSet<Result<(), JournalError>>,
    teller: JoinSet<()>,
}

impl Writer {
    /// Goes on after record number `last`.
    pub(crate) fn start(
        journal: Arc<dyn Journal>,
        last: u64,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let (batches, queue) = mpsc::channel(QUEUE);
        let (durable, told) = mpsc::channel(TOLD);
        let mut teller = JoinSet::new();
        teller.spawn(tell(told));
        let mut thread = JoinSet::new();
        thread.spawn_blocking(move || write_all(&*journal, last, queue, &durable, &*clock, &metrics));
        Self { batches, thread, teller }
    }

    /// Takes a batch in, waiting while too many are under way. Batches of a writer that has failed are dropped, and
    /// [`Self::failed`] says why.
    pub(crate) async fn append(&self, batch: Batch) {
        // An error means that the writer has failed.
        let _ = self.batches.send(batch).await;
    }

    /// Ends only when the journal can no longer be written.
    pub(crate) async fn failed(&mut self) -> JournalError {
        ended(self.thread.join_next().await)
    }

    /// Writes what was taken in, tells it, and ends the thread. One that has failed tells what it had written before.
    pub(crate) async fn finish(mut self) -> Result<(), JournalError> {
        drop(self.batches);
        let thread = self.thread.join_next().await;
        drop(self.teller.join_next().await);
        match thread {
            Some(Ok(result)) => result,
            other => Err(ended(other)),
        }
    }
}

fn ended(thread: Option<Result<Result<(), JournalError>, JoinError>>) -> JournalError {
    match thread {
        Some(Ok(Err(error))) => error,
        other => stopped(&format!("{other:?}")),
    }
}

fn stopped(why: &str) -> JournalError {
    let reason = format!("its writer has stopped: {why}");
    JournalError::Store { place: Place::in_directory("".as_ref()), reason }
}

fn write_all(
    journal: &dyn Journal,
    mut last: u64,
    mut queue: mpsc::Receiver<Batch>,
    durable: &mpsc::Sender<Vec<Batch>>,
    clock: &dyn Clock,
    metrics: &Metrics,
) -> Result<(), JournalError> {
    while let Some(first) = queue.blocking_recv() {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while bytes < GROUP_BYTES
            && let Ok(batch) = queue.try_recv()
        {
            bytes += batch.bytes();
            group.push(batch);
        }
        let written = Group {
            first: last + 1,
            records: group.iter().flat_map(|batch| &batch.records).map(Vec::as_slice).collect(),
            holes: Vec::new(),
            output: group.iter().flat_map(|batch| &batch.output).collect(),
            deleted: group.iter().flat_map(|batch| &batch.deleted).copied().collect(),
        };
        let started = clock.elapsed();
        journal.write(&written)?;
        last += written.records.len() as u64;
        if !written.is_empty() {
            metrics.journal_sync.observe((clock.elapsed() - started).as_secs_f64());
        }
        if durable.blocking_send(group).is_err() {
            // The runtime is stopping, or a release has a defect: better one that is opened anew than one that tells nobody anything.
            return Err(stopped("nobody tells what it writes"));
        }
    }
    journal.close();
    Ok(())
}

/// Tells what is durable: a task wakes those who wait for answers without a lock and a system call for each, which the thread
/// that writes would need.
async fn tell(mut durable: mpsc::Receiver<Vec<Batch>>) {
    while let Some(group) = durable.recv().await {
        for release in group.into_iter().flat_map(|batch| batch.releases) {
            release();
        }
    }
}
