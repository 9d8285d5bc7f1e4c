//! What goes when the cache is full. The only code that looks at every file.

use super::{
    layout::{Layout, footprint, parse_file_name},
    limits::{Count, Left, Target, Trimmed},
    packs::{Pack, Packs},
    pins::PinTable,
    seal::used,
};
use crate::{Error, Result};
use proto::Digest;
use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

/// What was used within this many seconds may be in use by another process.
const GRACE: i64 = 10 * 60;

/// Where blobs are, and which of them are in use.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) layout: Layout,
    pub(super) pins: Arc<PinTable>,
    pub(super) packs: Packs,
}

impl Contents {
    pub(super) fn new(layout: Layout) -> Self {
        let packs = Packs::new(layout.packs());
        Self { layout, pins: Arc::default(), packs }
    }
}

/// What goes or stays as one.
#[derive(Debug)]
enum Kind {
    Blob(Digest),
    Pack(Arc<Pack>),
}

/// A part of the cache.
#[derive(Debug)]
pub(super) struct Item {
    kind: Kind,
    pub(super) count: Count,
    /// Seconds and nanoseconds.
    pub(super) used: (i64, i64),
    /// Whether a tree has it, too: then its blocks stay, and its time is not that of its last use.
    pub(super) lent: bool,
}

/// Everything that is there.
pub(super) fn scan(contents: &Contents, now: i64) -> Result<Vec<Item>> {
    let mut items = scan_blobs(&contents.layout, now)?;
    for (pack, found) in contents.packs.scan(now)? {
        let count = Count { bytes: footprint(found.len()), items: pack.blobs() };
        items.push(Item { kind: Kind::Pack(pack), count, used: used(&found), lent: false });
    }
    Ok(items)
}

/// All blobs that are files of their own. Files beside blobs that are none of ours, and damaged ones that nobody can be writing any more, are
/// removed on the way; what else somebody may have put there is passed over.
fn scan_blobs(layout: &Layout, now: i64) -> Result<Vec<Item>> {
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
                    kind: Kind::Blob(digest),
                    count: Count { bytes: footprint(metadata.len()), items: 1 },
                    used: used(&metadata),
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
pub(super) fn trim(contents: &Contents, now: i64, target: Target) -> Result<Trimmed> {
    evict(scan(contents, now)?, contents, now, target)
}

/// The same, of what a scan found.
pub(super) fn evict(
    mut items: Vec<Item>,
    contents: &Contents,
    now: i64,
    mut target: Target,
) -> Result<Trimmed> {
    items.sort_unstable_by_key(|item| (item.lent, item.used));
    let mut left = items.iter().fold(Count::default(), |sum, item| sum + item.count);
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
        let Item { kind, count, used, lent } = item;
        if kind.remove(contents, used)? {
            left = left.saturating_sub(count);
            if lent && target.shortage > 0 {
                // Nothing was freed.
                target.most.bytes = target.most.bytes.saturating_sub(count.bytes);
                target.wanted.bytes = target.wanted.bytes.saturating_sub(count.bytes);
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

impl Kind {
    /// Unless it is used, or was since it was found, by whomever.
    fn remove(self, contents: &Contents, used: (i64, i64)) -> Result<bool> {
        let remove = |path: &Path| remove_unused(path, used).map_err(|error| Error::io(path, error));
        let removed = match self {
            Self::Blob(digest) => {
                contents.pins.unless_pinned(digest, || remove(&contents.layout.blob(digest)))
            }
            Self::Pack(pack) => pack.unless_used(remove),
        };
        Ok(removed.transpose()? == Some(true))
    }
}

/// `false`: another process has used it since it was found.
fn remove_unused(path: &Path, before: (i64, i64)) -> io::Result<bool> {
    let removed = fs::symlink_metadata(path).and_then(|found| {
        let unused = used(&found) == before;
        if unused { fs::remove_file(path).map(|()| true) } else { Ok(false) }
    });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        removed => removed,
    }
}
