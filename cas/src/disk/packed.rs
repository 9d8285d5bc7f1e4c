//! What the cache does with packs.

use super::{
    DiskCache,
    cache::told,
    loose,
    packs::{self, Gathering, Hit, Packing, Place},
    staged::Trust,
};
use crate::Result;
use bytes::Bytes;
use proto::Digest;

/// Blobs that are moved out of packs at a time.
const MOVED: usize = 512;

/// Bytes of a pack in a cache that is neither very small nor very large.
const MIN_PACK: u64 = 16 * 1024 * 1024;
const MAX_PACK: u64 = 1024 * 1024 * 1024;

impl DiskCache {
    /// Where blobs are that are packed. They count as used now.
    pub(super) fn find(&self, digests: &[Digest], now: i64) -> Result<Vec<Hit>> {
        let hits = self.packs().find(digests, now)?;
        self.pins().locate(hits.iter().map(|hit| hit.place.clone()));
        let leaving: Vec<&Place> = hits.iter().filter(|hit| hit.is_leaving).map(|hit| &hit.place).collect();
        if !leaving.is_empty() {
            told(self.move_out(&leaving, now));
        }
        Ok(hits)
    }

    /// Copies blobs out of packs of which little else is used, so that these may go. Where they are now they can be read from, as
    /// long as they are pinned.
    fn move_out(&self, places: &[&Place], now: i64) -> Result<()> {
        let gathering = Gathering::new(self);
        for places in places.chunks(MOVED) {
            let mut blobs: Vec<(Digest, Bytes)> = Vec::new();
            for place in places {
                let digest = place.digest();
                // A few that were moved before are files of their own, which are found when the pack is gone.
                if !loose::has(&self.path(digest), digest, now)? {
                    blobs.extend(place.read()?.map(|bytes| (digest, bytes.into())));
                }
            }
            gathering.keep(&blobs, Trust::Verified)?;
        }
        gathering.finish()
    }

    /// The bytes of a blob that is pinned, was looked up and is packed.
    pub(crate) fn packed(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        match self.pins().place(digest) {
            Some(place) => place.read(),
            None => Ok(None),
        }
    }

    /// Bytes of a full pack: so many that a full cache is a few hundred of them.
    pub(super) fn pack_bytes(&self) -> u64 {
        let most = self.max_bytes();
        (most / 256).clamp(MIN_PACK, MAX_PACK).min(most / 16)
    }

    /// Makes what was packed known, here and to all, and counts it.
    pub(super) fn publish(&self, packing: Packing) -> Result<()> {
        // Counted before it is there: whoever is killed in between has counted too much, which a trim puts right.
        self.publishing(packing.count());
        self.make_known(packing)
    }

    /// The same of what is counted already.
    pub(super) fn make_known(&self, packing: Packing) -> Result<()> {
        let (pack, file) = packing.finish(self)?;
        self.packs().add(pack.clone());
        self.pins().locate(Place::all(&pack.opened(file)));
        Ok(())
    }

    /// Puts what lies in many packs into few. To be called now and then, when something has come.
    pub(crate) fn tidy(&self) {
        told(self.now().and_then(|now| packs::merge(self, now)));
    }
}
