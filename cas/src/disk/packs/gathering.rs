//! What comes together goes into packs.

use super::{Packing, SMALL, TOGETHER};
use crate::{
    Result,
    disk::{cache::DiskCache, staged::Trust},
};
use bytes::Bytes;
use proto::Digest;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// Where all that one fetch brings comes into the cache: small blobs that come together are packed, others are files of their
/// own. What was packed and not published when it is dropped is published somewhat later.
#[derive(Debug)]
pub(crate) struct Gathering {
    cache: DiskCache,
    open: Mutex<Option<Packing>>,
}

impl Gathering {
    pub(crate) fn new(cache: &DiskCache) -> Self {
        Self { cache: cache.clone(), open: Mutex::default() }
    }

    /// Puts blobs into the cache. Packed ones are there when the pack is full, or [`Self::finish`] was called.
    pub(crate) fn keep(&self, blobs: &[(Digest, Bytes)], trust: Trust) -> Result<()> {
        let mut alike = blobs.chunk_by(|(one, _), (other, _)| one.function() == other.function());
        alike.try_for_each(|blobs| self.keep_alike(blobs, trust))
    }

    fn keep_alike(&self, blobs: &[(Digest, Bytes)], trust: Trust) -> Result<()> {
        let insert = |(digest, bytes): &(Digest, Bytes)| self.cache.insert_as(*digest, bytes, trust);
        let is_small =
            |(digest, bytes): &&(Digest, Bytes)| (1..=SMALL).contains(&digest.size()) && !bytes.is_empty();
        if blobs.iter().filter(is_small).count() < TOGETHER {
            return blobs.iter().try_for_each(insert);
        }
        blobs.iter().filter(|blob| !is_small(blob)).try_for_each(insert)?;
        let small: Vec<(Digest, &[u8])> =
            blobs.iter().filter(is_small).map(|(digest, bytes)| (*digest, &bytes[..])).collect();
        for (digest, bytes) in &small {
            if !trust.takes(*digest, bytes) {
                // Says what is wrong with it.
                self.cache.insert_as(*digest, bytes, trust)?;
            }
        }
        for full in self.pack(&small)?.into_iter().flatten() {
            self.cache.publish(full)?;
        }
        Ok(())
    }

    /// Adds to the pack that is open. Gives back what is to be published: one that is full, one of another function.
    fn pack(&self, blobs: &[(Digest, &[u8])]) -> Result<[Option<Packing>; 2]> {
        let Some((first, _)) = blobs.first() else { return Ok([None, None]) };
        let mut open = self.open();
        let other = open.take_if(|packing| packing.function() != first.function());
        let packing = match &mut *open {
            Some(packing) => packing,
            None => open.insert(Packing::create(&self.cache, first.function())?),
        };
        packing.add(blobs)?;
        Ok([open.take_if(|packing| packing.is_full(self.cache.pack_bytes())), other])
    }

    /// Publishes what was not published yet.
    pub(crate) fn finish(&self) -> Result<()> {
        let open = self.open().take();
        open.map_or(Ok(()), |packing| self.cache.publish(packing))
    }

    fn open(&self) -> MutexGuard<'_, Option<Packing>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gathering {
    /// What came of a fetch that broke off need not come again.
    fn drop(&mut self) {
        let Some(packing) = self.open().take() else { return };
        let cache = self.cache.clone();
        let publish = move || {
            if let Err(error) = cache.publish(packing) {
                tracing::warn!(%error, "cannot keep what was fetched in the local cache");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(publish)),
            Err(_) => publish(),
        }
    }
}
