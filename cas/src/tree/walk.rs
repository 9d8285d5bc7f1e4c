//! What is below a root: files and symlinks by relative path. Looks at names, types and links only.
//!
//! Files are given away as they are found, in groups of one directory, so that others look into them meanwhile.
//!
//! A symlink that stays inside of the root is recorded as such, and what it points to is recorded too. One that leads out
//! is followed as if the file or directory were there, and everything below it likewise, or is broken, as the options say.

use super::{
    Error, Reach,
    link_text::plain,
    snapshot::{Broken, Input, SnapshotOptions, Symlinks},
};
use crate::isolated::check_target;
use proto::RelPath;
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsString,
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

/// Most files in a group.
const GROUP: usize = 256;

/// What was found beside files.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) symlinks: BTreeMap<RelPath, String>,
    /// What was passed over, because that was asked for.
    pub(super) skipped: Vec<PathBuf>,
    /// How it was come to, if that can be told.
    pub(super) reach: Option<Reach>,
}

/// Lists all inputs. Gives `files` to whoever hashes them, never none: all of a group are in one directory. A file that was
/// come to twice may be given twice.
pub(super) fn walk(
    root: &Path,
    inputs: &[Input],
    options: &SnapshotOptions,
    files: &mut dyn FnMut(Vec<RelPath>),
) -> Result<Walked, Error> {
    let canonical = fs::canonicalize(root).map_err(|error| missing(root, error))?;
    let mut walk = Walk {
        root,
        canonical,
        options,
        group: Vec::new(),
        files,
        found: Walked::default(),
        done: HashSet::new(),
        unlisted: Vec::new(),
        inputs: BTreeSet::new(),
        starts: BTreeSet::new(),
        unknown: false,
        followed: 0,
    };
    for input in inputs {
        match input {
            Input::Everything => walk.start(String::new(), Way::Record { hops: 0 }),
            Input::Path(path) => {
                let components = path.components().map(str::to_owned).collect();
                walk.path(Vec::new(), components, 0)?;
            }
        }
        walk.inputs.extend(std::mem::take(&mut walk.starts));
        while let Some((place, way)) = walk.unlisted.pop() {
            walk.list(&place, &way)?;
        }
    }
    walk.give();
    walk.found.reach = walk.reach();
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Path,
    canonical: PathBuf,
    options: &'a SnapshotOptions,
    /// Files of one directory that were not given away yet.
    group: Vec<RelPath>,
    files: &'a mut dyn FnMut(Vec<RelPath>),
    found: Walked,
    /// Directories that were come to other than by following symlinks, not to list them again.
    done: HashSet<String>,
    /// Directories that are to be listed, from the root, which is empty: nesting costs no stack.
    unlisted: Vec<(String, Way)>,
    /// Places where inputs are.
    inputs: BTreeSet<String>,
    /// Others where it begins: those that symlinks lead to.
    starts: BTreeSet<String>,
    /// Whether it depends on places that it does not come to: a symlink was followed out of the root, or leads through a directory
    /// and back.
    unknown: bool,
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
            let physical = self.physical(&place.join("/"));
            let file_type = match fs::symlink_metadata(&physical) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    place.extend(rest.into_iter().rev());
                    return self.broken(missing(&self.physical(&place.join("/")), error));
                }
            };
            if file_type.is_symlink() && self.options.symlinks != Symlinks::Follow {
                rest.reverse();
                return self.symlink(place, rest, hops);
            }
            if rest.is_empty() {
                let place = place.join("/");
                self.starts.insert(place.clone());
                if !file_type.is_symlink() {
                    return self.entry(&place, file_type, &Way::Record { hops });
                }
                // All are followed.
                return match fs::metadata(&physical) {
                    Ok(found) => self.entry(&place, found.file_type(), &Way::Follow { hops: 1, above: None }),
                    Err(error) => self.broken(missing(&physical, error)),
                };
            }
        }
        self.start(place.join("/"), Way::Record { hops });
        Ok(())
    }

    /// Begins at a directory.
    fn start(&mut self, place: String, way: Way) {
        self.starts.insert(place.clone());
        self.directory(place, way);
    }

    /// Where it began: inputs, which have to be there, and where symlinks lead, unless it would have come there anyhow. `None`: some
    /// of what it found is not where it seems to be, or something was there that could not be taken in.
    fn reach(&mut self) -> Option<Reach> {
        let is_known = self.options.symlinks != Symlinks::Follow && !self.unknown;
        if !is_known || !self.found.skipped.is_empty() {
            return None;
        }
        let is_listed = |place: &str| {
            let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
            let is_below = !place.is_empty() && self.done.contains(parent);
            is_below && RelPath::new(place).is_ok_and(|path| !self.options.excludes(&path))
        };
        let mut starts = std::mem::take(&mut self.inputs);
        starts.extend(std::mem::take(&mut self.starts).into_iter().filter(|place| !is_listed(place)));
        Reach::of(starts)
    }

    /// A symlink at `place`, below whose target `rest` is wanted.
    fn symlink(&mut self, mut place: Vec<String>, rest: Vec<String>, hops: usize) -> Result<(), Error> {
        let from_root = place.join("/");
        let physical = self.physical(&from_root);
        if hops >= MAX_HOPS {
            let reason = "the symlink leads back to itself";
            return self.broken(Error::Unusable { path: physical, reason });
        }
        let Some(link) = self.name(&from_root)? else { return Ok(()) };
        // It may be an input, or on the way to one, and lead elsewhere the next time.
        self.starts.insert(from_root.clone());
        let target = fs::read_link(&physical).map_err(|error| Error::io(&physical, error))?;
        // What it passes there is nothing that the walk comes to.
        let mut parts = target.components().skip_while(|part| !matches!(part, Component::Normal(_)));
        self.unknown |= parts.any(|part| part == Component::ParentDir);
        match self.inside(&place[..place.len() - 1], &target) {
            Some((text, mut target)) => {
                if let Err(error) = fs::metadata(&physical) {
                    return self.broken(missing(&physical, error));
                }
                if check_target(&text).is_err() {
                    let reason = "the symlink's target has a backslash, or is too long for a manifest";
                    return self.broken(Error::Unusable { path: physical, reason });
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
                self.unknown = true;
                place.extend(rest);
                let place = place.join("/");
                let physical = self.physical(&place);
                match fs::metadata(&physical) {
                    Ok(metadata) => {
                        let way = Way::Follow { hops: hops + 1, above: None };
                        self.entry(&place, metadata.file_type(), &way)
                    }
                    Err(error) => self.broken(missing(&physical, error)),
                }
            }
        }
    }

    /// Where a link in the real directory `parent` points, if that is inside of the root: the relative target to record,
    /// and the components from the root, with `..` only where a symlink may come before it.
    fn inside(&self, parent: &[String], target: &Path) -> Option<(String, Vec<String>)> {
        let (above, below) = match target.is_absolute() {
            true => {
                let below = target.strip_prefix(&self.canonical).or_else(|_| target.strip_prefix(self.root));
                (&[][..], below.ok()?)
            }
            false => (parent, target),
        };
        let text = self.plain(above, below.to_str()?);
        let mut components = above.to_vec();
        let mut depth = components.len();
        for component in Path::new(&text).components() {
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
        let real = fs::canonicalize(self.physical(&parent.join("/")).join(target)).ok();
        let up = "../".repeat(parent.len());
        let text = match target.is_absolute() {
            true if text == "." && !up.is_empty() => up.trim_end_matches('/').to_owned(),
            true => format!("{up}{text}"),
            false => text,
        };
        real.is_none_or(|real| real.starts_with(&self.canonical)).then_some((text, components))
    }

    /// A target as the original writes it, unless that leads elsewhere.
    fn plain(&self, above: &[String], target: &str) -> String {
        let plain = plain(target);
        let leads_to = |text: &str| fs::canonicalize(self.physical(&above.join("/")).join(text)).ok();
        if plain == target || leads_to(&plain) == leads_to(target) { plain } else { target.to_owned() }
    }

    fn entry(&mut self, place: &str, kind: FileType, way: &Way) -> Result<(), Error> {
        match self.name(place)? {
            Some(name) => self.named(name, kind, way),
            None => Ok(()),
        }
    }

    fn named(&mut self, name: RelPath, kind: FileType, way: &Way) -> Result<(), Error> {
        if kind.is_dir() {
            self.directory(name.as_str().to_owned(), way.clone());
        } else if kind.is_file() {
            self.file(name);
        } else {
            let reason = "it is a device, socket or pipe";
            return self.broken(Error::Unusable { path: self.physical(name.as_str()), reason });
        }
        Ok(())
    }

    fn file(&mut self, name: RelPath) {
        let parent = |path: &RelPath| path.as_str().len() - path.file_name().len();
        let is_beside = |other: &RelPath| {
            let length = parent(&name);
            parent(other) == length
                && other.as_str().as_bytes()[..length] == name.as_str().as_bytes()[..length]
        };
        if self.group.len() >= GROUP || self.group.last().is_some_and(|last| !is_beside(last)) {
            self.give();
        }
        self.group.push(name);
    }

    fn give(&mut self) {
        if !self.group.is_empty() {
            (self.files)(std::mem::take(&mut self.group));
        }
    }

    /// Notes a directory to be listed, once unless symlinks are followed there.
    fn directory(&mut self, place: String, way: Way) {
        if matches!(way, Way::Follow { .. }) || self.done.insert(place.clone()) {
            self.unlisted.push((place, way));
        }
    }

    /// Takes in what is in a directory and not excluded.
    fn list(&mut self, place: &str, way: &Way) -> Result<(), Error> {
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
        let listing =
            listing.collect::<Result<Vec<DirEntry>, _>>().map_err(|error| Error::io(&physical, error))?;
        let mut names: Vec<(OsString, DirEntry)> =
            listing.into_iter().map(|entry| (entry.file_name(), entry)).collect();
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut path = if place.is_empty() { String::new() } else { format!("{place}/") };
        let (directory, above) = (path.len(), self.unlisted.len());
        for (name, entry) in names {
            let Some(name) = name.to_str() else {
                let reason = "its name is not UTF-8";
                self.broken(Error::Unusable { path: entry.path(), reason })?;
                continue;
            };
            path.truncate(directory);
            path.push_str(name);
            self.listed(&path, &entry, &below, hops)?;
        }
        // The last one is listed next.
        self.unlisted[above..].reverse();
        Ok(())
    }

    /// One item of a directory that was come to by `way`, over so many links.
    fn listed(&mut self, place: &str, entry: &DirEntry, way: &Way, hops: usize) -> Result<(), Error> {
        let Some(path) = self.name(place)? else { return Ok(()) };
        if self.options.excludes(&path) {
            return Ok(());
        }
        let kind = entry.file_type().map_err(|error| Error::io(entry.path(), error))?;
        if !kind.is_symlink() {
            return self.named(path, kind, way);
        }
        let above = match way {
            Way::Record { .. } if self.options.symlinks != Symlinks::Follow => {
                return self.symlink(path.components().map(str::to_owned).collect(), Vec::new(), hops);
            }
            Way::Record { .. } => None,
            Way::Follow { above, .. } => above.clone(),
        };
        match fs::metadata(entry.path()) {
            Ok(metadata) => self.named(path, metadata.file_type(), &Way::Follow { hops: hops + 1, above }),
            Err(error) => self.broken(missing(&entry.path(), error)),
        }
    }

    /// Where a place, given from the root, is on the disk.
    fn physical(&self, place: &str) -> PathBuf {
        if place.is_empty() { self.root.to_owned() } else { self.root.join(place) }
    }

    /// The path as a manifest writes it. `None` when it cannot and that is to be passed over.
    fn name(&mut self, place: &str) -> Result<Option<RelPath>, Error> {
        match RelPath::new(place) {
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
