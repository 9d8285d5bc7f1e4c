//! A pack that is being filled.

use super::{
    MOST, SMALL, TOGETHER,
    pack::Pack,
    table::{Packed, Table},
};
use crate::{
    Error, Result,
    disk::{
        cache::DiskCache,
        layout::{file_name, footprint},
        limits::Count,
        staged::{MODE, Trust, finished, full},
    },
};
use bytes::Bytes;
use proto::{Digest, DigestFunction};
use std::{
    fs::{self, Permissions},
    io::{IoSlice, Write as _},
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

    /// Adds blobs that are known to be right, and of the pack's function.
    pub(super) fn add(&mut self, blobs: &[(Digest, impl AsRef<[u8]>)]) -> Result<()> {
        for part in blobs.chunks(PARTS) {
            let mut slices: Vec<IoSlice<'_>> =
                part.iter().map(|(_, bytes)| IoSlice::new(bytes.as_ref())).collect();
            write_all(self.file.as_file_mut(), &mut slices)
                .map_err(|error| full(self.file.path().to_owned(), error))?;
            for (digest, _) in part {
                // It is full long before.
                let offset = u32::try_from(self.payload).unwrap_or(u32::MAX);
                self.blobs.push(Packed { digest: *digest, offset });
                self.payload += digest.size();
            }
        }
        Ok(())
    }

    /// Whether it should be finished rather than be added to.
    pub(super) fn is_full(&self, payload: u64) -> bool {
        self.payload >= payload || self.blobs.len() >= MOST
    }

    /// Publishes what was added under the name that follows from it.
    pub(in crate::disk) fn finish(self, cache: &DiskCache) -> Result<Arc<Pack>> {
        let Self { function, mut file, payload, blobs } = self;
        let table = Table::new(function, payload, blobs);
        let tail = table.to_tail();
        let name = DigestFunction::Blake3.digest(&tail);
        let path = cache.layout().packs().join(file_name(name));
        let count = Count { bytes: footprint(payload + name.size()), items: table.len() as u64 };
        let publish = |file: &mut NamedTempFile| {
            file.write_all(&tail)?;
            finished(file.as_file(), name)?;
            // Counted before it is there: whoever is killed in between has counted too much, which a trim puts right.
            cache.publishing(count);
            fs::rename(file.path(), &path)
        };
        publish(&mut file).map_err(|error| full(path.clone(), error))?;
        // Nothing has its old name any more.
        file.disable_cleanup(true);
        let (file, _) = file.into_parts();
        Ok(Arc::new(Pack::new(name, path, file, table)))
    }
}

/// `Write::write_all_vectored`, which is not stable.
fn write_all(file: &mut fs::File, mut slices: &mut [IoSlice<'_>]) -> std::io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Where all that one fetch brings comes into the cache: small blobs that come together are packed, others are files of their
/// own.
#[derive(Debug)]
pub(crate) struct Gathering {
    cache: DiskCache,
    open: Mutex<Option<Packing>>,
}

impl Gathering {
    pub(crate) fn new(cache: &DiskCache) -> Self {
        Self { cache: cache.clone(), open: Mutex::default() }
    }

    /// Puts blobs of one function into the cache. Packed ones are there when the pack is full, or when [`Self::finish`] was
    /// called, or this is dropped.
    pub(crate) fn keep(&self, blobs: &[(Digest, Bytes)], trust: Trust) -> Result<()> {
        let insert = |(digest, bytes): &(Digest, Bytes)| self.cache.insert_as(*digest, bytes, trust);
        let is_small =
            |(digest, bytes): &&(Digest, Bytes)| (1..=SMALL).contains(&digest.size()) && !bytes.is_empty();
        if blobs.iter().filter(is_small).count() < TOGETHER {
            return blobs.iter().try_for_each(insert);
        }
        blobs.iter().filter(|blob| !is_small(blob)).try_for_each(insert)?;
        let small: Vec<(Digest, &[u8])> =
            blobs.iter().filter(is_small).map(|(digest, bytes)| (*digest, &bytes[..])).collect();
        for (digest, bytes) in &small {
            let is_right = bytes.len() as u64 == digest.size()
                && (trust == Trust::Verified || digest.function().digest(bytes) == *digest);
            if !is_right {
                // Says what is wrong with it.
                self.cache.insert_as(*digest, bytes, trust)?;
            }
        }
        self.pack(&small)
    }

    fn pack(&self, blobs: &[(Digest, &[u8])]) -> Result<()> {
        let Some((first, _)) = blobs.first() else { return Ok(()) };
        let mut open = self.open();
        if let Some(other) = open.take_if(|packing| packing.function != first.function()) {
            self.cache.publish(other)?;
        }
        let mut packing = match open.take() {
            Some(packing) => packing,
            None => Packing::create(&self.cache, first.function())?,
        };
        // One that could not take it all is given up: nobody knows how much of it was written.
        packing.add(blobs)?;
        if packing.is_full(self.cache.pack_bytes()) {
            return self.cache.publish(packing);
        }
        *open = Some(packing);
        Ok(())
    }

    /// Publishes what was not published yet.
    pub(crate) fn finish(&self) -> Result<()> {
        let open = self.open().take();
        open.map_or(Ok(()), |packing| self.cache.publish(packing))
    }

    fn open(&self) -> MutexGuard<'_, Option<Packing>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gathering {
    /// What came of a fetch that broke off need not come again.
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "cannot keep what was fetched in the local cache");
        }
    }
}
