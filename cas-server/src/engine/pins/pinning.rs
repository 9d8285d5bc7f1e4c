//! What is done with pins. Calls block.

use super::{Held, MAX_CLOSURE, MAX_PINS, Pin, PinError, PinKind, PinMode, PinName, PinRequest};
use crate::engine::{
    Engine,
    codec::{Encoding, Location, Position},
    evict::disk_len,
    key::Key,
    shared::Shared,
};
use cas::Result;
use proto::{Digest, Timestamp};
use std::{sync::Arc, time::Duration};

/// Blobs that are looked up or written down under one lock.
const STRIDE: usize = 8192;

impl Engine {
    /// Pins a closure that is whole. Durable when it returns.
    pub async fn pin(&self, request: PinRequest, mode: PinMode) -> Result<Pin, PinError> {
        self.pinned(move |shared| shared.pin(request, mode)).await
    }

    /// Lets a pin live for this long from now on.
    pub async fn renew_pin(&self, name: PinName, lifetime: Duration) -> Result<Pin, PinError> {
        self.pinned(move |shared| shared.renew(&name, lifetime)).await
    }

    /// Ends a pin.
    pub async fn release_pin(&self, name: PinName) -> Result<(), PinError> {
        self.pinned(move |shared| shared.release(&name)).await
    }

    /// All pins, by name, and the bytes that they may hold together.
    pub fn pins(&self) -> (Vec<Pin>, u64) {
        let shared = &self.uploader().shared;
        let held = shared.pins.list(shared.clock.now());
        (held.into_iter().map(|held| held.pin).collect(), shared.pins.quota)
    }

    async fn pinned<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared) -> Result<T, PinError> + Send + 'static,
    ) -> Result<T, PinError> {
        let shared = Arc::clone(&self.uploader().shared);
        self.uploader().shared.bounds.run(move || Ok(call(&shared))).await?
    }
}

/// A closure that is being written. Forgotten when dropped, unless it was finished.
struct Building<'a> {
    shared: &'a Shared,
    name: PinName,
    generation: u64,
    finished: bool,
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        self.shared.pins.state().building.remove(&self.name);
        if !self.finished
            && let Err(error) = self.shared.index.clear_closure(self.generation)
        {
            tracing::warn!(%error, "cannot clear a closure before the store opens again");
        }
    }
}

impl Shared {
    fn pin(&self, request: PinRequest, mode: PinMode) -> Result<Pin, PinError> {
        let PinRequest { name, root, kind, mut closure, lifetime } = request;
        closure.retain(|digest| !digest.is_empty());
        closure.sort_unstable();
        closure.dedup();
        let bytes = closure.iter().map(|digest| self.pinned_len(digest)).fold(0, u64::saturating_add);
        if closure.len() > MAX_CLOSURE {
            return Err(PinError::TooMany);
        }
        let Some(mut building) = self.begin(&name, (root, kind), bytes, mode)? else {
            return self.renew(&name, lifetime);
        };
        for digests in closure.chunks(STRIDE) {
            self.index.write_closure(building.generation, digests)?;
        }
        // From here on none of them goes; what went before is missed now.
        self.check_presence(&closure)?;
        let now = self.clock.now();
        let blobs = closure.len() as u64;
        let pin = Pin { name, root, kind, blobs, bytes, created: now, expires: now + lifetime };
        let held = Held { pin: pin.clone(), generation: building.generation };
        let before = {
            let mut state = self.pins.state();
            if mode == PinMode::Swap {
                state.find(&pin.name, now)?;
            }
            self.index.put_pin(&held)?;
            building.finished = true;
            state.held.insert(pin.name.clone(), held)
        };
        drop(building);
        if let Some(before) = before {
            self.index.clear_closure(before.generation)?;
        }
        Ok(pin)
    }

    /// Takes the name and the bytes. None: it is there already.
    fn begin(
        &self,
        name: &PinName,
        root: (Digest, PinKind),
        wanted: u64,
        mode: PinMode,
    ) -> Result<Option<Building<'_>>, PinError> {
        let now = self.clock.now();
        let mut state = self.pins.state();
        if state.building.contains_key(name) {
            return Err(PinError::Busy { name: name.clone() });
        }
        match (state.find(name, now), mode) {
            (Err(error), PinMode::Swap) => return Err(error),
            (Ok(held), PinMode::Create) if (held.pin.root, held.pin.kind) == root => return Ok(None),
            (Ok(held), PinMode::Create) => {
                return Err(PinError::Exists { name: name.clone(), root: Box::new(held.pin.root) });
            }
            (Ok(_), PinMode::Swap) | (Err(_), PinMode::Create) => {}
        }
        let others = state.held.values().filter(|held| held.pin.expires > now && held.pin.name != *name);
        let held = others.map(|held| held.pin.bytes).fold(0, u64::saturating_add);
        let held = state.building.values().map(|(_, bytes)| *bytes).fold(held, u64::saturating_add);
        let quota = self.pins.quota;
        if held.saturating_add(wanted) > quota {
            return Err(PinError::Quota { wanted, held, quota });
        }
        if state.held.len() + state.building.len() >= MAX_PINS && mode == PinMode::Create {
            return Err(PinError::TooMany);
        }
        let generation = state.next_generation;
        state.next_generation += 1;
        state.building.insert(name.clone(), (generation, wanted));
        Ok(Some(Building { shared: self, name: name.clone(), generation, finished: false }))
    }

    fn check_presence(&self, closure: &[Digest]) -> Result<(), PinError> {
        let (mut count, mut example) = (0, None);
        for digests in closure.chunks(STRIDE) {
            let entries = self.look_up(digests)?;
            for (digest, _) in digests.iter().zip(&entries).filter(|(_, entry)| entry.is_none()) {
                count += 1;
                example.get_or_insert(Box::new(*digest));
            }
        }
        example.map_or(Ok(()), |example| Err(PinError::Incomplete { count, example }))
    }

    fn renew(&self, name: &PinName, lifetime: Duration) -> Result<Pin, PinError> {
        let now = self.clock.now();
        let mut state = self.pins.state();
        let mut held = state.find(name, now)?.clone();
        held.pin.expires = now + lifetime;
        self.index.put_pin(&held)?;
        let pin = held.pin.clone();
        state.held.insert(name.clone(), held);
        Ok(pin)
    }

    fn release(&self, name: &PinName) -> Result<(), PinError> {
        self.end_pin(name, |state, now| state.find(name, now).map(|_| ()))
    }

    /// Ends pins whose time has come.
    pub(crate) fn expire_pins(&self) -> Result<()> {
        let now = self.clock.now();
        let expired: Vec<PinName> = {
            let state = self.pins.state();
            let expired = state.held.values().filter(|held| held.pin.expires <= now);
            expired.map(|held| held.pin.name.clone()).collect()
        };
        for name in expired {
            // It may have been created anew meanwhile.
            let is_expired = |state: &super::State, now| match state.find(&name, now) {
                Ok(_) => Err(PinError::Busy { name: name.clone() }),
                Err(_) => Ok(()),
            };
            match self.end_pin(&name, is_expired) {
                Ok(()) => tracing::info!(%name, "a pin has expired"),
                Err(PinError::Store(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn end_pin(
        &self,
        name: &PinName,
        may: impl FnOnce(&super::State, Timestamp) -> Result<(), PinError>,
    ) -> Result<(), PinError> {
        let ended = {
            let mut state = self.pins.state();
            may(&state, self.clock.now())?;
            self.index.delete_pin(name)?;
            state.held.remove(name)
        };
        if let Some(ended) = ended {
            self.index.clear_closure(ended.generation)?;
        }
        Ok(())
    }

    /// A quota is of what blobs take as they are: what compression saves is not to be relied upon.
    fn pinned_len(&self, digest: &Digest) -> u64 {
        let location = if digest.size() < self.options.pack_below {
            Location::Packed(Position::default(), Encoding::Plain)
        } else {
            Location::File(Position::default(), Encoding::Plain)
        };
        disk_len(&Key::Blob(*digest), digest, location)
    }
}
