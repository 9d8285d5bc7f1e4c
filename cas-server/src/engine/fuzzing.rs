//! The log's records, as fuzz targets see them.

use super::{
    codec::Position,
    record::Form,
    segments::{Segments, Walk},
};
use bytes::Bytes;
use std::{io, ops::Range, path::Path};

/// One record of a segment.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it is.
    pub at: Range<u64>,
    /// Its header, written anew.
    pub header: Vec<u8>,
    /// What is packed in it, if that is whole.
    pub payload: Option<Bytes>,
}

/// All records of the one segment in `dir`, found as opening a store finds them.
pub fn records(dir: &Path) -> io::Result<Vec<Record>> {
    let (segments, _) = Segments::open(dir.to_owned())?;
    let mut walk = Walk::new(segments.file(0)?, 0)?;
    let mut records = Vec::new();
    loop {
        let Some((offset, header)) = walk.next()? else {
            if walk.resume()? {
                continue;
            }
            return Ok(records);
        };
        let at = Position { segment: 0, offset: u32::try_from(offset).unwrap_or(u32::MAX) };
        let packed = header.form == Form::Packed;
        let payload = packed.then(|| segments.read_record(at, &header).ok()).flatten();
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        records.push(Record { at: offset..walk.offset(), header: bytes, payload });
    }
}
