//! What is below a root: files and symlinks by relative path. Looks at names, types and links only.
//!
//! A symlink that stays inside of the root is recorded as such, and what it points to is recorded too. One that leads out
//! is followed as if the file or directory were there, and everything below it likewise, or is broken, as the options say.

use super::{
    Error,
    snapshot::{Broken, Input, SnapshotOptions, Symlinks},
};
use proto::RelPath;
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirEntry, FileType},
    io,
    iter::successors,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    rc::Rc,
};

/// As many links as Linux follows in one path; also bounds how deep followed directories may nest.
const MAX_HOPS: usize = 40;

/// Most directories that are listed through symlinks, which may multiply what is there.
const MAX_FOLLOWED: usize = 100_000;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) files: BTreeSet<RelPath>,
    pub(super) symlinks: BTreeMap<RelPath, String>,
    /// What was passed over, because that was asked for.
    pub(super) skipped: Vec<PathBuf>,
}

/// Lists all inputs.
pub(super) fn walk(root: &Path, inputs: &[Input], options: &SnapshotOptions) -> Result<Walked, Error> {
    let canonical = fs::canonicalize(root).map_err(|error| missing(root, error))?;
    let mut walk = Walk {
        root,
        canonical,
        options,
        found: Walked::default(),
        done: BTreeSet::new(),
        unlisted: Vec::new(),
        followed: 0,
    };
    for input in inputs {
        match input {
            Input::Everything => walk.directory(Vec::new(), Way::Record { hops: 0 }),
            Input::Path(path) => {
                let components = path.components().map(str::to_owned).collect();
                walk.path(Vec::new(), components, 0)?;
            }
        }
        while let Some((place, way)) = walk.unlisted.pop() {
            walk.list(&place, &way)?;
        }
    }
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Path,
    canonical: PathBuf,
    options: &'a SnapshotOptions,
    found: Walked,
    /// Directories that were come to other than by following symlinks, not to list them again.
    done: BTreeSet<String>,
    /// Directories that are to be listed: nesting costs no stack.
    unlisted: Vec<(Vec<String>, Way)>,
    /// How many directories were listed through symlinks.
    followed: usize,
}

/// How a place was come to, and so what to do with symlinks there. Counts the links on the way.
#[derive(Clone)]
enum Way {
    /// Over links that are recorded: those that stay inside are recorded, too.
    Record { hops: usize },
    /// Through a link that leads out: all are followed, relative ones mean something else where they really are.
    Follow { hops: usize, above: Option<Rc<Followed>> },
}

/// A directory that was listed through symlinks, which one it really is, and those that it was come to by.
struct Followed {
    device: u64,
    inode: u64,
    above: Option<Rc<Followed>>,
}

fn missing(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::NoSuchInput { path: path.to_owned() }
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Error::Unusable { path: path.to_owned(), reason: "the symlink leads back to itself" }
        }
        _ if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => {
            Error::Unusable { path: path.to_owned(), reason: "its path is too long" }
        }
        _ => Error::io(path, error),
    }
}

impl Walk<'_> {
    /// Goes down `rest` (first component first) from the real directory `place`, recording the symlinks on the way, and takes
    /// in what is at its end.
    fn path(&mut self, mut place: Vec<String>, rest: Vec<String>, hops: usize) -> Result<(), Error> {
        let mut rest: Vec<String> = rest.into_iter().rev().collect();
        while let Some(component) = rest.pop() {
            if component == ".." {
                place.pop();
                continue;
            }
            place.push(component);
            let physical = self.physical(&place);
            let file_type = match fs::symlink_metadata(&physical) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    place.extend(rest.into_iter().rev());
                    return self.broken(missing(&self.physical(&place), error));
                }
            };
            if file_type.is_symlink() && self.options.symlinks != Symlinks::Follow {
                rest.reverse();
                return self.symlink(place, rest, hops);
            }
            if rest.is_empty() {
                return self.entry(place, file_type, Way::Record { hops });
            }
        }
        self.directory(place, Way::Record { hops });
        Ok(())
    }

    /// A symlink at `place`, below whose target `rest` is wanted.
    fn symlink(&mut self, mut place: Vec<String>, rest: Vec<String>, hops: usize) -> Result<(), Error> {
        let physical = self.physical(&place);
        if hops >= MAX_HOPS {
            let reason = "the symlink leads back to itself";
            return self.broken(Error::Unusable { path: physical, reason });
        }
        let Some(link) = self.name(&place)? else { return Ok(()) };
        let target = fs::read_link(&physical).map_err(|error| Error::io(&physical, error))?;
        match self.inside(&place[..place.len() - 1], &target) {
            Some((text, mut target)) => {
                if let Err(error) = fs::metadata(&physical) {
                    return self.broken(missing(&physical, error));
                }
                self.found.symlinks.insert(link, text);
                target.extend(rest);
                place.pop();
                // A target inside of the root is walked from the top: `..` may lead above the link's directory.
                self.path(Vec::new(), target, hops + 1)
            }
            None if self.options.symlinks == Symlinks::Within => self
                .broken(Error::Unusable { path: physical, reason: "the symlink leads out of the directory" }),
            None => {
                place.extend(rest);
                let physical = self.physical(&place);
                match fs::metadata(&physical) {
                    Ok(metadata) => {
                        let way = Way::Follow { hops: hops + 1, above: None };
                        self.entry(place, metadata.file_type(), way)
                    }
                    Err(error) => self.broken(missing(&physical, error)),
                }
            }
        }
    }

    /// Where a link in the real directory `parent` points, if that is inside of the root: the relative target to record,
    /// and the components from the root, with `..` only where a symlink may come before it.
    fn inside(&self, parent: &[String], target: &Path) -> Option<(String, Vec<String>)> {
        let text = target.to_str()?;
        let (below, relative) = if target.is_absolute() {
            let below =
                target.strip_prefix(&self.canonical).or_else(|_| target.strip_prefix(self.root)).ok()?;
            let up = parent.iter().map(|_| "..".to_owned());
            let down = below.iter().map(|part| part.to_string_lossy().into_owned());
            let relative: Vec<String> = up.chain(down).collect();
            (below, if relative.is_empty() { ".".to_owned() } else { relative.join("/") })
        } else {
            (target, text.to_owned())
        };
        let mut components: Vec<String> = if target.is_absolute() { Vec::new() } else { parent.to_vec() };
        let mut depth = components.len();
        for component in below.components() {
            match component {
                Component::Normal(name) => {
                    components.push(name.to_str()?.to_owned());
                    depth += 1;
                }
                Component::ParentDir => {
                    depth = depth.checked_sub(1)?;
                    components.push("..".to_owned());
                }
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        // Symlinks on the way may still lead out: the file system has the last word.
        let real = fs::canonicalize(self.physical(parent).join(target)).ok();
        real.is_none_or(|real| real.starts_with(&self.canonical)).then_some((relative, components))
    }

    fn entry(&mut self, place: Vec<String>, kind: FileType, way: Way) -> Result<(), Error> {
        if kind.is_dir() {
            self.directory(place, way);
            return Ok(());
        }
        if !kind.is_file() {
            let reason = "it is a device, socket or pipe";
            return self.broken(Error::Unusable { path: self.physical(&place), reason });
        }
        if let Some(name) = self.name(&place)? {
            self.found.files.insert(name);
        }
        Ok(())
    }

    /// Notes a directory to be listed, once unless symlinks are followed there.
    fn directory(&mut self, place: Vec<String>, way: Way) {
        if matches!(way, Way::Follow { .. }) || self.done.insert(place.join("/")) {
            self.unlisted.push((place, way));
        }
    }

    /// Takes in what is in a directory and not excluded.
    fn list(&mut self, place: &[String], way: &Way) -> Result<(), Error> {
        let physical = self.physical(place);
        let (below, hops) = match way {
            Way::Record { hops } => (way.clone(), *hops),
            Way::Follow { hops, above } => {
                let (device, inode) = match fs::metadata(&physical) {
                    Ok(metadata) => (metadata.dev(), metadata.ino()),
                    Err(error) => return self.broken(missing(&physical, error)),
                };
                self.followed += 1;
                let mut chain = successors(above.as_ref(), |followed| followed.above.as_ref());
                if chain.any(|followed| (followed.device, followed.inode) == (device, inode))
                    || *hops > MAX_HOPS
                    || self.followed > MAX_FOLLOWED
                {
                    let reason = "its symlinks lead back to itself or to too many directories";
                    return self.broken(Error::Unusable { path: physical, reason });
                }
                let above = Some(Rc::new(Followed { device, inode, above: above.clone() }));
                (Way::Follow { hops: *hops, above }, *hops)
            }
        };
        let listing = match fs::read_dir(&physical) {
            Ok(listing) => listing,
            Err(error) => return self.broken(missing(&physical, error)),
        };
        for entry in listing {
            let entry = entry.map_err(|error| Error::io(&physical, error))?;
            self.listed(place, &entry, &below, hops)?;
        }
        Ok(())
    }

    /// One item of a directory that was come to by `way`, over so many links.
    fn listed(&mut self, place: &[String], entry: &DirEntry, way: &Way, hops: usize) -> Result<(), Error> {
        let Ok(name) = entry.file_name().into_string() else {
            return self.broken(Error::Unusable { path: entry.path(), reason: "its name is not UTF-8" });
        };
        let below = [place, &[name]].concat();
        let Some(path) = self.name(&below)? else { return Ok(()) };
        if self.options.excludes(&path) {
            return Ok(());
        }
        let kind = entry.file_type().map_err(|error| Error::io(entry.path(), error))?;
        if !kind.is_symlink() {
            return self.entry(below, kind, way.clone());
        }
        let above = match way {
            Way::Record { .. } if self.options.symlinks != Symlinks::Follow => {
                return self.symlink(below, Vec::new(), hops);
            }
            Way::Record { .. } => None,
            Way::Follow { above, .. } => above.clone(),
        };
        match fs::metadata(entry.path()) {
            Ok(metadata) => self.entry(below, metadata.file_type(), Way::Follow { hops: hops + 1, above }),
            Err(error) => self.broken(missing(&entry.path(), error)),
        }
    }

    fn physical(&self, place: &[String]) -> PathBuf {
        let mut path = self.root.to_owned();
        path.extend(place);
        path
    }

    /// The path as a manifest writes it. `None` when it cannot and that is to be passed over.
    fn name(&mut self, place: &[String]) -> Result<Option<RelPath>, Error> {
        match RelPath::new(&place.join("/")) {
            Ok(path) => Ok(Some(path)),
            Err(source) => {
                self.broken(Error::Name { path: self.physical(place), source })?;
                Ok(None)
            }
        }
    }

    /// Fails, or notes what is passed over.
    fn broken(&mut self, error: Error) -> Result<(), Error> {
        match (self.options.broken, error) {
            (
                Broken::Skip,
                Error::NoSuchInput { path } | Error::Unusable { path, .. } | Error::Name { path, .. },
            ) => {
                self.found.skipped.push(path);
                Ok(())
            }
            (_, error) => Err(error),
        }
    }
}
