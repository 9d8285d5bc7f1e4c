//! Files of roots that nobody archives any more, and what killed processes left: they go when another root's are written.

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use std::{
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

/// What is kept of a root was not used for so long: it is taken to be gone.
const UNUSED: Duration = Duration::from_secs(90 * 24 * 3600);

/// Nobody takes so long to write a file.
const STAGED: Duration = Duration::from_secs(24 * 3600);

/// How the name of a file begins that is not in its place yet.
pub(super) const STAGING: &str = ".staged-";

/// The same before there was a name for it.
const STAGING_BEFORE: &str = ".tmp";

/// The file of a root is in use.
pub(super) fn used(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let same = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    // On a disk that may only be read nothing is swept either.
    let _ = rustix::fs::futimens(file, &Timestamps { last_access: same, last_modification: now });
}

/// Removes what is too old in the directory of `written`, which was written just now: its time is the file system's.
pub(super) fn sweep(written: &Path) {
    let times = || -> io::Result<(SystemTime, fs::ReadDir)> {
        let dir = written.parent().unwrap_or(Path::new("."));
        Ok((fs::metadata(written)?.modified()?, fs::read_dir(dir)?))
    };
    let Ok((now, entries)) = times() else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(limit) = limit(&path) else { continue };
        let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        // What belongs to a root is used with the digests of its files, which are looked at whenever it is archived.
        let of_root = path.extension().and_then(|_| modified(&path.with_extension("")));
        let used = modified(&path).max(of_root);
        let age = used.and_then(|used| now.duration_since(used).ok());
        if age.is_some_and(|age| age > limit) {
            // Somebody may put a new one there just now: then that is made again next time.
            let _ = fs::remove_file(path);
        }
    }
}

/// How old a file may become. None: it is none of ours.
fn limit(path: &Path) -> Option<Duration> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with(STAGING) || name.starts_with(STAGING_BEFORE) {
        return Some(STAGED);
    }
    let root = path.file_stem()?.to_str()?;
    let is_ours =
        root.len() == 2 * super::NAME.hash_len() && root.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_ours.then_some(UNUSED)
}
