//! Uploads of large blobs that are under way or were cut off: what came of them is kept for whoever goes on.
//!
//! Each has a file `uploads/1.KEY.FUNCTION.HASH.SIZE`. The key is made of the whole name that the client gave the upload,
//! because clients use one UUID for many blobs, and because a client shall go on only from what it sent itself: with
//! the digest alone as key, anybody could leave wrong bytes for others to build upon. The leading number is the version
//! of this form; a file of any other name is a private upload that nobody can go on with.

use super::shared::Shared;
use cas::{Error, Result};
use proto::{Digest, DigestFunction, Timestamp};
use runtime::Clock;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::{NamedTempFile, TempPath};
use tokio_util::sync::CancellationToken;

/// Uploads that nobody is writing to. One more, and the oldest goes.
const MAX_KEPT: usize = 1024;

/// Kept uploads have at most this part of the byte budget.
const SHARE: u64 = 4;

const KEY_LEN: usize = 32;

/// One upload of one blob, as its client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadName {
    key: String,
    digest: Digest,
}

impl UploadName {
    /// The upload of `digest` that goes by `name`.
    pub fn new(name: &str, digest: Digest) -> Self {
        let mut key = DigestFunction::Blake3.digest(name.as_bytes()).hex();
        key.truncate(KEY_LEN);
        Self { key, digest }
    }

    /// The blob.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn file(&self) -> String {
        let Self { key, digest } = self;
        format!("1.{key}.{}.{}.{}", digest.function(), digest.hex(), digest.size())
    }

    fn parse(file: &str) -> Option<Self> {
        let parts: Vec<_> = file.split('.').collect();
        let ["1", key, function, hash, size] = parts[..] else { return None };
        let digest = Digest::from_hex(function.parse().ok()?, hash, size.parse().ok()?).ok()?;
        let name = Self { key: key.to_owned(), digest };
        // Only what this code would have written.
        (key.len() == KEY_LEN && name.file() == file).then_some(name)
    }
}

/// What is known about one upload.
#[derive(Debug)]
struct Slot {
    /// What the client was told last that there is of it, since it went on the last time.
    told: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Somebody writes to it.
    Active { buffered: Arc<AtomicU64>, stop: CancellationToken, ended: CancellationToken },
    /// Nobody does.
    Kept { len: u64, since: Timestamp, found: bool },
}

impl State {
    fn len(&self) -> u64 {
        match self {
            Self::Active { buffered, .. } => buffered.load(Ordering::Relaxed),
            Self::Kept { len, .. } => *len,
        }
    }
}

/// The directory of uploads, and what is in it.
#[derive(Debug)]
pub(crate) struct Uploads {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<UploadName, Slot>>,
}

/// What a write of an upload may do.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is the one that writes.
    Claimed(Arc<Claim>),
    /// Another one writes and is left alone: this one begins a file of its own.
    Private,
    /// Another one was told to stop; ask again when it has.
    Stopping(CancellationToken),
}

impl Uploads {
    /// Opens the directory, making it if need be. Finds the uploads that can go on, removes the others.
    pub(crate) fn open(dir: PathBuf, clock: Arc<dyn Clock>) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut slots = HashMap::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let data = entry.metadata()?;
            let name = entry.file_name().to_str().and_then(UploadName::parse);
            match name.filter(|_| data.is_file()) {
                Some(name) => {
                    let len = data.len().min(name.digest.size());
                    let since = data.modified().ok().and_then(timestamp).unwrap_or(clock.now());
                    slots.insert(name, Slot { told: len, state: State::Kept { len, since, found: true } });
                }
                None if data.is_dir() => fs::remove_dir_all(entry.path())?,
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(Self { dir, clock, slots: Mutex::new(slots) })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<UploadName, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where they are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file for an upload that nobody can go on with.
    pub(crate) fn private(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.dir)
    }

    /// Bytes that have come of an upload. They stay over the death of the process, not over that of the machine. Whoever
    /// asks is about to go on: as with blobs, what was told is there stays for a while.
    pub(crate) fn buffered(&self, name: &UploadName) -> u64 {
        let now = self.clock.now();
        self.slots().get_mut(name).map_or(0, |slot| {
            slot.told = slot.state.len();
            if let State::Kept { since, .. } = &mut slot.state {
                *since = now;
            }
            slot.told
        })
    }

    /// Begins a write at `offset`. The other end may have died without our knowing: whoever goes on from what it was
    /// told takes over, and whoever starts over while another one writes gets a file of its own. Blocks.
    pub(crate) fn begin(self: &Arc<Self>, name: &UploadName, offset: u64) -> Result<Begun> {
        let mut slots = self.slots();
        let found = match slots.get(name) {
            None if offset == 0 => {
                self.leave_room(&mut slots);
                false
            }
            None => return Err(unexpected(offset, 0)),
            Some(Slot { state: State::Active { .. }, .. }) if offset == 0 => return Ok(Begun::Private),
            Some(Slot { told, state }) if offset > 0 && offset != *told && offset != state.len() => {
                return Err(unexpected(offset, state.len()));
            }
            Some(Slot { state: State::Active { stop, ended, .. }, .. }) => {
                stop.cancel();
                return Ok(Begun::Stopping(ended.clone()));
            }
            Some(Slot { state: State::Kept { found, .. }, .. }) => *found && offset > 0,
        };
        let claim = Claim {
            uploads: Arc::clone(self),
            name: name.clone(),
            found,
            begins: offset,
            buffered: Arc::new(AtomicU64::new(offset)),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            gone: AtomicBool::new(false),
        };
        slots.insert(name.clone(), Slot { told: 0, state: claim.active() });
        Ok(Begun::Claimed(Arc::new(claim)))
    }

    /// Makes sure that one more can be kept.
    fn leave_room(&self, slots: &mut HashMap<UploadName, Slot>) {
        let kept = kept(slots);
        for (_, _, name) in kept.iter().take((kept.len() + 1).saturating_sub(MAX_KEPT)) {
            self.forget(slots, name);
        }
    }

    /// Drops what nobody went on with for `patience`, and the oldest until `share` bytes are left. Blocks.
    fn trim(&self, now: Timestamp, patience: Duration, share: u64) {
        let mut slots = self.slots();
        let kept = kept(&slots);
        let mut bytes: u64 = kept.iter().map(|(_, len, _)| len).sum();
        for (since, len, name) in kept {
            if now.since(since) >= patience || bytes > share {
                self.forget(&mut slots, &name);
                bytes -= len;
            }
        }
    }

    /// Under the lock, so that nobody begins anew between the slot's end and the file's.
    fn forget(&self, slots: &mut HashMap<UploadName, Slot>, name: &UploadName) {
        slots.remove(name);
        remove(&self.dir.join(name.file()));
    }

    /// Bytes of those that nobody writes to.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.slots().values().map(|slot| if let State::Kept { len, .. } = slot.state { len } else { 0 }).sum()
    }
}

impl Shared {
    /// Drops uploads that nobody went on with for long: sooner if there is need for room.
    pub(crate) fn trim_uploads(&self) {
        let options = &self.options;
        let pressed = self.room.goal() > 0;
        let patience = if pressed { options.lease.min(options.keep_uploads) } else { options.keep_uploads };
        self.uploads.trim(self.clock.now(), patience, options.max_bytes / SHARE);
    }
}

/// The right to write to an upload. When it is dropped, what came is kept, unless it has gone elsewhere.
#[derive(Debug)]
pub(crate) struct Claim {
    uploads: Arc<Uploads>,
    name: UploadName,
    /// What it goes on from was there when the store opened, and may not be what was sent.
    pub(crate) found: bool,
    /// Where it goes on.
    pub(crate) begins: u64,
    buffered: Arc<AtomicU64>,
    /// Somebody else wants to go on.
    pub(crate) stop: CancellationToken,
    ended: CancellationToken,
    /// The file is at its place, or deleted.
    gone: AtomicBool,
}

impl Claim {
    fn active(&self) -> State {
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        State::Active { buffered: Arc::clone(&self.buffered), stop, ended }
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.uploads.dir.join(self.name.file())
    }

    fn publish(&self, to: &Path) -> io::Result<()> {
        fs::rename(self.path(), to)?;
        self.gone.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The blob is in the store. If this upload was not the first to bring it, its file is of no use.
    pub(crate) fn finish(&self) {
        if !self.gone.load(Ordering::Relaxed) {
            self.discard();
        }
    }

    /// Nobody goes on with it.
    pub(crate) fn discard(&self) {
        remove(&self.path());
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut slots = self.uploads.slots();
        let len = self.buffered.load(Ordering::Relaxed);
        if *self.gone.get_mut() || len == 0 {
            slots.remove(&self.name);
            if !*self.gone.get_mut() {
                remove(&self.path());
            }
        } else if let Some(slot) = slots.get_mut(&self.name) {
            slot.state = State::Kept { len, since: self.uploads.clock.now(), found: self.found };
        }
        self.ended.cancel();
    }
}

/// Where the bytes of an upload are.
#[derive(Debug)]
pub(crate) enum Place {
    /// Deleted unless it gets published.
    Private(TempPath),
    /// Kept unless it gets published or discarded.
    Claimed(Arc<Claim>),
}

impl Place {
    /// Takes note that so many bytes have come.
    pub(crate) fn buffered(&self, bytes: u64) {
        if let Self::Claimed(claim) = self {
            claim.buffered.store(bytes, Ordering::Relaxed);
        }
    }

    /// The upload that it belongs to, if somebody may go on with that.
    pub(crate) fn claim(&self) -> Option<Arc<Claim>> {
        match self {
            Self::Claimed(claim) => Some(Arc::clone(claim)),
            Self::Private(_) => None,
        }
    }

    /// The bytes are not what they should be: nobody goes on with them.
    pub(crate) fn discard(&self) {
        if let Self::Claimed(claim) = self {
            claim.discard();
        }
    }

    /// Gives the file its final name.
    pub(crate) fn publish(self, to: &Path) -> io::Result<()> {
        match self {
            Self::Private(path) => path.persist(to).map_err(|error| error.error),
            Self::Claimed(claim) => claim.publish(to),
        }
    }
}

/// Those that nobody writes to, the oldest first.
fn kept(slots: &HashMap<UploadName, Slot>) -> Vec<(Timestamp, u64, UploadName)> {
    let kept = slots.iter().filter_map(|(name, slot)| match slot.state {
        State::Kept { len, since, .. } => Some((since, len, name.clone())),
        State::Active { .. } => None,
    });
    let mut kept: Vec<_> = kept.collect();
    kept.sort_by_key(|(since, ..)| *since);
    kept
}

/// Best effort: what cannot be deleted is found again when the store opens.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "cannot delete an upload");
    }
}

fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok().map(Timestamp::from_micros)
}

fn unexpected(offset: u64, expected: u64) -> Error {
    Error::Invalid { reason: format!("write_offset is {offset}, expected {expected}, or 0 to start over") }
}
