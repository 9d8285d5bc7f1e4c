//! Round trips as numbers.

use crate::{BlobStore, ByteStream, Range, Reopen, Result};
use async_trait::async_trait;
use bytes::Bytes;
use proto::Digest;
use std::sync::{Mutex, PoisonError};

/// One call, with the number of its digests or blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `find_missing` of so many digests.
    FindMissing(usize),
    /// `read_batch` of so many digests.
    ReadBatch(usize),
    /// `write_batch` of so many blobs.
    WriteBatch(usize),
    /// `read` of one blob.
    Read,
    /// `write` of one blob.
    Write,
    /// `write_patch`.
    WritePatch,
}

/// Writes down the calls that pass through it.
#[derive(Debug, Default)]
pub struct Recording<S> {
    inner: S,
    calls: Mutex<Vec<Call>>,
}

impl<S: BlobStore> Recording<S> {
    /// Around `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Mutex::default() }
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The calls since this was asked last.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore> BlobStore for Recording<S> {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        self.note(Call::FindMissing(digests.len()));
        self.inner.find_missing(digests).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        self.note(Call::ReadBatch(digests.len()));
        self.inner.read_batch(digests).await
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        self.note(Call::WriteBatch(blobs.len()));
        self.inner.write_batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        self.note(Call::Read);
        self.inner.read(digest, range).await
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        self.note(Call::Write);
        self.inner.write(digest, source).await
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        self.note(Call::Write);
        self.inner.write_from(digest, source).await
    }

    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        self.note(Call::WritePatch);
        self.inner.write_patch(base, digest, patch).await
    }

    fn verifies_reads(&self) -> bool {
        self.inner.verifies_reads()
    }
}
