//! Many packs of about one size become one: so there are few of them, however little comes at a time.

use super::{MOST, Pack, Packing, Packs, usable};
use crate::{
    Error, Result,
    disk::{cache::DiskCache, loose},
};
use proto::{Digest, DigestFunction};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    sync::Arc,
};

/// So many of one kind are merged. Each class of sizes is four times the one before: a blob is copied a few times in its life.
pub(super) const MANY: usize = 16;

/// Packs of less are one class.
const SMALLEST: u64 = 64 * 1024;

/// Bytes that are copied at a time.
const STEP: u64 = 4 * 1024 * 1024;

/// Merges packs for as long as there are many of one kind. If another process is at it, that will do. `now` is the file system's
/// time in seconds.
pub(in crate::disk) fn merge(cache: &DiskCache, now: i64) -> Result<()> {
    let (packs, largest) = (cache.packs(), cache.pack_bytes());
    if alike(packs.all(now)?, largest).is_empty() {
        return Ok(());
    }
    let Some(_lock) = lock(packs)? else { return Ok(()) };
    loop {
        // Another process may have merged them just now.
        let alike = alike(packs.all(now)?, largest);
        let Some((packing, merged)) = together(cache, &alike, largest)? else { return Ok(()) };
        // They are counted already.
        cache.make_known(packing)?;
        merged.iter().try_for_each(|pack| remove(packs, pack))?;
    }
}

/// Packs of one kind, if there are many.
fn alike(packs: Vec<Arc<Pack>>, largest: u64) -> Vec<Arc<Pack>> {
    let mut kinds: BTreeMap<(DigestFunction, u32), Vec<Arc<Pack>>> = BTreeMap::new();
    for pack in packs {
        let payload = pack.table.payload();
        if payload < largest / 2 && pack.table.len() < MOST / 2 {
            let class = (payload / SMALLEST).checked_ilog2().map_or(0, |bits| 1 + bits / 2);
            kinds.entry((pack.table.function(), class)).or_default().push(pack);
        }
    }
    kinds.into_values().find(|kind| kind.len() >= MANY).unwrap_or_default()
}

/// What is in as many of these as one pack holds, each blob once, and which they were. Those that cannot be read are passed over.
fn together(
    cache: &DiskCache,
    alike: &[Arc<Pack>],
    largest: u64,
) -> Result<Option<(Packing, Vec<Arc<Pack>>)>> {
    let Some(first) = alike.first() else { return Ok(None) };
    let mut packing = Packing::create(cache, first.table.function())?;
    let (mut merged, mut seen): (Vec<Arc<Pack>>, HashSet<Digest>) = Default::default();
    for pack in alike.iter().take(MANY) {
        if merged.len() > 1 && packing.is_full(largest.saturating_sub(pack.table.payload())) {
            break;
        }
        let Some((opened, _)) = usable(pack) else { continue };
        let (mut blobs, mut bytes) = (Vec::new(), 0);
        let mut is_whole = true;
        for number in 0..pack.table.len() as u32 {
            let digest = pack.table.entry(number as usize).1;
            if seen.contains(&digest) {
                continue;
            }
            let Ok(Some(content)) = opened.read(number) else {
                is_whole = false;
                break;
            };
            seen.insert(digest);
            bytes += digest.size();
            blobs.push((digest, content));
            if bytes >= STEP {
                packing.add(&std::mem::take(&mut blobs))?;
                bytes = 0;
            }
        }
        packing.add(&blobs)?;
        if is_whole {
            merged.push(pack.clone());
        }
    }
    Ok((merged.len() > 1).then_some((packing, merged)))
}

fn remove(packs: &Packs, pack: &Arc<Pack>) -> Result<()> {
    packs.known().packs.retain(|known| !Arc::ptr_eq(known, pack));
    loose::remove(&pack.path)
}

/// `None`: somebody else has it.
fn lock(packs: &Packs) -> Result<Option<File>> {
    let dir = File::open(&packs.dir).map_err(|error| Error::io(&packs.dir, error))?;
    Ok(flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(dir))
}
