//! Blobs in memory, for tests and for what is gone with the process.

use crate::{BlobStore, ByteStream, Error, Range, Reopen, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::{Digest, limits};
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Keeps every blob until it is dropped. Bytes are verified as in any store.
#[derive(Default)]
pub struct MemoryStore {
    blobs: Mutex<HashMap<Digest, Bytes>>,
}

impl MemoryStore {
    /// Without any blob.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets a blob, as eviction would. Tells whether it was there.
    pub fn remove(&self, digest: Digest) -> bool {
        self.blobs().remove(&digest).is_some()
    }

    /// How many blobs there are.
    pub fn len(&self) -> usize {
        self.blobs().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.blobs().is_empty()
    }

    fn blobs(&self) -> MutexGuard<'_, HashMap<Digest, Bytes>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, digest: Digest) -> Result<Bytes> {
        if digest.is_empty() {
            return Ok(Bytes::new());
        }
        self.blobs().get(&digest).cloned().ok_or(Error::NotFound { digest })
    }

    fn insert(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        let actual = digest.function().digest(&bytes);
        if actual != digest {
            return Err(Error::Mismatch { expected: digest, actual });
        }
        self.blobs().insert(digest, bytes);
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("blobs", &self.len()).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for MemoryStore {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let blobs = self.blobs();
        let missing = |digest: &&Digest| !digest.is_empty() && !blobs.contains_key(*digest);
        Ok(digests.iter().filter(missing).copied().collect())
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        Ok(digests.iter().map(|digest| self.find(*digest)).collect())
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        Ok(blobs.into_iter().map(|(digest, bytes)| self.insert(digest, bytes)).collect())
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        let part = range.of(&self.find(digest)?)?;
        let chunks = (0..part.len()).step_by(limits::STREAM_CHUNK);
        let chunks: Vec<_> =
            chunks.map(|at| Ok(part.slice(at..part.len().min(at + limits::STREAM_CHUNK)))).collect();
        Ok(stream::iter(chunks).boxed())
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        if self.find(digest).is_ok() {
            return Ok(());
        }
        let whole = source.try_fold(BytesMut::new(), async |mut whole, chunk| {
            whole.extend_from_slice(&chunk);
            if whole.len() as u64 > digest.size() {
                return Err(Error::Mismatch { expected: digest, actual: digest.function().digest(&whole) });
            }
            Ok(whole)
        });
        self.insert(digest, whole.await?.freeze())
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        self.write(digest, source(0).await?).await
    }

    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        crate::patch::write(self, base, digest, patch).await
    }

    fn verifies_reads(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::all(&MemoryStore::new()).await;
    }
}
