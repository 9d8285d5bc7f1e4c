//! Trusts nothing that it reads.

use crate::{BlobStore, ByteStream, Error, Range, Reopen, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::{Digest, Hasher};

/// Hashes whole blobs as they are read. A stream of wrong bytes ends with [`Error::Mismatch`]; a part of a blob cannot be
/// checked. What is written is checked by the store below, as every store does.
#[derive(Clone, Debug)]
pub struct Verified<S> {
    inner: S,
}

impl<S: BlobStore> Verified<S> {
    /// Checks what `inner` gives.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

/// The same bytes, and [`Error::Mismatch`] at the end of others.
pub(crate) fn checked(source: ByteStream, digest: Digest) -> ByteStream {
    let checking = Checking { source, hasher: digest.function().hasher(), digest };
    stream::try_unfold(checking, Checking::next).boxed()
}

struct Checking {
    source: ByteStream,
    hasher: Hasher,
    digest: Digest,
}

impl Checking {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        match self.source.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                self.hasher.update(&chunk);
                Ok(Some((chunk, self)))
            }
            None => match self.hasher.finish() {
                actual if actual == self.digest => Ok(None),
                actual => Err(Error::Mismatch { expected: self.digest, actual }),
            },
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore> BlobStore for Verified<S> {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        self.inner.find_missing(digests).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        let blobs = self.inner.read_batch(digests).await?;
        let check = |(blob, expected): (Result<Bytes>, &Digest)| {
            let blob = blob?;
            match expected.function().digest(&blob) {
                actual if actual == *expected => Ok(blob),
                actual => Err(Error::Mismatch { expected: *expected, actual }),
            }
        };
        Ok(blobs.into_iter().zip(digests).map(check).collect())
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        self.inner.write_batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        let source = self.inner.read(digest, range).await?;
        if range != Range::ALL {
            return Ok(source);
        }
        Ok(checked(source, digest))
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        self.inner.write(digest, source).await
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        self.inner.write_from(digest, source).await
    }

    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        self.inner.write_patch(base, digest, patch).await
    }

    fn verifies_reads(&self) -> bool {
        true
    }
}
