//! What goes when the cache is full. The only code that looks at every file.

use super::{
    layout::{Layout, footprint, parse_file_name},
    limits::{Count, Left, Target, Trimmed},
    pins::PinTable,
};
use crate::{Error, Result};
use proto::Digest;
use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// What was used within this many seconds may be in use by another process.
const GRACE: i64 = 10 * 60;

/// One blob of the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) digest: Digest,
    pub(super) footprint: u64,
    /// Seconds and nanoseconds.
    pub(super) used: (i64, i64),
    /// Whether a tree has it, too: then its blocks stay, and its time is not that of its last use.
    pub(super) lent: bool,
}

/// Everything that is there. Files beside blobs that are none of ours, and damaged ones that nobody can be writing any more, are
/// removed on the way; what else somebody may have put there is passed over.
pub(super) fn scan(layout: &Layout, now: i64) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let blobs = layout.blobs();
    for shard in fs::read_dir(&blobs).map_err(|error| Error::io(&blobs, error))? {
        let shard = shard.map_err(|error| Error::io(&blobs, error))?.path();
        let files = match fs::read_dir(&shard) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            files => files.map_err(|error| Error::io(&shard, error))?,
        };
        for file in files {
            let file = file.map_err(|error| Error::io(&shard, error))?;
            let metadata = match file.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata.map_err(|error| Error::io(file.path(), error))?,
            };
            if metadata.is_dir() {
                continue;
            }
            let digest = file.file_name().to_str().and_then(parse_file_name);
            let whole = digest.filter(|digest| metadata.is_file() && metadata.len() == digest.size());
            match whole {
                Some(digest) => items.push(Item {
                    digest,
                    footprint: footprint(metadata.len()),
                    used: (metadata.mtime(), metadata.mtime_nsec()),
                    lent: metadata.nlink() > 1,
                }),
                // It is being written.
                None if digest.is_some() && metadata.mtime() > now - GRACE => {}
                None => {
                    tracing::warn!(path = %file.path().display(), "removed a foreign or damaged file from the local cache");
                    let _ = fs::remove_file(file.path());
                }
            }
        }
    }
    Ok(items)
}

/// Removes the least recently used blobs, and those that are too old, and tells what is left. Blobs that were used a moment
/// ago go last, and only as far as they must.
pub(super) fn trim(layout: &Layout, pins: &PinTable, now: i64, target: Target) -> Result<Trimmed> {
    evict(scan(layout, now)?, layout, pins, now, target)
}

/// The same, of what a scan found.
pub(super) fn evict(
    mut items: Vec<Item>,
    layout: &Layout,
    pins: &PinTable,
    now: i64,
    mut target: Target,
) -> Result<Trimmed> {
    items.sort_unstable_by_key(|item| (item.lent, item.used));
    let one = |item: &Item| Count { bytes: item.footprint, items: 1 };
    let mut left = items.iter().map(one).fold(Count::default(), |sum, one| sum + one);
    if target.shortage > 0 {
        let bytes = left.bytes.saturating_sub(target.shortage);
        target.most.bytes = target.most.bytes.min(bytes);
        target.wanted.bytes = target.wanted.bytes.min(bytes);
    }
    let (before, mut oldest) = (left, None);
    for item in items {
        // A tree has it now, and does with its time as it likes.
        let used = if item.lent { now } else { item.used.0 };
        let enough = left.fits(if used > now - GRACE { target.most } else { target.wanted });
        if enough && used >= target.expired {
            oldest = oldest.or(Some(used));
            break;
        }
        let path = layout.blob(item.digest);
        let gone = pins.unless_pinned(item.digest, || remove_unused(&path, item.used));
        if gone.transpose().map_err(|error| Error::io(path, error))? == Some(true) {
            left = left.saturating_sub(one(&item));
            if item.lent && target.shortage > 0 {
                // Nothing was freed.
                target.most.bytes = target.most.bytes.saturating_sub(item.footprint);
                target.wanted.bytes = target.wanted.bytes.saturating_sub(item.footprint);
            }
        } else {
            // It is being used.
            oldest = oldest.or(Some(now));
        }
    }
    tracing::debug!(?before, ?left, "trimmed the local cache");
    let reached = left.fits(target.most);
    Ok(Trimmed { left: Left { count: left, oldest: oldest.unwrap_or(now) }, reached })
}

/// `false`: another process has used it since it was found.
fn remove_unused(path: &Path, used: (i64, i64)) -> io::Result<bool> {
    let removed = fs::symlink_metadata(path).and_then(|found| {
        let unused = (found.mtime(), found.mtime_nsec()) == used;
        if unused { fs::remove_file(path).map(|()| true) } else { Ok(false) }
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        removed => removed,
    }
}
