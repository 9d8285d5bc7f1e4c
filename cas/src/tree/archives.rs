//! Tar archives of small files, which the original made of them, become files of the manifest: what is in them comes into
//! the cache one by one, under the same rules as everything that a manifest names.

use super::Error;
use crate::{
    disk::{DiskCache, Gathering, Pins, Trust},
    isolated::{Entry, Isolated, IsolatedError, check_layout},
};
use bytes::Bytes;
use proto::{Digest, RelPath};
use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Cursor, Read as _},
};

/// Largest archive that is unpacked; the original made them of up to ten million bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Most files that archives may add to one manifest.
const MAX_FILES: usize = 1_000_000;

/// Why archives cannot be unpacked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something is wrong with the manifest or an archive in it.
    Refused(IsolatedError),
    /// The cache failed.
    Store(crate::Error),
}

impl Failure {
    /// As an error about this manifest.
    pub(super) fn of(self, manifest: Digest) -> Error {
        match self {
            Self::Refused(source) => Error::Manifest { digest: manifest, source },
            Self::Store(error) => error.into(),
        }
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self::Store(error)
    }
}

/// Puts the files of all archives in the place of the archives, which are in the cache already. What the manifest itself
/// names stays as it is; of archives the first one wins, in the order of their paths.
pub(super) fn unpack(mut isolated: Isolated, cache: &DiskCache) -> Result<(Isolated, Vec<Pins>), Failure> {
    let is_tar = |_: &RelPath, entry: &mut Entry| entry.is_archive();
    let tars: Vec<(RelPath, Entry)> = isolated.files.extract_if(.., is_tar).collect();
    let mut pins = Vec::new();
    let bytes = tars.iter().filter_map(|(_, entry)| entry.digest()).map(|digest| digest.size());
    if let Some((path, _)) = tars.last()
        && bytes.fold(0, u64::saturating_add) > cache.max_bytes()
    {
        let reason = "with it there are more bytes in archives than the local cache holds: give it more";
        return Err(refuse(path, reason));
    }
    let mut added = 0;
    for (path, entry) in tars {
        let Some(digest) = entry.digest() else { continue };
        let files = Unpacking { archive: &path, cache, pins: &mut pins }.files(digest)?;
        added += files.len();
        if added > MAX_FILES {
            return Err(refuse(&path, format!("with it the archives have more than {MAX_FILES} files")));
        }
        for (path, entry) in files {
            isolated.files.entry(path).or_insert(entry);
        }
    }
    check_layout(&isolated.files).map_err(Failure::Refused)?;
    Ok((isolated, pins))
}

fn refuse(archive: &RelPath, reason: impl Into<String>) -> Failure {
    Failure::Refused(IsolatedError::Key { key: archive.to_string(), reason: reason.into() })
}

struct Unpacking<'a> {
    archive: &'a RelPath,
    cache: &'a DiskCache,
    pins: &'a mut Vec<Pins>,
}

impl Unpacking<'_> {
    /// What is in the archive, by path from the root of the tree, each file in the cache.
    fn files(&mut self, digest: Digest) -> Result<BTreeMap<RelPath, Entry>, Failure> {
        if digest.size() > MAX_BYTES {
            let reason = format!("a tar archive of {} bytes is larger than {MAX_BYTES}", digest.size());
            return Err(self.refuse(reason));
        }
        let bytes = self.cache.read(digest)?.ok_or(crate::Error::NotFound { digest })?;
        let mut archive = tar::Archive::new(Cursor::new(&bytes));
        let (mut files, mut contents) = (BTreeMap::new(), HashMap::new());
        for entry in archive.entries().map_err(|error| self.damaged(&error))? {
            let mut entry = entry.map_err(|error| self.damaged(&error))?;
            let kind = entry.header().entry_type();
            if kind.is_dir() || kind.is_pax_global_extensions() {
                continue;
            }
            let path = self.path(&entry.path_bytes())?;
            if !kind.is_file() {
                return Err(self.refuse(format!("`{path}` in the tar archive is not a plain file")));
            }
            let mode = entry.header().mode().map_err(|error| self.damaged(&error))? & 0o777;
            // No more than the archive itself, which is in memory.
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|error| self.damaged(&error))?;
            if content.len() as u64 != entry.size() {
                return Err(self.refuse(format!("the tar archive ends within `{path}`")));
            }
            let digest = digest.function().digest(&content);
            contents.insert(digest, Bytes::from(content));
            files.entry(path).or_insert(Entry::File { digest, mode: Some(mode) });
        }
        self.keep(contents)?;
        Ok(files)
    }

    /// Brings what is in an archive into the cache, where it stays.
    fn keep(&mut self, mut contents: HashMap<Digest, Bytes>) -> Result<(), Failure> {
        let digests: Vec<Digest> = contents.keys().copied().collect();
        self.pins.push(self.cache.pin(digests.iter().copied()));
        let missing = self.cache.missing(&digests)?.into_iter();
        let blobs: Vec<(Digest, Bytes)> =
            missing.filter_map(|digest| contents.remove_entry(&digest)).collect();
        let gathering = Gathering::new(self.cache);
        gathering.keep(&blobs, Trust::Verified)?;
        Ok(gathering.finish()?)
    }

    /// The path of a file in the archive, seen from the root of the tree.
    fn path(&self, name: &[u8]) -> Result<RelPath, Failure> {
        let text = std::str::from_utf8(name)
            .map_err(|_| self.refuse("a name in the tar archive is not UTF-8"))?
            .replace('\\', "/");
        let text = text.strip_prefix("./").unwrap_or(&text);
        let path = RelPath::new(text).and_then(|path| match self.archive.parent() {
            Some(parent) => parent.join(&path),
            None => Ok(path),
        });
        path.map_err(|error| self.refuse(format!("in the tar archive, {error}")))
    }

    fn damaged(&self, error: &io::Error) -> Failure {
        self.refuse(format!("it is no tar archive, or a damaged one: {error}"))
    }

    fn refuse(&self, reason: impl Into<String>) -> Failure {
        refuse(self.archive, reason)
    }
}
