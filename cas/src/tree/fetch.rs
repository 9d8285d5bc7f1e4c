//! What a manifest names comes into the local cache.

use super::{
    Begun, Error, archives,
    error::NAMED,
    gate::Gate,
    graft::{self, Graft},
    includes::Loaded,
    materialize::{Building, Site},
};
use crate::{
    BlobStore, ByteStream, Monitor, Progress, Range,
    batches::{self, Split},
    blocking::blocking,
    disk::{DiskCache, Gathering, Pins, Trust},
    isolated::{Entry, Isolated},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join, stream};
use proto::{Digest, RelPath, limits};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Batches, and streams, in flight.
const IN_FLIGHT: usize = 4;

/// Everything that a manifest names is in the cache, and stays there while this lives.
#[derive(Debug)]
pub struct Fetched {
    /// The manifest, its includes merged into it, the files of its archives named one by one. Without its files once they are
    /// being laid out.
    pub isolated: Isolated,
    /// Directories that are made though no file may be in them.
    pub directories: BTreeSet<RelPath>,
    /// Files and symlinks that it names.
    pub files: u64,
    /// Sum of the sizes of the files.
    pub bytes: u64,
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

/// Brings the manifest and its files into the cache. No call is made to the store for what is there already; those who
/// fetch the same manifest through the same cache at the same time share one transfer.
pub async fn fetch(
    store: &dyn BlobStore,
    cache: &DiskCache,
    manifest: Digest,
    monitor: &dyn Monitor,
) -> Result<Fetched, Error> {
    let way = Way { store, cache, monitor };
    let (lead, loaded, _alone) = graft::load(way, Some(manifest), &[]).await?;
    way.complete(lead, loaded).await
}

/// The same for `base` and all `grafts` as one tree, which is laid out in `target`, an empty directory that is made when it is
/// not there: small files while others are on their way, of the bytes that came; [`Begun::finish`] makes the rest. Command, start
/// directory and permissions are those of `base`; without one there are none, and files may not be written to. Together the
/// manifests are no larger than one may be. Files of two of them at the same path, or below each other, are refused unless they
/// are equal.
///
/// May be dropped before it ends: then nothing is made any more. What it made stays when it fails or is dropped, and has to go
/// before another try.
pub async fn fetch_into(
    store: &dyn BlobStore,
    cache: &DiskCache,
    (base, grafts): (Option<Digest>, &[Graft]),
    target: &Path,
    monitor: &dyn Monitor,
) -> Result<Begun, Error> {
    let way = Way { store, cache, monitor };
    let (lead, loaded, _alone) = graft::load(way, base, grafts).await?;
    way.begin(lead, loaded, target).await
}

/// What comes from where to where, and who follows that.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) store: &'a dyn BlobStore,
    pub(super) cache: &'a DiskCache,
    pub(super) monitor: &'a dyn Monitor,
}

impl Way<'_> {
    /// Brings the files of a manifest that was loaded into the cache.
    async fn complete(self, lead: Digest, loaded: Loaded) -> Result<Fetched, Error> {
        let mut fetched = Fetched::of(loaded);
        let wanted = self.pinned(&mut fetched);
        fetched.count(self.bring(wanted).await?);
        if !fetched.has_archives() {
            return Ok(fetched);
        }
        let cache = self.cache.clone();
        let unpack = move || {
            let unpacked = archives::unpack(fetched.isolated, &cache);
            let (isolated, pins) = unpacked.map_err(|source| source.of(lead))?;
            fetched._pins.extend(pins);
            let (files, bytes) = (isolated.files.len() as u64, isolated.total_bytes());
            Ok::<_, Error>(Fetched { isolated, files, bytes, ..fetched })
        };
        blocking(unpack).await
    }

    /// The same, and lays them out while they come. Of archives nobody knows what is in them before they are there.
    async fn begin(self, lead: Digest, loaded: Loaded, target: &Path) -> Result<Begun, Error> {
        if loaded.isolated.files.values().any(Entry::is_archive) {
            let fetched = self.complete(lead, loaded).await?;
            return self.site(fetched, target).await;
        }
        let mut fetched = Fetched::of(loaded);
        let wanted = self.pinned(&mut fetched);
        // Neither asks the store.
        let (mut begun, found) = try_join(self.site(fetched, target), self.look_up(wanted)).await?;
        begun.fetched.count(self.transfer(found, Some(&begun.site)).await?);
        Ok(begun)
    }

    /// Nothing is made any more when this was dropped.
    async fn site(self, mut fetched: Fetched, target: &Path) -> Result<Begun, Error> {
        let (gate, cache, target) = (Gate::default(), self.cache.clone(), target.to_owned());
        let pass = gate.pass();
        let begin = move || {
            let Fetched { isolated, directories, .. } = &mut fetched;
            let building = Building::begin(isolated, directories, &cache, &target, pass)?;
            Ok::<_, Error>((fetched, Arc::new(building)))
        };
        let (fetched, building) = blocking(begin).await?;
        Ok(Begun { fetched, site: Site { building, _gate: gate } })
    }

    /// Different blobs that a manifest names, in the order of their digests. From now on they stay in the cache.
    fn pinned(self, fetched: &mut Fetched) -> Vec<Digest> {
        let mut wanted: Vec<Digest> = fetched.isolated.files.values().filter_map(Entry::digest).collect();
        wanted.retain(|digest| !digest.is_empty());
        wanted.sort_unstable();
        wanted.dedup();
        fetched._pins.push(self.cache.pin(wanted.iter().copied()));
        wanted
    }

    /// Brings those of different blobs into the cache that it lacks. Says how much that was, and how much was there.
    pub(super) async fn bring(self, wanted: Vec<Digest>) -> Result<(Tally, Tally), Error> {
        let found = self.look_up(wanted).await?;
        self.transfer(found, None).await
    }

    /// What the cache lacks, and makes room for it.
    async fn look_up(self, wanted: Vec<Digest>) -> Result<Found, Error> {
        let cache = self.cache.clone();
        let look = move || {
            let most = cache.max_bytes();
            let all = Tally::of(&wanted);
            if all.bytes > most {
                let reason = format!(
                    "inputs of {} bytes do not fit into the local cache of {most} bytes: give it more",
                    all.bytes
                );
                return Err(crate::Error::Exhausted { reason });
            }
            let missing = cache.missing(&wanted)?;
            drop(wanted);
            let absent = Tally::of(&missing);
            if !missing.is_empty() {
                cache.make_room(absent.bytes, absent.items)?;
            }
            Ok(Found { missing, absent, present: all.without(absent) })
        };
        Ok(blocking(look).await?)
    }

    /// Brings what is missing, and makes files of what is small.
    async fn transfer(self, found: Found, site: Option<&Site>) -> Result<(Tally, Tally), Error> {
        let Found { missing, absent, present } = found;
        self.monitor.progress(Progress::Planned { files: absent.items, bytes: absent.bytes });
        self.monitor.progress(Progress::Cached { files: present.items, bytes: present.bytes });
        if !missing.is_empty() {
            let missing = match site {
                Some(site) => {
                    let builder = site.builder();
                    blocking(move || Ok::<_, Error>(builder.in_order(missing))).await?
                }
                None => missing,
            };
            let gathering = Arc::new(Gathering::new(self.cache));
            let fetching = Fetching { way: self, site, gathering, absent: Mutex::default() };
            fetching.all(missing).await?;
        }
        Ok((absent, present))
    }
}

/// What of different blobs the cache has.
struct Found {
    missing: Vec<Digest>,
    absent: Tally,
    present: Tally,
}

impl Fetched {
    fn of(loaded: Loaded) -> Self {
        let Loaded { isolated, directories, pins, cold, hot } = loaded;
        let (files, bytes) = (isolated.files.len() as u64, isolated.total_bytes());
        Self {
            isolated,
            directories,
            files,
            bytes,
            cold_items: cold.items,
            cold_bytes: cold.bytes,
            hot_items: hot.items,
            hot_bytes: hot.bytes,
            _pins: pins,
        }
    }

    /// Counts blobs that came from the store, and those that the cache had.
    fn count(&mut self, (cold, hot): (Tally, Tally)) {
        self.cold_items += cold.items;
        self.cold_bytes = self.cold_bytes.saturating_add(cold.bytes);
        self.hot_items += hot.items;
        self.hot_bytes = self.hot_bytes.saturating_add(hot.bytes);
    }

    fn has_archives(&self) -> bool {
        self.isolated.files.values().any(Entry::is_archive)
    }
}
/// How many blobs, and their bytes: sizes that a manifest claims, which may be anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    items: u64,
    bytes: u64,
}

impl Tally {
    fn of(digests: &[Digest]) -> Self {
        let mut all = Self::default();
        all.add(digests);
        all
    }

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

struct Fetching<'a> {
    way: Way<'a>,
    /// Where files of what came are made at once.
    site: Option<&'a Site>,
    gathering: Arc<Gathering>,
    /// What the store does not have: all of it is found out before the fetch fails.
    absent: Mutex<Vec<Digest>>,
}

impl Fetching<'_> {
    async fn all(&self, missing: Vec<Digest>) -> Result<(), Error> {
        let Split { batches, large } = batches::split(missing, |digest| *digest);
        let batches = stream::iter(batches).map(|(_, batch)| self.batch(batch));
        batches.buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        let (gathering, cache) = (self.gathering.clone(), self.way.cache.clone());
        let publish = move || {
            gathering.finish()?;
            cache.tidy();
            Ok::<_, Error>(())
        };
        blocking(publish).await?;
        let large = stream::iter(large).map(|digest| self.large(digest));
        large.buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        let mut absent = std::mem::take(&mut *self.absent.lock().unwrap_or_else(PoisonError::into_inner));
        if absent.is_empty() {
            return Ok(());
        }
        absent.sort_unstable();
        let count = absent.len();
        absent.truncate(NAMED);
        Err(Error::Missing { digests: absent, count })
    }

    async fn batch(&self, mut digests: Vec<Digest>) -> Result<(), Error> {
        let Way { store, monitor, .. } = self.way;
        // As stores answer.
        digests.sort_unstable();
        let outcomes = store.read_batch(&digests).await?;
        let mut blobs: Vec<(Digest, Bytes)> = Vec::with_capacity(digests.len());
        for (digest, outcome) in digests.into_iter().zip(outcomes) {
            match outcome {
                Ok(bytes) => blobs.push((digest, bytes)),
                Err(error) => self.note(error)?,
            }
        }
        let (gathering, trust) = (self.gathering.clone(), Trust::of(store));
        let builder = self.site.map(Site::builder);
        let keep = move || {
            gathering.keep(&blobs, trust)?;
            if let Some(builder) = builder {
                builder.make(&blobs)?;
            }
            Ok::<_, Error>(blobs)
        };
        for (digest, _) in blocking(keep).await? {
            monitor.progress(Progress::Fetched { files: 1, bytes: digest.size() });
        }
        Ok(())
    }

    async fn large(&self, digest: Digest) -> Result<(), Error> {
        let mut source = match self.way.store.read(digest, Range::ALL).await {
            Ok(source) => source,
            Err(error) => return self.note(error),
        };
        let (cache, trust) = (self.way.cache.clone(), Trust::of(self.way.store));
        let mut staged = blocking(move || cache.stage_as(digest, trust)).await?;
        loop {
            let step = match step(&mut source).await {
                Ok(step) if step.is_empty() => break,
                Ok(step) => step,
                Err(error) => return self.note(error),
            };
            let write = move || {
                step.iter().try_for_each(|chunk| staged.write(chunk))?;
                Ok::<_, crate::Error>(staged)
            };
            staged = blocking(write).await?;
        }
        blocking(move || staged.finish()).await?;
        self.way.monitor.progress(Progress::Fetched { files: 1, bytes: digest.size() });
        Ok(())
    }

    /// Notes a blob that is absent; any other error ends the fetch.
    fn note(&self, error: crate::Error) -> Result<(), Error> {
        match error {
            crate::Error::NotFound { digest } => {
                self.absent.lock().unwrap_or_else(PoisonError::into_inner).push(digest);
                Ok(())
            }
            error => Err(error.into()),
        }
    }
}

/// What is written at once of a stream: as much as our messages have, or all that is left, in whatever chunks it comes. Empty:
/// that was all.
async fn step(source: &mut ByteStream) -> crate::Result<Vec<Bytes>> {
    let (mut step, mut bytes) = (Vec::new(), 0);
    while bytes < limits::STREAM_CHUNK
        && let Some(chunk) = source.try_next().await?
    {
        bytes += chunk.len();
        step.push(chunk);
    }
    Ok(step)
}
