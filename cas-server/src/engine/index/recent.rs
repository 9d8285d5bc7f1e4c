//! [`Recent`]: entries of blobs in memory, in front of the database. As long as it has all of them it also knows what is
//! missing, and a look-up asks the database nothing.
//!
//! Two generations: a full young one becomes the old one, whose entries go unless they are asked for again (an
//! approximation of LRU that keeps no order). Only blobs whose hash has up to 32 bytes are kept; all others, and values,
//! are the database's alone.
//!
//! It is never ahead of the database and never contradicts what was acknowledged. Changes are made known after the
//! database has taken them and before anybody is told ([`Changing::apply`]). What a reader found in the database is taken
//! in only if no change was under way meanwhile ([`Recent::learn`]), or it might bring back what was just removed.

use crate::engine::{
    codec::{Entry, Location},
    key::Key,
};
use proto::{Digest, DigestFunction, Timestamp};
use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::SeqCst},
    },
};

/// Parts with a lock each.
const SHARDS: usize = 16;

/// Entries of a generation of a shard: what a table of 65,536 buckets takes, of 89 bytes each.
const GENERATION: usize = 65_536 / 8 * 7;
const _: () = assert!(size_of::<(Name, Slot)>() == 88);

/// Entries of which it holds all, spread over the shards as hashes are: nothing goes before a generation was full and
/// then another one.
pub(super) const CAPACITY: u64 = (SHARDS * GENERATION) as u64 * 5 / 4;

/// Something of the database may be missing here.
const PARTIAL: u8 = 0;
/// The same, but all of it is being read, and nothing went since that began.
const LEARNING: u8 = 1;
/// Everything that the database has and that is kept here at all is here.
const COMPLETE: u8 = 2;

/// Entries in memory.
#[derive(Debug)]
pub(super) struct Recent {
    shards: [Mutex<Shard>; SHARDS],
    /// Rises with the beginning and with the end of every change of the database: odd while one is under way.
    changes: AtomicU64,
    state: AtomicU8,
    /// Entries of a generation of a shard.
    generation: usize,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Name, Slot>,
    old: HashMap<Name, Slot>,
}

/// Function and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name([u8; Self::LEN]);

#[derive(Clone, Copy, Debug)]
struct Slot {
    size: u64,
    location: Location,
    touched: Timestamp,
}

/// What is known: that it is there, or missing (`Some(None)`). `None`: the database knows.
type Known<T> = Option<Option<T>>;

/// A point between changes of the database, or in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// A change of the database that is under way. Dropped without [`apply`](Self::apply), nobody knows what the database
/// has, and everything is forgotten.
#[derive(Debug)]
pub(super) struct Changing<'a> {
    recent: &'a Recent,
    applied: bool,
}

impl Name {
    const HASH: usize = 32;
    const LEN: usize = 1 + Self::HASH;

    fn new(function: DigestFunction, hash: &[u8]) -> Option<Self> {
        let mut name = [0; Self::LEN];
        name[0] = function.number();
        name[1..].get_mut(..hash.len())?.copy_from_slice(hash);
        Some(Self(name))
    }

    fn of(key: &Key) -> Option<(Self, &Digest)> {
        let Key::Blob(digest) = key else { return None };
        Some((Self::new(digest.function(), digest.hash())?, digest))
    }

    fn shard(&self) -> usize {
        usize::from(self.0[1]) % SHARDS
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Eight bytes of a hash are as good as any; the one before them chose the shard.
        state.write(&self.0[2..10]);
    }
}

impl Slot {
    fn entry(self, content: Digest) -> Entry {
        Entry { content, location: self.location, touched: self.touched }
    }
}

impl From<&Entry> for Slot {
    fn from(&Entry { content, location, touched }: &Entry) -> Self {
        Self { size: content.size(), location, touched }
    }
}

impl Shard {
    fn get(&mut self, name: &Name, recent: &Recent) -> Option<Slot> {
        if let Some(slot) = self.young.get(name) {
            return Some(*slot);
        }
        if recent.state.load(SeqCst) != PARTIAL {
            // As long as all are here none of them is better than another.
            return self.old.get(name).copied();
        }
        let slot = self.old.remove(name)?;
        self.put(*name, slot, recent);
        Some(slot)
    }

    /// What goes from here makes the whole partial first.
    fn put(&mut self, name: Name, slot: Slot, recent: &Recent) {
        let before = self.old.remove(&name);
        if self.young.len() >= recent.generation && !self.young.contains_key(&name) {
            if !self.old.is_empty() {
                recent.forget();
            }
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.young.insert(name, slot).or(before);
        if before.is_some_and(|before| before.size != slot.size) {
            // Two blobs of one hash: possible with broken functions. The other one is the database's alone.
            recent.forget();
        }
    }

    fn remove(&mut self, name: &Name, size: u64) {
        for generation in [&mut self.young, &mut self.old] {
            if generation.get(name).is_some_and(|slot| slot.size == size) {
                generation.remove(name);
            }
        }
    }
}

impl Recent {
    /// Without an entry, in front of a database that has none (`empty`) or may have some.
    pub(super) fn new(empty: bool) -> Self {
        Self::with_generation(empty, GENERATION)
    }

    fn with_generation(empty: bool, generation: usize) -> Self {
        Self {
            generation,
            shards: std::array::from_fn(|_| Mutex::default()),
            changes: AtomicU64::new(0),
            state: AtomicU8::new(if empty { COMPLETE } else { PARTIAL }),
        }
    }

    fn lock(&self, name: &Name) -> MutexGuard<'_, Shard> {
        self.shards[name.shard()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        self.state.store(PARTIAL, SeqCst);
    }

    fn find(&self, name: &Name) -> Known<Slot> {
        let mut shard = self.lock(name);
        match shard.get(name, self) {
            Some(slot) => Some(Some(slot)),
            // Under the lock: whatever goes from this shard makes it partial first.
            None => (self.state.load(SeqCst) == COMPLETE).then_some(None),
        }
    }

    /// What is known of a key.
    pub(super) fn get(&self, key: &Key) -> Known<Entry> {
        let (name, content) = Name::of(key)?;
        match self.find(&name)? {
            // Of another size: the database may have both.
            Some(slot) => (slot.size == content.size()).then(|| Some(slot.entry(*content))),
            None => Some(None),
        }
    }

    /// The blob of this hash, whatever its size.
    pub(super) fn find_hash(&self, function: DigestFunction, hash: &[u8]) -> Known<Digest> {
        match self.find(&Name::new(function, hash)?)? {
            Some(slot) => Digest::new(function, hash, slot.size).ok().map(Some),
            None => Some(None),
        }
    }

    /// The moment before a look into the database.
    pub(super) fn now(&self) -> Moment {
        Moment(self.changes.load(SeqCst))
    }

    /// Takes in what the database had after `moment`. `false`: not all of it, something was changing.
    pub(super) fn learn(&self, moment: Moment, entries: impl IntoIterator<Item = (Key, Entry)>) -> bool {
        if moment.0 % 2 == 1 {
            return false;
        }
        for (key, entry) in entries {
            let Some((name, _)) = Name::of(&key) else { continue };
            let mut shard = self.lock(&name);
            // Under the lock: a change that begins now comes to this shard later.
            if self.now() != moment {
                return false;
            }
            shard.put(name, Slot::from(&entry), self);
        }
        true
    }

    /// Before everything that the database has is given to [`learn`](Self::learn). `false`: all of it is here.
    pub(super) fn begin_learning(&self) -> bool {
        self.state.compare_exchange(PARTIAL, LEARNING, SeqCst, SeqCst).is_ok()
    }

    /// Whether there is any use in learning more.
    pub(super) fn is_learning(&self) -> bool {
        self.state.load(SeqCst) == LEARNING
    }

    /// There is no use in learning more for now.
    pub(super) fn stop_learning(&self) {
        let _ = self.state.compare_exchange(LEARNING, PARTIAL, SeqCst, SeqCst);
    }

    /// Everything was learnt. If nothing went meanwhile it is all here.
    pub(super) fn end_learning(&self) {
        let _ = self.state.compare_exchange(LEARNING, COMPLETE, SeqCst, SeqCst);
    }

    /// The database is about to change. One change at a time.
    pub(super) fn change(&self) -> Changing<'_> {
        self.changes.fetch_add(1, SeqCst);
        Changing { recent: self, applied: false }
    }
}

impl Changing<'_> {
    /// The database has taken these, in this order: what is there now, or of which size it was what is gone.
    pub(super) fn apply(mut self, changes: Vec<(Key, Option<Entry>)>) {
        for (key, entry) in changes {
            let Some((name, digest)) = Name::of(&key) else { continue };
            let mut shard = self.recent.lock(&name);
            match entry {
                Some(entry) => shard.put(name, Slot::from(&entry), self.recent),
                None => shard.remove(&name, digest.size()),
            }
        }
        self.applied = true;
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if !self.applied {
            self.recent.forget();
            for shard in &self.recent.shards {
                *shard.lock().unwrap_or_else(PoisonError::into_inner) = Shard::default();
            }
        }
        self.recent.changes.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests;
