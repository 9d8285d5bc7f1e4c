//! Files of large blobs that are compressed: read by frames, and made beside the upload.

use super::{
    frames::{Compressor, FRAME, FRAME_LEN, Table, inflate, pays},
    room::Loan,
    segments::ReadError,
    uploads::Uploads,
};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
};
use tempfile::TempPath;

/// From so many bytes on, an upload whose frames have not paid so far is not compressed any further.
const TRIAL: u64 = 4 * FRAME;

/// A compressed blob that is being read.
#[derive(Debug)]
pub(crate) struct FramedFile {
    file: File,
    size: u64,
    table: Table,
}

impl FramedFile {
    /// A blob of `size` bytes that are stored as `stored` bytes.
    pub(crate) fn new(file: File, size: u64, stored: u64) -> Result<Self, ReadError> {
        let mut table = buffer(Table::disk_len(size))?;
        file.read_exact_at(&mut table, stored)?;
        let table = Table::decode(&table, size, stored).ok_or(ReadError::Damaged)?;
        Ok(Self { file, size, table })
    }

    /// Bytes `start..end` of the blob. Reads whole frames.
    pub(crate) fn read(&self, start: u64, end: u64) -> Result<Bytes, ReadError> {
        let frames = start / FRAME..end.div_ceil(FRAME);
        let from = frames.start * FRAME;
        let stored = self.stored(frames.clone())?;
        let mut content = Vec::new();
        for (frame, bytes) in frames.clone().zip(self.table.cut(frames, &stored)?) {
            let inflated = inflate(bytes, FRAME.min(self.size - frame * FRAME))?;
            if content.is_empty() {
                content = inflated;
            } else {
                content.extend(inflated);
            }
        }
        let at = |offset: u64| usize::try_from(offset - from).unwrap_or(usize::MAX);
        Ok(Bytes::from(content).slice(at(start)..at(end)))
    }

    /// Frames as they are stored, verified.
    pub(crate) fn frames(&self, frames: Range<u64>) -> Result<Bytes, ReadError> {
        let stored = self.stored(frames.clone())?;
        self.table.cut(frames, &stored)?;
        Ok(stored.into())
    }

    /// Which frames there are.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    fn stored(&self, frames: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let start = self.table.start(frames.start);
        let mut stored = buffer(self.table.start(frames.end).saturating_sub(start))?;
        self.file.read_exact_at(&mut stored, start)?;
        Ok(stored)
    }
}

fn buffer(len: u64) -> Result<Vec<u8>, ReadError> {
    Ok(vec![0; usize::try_from(len).map_err(|_| ReadError::Damaged)?])
}

/// The frames of a blob that is being uploaded, in a file of their own beside it.
#[derive(Debug)]
pub(crate) struct FramedStaging {
    file: File,
    path: TempPath,
    compressor: Compressor,
    /// The beginning of the next one.
    frame: Vec<u8>,
    content: u64,
    table: Table,
    loan: Loan,
}

impl FramedStaging {
    /// What it is taken to have in memory: the frame that begins, and the compressor.
    pub(crate) const MEMORY: u64 = 2 * FRAME;

    /// In room that was lent.
    pub(crate) fn begin(uploads: &Uploads, loan: Loan) -> io::Result<Self> {
        let (file, path) = uploads.private()?.into_parts();
        let (compressor, frame) = (Compressor::new()?, Vec::with_capacity(FRAME_LEN));
        Ok(Self { file, path, compressor, frame, content: 0, table: Table::default(), loan })
    }

    /// Takes the next bytes of the blob. Gives itself up when it does not pay, or has no room any more.
    pub(crate) fn append(mut self, mut bytes: &[u8]) -> io::Result<Option<Self>> {
        if self.loan.is_recalled() {
            return Ok(None);
        }
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(FRAME_LEN - self.frame.len()));
            self.frame.extend_from_slice(head);
            bytes = tail;
            if self.frame.len() == FRAME_LEN {
                self.end_frame()?;
                if self.content >= TRIAL && !pays(self.content, self.table.stored()) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(self))
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let frame = self.compressor.frame(&self.frame)?;
        self.file.write_all(&frame)?;
        self.table.push(&frame);
        self.content += self.frame.len() as u64;
        self.frame.clear();
        Ok(())
    }

    /// Makes the whole durable. Gives its file and the bytes of its frames, if it pays.
    pub(crate) fn finish(mut self) -> io::Result<Option<(TempPath, u64)>> {
        if !self.frame.is_empty() {
            self.end_frame()?;
        }
        if self.loan.is_recalled() || !pays(self.content, self.table.stored()) {
            return Ok(None);
        }
        self.file.write_all(&self.table.encode())?;
        self.file.sync_data()?;
        Ok(Some((self.path, self.table.stored())))
    }
}
