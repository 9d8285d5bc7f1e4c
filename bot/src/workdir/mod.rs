//! The bot's directory: who may use it, a fresh place for each attempt, and no trace of those that are over.
//!
//! `DATA/lock` belongs to the bot that runs; `DATA/cache` is the input cache; `DATA/named` are the named caches; `DATA/work/N` is one attempt: `in` its
//! inputs, `out` its `${ISOLATED_OUTDIR}`, `tmp` its home and temporary directory, `secret` its secret while it runs, `output` its spool, `attempt` its
//! record. What a former bot left in `work`, processes included, is gone before the first attempt begins, but for spools and
//! records of attempts that the scheduler may not have.

use crate::executor::kill_marked_below;
use cas::remove;
use proto::decimal;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long processes of a former bot may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// No bot numbers so many attempts.
const MOST_PLACES: u64 = 1 << 62;

/// Why the bot cannot use its directory.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another bot runs in it.
    #[error("{} is in use by another bot: give each bot a --data of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Its name cannot be handed to commands.
    #[error("{} is not UTF-8: choose another --data", path.display())]
    Name {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made, locked or cleaned.
    #[error("cannot use {}", path.display())]
    Io {
        /// What cannot be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The directory, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl DataDir {
    /// Takes the directory, makes it if it is not there, and clears what a former bot left. The places of which something
    /// is left are told. Blocks.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<WorkDir>), DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        fs::create_dir_all(path).map_err(failed(path))?;
        let root = path.canonicalize().map_err(failed(path))?;
        if root.to_str().is_none() {
            return Err(DataDirError::Name { path: root });
        }
        let lock_path = root.join("lock");
        let options = File::options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = options.map_err(failed(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DataDirError::InUse { path: root }),
            Err(errno) => return Err(failed(&lock_path)(errno.into())),
        }
        let mut data = Self { root, next: AtomicU64::new(1), _lock: lock };
        let work = data.work();
        fs::create_dir_all(&work).map_err(failed(&work))?;
        let left = data.clear().map_err(failed(&work))?;
        let numbers = left.iter().filter_map(|dir| dir.name.parse::<u64>().ok());
        data.next = AtomicU64::new(numbers.max().unwrap_or(0) + 1);
        Ok((data, left))
    }

    /// The whole directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the input cache is.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Where named caches are while no attempt has them: on one disk with the attempts.
    pub(crate) fn named_caches(&self) -> PathBuf {
        self.root.join("named")
    }

    /// Where programs are that the scheduler has named.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("program")
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn clear(&self) -> io::Result<Vec<WorkDir>> {
        let work = self.work();
        let killed = kill_marked_below(&work, PATIENCE)?;
        if killed > 0 {
            tracing::warn!(killed, "killed processes that a former bot left");
        }
        let mut left = Vec::new();
        for entry in fs::read_dir(&work)? {
            let entry = entry?;
            let name = entry.file_name();
            // Itself, not what a link leads to.
            let is_directory = entry.file_type()?.is_dir();
            let is_place = |name: &&str| decimal(name).is_some_and(|number: u64| number < MOST_PLACES);
            let number = name.to_str().filter(is_place).filter(|_| is_directory);
            let dir = number.map(|number| self.place(number.to_owned()));
            // A command may have put something else there.
            let is_file = |path: PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_file());
            match dir.filter(|dir| is_file(dir.record()) && is_file(dir.spool())) {
                Some(dir) => {
                    dir.remove_trees()?;
                    left.push(dir);
                }
                None => remove(&work, &name)?,
            }
        }
        Ok(left)
    }

    fn place(&self, name: String) -> WorkDir {
        WorkDir { work: self.work(), name, removal: Arc::default() }
    }

    /// A fresh place for an attempt, with what `fill` adds to it. Nothing stays of a place that cannot be filled. Blocks.
    pub(crate) fn attempt<T>(
        &self,
        fill: impl FnOnce(&WorkDir) -> io::Result<T>,
    ) -> io::Result<(WorkDir, T)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.place(number.to_string());
        let make = || {
            fs::create_dir(dir.path())?;
            [dir.input(), dir.outputs(), dir.temporary()].iter().try_for_each(fs::create_dir)?;
            fill(&dir)
        };
        match make() {
            Ok(filled) => Ok((dir, filled)),
            Err(error) => {
                dir.remove()?;
                Err(error)
            }
        }
    }
}

const INPUT: &str = "in";
const OUTPUTS: &str = "out";
const TEMPORARY: &str = "tmp";
const SECRET: &str = "secret";
const SPOOL: &str = "output";
const RECORD: &str = "attempt";

/// What a command may write to, of the place of its attempt.
pub(crate) fn writable(place: &Path) -> [PathBuf; 3] {
    [INPUT, OUTPUTS, TEMPORARY].map(|name| place.join(name))
}

/// The file for the secret in the place of an attempt.
pub(crate) fn secret(place: &Path) -> PathBuf {
    place.join(SECRET)
}

/// The place of one attempt. Stays until it is removed.
#[derive(Clone, Debug)]
pub(crate) struct WorkDir {
    work: PathBuf,
    name: String,
    /// One removal at a time.
    removal: Arc<Mutex<()>>,
}

impl WorkDir {
    /// The whole place.
    pub(crate) fn path(&self) -> PathBuf {
        self.work.join(&self.name)
    }

    /// Where the inputs go.
    pub(crate) fn input(&self) -> PathBuf {
        self.path().join(INPUT)
    }

    /// What `${ISOLATED_OUTDIR}` stands for.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.path().join(OUTPUTS)
    }

    /// The command's home and temporary directory.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path().join(TEMPORARY)
    }

    /// The file for the secret of the run, while the command runs.
    pub(crate) fn secret(&self) -> PathBuf {
        secret(&self.path())
    }

    /// The file for the command's output.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path().join(SPOOL)
    }

    /// The file that says whose it is, and its result.
    pub(crate) fn record(&self) -> PathBuf {
        self.path().join(RECORD)
    }

    /// Makes the place for the inputs empty again. Blocks.
    pub(crate) fn empty_input(&self) -> io::Result<()> {
        let _alone = self.removal.lock().unwrap_or_else(PoisonError::into_inner);
        remove(&self.path(), INPUT.as_ref())?;
        fs::create_dir(self.input())
    }

    /// Removes everything but spool and record, however the command left it. Blocks.
    pub(crate) fn remove_trees(&self) -> io::Result<()> {
        let _alone = self.removal.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path();
        for entry in fs::read_dir(&path)? {
            let name = entry?.file_name();
            if name != SPOOL && name != RECORD {
                remove(&path, &name)?;
            }
        }
        Ok(())
    }

    /// Removes the whole place. Blocks.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let _alone = self.removal.lock().unwrap_or_else(PoisonError::into_inner);
        remove(&self.work, self.name.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(data: &DataDir) -> WorkDir {
        data.attempt(|_| Ok(())).unwrap().0
    }

    #[test]
    fn two_bots_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(&dir.path().join("bot")).unwrap().0;
        let second = DataDir::open(&dir.path().join("bot")).unwrap_err();
        assert!(matches!(&second, DataDirError::InUse { .. }) && second.to_string().contains("--data"));
        drop(first);
        DataDir::open(&dir.path().join("bot")).unwrap();
    }

    #[test]
    fn what_a_former_bot_left_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let left = attempt(&DataDir::open(dir.path()).unwrap().0);
        fs::write(left.input().join("file"), "x").unwrap();
        let mut process = std::process::Command::new("sleep")
            .arg("600")
            .env(crate::executor::MARKER, left.path().canonicalize().unwrap())
            .spawn()
            .unwrap();
        // Until it has executed, it has our environment.
        let environ = format!("/proc/{}/environ", process.id());
        while !fs::read_to_string(&environ).unwrap().contains(crate::executor::MARKER) {
            assert!(process.try_wait().unwrap().is_none());
        }
        let opened = std::thread::scope(|scope| {
            let opening = scope.spawn(|| DataDir::open(dir.path()).unwrap().0);
            assert!(!process.wait().unwrap().success());
            opening.join().unwrap()
        });
        assert_eq!(fs::read_dir(opened.work()).unwrap().count(), 0);
        assert_eq!(attempt(&opened).name, "1");
    }

    #[test]
    fn output_and_record_of_a_former_bot_are_all_that_stays_and_their_place_is_not_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let (data, left) = DataDir::open(dir.path()).unwrap();
        assert!(left.is_empty());
        let [told, half] = [attempt(&data), attempt(&data)];
        fs::write(half.record(), "{}").unwrap();
        for file in [told.record(), told.spool(), told.secret(), told.input().join("file")] {
            fs::write(file, "x").unwrap();
        }
        drop(data);
        let (data, left) = DataDir::open(dir.path()).unwrap();
        assert_eq!(left.iter().map(|dir| dir.name.as_str()).collect::<Vec<_>>(), ["1"]);
        let names = fs::read_dir(told.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: std::collections::BTreeSet<_> = names.collect();
        assert_eq!(names, ["attempt".into(), "output".into()].into());
        assert_eq!(attempt(&data).name, "2");
    }

    #[test]
    fn a_place_that_cannot_be_filled_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap().0;
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = data.attempt(|dir| fs::write(dir.spool(), "x").and(Err::<(), _>(full()))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_dir(data.work()).unwrap().count(), 0);
    }
}
