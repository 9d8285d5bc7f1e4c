//! Verifies everything at rest.

use super::{
    codec::{Entry, Location},
    files::{Files, PIECE},
    io::failed,
    key::Key,
    record::sum,
    segments::ReadError,
    shared::Shared,
};
use cas::Result;
use std::{collections::HashSet, fs, path::Path};

/// Entries that are verified in the order in which they lie on the disk.
const STRIDE: usize = 65_536;

/// Bytes of a large file that are read at a time.
const STEP: u64 = 16 * PIECE;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Blobs and values that are whole.
    pub sound: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blobs and values that were damaged or gone, and are dropped.
    pub damaged: u64,
    /// Files that nothing led to, which are deleted.
    pub leftovers: u64,
    /// Blobs and values that the disk did not give: it failed. They are left as they are.
    pub unread: u64,
}

impl Shared {
    /// Blocks for as long as reading everything takes.
    pub(super) fn scrub(&self, mut tell: impl FnMut(&str)) -> Result<ScrubReport> {
        let mut report = ScrubReport::default();
        let mut known = HashSet::new();
        let mut last = None;
        loop {
            let mut entries = self.index.entries(last.as_ref(), STRIDE)?;
            let Some((key, _)) = entries.last() else { break };
            last = Some(*key);
            entries.sort_unstable_by_key(|(_, entry)| entry.location.position());
            for (key, entry) in entries {
                if let Location::File(at, _) = entry.location {
                    known.insert(sum(Files::name(&entry.content, at).as_bytes()));
                }
                self.scrub_one(key, entry, &mut report, &mut tell)?;
            }
        }
        report.leftovers = self.delete_leftovers(&known, &mut tell)?;
        Ok(report)
    }

    fn scrub_one(
        &self,
        key: Key,
        entry: Entry,
        report: &mut ScrubReport,
        tell: &mut impl FnMut(&str),
    ) -> Result<()> {
        let verified = match entry.location {
            Location::Packed(..) => self.read_content(key, entry).map(|_| ()),
            Location::File(..) => self.verify_file(&entry),
        };
        match verified {
            Ok(()) => {
                report.sound += 1;
                report.bytes += entry.content.size();
            }
            Err(ReadError::Io(error)) => {
                report.unread += 1;
                tell(&format!("cannot read {key}: {error}"));
            }
            Err(ReadError::Gone | ReadError::Damaged) => {
                report.damaged += 1;
                tell(&format!("dropped {key}, which was damaged"));
                self.drop_damaged(key, entry.location)?;
            }
        }
        Ok(())
    }

    /// All pieces, and the hash of the whole.
    fn verify_file(&self, entry: &Entry) -> Result<(), ReadError> {
        let Entry { content, location, .. } = entry;
        let file = self.files.read(content, location.position(), location.encoding())?;
        let mut hasher = content.function().hasher();
        let mut at = 0;
        while at < content.size() {
            let end = content.size().min(at + STEP);
            hasher.update(&file.read(at, end)?);
            at = end;
        }
        if hasher.finish() == *content { Ok(()) } else { Err(ReadError::Damaged) }
    }

    /// Deletes the large files that nothing leads to: a disk that failed may have kept some.
    fn delete_leftovers(&self, known: &HashSet<[u8; 8]>, tell: &mut impl FnMut(&str)) -> Result<u64> {
        let mut deleted = 0;
        let list = |dir: &Path| -> Result<Vec<fs::DirEntry>> {
            let entries = fs::read_dir(dir).and_then(Iterator::collect);
            entries.map_err(|error| failed(dir, error))
        };
        for bucket in list(self.files.dir())? {
            for file in list(&bucket.path())? {
                let name = format!("{}/{}", bucket.file_name().display(), file.file_name().display());
                if !known.contains(&sum(name.as_bytes())) {
                    self.files.remove(&name).map_err(|error| failed(file.path(), error))?;
                    tell(&format!("deleted large/{name}, which nothing led to"));
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }
}
