//! The one writer: appends what many callers hand in, syncs once for all of them, and only then answers.
//!
//! The order for a group is: append the records, sync the segment; rename the files of large blobs, sync their
//! directories; tell the index; acknowledge. A death between any two of these loses nothing that was acknowledged and
//! leaves no file that nobody knows: the log has the record before the file has its name.

use super::{
    codec::{Encoding, Location, Position},
    files::Files,
    index::Change,
    io::failed,
    key::{Key, ValueKey},
    record::{Form, Header},
    shared::Shared,
    staging::Staged,
    tail::Tail,
};
use bytes::Bytes;
use cas::{Error, Result};
use proto::Digest;
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io,
    sync::Arc,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Requests that wait for the writer at a time.
pub(crate) const QUEUE: usize = 1024;

/// A group ends when it has this many bytes …
const GROUP_BYTES: usize = 8 << 20;
/// … or items.
const GROUP_ITEMS: usize = 8192;

/// A verified blob, or a change of a value.
#[derive(Debug)]
pub(crate) enum Item {
    /// To be packed, `bytes` as its record has them.
    Packed { digest: Digest, encoding: Encoding, bytes: Bytes },
    /// Staged in a file.
    File(Staged),
    /// A value to be packed, whatever there is already.
    Value { key: ValueKey, content: Digest, bytes: Bytes },
    /// A value that is staged in a file.
    ValueFile { key: ValueKey, staged: Staged },
    /// A value that is to go.
    Deleted { key: ValueKey },
    /// Something packed that is to be copied out of its segment.
    Moved { header: Header, bytes: Bytes, from: Location },
}

/// Blobs of one caller, and where to answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) items: Vec<Item>,
    /// Of the items, which outlive a caller who does not wait.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
    pub(crate) answer: oneshot::Sender<Result<()>>,
}

/// The segment that grows.
#[derive(Debug)]
struct Active {
    id: u32,
    file: Arc<File>,
    len: u64,
}

/// Owns the end of the log.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    next_id: u32,
    limit: u64,
    /// Lengths of segments that the index has not been told of.
    lens: BTreeMap<u32, u64>,
    /// The index did not take the last group.
    index_fails: bool,
}

/// What a group has come to so far.
#[derive(Default)]
struct Group {
    changes: Vec<Change>,
    files: Vec<(Staged, Position)>,
    /// Uploads of it that the index had before …
    present: HashSet<Digest>,
    /// … and what it changes itself. Apart, because a copy of what was there must still be made.
    seen: HashSet<Key>,
    /// Records that are not in the segment yet.
    tail: Tail,
    bytes: u64,
}

impl Writer {
    /// Continues the log at `end`, if that segment exists.
    pub(crate) fn new(shared: Arc<Shared>, end: Option<Position>, next_id: u32) -> io::Result<Self> {
        let limit = u64::from(shared.options.segment_limit());
        let active = end.map(|end| {
            let file = shared.segments.file(end.segment)?;
            io::Result::Ok(Active { id: end.segment, file, len: u64::from(end.offset) })
        });
        Ok(Self {
            shared,
            active: active.transpose()?,
            next_id,
            limit,
            lens: BTreeMap::new(),
            index_fails: false,
        })
    }

    /// Serves requests until nobody can make any more.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let (mut group, mut bytes, mut items) = (Vec::new(), 0, 0);
            let mut next = Some(first);
            while let Some(request) = next {
                bytes += request.items.iter().map(Item::memory).sum::<usize>();
                items += request.items.len();
                group.push(request);
                next =
                    if bytes < GROUP_BYTES && items < GROUP_ITEMS { requests.try_recv().ok() } else { None };
            }
            self.serve(group);
        }
    }

    fn serve(&mut self, requests: Vec<Request>) {
        let (items, answers): (Vec<_>, Vec<_>) =
            requests.into_iter().map(|request| (request.items, (request.answer, request.memory))).unzip();
        let outcome = self.commit(items.into_iter().flatten());
        if let Err(error) = &outcome {
            tracing::warn!(%error, "a group of uploads failed");
            self.shared.count_disk_error(error);
            self.shared.room.wake();
        }
        self.shared.metrics.commits.inc();
        self.shared.recount();
        self.shared.room.want();
        for (answer, memory) in answers {
            drop(memory);
            // Whoever asked may be gone.
            let _ = answer.send(outcome.as_ref().map_or_else(|error| Err(again(error)), |()| Ok(())));
        }
    }

    fn commit(&mut self, items: impl Iterator<Item = Item>) -> Result<()> {
        if self.index_fails {
            // Nothing is appended in vain: the log would grow with every attempt.
            self.shared.index.probe()?;
            self.index_fails = false;
        }
        let items: Vec<Item> = items.collect();
        let mut group = Group { present: self.present(&items)?, ..Group::default() };
        for item in items {
            self.add(&mut group, item)?;
        }
        self.flush(&mut group)?;
        if group.changes.is_empty() {
            return Ok(());
        }
        let names = group.files.iter().map(|(staged, at)| Files::name(&staged.digest, *at)).collect();
        let end = self.active.as_ref().map_or_else(Position::default, Active::end);
        let shared = &self.shared;
        let published = self.publish(std::mem::take(&mut group.files));
        let told =
            published.and_then(|()| shared.index.commit(&group.changes, &self.lens, end, shared.clock.now()));
        let replaced = match told {
            Ok(replaced) => replaced,
            Err(error) => {
                // The index will not know of them. What cannot be deleted now is found by nobody, but was not acknowledged.
                let _ = shared.delete_named(names);
                self.index_fails = true;
                return Err(error);
            }
        };
        self.lens.clear();
        // The log has what took their place.
        if let Err(error) = self.shared.delete_files(&replaced) {
            tracing::warn!(%error, "cannot delete the files of values before the store opens again");
        }
        let shared = &self.shared;
        let is_new = |change: &&Change| matches!(change, Change::New { .. } | Change::Put { .. });
        let new = group.changes.iter().filter(is_new).count();
        shared.metrics.written_blobs.inc_by(new as u64);
        shared.metrics.written_bytes.inc_by(group.bytes);
        Ok(())
    }

    fn add(&mut self, group: &mut Group, item: Item) -> Result<()> {
        match item {
            Item::Packed { digest, encoding, bytes } => {
                if group.is_new(digest) {
                    let at = self.append(group, Header::blob(Form::Packed, digest, encoding), bytes)?;
                    group.changes.push(Change::New { digest, location: Location::Packed(at, encoding) });
                    group.bytes += digest.size();
                }
            }
            Item::File(staged) => {
                let (digest, encoding) = (staged.digest, staged.encoding);
                if group.is_new(digest) {
                    let at = self.append(group, Header::blob(Form::File, digest, encoding), Bytes::new())?;
                    group.changes.push(Change::New { digest, location: Location::File(at, encoding) });
                    group.files.push((staged, at));
                    group.bytes += digest.size();
                }
            }
            Item::Value { key, content, bytes } => {
                let at = self.append(group, Header::value(Form::Packed, key, content), bytes)?;
                put(group, key, content, Location::Packed(at, Encoding::Plain));
            }
            Item::ValueFile { key, staged } => {
                let content = staged.digest;
                let at = self.append(group, Header::value(Form::File, key, content), Bytes::new())?;
                put(group, key, content, Location::File(at, Encoding::Plain));
                group.files.push((staged, at));
            }
            Item::Deleted { key } => {
                self.append(group, Header::deleted(key), Bytes::new())?;
                group.seen.insert(key.into());
                group.changes.push(Change::Deleted { key });
            }
            Item::Moved { header, bytes, from } => {
                if self.stays(group, header.key, from)? {
                    let at = self.append(group, header, bytes)?;
                    let to = Location::Packed(at, header.encoding);
                    group.changes.push(Change::Moved { key: header.key, from, to });
                }
            }
        }
        Ok(())
    }

    /// The uploads that the index has already, by one look-up for all. Only this thread adds entries.
    fn present(&self, items: &[Item]) -> Result<HashSet<Digest>> {
        let uploaded = |item: &Item| match item {
            Item::Packed { digest, .. } => Some(*digest),
            Item::File(staged) => Some(staged.digest),
            Item::Value { .. } | Item::ValueFile { .. } | Item::Deleted { .. } | Item::Moved { .. } => None,
        };
        let digests: Vec<_> = items.iter().filter_map(uploaded).collect();
        let entries = self.shared.look_up(&digests)?;
        let present = digests.into_iter().zip(entries).filter(|(_, entry)| entry.is_some());
        Ok(present.map(|(digest, _)| digest).collect())
    }

    /// Whether it is still what it was when it was read: the copy of a value must not stand behind what took its place,
    /// because the last record counts.
    fn stays(&self, group: &Group, key: Key, from: Location) -> Result<bool> {
        let entry = self.shared.index.get(&[key])?.pop().flatten();
        Ok(!group.seen.contains(&key) && entry.is_some_and(|entry| entry.location == from))
    }

    fn append(&mut self, group: &mut Group, header: Header, payload: Bytes) -> Result<Position> {
        let active = match self.active.take() {
            Some(active) if active.len + group.tail.len() + header.record_len() <= self.limit => active,
            Some(full) => {
                self.active = Some(full);
                self.flush(group)?;
                self.create()?
            }
            None => self.create()?,
        };
        let at = active.position(group.tail.len());
        group.tail.push(&header, payload);
        self.active = Some(active);
        Ok(at)
    }

    fn create(&mut self) -> Result<Active> {
        let id = self.next_id;
        self.next_id += 1;
        let file = self.shared.segments.create(id);
        let file = file.map_err(|error| failed(self.shared.segments.path(id), error))?;
        Ok(Active { id, file, len: 0 })
    }

    /// Brings the records to the disk.
    fn flush(&mut self, group: &mut Group) -> Result<()> {
        let tail = std::mem::take(&mut group.tail);
        let Some(active) = self.active.as_mut().filter(|_| tail.len() > 0) else { return Ok(()) };
        let written = tail.write(&active.file, active.len).and_then(|()| active.file.sync_data());
        if let Err(error) = written {
            let path = self.shared.segments.path(active.id);
            self.abandon();
            return Err(failed(path, error));
        }
        active.len += tail.len();
        self.lens.insert(active.id, active.len);
        Ok(())
    }

    /// Nothing is appended behind a failed write or sync: replay ends there, and a later sync that succeeds says nothing
    /// of bytes that an earlier one lost. The next group begins a segment.
    fn abandon(&mut self) {
        let Some(active) = self.active.take() else { return };
        // Best effort: gives back the space of a write that the disk was too full for.
        let cut = match active.len {
            0 => self.shared.segments.remove(active.id),
            len => active.file.set_len(len).and_then(|()| active.file.sync_data()),
        };
        if let Err(error) = cut {
            tracing::warn!(%error, segment = active.id, "cannot cut an abandoned segment");
            let len = active.file.metadata().map_or(active.len, |data| data.len());
            self.lens.insert(active.id, len);
        }
    }

    fn publish(&self, files: Vec<(Staged, Position)>) -> Result<()> {
        let published: Vec<_> = files.iter().map(|(staged, _)| staged.digest).collect();
        for (staged, at) in files {
            let path = self.shared.files.path(&staged.digest, at);
            self.shared.files.publish(staged, at).map_err(|error| failed(path, error))?;
        }
        let mut buckets = HashSet::new();
        for digest in published.iter().filter(|digest| buckets.insert(digest.hash()[0])) {
            self.shared
                .files
                .sync(digest)
                .map_err(|error| failed(format!("large/{:.2}", digest.hex()), error))?;
        }
        Ok(())
    }
}

impl Active {
    fn position(&self, beyond: u64) -> Position {
        let offset = self.len + beyond;
        Position { segment: self.id, offset: u32::try_from(offset).expect("segments are shorter than 4 GiB") }
    }

    fn end(&self) -> Position {
        self.position(0)
    }
}

impl Item {
    fn memory(&self) -> usize {
        match self {
            Self::Packed { bytes, .. } | Self::Value { bytes, .. } | Self::Moved { bytes, .. } => bytes.len(),
            Self::File(_) | Self::ValueFile { .. } | Self::Deleted { .. } => 0,
        }
    }
}

impl Group {
    /// Whether neither the index nor the group has it.
    fn is_new(&mut self, digest: Digest) -> bool {
        !self.present.contains(&digest) && self.seen.insert(digest.into())
    }
}

fn put(group: &mut Group, key: ValueKey, content: Digest, location: Location) {
    group.seen.insert(key.into());
    group.changes.push(Change::Put { key, content, location });
    group.bytes += content.size();
}

/// The same failure once more, for everybody in the group.
fn again(error: &Error) -> Error {
    match error {
        Error::Exhausted { reason } => Error::Exhausted { reason: reason.clone() },
        Error::Unavailable { reason } => Error::Unavailable { reason: reason.clone() },
        other => Error::Internal { reason: format!("cannot write: {other}") },
    }
}
