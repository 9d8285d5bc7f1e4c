//! The seam between those who keep blobs and those who use them.

use crate::{Error, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream::BoxStream};
use proto::{Digest, DigestFunction, limits};
use std::{fmt, sync::Arc};

/// The bytes of a blob, or a part of them, in order, in chunks of any size.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Opens the bytes of one blob from an offset on, as often as need be.
pub type Reopen<'a> = dyn Fn(u64) -> BoxFuture<'a, Result<ByteStream>> + Send + Sync + 'a;

/// A part of a blob. `offset` may be the blob's size, which gives nothing; beyond it is [`Error::Invalid`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// At most this many bytes; a limit beyond the end is fine. `None`: to the end.
    pub limit: Option<u64>,
}

impl Range {
    /// The whole blob.
    pub const ALL: Self = Self { offset: 0, limit: None };

    /// Where the range begins and ends in a blob of `size` bytes.
    pub fn bounds(&self, size: u64) -> Result<std::ops::Range<u64>> {
        if self.offset > size {
            let reason = format!("offset {} is beyond the end at {size}", self.offset);
            return Err(Error::Invalid { reason });
        }
        let end = self.limit.map_or(size, |limit| size.min(self.offset.saturating_add(limit)));
        Ok(self.offset..end)
    }

    /// The part of a blob that is in memory as a whole.
    pub fn of(&self, blob: &Bytes) -> Result<Bytes> {
        let bounds = self.bounds(blob.len() as u64)?;
        // Both ends lie within the blob, whose length is a usize.
        Ok(blob.slice(bounds.start as usize..bounds.end as usize))
    }
}

/// Keeps blobs by digest. Every implementation passes `cas::testing::conformance`:
///
/// - A blob that was acknowledged is whole, verified, and as durable as the store is.
/// - The empty blob of every function is always there and never missing.
/// - Bytes that do not match their digest are refused with [`Error::Mismatch`] and stay invisible.
/// - Calls may be repeated and may race; the last word on a digest is always the same bytes.
#[async_trait]
pub trait BlobStore: Send + Sync + fmt::Debug + 'static {
    /// Which of these the store does not have, in the order given. Those that it has stay for a while: the call counts
    /// as a use. Any number of digests; an implementation splits as its wire demands.
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>>;

    /// Several blobs at once, in the order given, each with its own outcome. Meant for blobs of up to
    /// [`limits::MAX_BATCH_BYTES`]; an implementation splits the batch as its wire demands.
    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>>;

    /// Stores several blobs at once, in the order given, each with its own outcome. Meant for blobs of up to
    /// [`limits::MAX_BATCH_BYTES`]; an implementation splits the batch as its wire demands.
    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>>;

    /// One blob of any size, or a part of it.
    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream>;

    /// Stores one blob of any size. The source is read to its end unless the blob turns out to be there already.
    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()>;

    /// Stores one blob of any size like [`BlobStore::write`]. A store that knows what came of it before an earlier call broke
    /// off opens the source there.
    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        self.write(digest, source(0).await?).await
    }

    /// Stores one blob made of another one, `base`, and a [`patch`](crate::patch). [`Error::NotFound`] when the base is not
    /// there. A store on the other side of a wire may know nothing of patches: after any error the blob is to be written.
    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        crate::patch::write(self, base, digest, patch).await
    }

    /// Whether what comes of `read_batch`, and of `read` of a whole blob up to the end of the stream, was hashed on this
    /// side: whoever keeps it need not do so again.
    fn verifies_reads(&self) -> bool {
        false
    }
}

/// Conveniences that no store can get wrong, because none implements them.
#[async_trait]
pub trait BlobStoreExt: BlobStore {
    /// Whether the store has the blob.
    async fn contains(&self, digest: Digest) -> Result<bool> {
        Ok(self.find_missing(&[digest]).await?.is_empty())
    }

    /// The whole blob in memory.
    async fn get(&self, digest: Digest) -> Result<Bytes> {
        if digest.size() <= limits::MAX_BATCH_BYTES {
            let missing = || Error::Internal { reason: format!("no answer about {digest}") };
            return self.read_batch(&[digest]).await?.pop().ok_or_else(missing)?;
        }
        let stream = self.read(digest, Range::ALL).await?;
        let whole = stream.try_fold(BytesMut::new(), async |mut whole, chunk| {
            whole.extend_from_slice(&chunk);
            Ok(whole)
        });
        Ok(whole.await?.freeze())
    }

    /// Stores bytes and tells their name.
    async fn put(&self, function: DigestFunction, bytes: Bytes) -> Result<Digest> {
        let digest = function.digest(&bytes);
        if digest.size() <= limits::MAX_BATCH_BYTES {
            let missing = || Error::Internal { reason: format!("no answer about {digest}") };
            self.write_batch(vec![(digest, bytes)]).await?.pop().ok_or_else(missing)??;
        } else {
            self.write(digest, futures::stream::once(async { Ok(bytes) }).boxed()).await?;
        }
        Ok(digest)
    }
}

impl<S: BlobStore + ?Sized> BlobStoreExt for S {}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore + ?Sized> BlobStore for Arc<S> {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        (**self).find_missing(digests).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        (**self).read_batch(digests).await
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        (**self).write_batch(blobs).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        (**self).read(digest, range).await
    }

    async fn write(&self, digest: Digest, source: ByteStream) -> Result<()> {
        (**self).write(digest, source).await
    }

    async fn write_from(&self, digest: Digest, source: &Reopen<'_>) -> Result<()> {
        (**self).write_from(digest, source).await
    }

    async fn write_patch(&self, base: Digest, digest: Digest, patch: Bytes) -> Result<()> {
        (**self).write_patch(base, digest, patch).await
    }

    fn verifies_reads(&self) -> bool {
        (**self).verifies_reads()
    }
}
