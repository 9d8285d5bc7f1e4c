//! Opening: brings the index up to the end of the log, and the directory in line with the index.

use super::{
    codec::{Location, Position},
    index::Change,
    io::failed,
    key::Key,
    record::{Form, Header},
    segments::{ReadError, Walk},
    shared::Shared,
};
use cas::Result;
use std::{
    collections::{BTreeMap, HashSet},
    fs::OpenOptions,
    path::PathBuf,
};

/// Records that are looked at before the index is told.
const STRIDE: usize = 4096;

/// Replays what the index does not know yet of the segments `ids`, deletes what it does not need any more. Gives the
/// end of the log, if it can be appended to, and the number of the next segment.
pub(crate) fn recover(shared: &Shared, ids: &[u32]) -> Result<(Option<Position>, u32)> {
    let known = shared.index.sums();
    let from = known.totals.position;
    for &id in ids {
        let unwanted = id < from.segment && !known.segments.contains_key(&id);
        if unwanted {
            shared.segments.remove(id).map_err(|error| failed(shared.segments.path(id), error))?;
        }
    }
    let mut end = None;
    for &id in ids.iter().filter(|&&id| id >= from.segment) {
        let offset = if id == from.segment { from.offset } else { 0 };
        let last = ids.last() == Some(&id);
        end = Some(replay(shared, Position { segment: id, offset }, last)?);
    }
    shared.delete_named(shared.index.doomed()?)?;
    let next = ids.last().map_or(0, |id| id + 1).max(from.segment + u32::from(from != Position::default()));
    // A segment that is full enough is continued all the same: the writer sees its length.
    Ok((end, next))
}

/// Takes in one segment from `from` on. Damage costs the records that it is in; what stands behind the last whole one
/// was never acknowledged and is cut off, if the log goes on there.
fn replay(shared: &Shared, from: Position, last: bool) -> Result<Position> {
    let path = shared.segments.path(from.segment);
    let io = |error| failed(path.clone(), error);
    let mut walk =
        Walk::new(shared.segments.file(from.segment).map_err(io)?, u64::from(from.offset)).map_err(io)?;
    let mut found = Vec::new();
    let mut replayed = 0;
    let mut end = walk.offset();
    loop {
        let Some((offset, header)) = walk.next().map_err(io)? else {
            if walk.resume().map_err(io)? {
                continue;
            }
            break;
        };
        let at = Position { segment: from.segment, offset: u32::try_from(offset).unwrap_or(u32::MAX) };
        if !is_whole(shared, at, &header)? {
            continue;
        }
        end = walk.offset();
        found.push((header, at));
        if found.len() == STRIDE {
            replayed += take_in(shared, &mut found, from.segment, end)?;
        }
    }
    if last {
        let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
        file.set_len(end).and_then(|()| file.sync_data()).map_err(io)?;
    }
    replayed += take_in(shared, &mut found, from.segment, end)?;
    if replayed > 0 {
        tracing::info!(segment = from.segment, records = replayed, "replayed the end of the log");
    }
    Ok(Position { segment: from.segment, offset: u32::try_from(end).unwrap_or(u32::MAX) })
}

/// Whether the record and what it stands for are there, verified.
fn is_whole(shared: &Shared, at: Position, header: &Header) -> Result<bool> {
    match header.form {
        Form::Packed => there(shared.segments.path(at.segment), shared.segments.read_record(at, header)),
        Form::File | Form::Deleted => Ok(true),
    }
}

/// Whether a read succeeds. That the disk, or the number of open files, does not let us see is no answer.
fn there<T>(path: PathBuf, read: Result<T, ReadError>) -> Result<bool> {
    match read {
        Ok(_) => Ok(true),
        Err(ReadError::Gone | ReadError::Damaged) => Ok(false),
        Err(ReadError::Io(error)) => Err(failed(path, error)),
    }
}

/// Tells the index of those that it does not know.
fn take_in(shared: &Shared, found: &mut Vec<(Header, Position)>, segment: u32, end: u64) -> Result<usize> {
    let keys: Vec<_> = found.iter().map(|(header, _)| header.key).collect();
    let entries = shared.index.get(&keys)?;
    let mut seen = HashSet::new();
    let mut changes = Vec::new();
    for ((header, at), entry) in found.drain(..).zip(entries) {
        // A file has its name only after its record was durable: without it the upload was not acknowledged.
        let is_there = match header.form {
            Form::Packed | Form::Deleted => true,
            Form::File => {
                let content = &header.content;
                there(shared.files.path(content, at), shared.files.read(content, at, header.encoding))?
            }
        };
        // Of a blob the first record will do, of a value the last one counts.
        let is_news = match header.key {
            Key::Blob(_) => entry.is_none() && is_there && seen.insert(header.key),
            Key::Value(_) => is_there && entry.is_none_or(|entry| entry.location.position() < at),
        };
        if is_news {
            changes.push(match (header.key, header.location(at)) {
                (Key::Blob(digest), location) => {
                    let location = location.unwrap_or(Location::Packed(at, header.encoding));
                    Change::New { digest, location }
                }
                (Key::Value(key), Some(location)) => Change::Put { key, content: header.content, location },
                (Key::Value(key), None) => Change::Deleted { key },
            });
        }
    }
    let end_offset = u32::try_from(end).unwrap_or(u32::MAX);
    let on_disk = shared.segments.file(segment).and_then(|file| file.metadata());
    let len = on_disk.map_err(|error| failed(shared.segments.path(segment), error))?.len();
    let lens = BTreeMap::from([(segment, len)]);
    let position = Position { segment, offset: end_offset };
    // Their files are doomed, and deleted when all is replayed.
    shared.index.commit(&changes, &lens, position, shared.clock.now())?;
    Ok(changes.len())
}
