//! A pack that is being filled.

use super::{
    MOST,
    pack::Pack,
    table::{Packed, Table},
};
use crate::{
    Error, Result,
    disk::{
        cache::DiskCache,
        layout::{file_name, footprint},
        limits::Count,
        staged::{MODE, finished, full},
    },
};
use proto::{Digest, DigestFunction};
use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, IoSlice, Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};
use tempfile::{Builder, NamedTempFile};

/// Parts of one write. The kernel takes no more.
const PARTS: usize = 1024;

/// Invisible until it is finished; gone when it is dropped before, or when its process dies.
#[derive(Debug)]
pub(in crate::disk) struct Packing {
    function: DigestFunction,
    file: NamedTempFile,
    payload: u64,
    blobs: Vec<Packed>,
}

impl Packing {
    pub(super) fn create(cache: &DiskCache, function: DigestFunction) -> Result<Self> {
        let dir = cache.session_dir();
        let file = Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(dir);
        let file = file.map_err(|error| Error::io(dir, error))?;
        Ok(Self { function, file, payload: 0, blobs: Vec::new() })
    }

    /// Adds blobs that are known to be right, and of the pack's function. Those that were added before stay if it fails.
    pub(super) fn add(&mut self, blobs: &[(Digest, impl AsRef<[u8]>)]) -> Result<()> {
        for part in blobs.chunks(PARTS) {
            let before = self.payload;
            if let Err(error) = self.append(part) {
                // Best effort: what cannot be cut off is behind what the table tells of, and the file is no pack.
                let _ = self.file.as_file_mut().set_len(before);
                let _ = self.file.as_file_mut().seek(SeekFrom::Start(before));
                self.payload = before;
                self.blobs.retain(|blob| u64::from(blob.offset) < before);
                return Err(full(self.file.path().to_owned(), error));
            }
        }
        Ok(())
    }

    fn append(&mut self, part: &[(Digest, impl AsRef<[u8]>)]) -> io::Result<()> {
        for (digest, _) in part {
            let offset = u32::try_from(self.payload).map_err(|_| ErrorKind::FileTooLarge)?;
            self.blobs.push(Packed { digest: *digest, offset });
            self.payload += digest.size();
        }
        let mut slices: Vec<IoSlice<'_>> =
            part.iter().map(|(_, bytes)| IoSlice::new(bytes.as_ref())).collect();
        write_all(self.file.as_file_mut(), &mut slices)
    }

    pub(super) fn function(&self) -> DigestFunction {
        self.function
    }

    /// Whether it should be finished rather than be added to.
    pub(super) fn is_full(&self, payload: u64) -> bool {
        self.payload >= payload || self.blobs.len() >= MOST
    }

    /// Pretends to have so many bytes.
    #[cfg(test)]
    pub(super) fn fill_up_to(&mut self, payload: u64) {
        self.payload = payload;
    }

    /// What it takes.
    pub(in crate::disk) fn count(&self) -> Count {
        let tail = Table::tail_len(self.function, self.blobs.len());
        Count { bytes: footprint(self.payload + tail), items: self.blobs.len() as u64 }
    }

    /// Publishes what was added under the name that follows from it.
    pub(in crate::disk) fn finish(self, cache: &DiskCache) -> Result<(Arc<Pack>, File)> {
        let Self { function, mut file, payload, blobs } = self;
        let table = Table::new(function, payload, blobs);
        let name = DigestFunction::Blake3.digest(table.tail());
        let dir = cache.layout().packs();
        let path = dir.join(file_name(name));
        let publish = |file: &mut NamedTempFile| {
            file.write_all(table.tail())?;
            finished(file.as_file(), name)?;
            match fs::rename(file.path(), &path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs::create_dir_all(&dir)?;
                    fs::rename(file.path(), &path)
                }
                renamed => renamed,
            }
        };
        publish(&mut file).map_err(|error| full(path.clone(), error))?;
        // Nothing has its old name any more.
        file.disable_cleanup(true);
        Ok((Arc::new(Pack::new(name, path, table)), file.into_parts().0))
    }
}

/// `Write::write_all_vectored`, which is not stable.
fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
