//! The directory that a swarm lives in.

use crate::failure::Usage;
use anyhow::{Context as _, bail};
use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Where a swarm keeps its data.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// In this directory, or in the user's own one.
    Kept(Option<PathBuf>),
    /// In a directory that goes away with the swarm.
    Ephemeral,
}

/// A directory that no other swarm uses.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    /// Held for as long as the swarm is up.
    _lock: File,
    /// Removed when dropped.
    _temporary: Option<TempDir>,
}

impl Layout {
    /// Makes the directory, unless it is there, and takes it.
    pub(crate) fn take(storage: &Storage) -> anyhow::Result<Self> {
        let (root, temporary) = match storage {
            Storage::Kept(Some(root)) => (root.clone(), None),
            Storage::Kept(None) => (default_root()?, None),
            Storage::Ephemeral => {
                let dir = tempfile::Builder::new().prefix("isoswarm-").tempdir();
                let dir = dir.context("cannot make a temporary directory")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let made = fs::create_dir_all(root.join("logs"));
        made.with_context(|| format!("cannot make the data directory {}", root.display()))?;
        // The programs run elsewhere, so that a relative path would be another one to them.
        let root = root.canonicalize().with_context(|| format!("cannot use {}", root.display()))?;
        let path = root.join("up.lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, _lock: lock, _temporary: temporary }),
            Err(TryLockError::WouldBlock) => {
                let remedy = "name another data directory with --data, or use --ephemeral";
                bail!(Usage(format!("another `swarm up` uses {}: {remedy}", root.display())))
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Of one program.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a program's log goes. What it logged the last time is kept beside it.
    pub(crate) fn fresh_log(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.root.join("logs").join(format!("{name}.log"));
        if path.exists() {
            let old = path.with_extension("log.old");
            fs::rename(&path, old).with_context(|| format!("cannot move {} away", path.display()))?;
        }
        Ok(path)
    }
}

fn default_root() -> Result<PathBuf, Usage> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map(|data| data.join("isoswarm"))
        .ok_or_else(|| {
            Usage("there is no home directory: name a data directory with --data, or use --ephemeral".into())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_by_one_swarm_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::Kept(Some(dir.path().to_owned()));
        let first = Layout::take(&storage).unwrap();
        let refusal = Layout::take(&storage).unwrap_err().to_string();
        assert!(refusal.starts_with("another `swarm up` uses "), "{refusal}");
        drop(first);
        Layout::take(&storage).unwrap();
    }

    #[test]
    fn an_ephemeral_directory_goes_away() {
        let layout = Layout::take(&Storage::Ephemeral).unwrap();
        let root = layout.root().to_owned();
        assert!(root.exists());
        drop(layout);
        assert!(!root.exists());
    }

    #[test]
    fn the_last_log_is_kept() {
        let layout = Layout::take(&Storage::Ephemeral).unwrap();
        let log = layout.fresh_log("bot-1").unwrap();
        fs::write(&log, "first").unwrap();
        assert_eq!(layout.fresh_log("bot-1").unwrap(), log);
        assert!(!log.exists());
        assert_eq!(fs::read_to_string(log.with_extension("log.old")).unwrap(), "first");
    }
}
