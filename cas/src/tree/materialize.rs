//! A manifest becomes files in an empty directory, and nothing anywhere else.
//!
//! Files are copies of what is in the cache, or, but for small ones, clones (on file systems that share blocks): whatever is done
//! to them, the cache stays what it is. Large ones that nothing is meant to be written to are lent where they cannot be cloned: see
//! `disk::lend`. Directories are made and entered one by one without following symlinks, and symlinks are made last.

use super::{
    Error, Fetched,
    gate::{Gate, Pass},
    place::{DIR_FLAGS, Place},
    plan::{AT_ONCE, FileToMake, Plan},
};
use crate::{
    disk::{DiskCache, SMALL},
    isolated::{Isolated, ReadOnly, check_layout},
    parallel::in_parts,
};
use bytes::Bytes;
use proto::{Digest, RelPath};
use rustix::{
    fd::OwnedFd,
    fs::{Mode, openat},
};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Once, atomic::Ordering},
};

/// Lays `fetched` out in `target`, an empty directory that is made when it is not there. Blocks; copies on as many threads
/// as there are cores. What it made stays when it fails.
pub fn materialize(fetched: &Fetched, cache: &DiskCache, target: &Path) -> Result<(), Error> {
    let mut isolated = fetched.isolated.clone();
    // A manifest that was parsed is fine already; one that was made by hand may not be.
    check_layout(&isolated.files)
        .map_err(|source| Error::Manifest { digest: Digest::empty(isolated.function), source })?;
    Site::new(&mut isolated, &fetched.directories, cache, target)?.finish()
}

/// A tree that was fetched and is laid out in part: see [`fetch_into`](super::fetch_into()).
#[derive(Debug)]
pub struct Begun {
    pub(super) fetched: Fetched,
    pub(super) site: Site,
}

impl Begun {
    /// What was fetched.
    pub fn fetched(&self) -> &Fetched {
        &self.fetched
    }

    /// Lays out the rest, and forgets the files of the manifest, of which there may be a million. Blocks; copies on as many
    /// threads as there are cores. What was made stays when it fails.
    pub fn finish(self) -> Result<Fetched, Error> {
        self.site.finish()?;
        Ok(self.fetched)
    }
}

/// Where a tree is being laid out. When it is dropped nobody makes anything there any more: who has a [`Builder`] of it is
/// waited for until the file that it is at is made.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) building: Arc<Building>,
    pub(super) _gate: Gate,
}

impl Site {
    /// See [`Building::begin`].
    pub(super) fn new(
        isolated: &mut Isolated,
        directories: &BTreeSet<RelPath>,
        cache: &DiskCache,
        target: &Path,
    ) -> Result<Self, Error> {
        let gate = Gate::default();
        let building = Building::begin(isolated, directories, cache, target, gate.pass())?;
        Ok(Self { building: Arc::new(building), _gate: gate })
    }

    /// For those who make some of the files while others are being fetched.
    pub(super) fn builder(&self) -> Builder {
        Builder(Arc::clone(&self.building))
    }

    /// Makes all that is not there yet.
    fn finish(self) -> Result<(), Error> {
        let Building { place, plan, .. } = &*self.building;
        if plan.digests().any(|digest| place.lends(digest)) {
            self.building.probe();
        }
        self.building.fill()?;
        for (path, link) in &plan.symlinks {
            place.make_symlink(path, link)?;
        }
        if place.read_only() == ReadOnly::FilesAndDirs {
            place.seal(&plan.directories)?;
        }
        Ok(())
    }
}

/// See [`Site`].
#[derive(Debug)]
pub(super) struct Building {
    place: Place,
    plan: Plan,
    /// Whether files can be cloned was found out.
    probed: Once,
    pass: Pass,
}

impl Building {
    /// Makes the directories of a tree, which has passed [`check_layout`], in `target`, which is empty or not there. The files move
    /// out of `isolated`. Blocks.
    pub(super) fn begin(
        isolated: &mut Isolated,
        directories: &BTreeSet<RelPath>,
        cache: &DiskCache,
        target: &Path,
        pass: Pass,
    ) -> Result<Self, Error> {
        let left = || crate::Error::Internal { reason: format!("{} was left", target.display()) };
        let entered = pass.enter().ok_or_else(left)?;
        let root = open_root(target)?;
        drop(entered);
        let plan = Plan::take(isolated, directories);
        let place = Place::new(target, root, cache, isolated.read_only);
        for directory in &plan.directories {
            let _entered = pass.enter().ok_or_else(left)?;
            place.make_directory(directory)?;
        }
        Ok(Self { place, plan, probed: Once::new(), pass })
    }

    fn probe(&self) {
        self.probed.call_once(|| self.place.try_clone());
    }

    /// Makes all files that are not there. Threads are in different directories for as long as there are several: each is
    /// locked when something is made in it.
    fn fill(&self) -> Result<(), Error> {
        let is_left = |files: &&[FileToMake]| files.iter().any(|file| !file.is_made.load(Ordering::Relaxed));
        let mut work: Vec<(Option<&RelPath>, &[FileToMake])> = Vec::new();
        for (directory, files) in &self.plan.files {
            work.extend(files.chunks(AT_ONCE).filter(is_left).map(|part| (directory.as_ref(), part)));
        }
        in_parts(&work, 1, |_, part| {
            part.iter().try_for_each(|(directory, files)| self.place.fill_directory(*directory, files))
        })
    }
}

/// Makes files of blobs that are in memory anyway, which spares opening and reading those of the cache.
#[derive(Clone, Debug)]
pub(super) struct Builder(Arc<Building>);

impl Builder {
    /// Brings blobs into the order of the tree, so that those that are fetched together lie together. Takes a while.
    pub(super) fn in_order(&self, digests: Vec<Digest>) -> Vec<Digest> {
        self.0.plan.in_order(digests)
    }

    /// Makes all files of these blobs, which are verified and in the cache. Not those that the cache lends, and only small ones
    /// where files can be cloned, or where that is not known: these are made of the cache's files. Blocks.
    pub(super) fn make(&self, blobs: &[(Digest, Bytes)]) -> Result<(), Error> {
        let Building { place, plan, pass, .. } = &*self.0;
        if blobs.iter().any(|(digest, _)| digest.size() > SMALL) {
            self.0.probe();
        }
        let mut spots = Vec::with_capacity(blobs.len());
        let is_made = |digest: Digest| digest.size() <= SMALL || place.copies() && !place.lends(digest);
        for (digest, bytes) in blobs.iter().filter(|(digest, _)| is_made(*digest)) {
            spots.extend(plan.spots(*digest).map(|spot| (spot, bytes)));
        }
        spots.sort_unstable_by_key(|(spot, _)| *spot);
        for part in spots.chunk_by(|(one, _), (other, _)| one.directory == other.directory) {
            let (directory, files) = &plan.files[part[0].0.directory as usize];
            let mut opened = None;
            for (spot, bytes) in part {
                let Some(_entered) = pass.enter() else { return Ok(()) };
                let opened = match &opened {
                    Some(opened) => opened,
                    None => opened.insert(place.enter(directory.as_ref())?),
                };
                place.write_file(opened, &files[spot.file as usize], bytes)?;
            }
        }
        Ok(())
    }
}

fn open_root(target: &Path) -> Result<OwnedFd, Error> {
    let prepare = || {
        fs::create_dir_all(target)?;
        let root = openat(rustix::fs::CWD, target, DIR_FLAGS, Mode::empty())?;
        Ok((root, fs::read_dir(target)?.next().is_some()))
    };
    match prepare().map_err(|error| Error::io(target, error))? {
        (_, true) => Err(Error::Occupied { path: target.to_owned() }),
        (root, false) => Ok(root),
    }
}
