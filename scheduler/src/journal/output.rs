//! The output of attempts: which bytes of a report are new, and where they are kept.

use bytes::{Bytes, BytesMut};
use proto::{ShardId, limits};

/// One attempt's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptKey {
    pub(crate) shard: ShardId,
    pub(crate) attempt: u32,
}

impl AttemptKey {
    pub(super) const LEN: usize = 20;

    /// Sorts by run, step, index, attempt.
    pub(super) fn bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.shard.run.as_u64().to_be_bytes());
        bytes[8..12].copy_from_slice(&self.shard.step.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.shard.index.to_be_bytes());
        bytes[16..].copy_from_slice(&self.attempt.to_be_bytes());
        bytes
    }
}

/// Bytes to keep, and where they start in their attempt's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) attempt: AttemptKey,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// The end of an output that was too long.
pub(crate) const MARKER: &[u8] =
    b"\n[isoswarm: the output is longer than 100 MiB, and the rest of it was dropped]\n";

/// What becomes of reported output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// What to keep.
    pub(crate) chunks: Vec<Chunk>,
    /// Bytes kept, with these.
    pub(crate) size: u64,
    /// What the bot is told to have been received: it goes on from there.
    pub(crate) received: u64,
    /// Everything up to the end of the report has been received.
    pub(crate) complete: bool,
}

/// Takes in `bytes` that start at `offset` of an output of which `size` bytes are kept. Bytes that are kept already are
/// skipped, so that a repeated report doubles nothing; bytes beyond a gap are refused by saying where to go on.
pub(crate) fn accept(attempt: AttemptKey, size: u64, offset: u64, bytes: &Bytes) -> Accepted {
    let end = offset.saturating_add(bytes.len() as u64);
    // The marker makes it longer than the limit.
    if size > limits::MAX_OUTPUT_PER_ATTEMPT {
        return Accepted { chunks: Vec::new(), size, received: end, complete: true };
    }
    if offset > size || end <= size {
        return Accepted { chunks: Vec::new(), size, received: size, complete: offset <= size };
    }
    let fresh = bytes.slice(usize::try_from(size - offset).unwrap_or(bytes.len())..);
    let room = limits::MAX_OUTPUT_PER_ATTEMPT - size;
    if fresh.len() as u64 <= room {
        return Accepted { chunks: cut(attempt, size, fresh), size: end, received: end, complete: true };
    }
    let mut last = BytesMut::from(&fresh[..usize::try_from(room).unwrap_or(fresh.len())]);
    last.extend_from_slice(MARKER);
    let kept = size + last.len() as u64;
    Accepted { chunks: cut(attempt, size, last.freeze()), size: kept, received: end, complete: true }
}

/// Chunks are read whole, and one goes into one message.
fn cut(attempt: AttemptKey, mut offset: u64, mut bytes: Bytes) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(limits::STREAM_CHUNK));
        let len = piece.len() as u64;
        chunks.push(Chunk { attempt, offset, bytes: piece });
        offset += len;
    }
    chunks
}
