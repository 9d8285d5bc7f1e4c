//! Named caches: directories that outlive the commands that fill them, and move into their trees and out again.
//!
//! ```text
//! caches/NAME/tree     the directory, while nobody has it
//! caches/NAME/bytes    how many bytes there are in it; its time is that of last use
//! leaving/…            what is on its way out, removed by whoever comes next
//! work/…               trees, for those who have no better place on this disk; theirs to remove
//! lock                 held while anything of this moves
//! ```
//!
//! A cache is a rename away from where it is wanted, so the trees have to be on the same file system. While one has it,
//! others get an empty one; of two that come back the later one stays. A cache whose user is killed is lost, never half
//! there. What is least recently used goes first: see [`NamedCacheOptions`].

mod place;
#[cfg(test)]
mod tests;

use crate::{Error, Result, disk::present, remove};
use proto::{CacheName, NamedCache};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::{
    cmp::Reverse,
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// What named caches are allowed while nobody has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedCacheOptions {
    /// How many.
    pub max_caches: usize,
    /// Sum of the sizes of all files.
    pub max_bytes: u64,
    /// Bytes that they leave free on their disk, as far as they can by going.
    pub min_free: u64,
    /// What was not used for so long goes; in whole seconds.
    pub max_age: Duration,
}

impl Default for NamedCacheOptions {
    fn default() -> Self {
        const GIB: u64 = 1024 * 1024 * 1024;
        let max_age = Duration::from_secs(21 * 24 * 60 * 60);
        Self { max_caches: 50, max_bytes: 1024 * GIB, min_free: 2 * GIB, max_age }
    }
}

/// What a tree got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// What was there when it was last used.
    Warm,
    /// An empty directory.
    Cold,
}

/// A directory of named caches, which processes may share. Methods block.
#[derive(Clone, Debug)]
pub struct NamedCaches {
    root: PathBuf,
    options: NamedCacheOptions,
}

/// One that nobody has.
struct Kept {
    name: CacheName,
    /// Seconds and nanoseconds.
    used: (i64, i64),
    bytes: u64,
}

impl NamedCaches {
    /// Those in `dir`, which is made when it is not there. What is over the limits goes.
    pub fn open(dir: &Path, options: NamedCacheOptions) -> Result<Self> {
        let caches = Self { root: dir.to_owned(), options };
        for made in [caches.caches(), caches.leaving()] {
            fs::create_dir_all(&made).map_err(|error| Error::io(&made, error))?;
        }
        caches.trim()?;
        Ok(caches)
    }

    /// Which ones there are that nobody has, the one that was used last first.
    pub fn names(&self) -> Result<Vec<CacheName>> {
        let mut kept = self.kept()?;
        kept.sort_by_key(|kept| Reverse(kept.used));
        Ok(kept.into_iter().map(|kept| kept.name).collect())
    }

    /// Where trees may be that caches can move to: on the same disk.
    pub fn work_dir(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Moves a cache to its place in `tree`, where nothing but an empty directory may be. No symlink of the tree is followed.
    pub fn install(&self, cache: &NamedCache, tree: &Path) -> Result<Installed> {
        let target = place::make(tree, cache)?;
        let kept = self.cache(&cache.name).join("tree");
        self.locked(|_| match fs::rename(&kept, &target) {
            Ok(()) => Ok(Installed::Warm),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = fs::create_dir(&target);
                made.map_err(|error| Error::io(&target, error))?;
                Ok(Installed::Cold)
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Err(Error::Invalid {
                reason: format!(
                    "the cache {} is on another disk than {}: work on the disk of {}",
                    cache.name,
                    tree.display(),
                    self.root.display()
                ),
            }),
            Err(error) => Err(Error::io(&kept, error)),
        })
    }

    /// Installs several. When one cannot be, none is.
    pub fn install_all(&self, caches: &[NamedCache], tree: &Path) -> Result<()> {
        for (at, cache) in caches.iter().enumerate() {
            if let Err(error) = self.install(cache, tree) {
                self.uninstall_all(&caches[..at], tree)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes several back, as many as can be; the first error.
    pub fn uninstall_all(&self, caches: &[NamedCache], tree: &Path) -> Result<()> {
        let taken: Vec<_> = caches.iter().map(|cache| self.uninstall(cache, tree)).collect();
        taken.into_iter().collect()
    }

    /// Takes a cache back from its place in `tree`. One that is empty, or is no directory any more, is not kept.
    pub fn uninstall(&self, cache: &NamedCache, tree: &Path) -> Result<()> {
        let Some(found) = place::find(tree, cache)? else { return Ok(()) };
        // A directory that moves has to be writable: its `..` changes.
        let mode = fs::symlink_metadata(&found).map_err(|error| Error::io(&found, error))?.mode();
        let opened = fs::set_permissions(&found, Permissions::from_mode(mode & 0o7777 | 0o700));
        opened.map_err(|error| Error::io(&found, error))?;
        let bytes = place::bytes(&found);
        let home = self.cache(&cache.name);
        let kept = home.join("tree");
        self.locked(|_| {
            self.leave(&home)?;
            let Some(bytes) = bytes else { return Ok(()) };
            let keep = || {
                fs::create_dir(&home)?;
                fs::rename(&found, &kept)?;
                fs::write(home.join("bytes"), bytes.to_string())
            };
            keep().map_err(|error| Error::io(&kept, error))
        })?;
        self.trim()
    }

    /// Removes what is over the limits.
    pub fn trim(&self) -> Result<()> {
        let disk = statvfs(&self.root).map_err(|error| Error::io(&self.root, error.into()))?;
        let mut free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let max_age = i64::try_from(self.options.max_age.as_secs()).unwrap_or(i64::MAX);
        self.locked(|now| {
            let mut kept = self.kept()?;
            kept.sort_by_key(|kept| kept.used);
            let mut count = kept.len();
            let mut bytes = kept.iter().fold(0, |sum: u64, kept| sum.saturating_add(kept.bytes));
            for kept in kept {
                let fits = count <= self.options.max_caches
                    && bytes <= self.options.max_bytes
                    && free >= self.options.min_free;
                if fits && kept.used.0 >= now.saturating_sub(max_age) {
                    break;
                }
                self.leave(&self.cache(&kept.name))?;
                tracing::info!(cache = %kept.name, bytes = kept.bytes, "removed a named cache");
                (count, bytes) = (count - 1, bytes - kept.bytes);
                free = free.saturating_add(kept.bytes);
            }
            Ok(())
        })?;
        self.clear()
    }

    fn caches(&self) -> PathBuf {
        self.root.join("caches")
    }

    fn leaving(&self) -> PathBuf {
        self.root.join("leaving")
    }

    fn cache(&self, name: &CacheName) -> PathBuf {
        self.caches().join(name.as_str())
    }

    fn kept(&self) -> Result<Vec<Kept>> {
        let caches = self.caches();
        let mut all = Vec::new();
        for entry in fs::read_dir(&caches).map_err(|error| Error::io(&caches, error))? {
            let path = entry.map_err(|error| Error::io(&caches, error))?.path();
            let name = path.file_name().and_then(OsStr::to_str).and_then(|name| CacheName::new(name).ok());
            // One that is out has no tree; one that was being taken back when its process died has no size.
            let Some(name) = name.filter(|_| path.join("tree").is_dir()) else { continue };
            let size = path.join("bytes");
            let bytes = fs::read_to_string(&size).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            let time = fs::metadata(&size).or_else(|_| fs::metadata(&path));
            let time = time.map_err(|error| Error::io(&path, error))?;
            all.push(Kept { name, used: (time.mtime(), time.mtime_nsec()), bytes });
        }
        Ok(all)
    }

    /// Puts a cache where it is removed from, if it is there. The caller holds the lock.
    fn leave(&self, home: &Path) -> Result<()> {
        let leaving = self.leaving();
        let place = |to: &Path| fs::rename(home, to);
        match tempfile::Builder::new().disable_cleanup(true).make_in(&leaving, place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(home, error)),
            _ => Ok(()),
        }
    }

    /// Removes what leaves. Several may do so at once.
    fn clear(&self) -> Result<()> {
        let leaving = self.leaving();
        for entry in fs::read_dir(&leaving).map_err(|error| Error::io(&leaving, error))?.flatten() {
            if let Err(error) = remove(&leaving, &entry.file_name()) {
                tracing::warn!(%error, "cannot remove a named cache, the next one tries again");
            }
        }
        Ok(())
    }

    /// Runs `critical` alone, with the file system's time in seconds.
    fn locked<T>(&self, critical: impl FnOnce(i64) -> Result<T>) -> Result<T> {
        let path = self.root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| Error::io(&path, error))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| Error::io(&path, error.into()))?;
        critical(present(&lock, &path)?)
    }
}
