//! What a manifest names comes into the local cache.

use super::{
    Error, archives,
    error::NAMED,
    includes::{self, Loaded},
};
use crate::{
    BlobStore, Monitor, Progress, Range,
    batches::{self, Split},
    blocking::blocking,
    disk::{DiskCache, Pins, Trust},
    isolated::{Entry, Isolated},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proto::{Digest, RelPath};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// Batches, and streams, in flight.
const IN_FLIGHT: usize = 4;

/// Everything that a manifest names is in the cache, and stays there while this lives.
#[derive(Debug)]
pub struct Fetched {
    /// The manifest, its includes merged into it, the files of its archives named one by one.
    pub isolated: Isolated,
    /// Directories that are made though no file may be in them.
    pub directories: BTreeSet<RelPath>,
    /// Blobs that came from the store, manifests included.
    pub cold_items: u64,
    /// Their bytes.
    pub cold_bytes: u64,
    /// Blobs that the cache had, manifests included.
    pub hot_items: u64,
    /// Their bytes.
    pub hot_bytes: u64,
    _pins: Vec<Pins>,
}

impl Fetched {
    /// Forgets the files of the manifest, of which there may be a million, when they were laid out. The cache keeps them still.
    pub fn forget_files(&mut self) {
        self.isolated.files = BTreeMap::new();
    }
}

/// Brings the manifest and its files into the cache. No call is made to the store for what is there already; those who
/// fetch the same manifest through the same cache at the same time share one transfer.
pub async fn fetch(
    store: &dyn BlobStore,
    cache: &DiskCache,
    manifest: Digest,
    monitor: &dyn Monitor,
) -> Result<Fetched, Error> {
    let _alone = cache.flight(manifest).await;
    let loaded = includes::load(store, cache, manifest, monitor).await?;
    complete(store, cache, (manifest, loaded), monitor).await
}

/// Brings the files of a manifest that was loaded into the cache.
pub(super) async fn complete(
    store: &dyn BlobStore,
    cache: &DiskCache,
    (manifest, loaded): (Digest, Loaded),
    monitor: &dyn Monitor,
) -> Result<Fetched, Error> {
    let Loaded { mut isolated, mut pins, mut cold, mut hot } = loaded;
    let mut wanted: Vec<Digest> = isolated.files.values().filter_map(Entry::digest).collect();
    wanted.retain(|digest| !digest.is_empty());
    wanted.sort_unstable();
    wanted.dedup();
    pins.push(cache.pin(wanted.iter().copied()));
    let (absent, present) = bring(store, cache, wanted, monitor).await?;
    (cold, hot) = (cold.plus(absent), hot.plus(present));
    if isolated.files.values().any(|entry| matches!(entry, Entry::Tar { .. })) {
        let cache = cache.clone();
        let unpack = move || archives::unpack(isolated, &cache).map_err(|source| source.of(manifest));
        let unpacked = blocking(unpack).await?;
        isolated = unpacked.0;
        pins.extend(unpacked.1);
    }
    Ok(Fetched {
        isolated,
        directories: BTreeSet::new(),
        cold_items: cold.items,
        cold_bytes: cold.bytes,
        hot_items: hot.items,
        hot_bytes: hot.bytes,
        _pins: pins,
    })
}

/// Brings those of different blobs into the cache that it lacks. Says how much that was, and how much was there.
pub(super) async fn bring(
    store: &dyn BlobStore,
    cache: &DiskCache,
    wanted: Vec<Digest>,
    monitor: &dyn Monitor,
) -> Result<(Tally, Tally), Error> {
    let mut all = Tally::default();
    all.add(&wanted);
    let missing = look_up(cache, wanted).await?;
    let mut absent = Tally::default();
    absent.add(&missing);
    let present = all.without(absent);
    monitor.progress(Progress::Planned { files: absent.items, bytes: absent.bytes });
    monitor.progress(Progress::Cached { files: present.items, bytes: present.bytes });
    if !missing.is_empty() {
        let fetching = Fetching { store, cache, monitor, absent: Mutex::default() };
        fetching.all(missing).await?;
    }
    Ok((absent, present))
}

/// How many blobs, and their bytes: sizes that a manifest claims, which may be anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    items: u64,
    bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, digests: &[Digest]) {
        let bytes = digests.iter().fold(0, |sum: u64, digest| sum.saturating_add(digest.size()));
        *self = self.plus(Self { items: digests.len() as u64, bytes });
    }

    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self { items: self.items + more.items, bytes: self.bytes.saturating_add(more.bytes) }
    }

    pub(super) fn without(self, part: Self) -> Self {
        Self { items: self.items.saturating_sub(part.items), bytes: self.bytes.saturating_sub(part.bytes) }
    }
}

/// Those that the cache does not have.
async fn look_up(cache: &DiskCache, wanted: Vec<Digest>) -> Result<Vec<Digest>, Error> {
    let cache = cache.clone();
    let look = move || {
        let most = cache.max_bytes();
        let mut all = Tally::default();
        all.add(&wanted);
        if all.bytes > most {
            let reason = format!(
                "inputs of {} bytes do not fit into the local cache of {most} bytes: give it more",
                all.bytes
            );
            return Err(crate::Error::Exhausted { reason });
        }
        let missing = cache.missing(&wanted)?;
        drop(wanted);
        if !missing.is_empty() {
            let mut upcoming = Tally::default();
            upcoming.add(&missing);
            cache.make_room(upcoming.bytes, upcoming.items)?;
        }
        Ok(missing)
    };
    Ok(blocking(look).await?)
}

struct Fetching<'a> {
    store: &'a dyn BlobStore,
    cache: &'a DiskCache,
    monitor: &'a dyn Monitor,
    /// What the store does not have: all of it is found out before the fetch fails.
    absent: Mutex<Vec<Digest>>,
}

impl Fetching<'_> {
    async fn all(&self, missing: Vec<Digest>) -> Result<(), Error> {
        let Split { batches, large } = batches::split(missing, |digest| *digest);
        let batches = stream::iter(batches).map(|(_, batch)| self.batch(batch));
        batches.buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        let large = stream::iter(large).map(|digest| self.large(digest));
        large.buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        let mut absent =
            std::mem::take(&mut *self.absent.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if absent.is_empty() {
            return Ok(());
        }
        absent.sort_unstable();
        let count = absent.len();
        absent.truncate(NAMED);
        Err(Error::Missing { digests: absent, count })
    }

    async fn batch(&self, digests: Vec<Digest>) -> Result<(), Error> {
        let outcomes = self.store.read_batch(&digests).await?;
        let mut blobs: Vec<(Digest, Bytes)> = Vec::with_capacity(digests.len());
        for (digest, outcome) in digests.into_iter().zip(outcomes) {
            match outcome {
                Ok(bytes) => blobs.push((digest, bytes)),
                Err(error) => self.note(error)?,
            }
        }
        let (cache, trust) = (self.cache.clone(), Trust::of(self.store));
        let insert = move || {
            blobs.iter().try_for_each(|(digest, bytes)| cache.insert_as(*digest, bytes, trust))?;
            Ok::<_, crate::Error>(blobs)
        };
        for (digest, _) in blocking(insert).await? {
            self.monitor.progress(Progress::Fetched { files: 1, bytes: digest.size() });
        }
        Ok(())
    }

    async fn large(&self, digest: Digest) -> Result<(), Error> {
        let mut source = match self.store.read(digest, Range::ALL).await {
            Ok(source) => source,
            Err(error) => return self.note(error),
        };
        let (cache, trust) = (self.cache.clone(), Trust::of(self.store));
        let mut staged = blocking(move || cache.stage_as(digest, trust)).await?;
        while let Some(chunk) = source.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return self.note(error),
            };
            let write = move || {
                staged.write(&chunk)?;
                Ok::<_, crate::Error>(staged)
            };
            staged = blocking(write).await?;
        }
        blocking(move || staged.finish()).await?;
        self.monitor.progress(Progress::Fetched { files: 1, bytes: digest.size() });
        Ok(())
    }

    /// Notes a blob that is absent; any other error ends the fetch.
    fn note(&self, error: crate::Error) -> Result<(), Error> {
        match error {
            crate::Error::NotFound { digest } => {
                self.absent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(digest);
                Ok(())
            }
            error => Err(error.into()),
        }
    }
}
