//! The cache as a [`BlobStore`].

use super::{DiskCache, Gathering, SMALL, Trust};
use crate::{
    BlobStore, ByteStream, Error, Range, Reopen, Result,
    blocking::{blocking, file_stream},
    layers::checked,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use proto::Digest;
use std::io::{Seek as _, SeekFrom};

/// A store that keeps as much as its byte budget allows, and forgets what was not used for longest.
#[derive(Clone, Debug)]
pub struct DiskStore {
    cache: DiskCache,
}

impl DiskStore {
    /// Over a cache, which others may use at the same time.
    pub fn new(cache: DiskCache) -> Self {
        Self { cache }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(DiskCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.cache.clone();
        blocking(move || work(cache)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for DiskStore {
    async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let digests = digests.to_vec();
        self.blocking(move |cache| cache.missing(&digests)).await
    }

    async fn read_batch(&self, digests: &[Digest]) -> Result<Vec<Result<Bytes>>> {
        let digests = digests.to_vec();
        let read = move |cache: DiskCache| {
            let blobs = digests.iter().zip(cache.read_all(&digests)?);
            Ok(blobs.map(|(digest, blob)| blob.ok_or(Error::NotFound { digest: *digest })).collect())
        };
        self.blocking(read).await
    }

    async fn write_batch(&self, blobs: Vec<(Digest, Bytes)>) -> Result<Vec<Result<()>>> {
        let write = move |cache: DiskCache| {
            let (mut outcomes, mut right) = (Vec::with_capacity(blobs.len()), Vec::new());
            for (digest, bytes) in blobs {
                let is_right = Trust::Hash.takes(digest, &bytes);
                // Says what is wrong with it.
                outcomes.push(if is_right { Ok(()) } else { cache.insert(digest, &bytes) });
                right.extend(is_right.then_some((digest, bytes)));
            }
            let gathering = Gathering::new(&cache);
            gathering.keep(&right, Trust::Verified)?;
            gathering.finish()?;
            cache.tidy();
            Ok(outcomes)
        };
        self.blocking(write).await
    }

    async fn read(&self, digest: Digest, range: Range) -> Result<ByteStream> {
        let open = move |cache: DiskCache| {
            let bounds = range.bounds(digest.size())?;
            if digest.size() <= SMALL {
                // It may be packed.
                let bytes = cache.read(digest)?.ok_or(Error::NotFound { digest })?;
                let part = bytes.slice(bounds.start as usize..bounds.end as usize);
                return Ok(stream::iter((!part.is_empty()).then_some(Ok(part))).boxed());
            }
            if !cache.missing(&[digest])?.is_empty() {
                return Err(Error::NotFound { digest });
            }
            // It was there a moment ago.
            let (mut file, trust) = cache.source(digest)?.ok_or(Error::NotFound { digest })?;
            let path = cache.path(digest);
            file.seek(SeekFrom::Start(bounds.start)).map_err(|error| Error::io(&path, error))?;
            let source = file_stream(path, file, bounds.end - bounds.start);
            match trust {
                Trust::Verified => Ok(source),
                Trust::Hash if range == Range::ALL => Ok(checked(source, digest)),
                Trust::Hash => {
                    let reason = format!("a tree has {digest}, of which no part can be verified");
                    Err(Error::Internal { reason })
                }
            }
        };
        self.blocking(open).await
    }

    async fn write(&self, digest: Digest, mut source: ByteStream) -> Result<()> {
        if self.find_missing(&[digest]).await?.is_empty() {
            return Ok(());
        }
        let mut staged = self.blocking(move |cache| cache.stage(digest)).await?;
        while let Some(chunk) = source.next().await {
            let chunk = chunk?;
            let write = move || {
                staged.write(&chunk)?;
                Ok::<_, Error>(staged)
            };
            staged = blocking(write).await?;
        }
        blocking(move || staged.finish()).await
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
