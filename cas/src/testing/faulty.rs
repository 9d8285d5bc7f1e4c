//! A store that fails when it is told to.

use super::Call;
use crate::{BlobStore, ByteStream, Error, Range, Reopen, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::Digest;
use std::fmt;

/// What a fault does to one call: the error that it fails with instead of being made.
type Fault = Box<dyn Fn(Call) -> Option<Error> + Send + Sync>;

/// Asks before each call whether it shall fail. Streams that are read can be cut after some bytes.
pub struct Faulty<S> {
    inner: S,
    fault: Fault,
    /// Asked for each stream that is read: cut after so many bytes.
    cut: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl<S: BlobStore> Faulty<S> {
    /// Fails the calls for which `fault` has an error.
    pub fn new(inner: S, fault: impl Fn(Call) -> Option<Error> + Send + Sync + 'static) -> Self {
        Self { inner, fault: Box::new(fault), cut: Box::new(|| None) }
    }

    /// Cuts the streams that are read after as many bytes as `cut` says, with a transient error.
    pub fn cutting(self, cut: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self { cut: Box::new(cut), ..self }
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn check(&self, call: Call) -> Result<()> {
        (self.fault)(call).map_or(Ok(()), Err)
    }
}

impl<S: fmt::Debug> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore> BlobStore for Faulty<S> {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        self.check(Call::FindMissing(digests.len()))?;
        self.inner.find_missing(digests).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        self.check(Call::ReadBatch(digests.len()))?;
        self.inner.read_batch(digests).await
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        self.check(Call::WriteBatch(blobs.len()))?;
        self.inner.write_batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        self.check(Call::Read)?;
        let source = self.inner.read(digest, range).await?;
        let Some(rest) = (self.cut)() else { return Ok(source) };
        let cut = stream::try_unfold((source, rest), async |(mut source, rest)| {
            if rest == 0 {
                return Err(Error::Unavailable { reason: "cut by a test".into() });
            }
            let Some(chunk) = source.next().await.transpose()? else { return Ok(None) };
            let kept = chunk.slice(..chunk.len().min(usize::try_from(rest).unwrap_or(usize::MAX)));
            let rest = rest - kept.len() as u64;
            Ok(Some((kept, (source, rest))))
        });
        Ok(cut.boxed())
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        self.check(Call::Write)?;
        self.inner.write(digest, source).await
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        self.check(Call::Write)?;
        self.inner.write_from(digest, source).await
    }

    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        self.check(Call::WritePatch)?;
        self.inner.write_patch(base, digest, patch).await
    }

    fn verifies_reads(&self) -> bool {
        false
    }
}
