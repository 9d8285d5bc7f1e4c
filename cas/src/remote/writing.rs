//! Blobs that go up as streams of messages, with a deadline for making progress instead of one for the whole.

use super::store::{STALL, Wire, stalled};
use crate::{ByteStream, Error, Result, status};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::{
    Digest,
    bytestream::{WriteRequest, byte_stream_client::ByteStreamClient},
    limits,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::time::timeout;

/// Writes a blob from `begins` on, where the source begins. An answer that comes before the end means that the server has the blob already.
pub(super) async fn write(
    mut client: ByteStreamClient<Wire>,
    resource_name: String,
    digest: Digest,
    begins: u64,
    source: ByteStream,
) -> Result<()> {
    let sent = Arc::new(AtomicU64::new(begins));
    let failed = Arc::new(Mutex::new(None));
    let writing = Writing {
        resource_name,
        source,
        size: digest.size(),
        pending: VecDeque::new(),
        ended: false,
        offset: begins,
        finished: false,
        sent: sent.clone(),
        failed: failed.clone(),
    };
    let call = client.write(stream::unfold(writing, Writing::next));
    tokio::pin!(call);
    let mut seen = begins;
    let answer = loop {
        if let Ok(answer) = timeout(STALL, &mut call).await {
            break answer;
        }
        match sent.load(Ordering::Relaxed) {
            same if same == seen => return Err(stalled(digest)),
            more => seen = more,
        }
    };
    // What went wrong at the source is the cause; the server only saw the end of it.
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    let committed = answer.map_err(|status| status::from_status(&status, Some(digest)))?;
    match u64::try_from(committed.into_inner().committed_size) {
        Ok(size) if size == digest.size() => Ok(()),
        _ => Err(Error::Unavailable { reason: format!("the server committed a part of {digest} only") }),
    }
}

struct Writing {
    resource_name: String,
    source: ByteStream,
    size: u64,
    /// Chunks of the source, cut to what a message takes, none of them empty.
    pending: VecDeque<Bytes>,
    /// Whether the source has ended.
    ended: bool,
    offset: u64,
    finished: bool,
    sent: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<Error>>>,
}

impl Writing {
    /// The next message. The last one of a whole source finishes the write; a failed source just ends the stream.
    async fn next(mut self) -> Option<(WriteRequest, Self)> {
        if self.finished {
            return None;
        }
        self.fill().await?;
        let data = self.pending.pop_front().unwrap_or_default();
        let write_offset = self.offset.cast_signed();
        self.offset += data.len() as u64;
        if self.offset >= self.size {
            // Mostly its end, which saves an empty message; more than that is for the server to refuse.
            self.fill().await?;
        }
        self.finished = self.ended && self.pending.is_empty();
        self.sent.store(self.offset, Ordering::Relaxed);
        let message = WriteRequest {
            resource_name: std::mem::take(&mut self.resource_name),
            write_offset,
            finish_write: self.finished,
            data,
        };
        Some((message, self))
    }

    /// Has a chunk pending unless the source has ended. `None`: it failed.
    async fn fill(&mut self) -> Option<()> {
        while self.pending.is_empty() && !self.ended {
            match self.source.next().await {
                Some(Ok(chunk)) => self.cut(chunk),
                Some(Err(error)) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return None;
                }
                None => self.ended = true,
            }
        }
        Some(())
    }

    fn cut(&mut self, mut chunk: Bytes) {
        while !chunk.is_empty() {
            self.pending.push_back(chunk.split_to(chunk.len().min(limits::STREAM_CHUNK)));
        }
    }
}
