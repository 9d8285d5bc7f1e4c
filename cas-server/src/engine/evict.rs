//! Making room: forgets what was used least recently, then gets the space back.
//!
//! Large files are unlinked. Packed blobs only leave dead bytes behind; a segment in which a quarter is dead is
//! reclaimed: what lives in it is copied forward, and its file is deleted. As long as no segment is that far, more is
//! evicted: so at most three bytes are copied for one that is won.

use super::{
    codec::{Entry, Location, Position, SegmentAccount},
    endings::Cause,
    files::Files,
    index::Durability,
    io::failed,
    key::Key,
    metrics::gauge,
    record::{Form, Header, packed_len},
    segments::{ReadError, Walk},
    shared::Shared,
    writer::{Item, Request},
};
use cas::{Error, Result};
use proto::Digest;
use std::{sync::PoisonError, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Entries that are forgotten under one lock.
const STRIDE: usize = 512;

/// Bytes of records that are copied forward in one request.
const COPY_BYTES: usize = 4 << 20;

/// Makes room in the background. Its calls block.
#[derive(Clone, Debug)]
pub(crate) struct Evictor {
    pub(crate) shared: std::sync::Arc<Shared>,
    pub(crate) writer: mpsc::Sender<Request>,
}

impl Evictor {
    /// One round: gets over what failed before, writes uses down, and makes room if the high mark is passed.
    pub(crate) fn round(&self) {
        if let Err(error) = self.shared.index.heal(self.shared.room.free()) {
            tracing::warn!(%error, "cannot open the index again");
        }
        self.shared.trim_uploads();
        if let Err(error) = self.shared.expire_pins() {
            tracing::warn!(%error, "cannot end expired pins");
        }
        if let Err(error) = self.make_room() {
            tracing::warn!(%error, "cannot make room");
        }
        self.shared.recount();
        self.shared.room.end_round();
    }

    fn make_room(&self) -> Result<()> {
        let shared = &self.shared;
        shared.touches.flush(&shared.index)?;
        shared.recount();
        if shared.room.goal() == 0 {
            return Ok(());
        }
        loop {
            let rest = shared.room.rest();
            if rest == 0 {
                return Ok(());
            }
            let worth = self.most_dead().filter(|(_, account)| account.len - account.live >= account.len / 4);
            if let Some((id, _)) = worth {
                match self.reclaim(id) {
                    // There is no room for the copies: forgetting makes some, or leaves less to copy.
                    Err(full @ Error::Exhausted { .. }) if self.forget(rest)? == 0 => return Err(full),
                    Ok(()) | Err(Error::Exhausted { .. }) => {}
                    // Space is to be had elsewhere; this one goes when all of it is dead.
                    Err(Error::Io { .. }) if shared.segments.unreadable().contains(&id) => {}
                    Err(error) => return Err(error),
                }
            } else if self.forget(rest)? == 0 {
                return self.last_resort();
            }
            shared.recount();
        }
    }

    /// Nothing may be evicted any more: what is dead goes, whatever it costs to copy the rest.
    fn last_resort(&self) -> Result<()> {
        while self.shared.room.rest() > 0 {
            let Some((id, _)) =
                self.most_dead().filter(|(_, account)| account.len - account.live >= account.len / 16)
            else {
                tracing::warn!("the store is full of blobs in use: uploads are refused until leases end");
                return Ok(());
            };
            self.reclaim(id)?;
            self.shared.recount();
        }
        Ok(())
    }

    /// The segment that gives back most for what it costs. Not the one that grows.
    fn most_dead(&self) -> Option<(u32, SegmentAccount)> {
        let sums = self.shared.index.sums();
        let growing = sums.totals.position.segment;
        let unreadable = self.shared.segments.unreadable();
        let sealed = sums.segments.into_iter().filter(|(id, account)| {
            *id < growing && account.len > 0 && (account.live == 0 || !unreadable.contains(id))
        });
        sealed.max_by_key(|(_, account)| account.len.saturating_sub(account.live) * 1000 / account.len)
    }

    /// Evicts at least `goal` bytes, if so many are old enough, or a stride of entries. Gives the bytes.
    fn forget(&self, goal: u64) -> Result<u64> {
        let shared = &self.shared;
        let removed = self.forget_oldest(goal)?;
        let bytes = removed.iter().map(|(key, entry)| disk_len(key, &entry.content, entry.location)).sum();
        shared.endings.note(&removed, Cause::Evicted, shared.clock.now());
        shared.delete_files(&removed)?;
        shared.metrics.evicted_blobs.inc_by(removed.len() as u64);
        shared.metrics.evicted_bytes.inc_by(removed.iter().map(|(_, entry)| entry.content.size()).sum());
        if let Some((_, entry)) = removed.last() {
            let age = shared.clock.now().since(entry.touched);
            shared.metrics.evicted_age.set(gauge(age.as_secs()));
            self.look_at_retention(age);
        }
        Ok(bytes)
    }

    /// Gives what was removed, the oldest first.
    fn forget_oldest(&self, goal: u64) -> Result<Vec<(Key, Entry)>> {
        let shared = &self.shared;
        let _alone = shared.presence.write().unwrap_or_else(PoisonError::into_inner);
        shared.touches.flush(&shared.index)?;
        let now = shared.clock.now();
        let pins = shared.pins.live(now);
        loop {
            let (mut count, mut bytes) = (0, 0);
            let oldest = shared.index.oldest(now - shared.options.protection(), |key, entry| {
                count += 1;
                bytes += disk_len(key, &entry.content, entry.location);
                bytes >= goal || count >= STRIDE
            })?;
            let (mut victims, mut pinned) = (Vec::new(), Vec::new());
            for (key, entry) in oldest {
                if !pins.is_empty() && shared.index.pinners(&key)?.iter().any(|pin| pins.contains(pin)) {
                    pinned.push((key, now));
                } else {
                    victims.push((key, entry.location));
                }
            }
            // They are not met again before all others are as old.
            let renewed = pinned.len();
            shared.index.touch(pinned)?;
            let removed = shared.index.remove(&victims, Durability::Synced)?;
            if !removed.is_empty() || renewed == 0 {
                return Ok(removed);
            }
        }
    }

    fn look_at_retention(&self, age: Duration) {
        let Shared { retention, clock, room, .. } = &*self.shared;
        if retention.is_alarming(age, clock.now()) {
            let (minutes, limit) = (age.as_secs() / 60, room.limit());
            tracing::warn!(
                minutes,
                limit,
                "what was last used so recently had to be evicted: the store is too small to keep a working day"
            );
        }
    }

    /// Copies what lives in a segment forward, then deletes it.
    pub(crate) fn reclaim(&self, id: u32) -> Result<()> {
        let shared = &self.shared;
        if shared.index.sums().segments.get(&id).is_none_or(|account| account.live > 0) {
            match shared.segments.file(id).and_then(|file| Walk::new(file, 0)) {
                Ok(walk) => self.copy_forward(id, walk)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(shared.segments.path(id), error)),
            }
        }
        self.drop_lost(id)?;
        // Where the records went must be durable before they go from here.
        shared.index.sync()?;
        shared.index.remove_segment(id)?;
        shared.segments.remove(id).map_err(|error| failed(shared.segments.path(id), error))?;
        shared.metrics.reclaimed_segments.inc();
        Ok(())
    }

    /// Forgets what the index has in a segment whose records were not found in it, so that nobody is told that they are there.
    fn drop_lost(&self, id: u32) -> Result<()> {
        let shared = &self.shared;
        if shared.index.sums().segments.get(&id).is_none_or(|account| account.live == 0) {
            return Ok(());
        }
        let lost = shared.index.inhabitants(id)?;
        lost.into_iter().try_for_each(|(key, location)| shared.drop_damaged(key, location))
    }

    fn copy_forward(&self, id: u32, mut walk: Walk) -> Result<()> {
        let io = |error| self.unreadable(id, error);
        let (mut items, mut bytes) = (Vec::new(), 0);
        loop {
            match walk.next().map_err(io)? {
                Some((offset, header)) if header.form == Form::Packed => {
                    let at = Position { segment: id, offset: u32::try_from(offset).unwrap_or(u32::MAX) };
                    if let Some((item, len)) = self.living(header, at)? {
                        items.push(item);
                        bytes += len;
                    }
                }
                Some(_) => {}
                None if walk.resume().map_err(io)? => {}
                None => return self.copy(items),
            }
            if bytes >= COPY_BYTES {
                self.copy(std::mem::take(&mut items))?;
                bytes = 0;
            }
        }
    }

    /// The record at `at`, if the index means this one and it is whole.
    fn living(&self, header: Header, at: Position) -> Result<Option<(Item, usize)>> {
        let from = Location::Packed(at, header.encoding);
        let entry = self.shared.index.get(&[header.key])?.pop().flatten();
        if entry.is_none_or(|entry| entry.location != from) {
            return Ok(None);
        }
        match self.shared.segments.read_payload(at, &header) {
            Ok(bytes) => {
                let len = bytes.len();
                Ok(Some((Item::Moved { header, bytes, from }, len)))
            }
            Err(ReadError::Io(error)) => Err(self.unreadable(at.segment, error)),
            Err(ReadError::Gone | ReadError::Damaged) => {
                self.shared.drop_damaged(header.key, from).map(|()| None)
            }
        }
    }

    /// What the disk does not give cannot be copied.
    fn unreadable(&self, id: u32, error: std::io::Error) -> Error {
        let error = self.shared.disk_failed(self.shared.segments.path(id), error);
        // Out of descriptors it is nothing about this segment.
        if matches!(error, Error::Io { .. }) {
            self.shared.segments.set_unreadable(id);
        }
        error
    }

    fn copy(&self, items: Vec<Item>) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let closing = || Error::Unavailable { reason: "the store is closing".into() };
        let (answer, done) = oneshot::channel();
        self.writer.blocking_send(Request { items, memory: None, answer }).map_err(|_| closing())?;
        done.blocking_recv().map_err(|_| closing())?
    }
}

/// Bytes that something takes on disk.
pub(crate) fn disk_len(key: &Key, content: &Digest, location: Location) -> u64 {
    match location {
        Location::Packed(_, encoding) => packed_len(key, content, encoding),
        Location::File(_, encoding) => Files::disk_len(content, encoding),
    }
}
