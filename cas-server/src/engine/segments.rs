//! Segment files: `segments/0000002a`. Only the writer appends; anybody reads.

use super::{
    codec::{Encoding, Position},
    descriptors,
    files::read_at,
    frames::{frame_of, inflate, is_sound},
    record::{Form, Header, MAX_HEADER, next_magic},
};
use bytes::Bytes;
use proto::Digest;
use rustix::io::{ReadWriteFlags, preadv2};
use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Nothing larger was ever packed: a header that says so is none of ours, whatever its sum is.
const MAX_PACKED: u64 = 64 << 20;

/// Bytes between two records that are read rather than skipped …
const GAP: u64 = 512;
/// … and bytes of a run that is read in one go.
const RUN: u64 = 1 << 20;

/// From where records may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// From the disk, if need be.
    ForDisk,
    /// From what the kernel has in memory. Anything else fails.
    Not,
}

/// The directory of segments.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    open: Mutex<HashMap<u32, Arc<File>>>,
    /// Those that could not be read as a whole, since opening.
    unreadable: Mutex<BTreeSet<u32>>,
}

/// Why a record cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Its segment or file does not exist. It may have moved.
    Gone,
    /// It is there, but not as it was written.
    Damaged,
    /// The disk does not give it. It may be whole all the same, and be read another time.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

impl Segments {
    /// Opens the directory, making it if need be, and lists what is in it in order.
    pub(crate) fn open(dir: PathBuf) -> io::Result<(Self, Vec<u32>)> {
        fs::create_dir_all(&dir)?;
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| u32::from_str_radix(name, 16).ok()));
        }
        ids.sort_unstable();
        Ok((Self { dir, open: Mutex::default(), unreadable: Mutex::default() }, ids))
    }

    /// The file of a segment.
    pub(crate) fn path(&self, id: u32) -> PathBuf {
        self.dir.join(format!("{id:08x}"))
    }

    /// The segment, opened for reading and writing.
    pub(crate) fn file(&self, id: u32) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&id) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(id))?);
        if open.len() as u64 >= descriptors::segments() {
            open.clear();
        }
        open.insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// A new, empty segment whose name is durable.
    pub(crate) fn create(&self, id: u32) -> io::Result<Arc<File>> {
        OpenOptions::new().write(true).create_new(true).open(self.path(id))?;
        sync_dir(&self.dir)?;
        self.file(id)
    }

    /// Takes note that a segment cannot be read as a whole: nobody copies from it before the store opens again.
    pub(crate) fn set_unreadable(&self, id: u32) {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// Those that cannot be read as a whole.
    pub(crate) fn unreadable(&self) -> BTreeSet<u32> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Deletes a segment. Readers that have it open go on reading.
    pub(crate) fn remove(&self, id: u32) -> io::Result<()> {
        // Under the lock: nobody may open it again meanwhile, which would keep its space.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&id);
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The packed blob at `position`, verified.
    pub(crate) fn read(
        &self,
        position: Position,
        digest: &Digest,
        encoding: Encoding,
    ) -> Result<Bytes, ReadError> {
        self.read_record(position, &Header::blob(Form::Packed, *digest, encoding))
    }

    /// What is packed at `position` under this header, verified.
    pub(crate) fn read_record(&self, position: Position, expected: &Header) -> Result<Bytes, ReadError> {
        blob_of(self.read_payload(position, expected)?, expected)
    }

    /// What is packed at `position` under this header as it is stored, verified.
    pub(crate) fn read_payload(&self, position: Position, expected: &Header) -> Result<Bytes, ReadError> {
        let (start, end) = extent(position, expected);
        payload_of(&self.read_bytes(position.segment, start..end, Wait::ForDisk)?, expected)
    }

    /// Several packed blobs, each with its own outcome, in the order given. What was written together lies together, and
    /// is read in one go.
    pub(crate) fn read_all(
        &self,
        wanted: &[(Position, Header)],
        wait: Wait,
    ) -> Vec<Result<Bytes, ReadError>> {
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_unstable_by_key(|&place| wanted[place].0);
        let mut outcomes: Vec<_> = wanted.iter().map(|_| Err(ReadError::Gone)).collect();
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (len, range) = run(rest.iter().map(|&place| &wanted[place]));
            let (places, others) = rest.split_at(len);
            rest = others;
            let bytes = self.read_bytes(wanted[places[0]].0.segment, range.clone(), wait);
            for &place in places {
                let (position, header) = &wanted[place];
                outcomes[place] = match &bytes {
                    Ok(bytes) => {
                        let (start, end) = extent(*position, header);
                        let record = bytes.slice(index(start - range.start)..index(end - range.start));
                        payload_of(&record, header).and_then(|payload| blob_of(payload, header))
                    }
                    Err(_) if wait == Wait::Not => return outcomes,
                    // One of them may be why: the others are there.
                    Err(_) => self.read_record(*position, header),
                };
            }
        }
        outcomes
    }

    fn read_bytes(&self, segment: u32, range: Range<u64>, wait: Wait) -> Result<Bytes, ReadError> {
        let file = match wait {
            Wait::ForDisk => self.file(segment)?,
            Wait::Not => self.opened(segment).ok_or(ReadError::Gone)?,
        };
        let len = range.end - range.start;
        match wait {
            Wait::ForDisk => Ok(read_at(&file, range.start, len)?.into()),
            Wait::Not => {
                let mut bytes = vec![0; index(len)];
                let parts = &mut [io::IoSliceMut::new(&mut bytes)];
                let read = preadv2(&file, parts, range.start, ReadWriteFlags::NOWAIT);
                if read != Ok(bytes.len()) {
                    return Err(ReadError::Gone);
                }
                Ok(bytes.into())
            }
        }
    }

    fn opened(&self, id: u32) -> Option<Arc<File>> {
        // Others open and delete files under this lock.
        self.open.try_lock().ok()?.get(&id).cloned()
    }
}

/// Where a record begins and ends in its segment.
fn extent(position: Position, expected: &Header) -> (u64, u64) {
    let start = u64::from(position.offset);
    (start, start.saturating_add(expected.record_len()))
}

/// How many of these records, in the order of their positions, are read in one go, and from where to where that is.
fn run<'a>(mut records: impl Iterator<Item = &'a (Position, Header)>) -> (usize, Range<u64>) {
    let Some((first, header)) = records.next() else { return (0, 0..0) };
    let (start, mut end) = extent(*first, header);
    let mut len = 1;
    for (position, header) in records {
        let (from, to) = extent(*position, header);
        let near = from <= end.saturating_add(GAP) && to.max(end) - start <= RUN;
        if position.segment != first.segment || !near {
            break;
        }
        end = end.max(to);
        len += 1;
    }
    (len, start..end)
}

/// The payload of a record, if it is the one that is expected and as it was written.
fn payload_of(record: &Bytes, expected: &Header) -> Result<Bytes, ReadError> {
    if Header::parse(record).as_ref() != Some(expected) {
        return Err(ReadError::Damaged);
    }
    let payload = record.slice(index(expected.len())..);
    let content = expected.content;
    let sound = match expected.encoding {
        Encoding::Plain => content.function().digest(&payload) == content,
        Encoding::Zstd(_) => is_sound(&payload),
    };
    if sound { Ok(payload) } else { Err(ReadError::Damaged) }
}

/// What a sound payload stands for.
fn blob_of(payload: Bytes, expected: &Header) -> Result<Bytes, ReadError> {
    let Header { content, encoding: Encoding::Zstd(_), .. } = expected else { return Ok(payload) };
    if content.size() > MAX_PACKED {
        return Err(ReadError::Damaged);
    }
    let blob = inflate(&frame_of(&payload), content.size())?;
    if content.function().digest(&blob) == *content { Ok(blob.into()) } else { Err(ReadError::Damaged) }
}

/// An offset into what is in memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Reads headers one after the other.
#[derive(Debug)]
pub(crate) struct Walk {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Walk {
    /// Begins at `offset`, where a record begins.
    pub(crate) fn new(file: Arc<File>, offset: u64) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self { file, offset, end })
    }

    /// The next header with its offset. `None`: the end, or something that is no header.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Header)>> {
        let bytes = self.peek(MAX_HEADER)?;
        let Some(header) = Header::parse(&bytes) else { return Ok(None) };
        let at = self.offset;
        if at.saturating_add(header.record_len()) > self.end {
            return Ok(None);
        }
        self.offset = at + header.record_len();
        Ok(Some((at, header)))
    }

    /// After damage: goes on at the next place that looks like a header. `false`: there is none.
    pub(crate) fn resume(&mut self) -> io::Result<bool> {
        const STEP: usize = 64 * 1024;
        self.offset += 1;
        while self.offset < self.end {
            let bytes = self.peek(STEP)?;
            if let Some(found) = next_magic(&bytes) {
                self.offset += found as u64;
                return Ok(true);
            }
            // A magic number may lie across the border.
            self.offset += bytes.len().saturating_sub(3).max(1) as u64;
        }
        Ok(false)
    }

    /// Where the next header is expected.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn peek(&self, most: usize) -> io::Result<Vec<u8>> {
        let len = self.end.saturating_sub(self.offset).min(most as u64);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        Ok(bytes)
    }
}
