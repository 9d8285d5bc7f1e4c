//! Many packs of about one size become one: so there are few of them, however little comes at a time.

use super::{MOST, Packing, Packs, pack::Pack};
use crate::{Error, Result, disk::cache::DiskCache};
use proto::DigestFunction;
use rustix::fs::{FlockOperation, flock};
use std::{collections::BTreeMap, fs::File, sync::Arc};

/// So many of one kind are merged. Each class of sizes is four times the one before: a blob is copied a few times in its life.
pub(super) const MANY: usize = 16;

/// Packs of less are one class.
const SMALLEST: u64 = 64 * 1024;

/// Bytes that are copied at a time.
const STEP: u64 = 4 * 1024 * 1024;

impl Packs {
    /// Packs of one kind, if there are many.
    fn alike(&self, largest: u64) -> Vec<Arc<Pack>> {
        let mut kinds: BTreeMap<(DigestFunction, u32), Vec<Arc<Pack>>> = BTreeMap::new();
        for pack in &self.known().packs {
            let payload = pack.table.payload();
            if payload < largest / MANY as u64 * 4 && pack.table.len() < MOST / MANY {
                let class = (payload / SMALLEST).checked_ilog2().map_or(0, |bits| 1 + bits / 2);
                let function = pack.digest(0).function();
                kinds.entry((function, class)).or_default().push(pack.clone());
            }
        }
        kinds.into_values().find(|kind| kind.len() >= MANY).unwrap_or_default()
    }

    fn remove(&self, pack: &Arc<Pack>) -> Result<()> {
        self.known().packs.retain(|known| !Arc::ptr_eq(known, pack));
        match std::fs::remove_file(&pack.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&pack.path, error)),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> Result<Option<File>> {
        let dir = File::open(&self.dir).map_err(|error| Error::io(&self.dir, error))?;
        Ok(flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(dir))
    }
}

/// Merges packs if there are many of one kind. Nobody waits for it: if another process is at it, that will do.
pub(in crate::disk) fn merge(cache: &DiskCache) -> Result<()> {
    let packs = cache.packs();
    let alike = packs.alike(cache.pack_bytes());
    let Some(first) = alike.first() else { return Ok(()) };
    let Some(_lock) = packs.lock()? else { return Ok(()) };
    let mut packing = Packing::create(cache, first.digest(0).function())?;
    let mut merged = Vec::new();
    for pack in alike {
        if pack.unchanged()?.is_none() {
            packs.drop_damaged(&pack)?;
            continue;
        }
        let (mut blobs, mut bytes) = (Vec::new(), 0);
        for number in 0..pack.table.len() as u32 {
            let digest = pack.digest(number);
            blobs.push((digest, pack.read(number)?));
            bytes += digest.size();
            if bytes >= STEP || number + 1 == pack.table.len() as u32 {
                packing.add(&std::mem::take(&mut blobs))?;
                bytes = 0;
            }
        }
        merged.push(pack);
    }
    cache.publish(packing)?;
    merged.iter().try_for_each(|pack| packs.remove(pack))
}
