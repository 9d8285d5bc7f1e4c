//! Pins: closures of blobs that are kept from eviction until their pin expires, over restarts.
//!
//! A pin is a name, a root and an expiry; the blobs of its closure are rows of the index under the pin's generation, a
//! number that is never used again. Rows are written first, then all blobs are looked up, then the pin itself is
//! written, synced: so a pin that was acknowledged has every blob of its closure, and whatever a death leaves of others
//! is cleared when the store opens. Eviction gives a pinned blob the age of one that was just used.

mod pinning;

use super::{index::Index, options::EngineOptions};
use cas::Result;
use proto::{Digest, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Pins at a time.
const MAX_PINS: usize = 4096;

/// Blobs in a closure.
pub const MAX_CLOSURE: usize = 500_000;

/// The name that a client gives a pin: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PinName(String);

impl FromStr for PinName {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| Self(text.to_owned())).ok_or(PinError::Name)
    }
}

impl fmt::Display for PinName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PinName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a root is, and so what is in its closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinKind {
    /// An `.isolated` manifest: its includes and all files.
    Isolated,
    /// A Directory message of the Remote Execution API: all directories and files below it.
    Directory,
}

/// A closure that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its name.
    pub name: PinName,
    /// What the closure begins with.
    pub root: Digest,
    /// What the root is.
    pub kind: PinKind,
    /// Blobs in the closure.
    pub blobs: u64,
    /// Bytes that they take on disk.
    pub bytes: u64,
    /// When it got this root.
    pub created: Timestamp,
    /// When its blobs become like all others.
    pub expires: Timestamp,
}

/// What to pin.
#[derive(Clone, Debug)]
pub struct PinRequest {
    /// The pin's name.
    pub name: PinName,
    /// What the closure begins with.
    pub root: Digest,
    /// What the root is.
    pub kind: PinKind,
    /// The root and everything that it leads to.
    pub closure: Vec<Digest>,
    /// How long from now on.
    pub lifetime: Duration,
}

/// What may be there under the name of a pin already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinMode {
    /// Nothing, or the same root, which is renewed.
    Create,
    /// A pin, whose closure gives way to the new one in the moment in which that is safe.
    Swap,
}

/// Why something is not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The name itself.
    #[error("a pin's name has 1 to 128 visible ASCII characters")]
    Name,
    /// No such pin, or it has expired.
    #[error("there is no pin `{name}`")]
    NotFound {
        /// Which one.
        name: PinName,
    },
    /// Another root has the name.
    #[error("pin `{name}` holds {root}: swap it, or release it first")]
    Exists {
        /// The pin.
        name: PinName,
        /// What it holds.
        root: Box<Digest>,
    },
    /// Another call is at it.
    #[error("pin `{name}` is being changed by another call")]
    Busy {
        /// The pin.
        name: PinName,
    },
    /// The closure is not whole.
    #[error("{count} blobs of the closure are not in the store, for instance {example}")]
    Incomplete {
        /// How many.
        count: usize,
        /// One of them.
        example: Box<Digest>,
    },
    /// Pins would take too much of the budget.
    #[error(
        "pins hold {held} of the {quota} bytes that they may, the closure has {wanted}: release pins or raise --pin-quota"
    )]
    Quota {
        /// Bytes of this closure.
        wanted: u64,
        /// Bytes of all other pins.
        held: u64,
        /// Bytes that pins may hold.
        quota: u64,
    },
    /// Too many pins, or too many blobs in one.
    #[error("too much for pins: {MAX_PINS} pins with {MAX_CLOSURE} blobs each are the most")]
    TooMany,
    /// The store.
    #[error(transparent)]
    Store(#[from] cas::Error),
}

/// A pin with the generation of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) pin: Pin,
    pub(crate) generation: u64,
}

/// All pins.
#[derive(Debug)]
pub(crate) struct Pins {
    quota: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<PinName, Held>,
    /// Closures that are being written, with their bytes.
    building: HashMap<PinName, (u64, u64)>,
    next_generation: u64,
}

impl Pins {
    /// Reads them from the index, and clears what belongs to none.
    pub(crate) fn load(index: &Index, options: &EngineOptions) -> Result<Self> {
        let held = index.pins()?;
        let live: HashSet<u64> = held.iter().map(|held| held.generation).collect();
        let found = index.generations()?;
        for &generation in found.iter().filter(|generation| !live.contains(generation)) {
            index.clear_closure(generation)?;
        }
        let next_generation = live.iter().chain(&found).max().map_or(0, |last| last + 1);
        let held = held.into_iter().map(|held| (held.pin.name.clone(), held)).collect();
        let state = State { held, building: HashMap::new(), next_generation };
        Ok(Self { quota: options.pin_quota(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Generations whose blobs must stay.
    pub(crate) fn live(&self, now: Timestamp) -> HashSet<u64> {
        let state = self.state();
        let held = state.held.values().filter(|held| held.pin.expires > now).map(|held| held.generation);
        held.chain(state.building.values().map(|(generation, _)| *generation)).collect()
    }

    /// Bytes of those that have not expired.
    pub(crate) fn bytes(&self, now: Timestamp) -> u64 {
        let state = self.state();
        let bytes = state.held.values().filter(|held| held.pin.expires > now).map(|held| held.pin.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// Those that have not expired, by name.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<Held> {
        self.state().held.values().filter(|held| held.pin.expires > now).cloned().collect()
    }
}

impl State {
    fn find(&self, name: &PinName, now: Timestamp) -> Result<&Held, PinError> {
        let held = self.held.get(name).filter(|held| held.pin.expires > now);
        held.ok_or_else(|| PinError::NotFound { name: name.clone() })
    }
}
