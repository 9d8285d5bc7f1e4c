//! From paths that were used to inputs: what existed before, links resolved, directories folded.

use super::log::Access;
use crate::{Error, isolate_file::has_variable};
use cas::tree::Exclude;
use proto::RelPath;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Most files that are listed before a command runs.
const MAX_FILES: usize = 2_000_000;

/// As many links as Linux follows in one path.
const MAX_HOPS: usize = 40;

/// What was used of an inventory, by path from the root.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// Files and symlinks.
    pub(super) files: BTreeSet<PathBuf>,
    /// Of symlinks to directories, a file that was come to through them, by that way.
    through: BTreeMap<PathBuf, PathBuf>,
}

/// Every file and symlink below a directory, by path from there.
#[derive(Debug)]
pub(super) struct Inventory {
    root: PathBuf,
    files: BTreeSet<PathBuf>,
}

impl Inventory {
    /// What there is now below the real path `root`, but for `without`. Directories that cannot be read count as empty.
    pub(super) fn take(root: &Path, without: Option<&Path>) -> Result<Self, Error> {
        let mut files = BTreeSet::new();
        let mut pending = vec![root.to_owned()];
        while let Some(dir) = pending.pop() {
            let listing = match fs::read_dir(&dir) {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(Error::io(dir, error)),
            };
            for entry in listing.flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(path);
                } else if without != Some(&*path) {
                    files.extend(path.strip_prefix(root).map(Path::to_owned));
                }
            }
            if files.len() > MAX_FILES {
                let reason = format!(
                    "there are more than {MAX_FILES} files below {}: choose a --root",
                    root.display()
                );
                return Err(Error::Trace { reason });
            }
        }
        Ok(Self { root: root.to_owned(), files })
    }

    /// Those that were used before anything else was put in their place, and the symlinks on the way to them.
    pub(super) fn used(&self, accesses: &[(PathBuf, Access)]) -> Used {
        let mut used = Used::default();
        let mut replaced = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for (path, access) in accesses {
            match access {
                // The same paths come again and again.
                Access::Used if seen.insert(path) => self.add(&resolve(path), &replaced, &mut used),
                Access::Used => {}
                Access::Replaced => {
                    let own = path
                        .parent()
                        .zip(path.file_name())
                        .and_then(|(parent, name)| self.known(&fs::canonicalize(parent).ok()?.join(name)));
                    replaced.extend(own.filter(|path| !used.files.contains(path)));
                }
            }
        }
        used
    }

    fn add(&self, way: &Way, replaced: &BTreeSet<PathBuf>, used: &mut Used) {
        let known = |path: &Path| self.known(path).filter(|path| !replaced.contains(path));
        let end = known(&way.end);
        for link in &way.links {
            let Some(path) = known(&link.path) else { continue };
            if let (Some(_), Some(through)) = (&end, &link.through)
                && let Ok(through) = through.strip_prefix(&self.root)
            {
                used.through.entry(path.clone()).or_insert(through.to_owned());
            }
            used.files.insert(path);
        }
        used.files.extend(end);
    }

    /// The path from the root, of what was there.
    fn known(&self, path: &Path) -> Option<PathBuf> {
        self.files.get(path.strip_prefix(&self.root).ok()?).cloned()
    }

    /// The same set in fewer words: a directory, with a slash at its end, stands for all that is in it and that `exclude`
    /// does not leave out. Compiled Python is dropped: it is made again.
    pub(super) fn folded(&self, used: &Used, exclude: &Exclude) -> Folded {
        let mut all: BTreeMap<&Path, usize> = BTreeMap::new();
        let mut some: BTreeMap<&Path, usize> = BTreeMap::new();
        let is_excluded = |path: &Path| {
            let name = |path: &Path| path.to_str().and_then(|text| RelPath::new(text).ok());
            path.ancestors().filter_map(name).any(|path| exclude.excludes(&path))
        };
        for file in self.files.iter().filter(|file| !is_excluded(file)) {
            for dir in directories(file) {
                *all.entry(dir).or_default() += 1;
                *some.entry(dir).or_default() += usize::from(used.files.contains(file) && is_packable(file));
            }
        }
        let is_whole =
            |dir: &&Path| all.get(dir).is_some_and(|count| *count > 1 && some.get(dir) == Some(count));
        let compiled = |path: &Path| path.parent().is_some_and(|dir| dir.ends_with("__pycache__"));
        let mut folded = Folded::default();
        for file in used.files.iter().filter(|file| !compiled(file)) {
            // The highest one.
            let whole = directories(file).filter(is_whole).last().filter(|_| !is_excluded(file));
            let (path, slash) = match (whole, used.through.get(file)) {
                (Some(whole), _) => (whole, "/"),
                // A link to a directory is packaged by naming something below it, or else with all that is there.
                (None, _) if !self.root.join(file).is_dir() => (&**file, ""),
                (None, Some(through)) => (&**through, ""),
                (None, None) => (&**file, "/"),
            };
            match path.to_str().filter(|text| is_packable(path) && !has_variable(text)) {
                Some(text) => folded.inputs.insert(format!("{text}{slash}")),
                None => folded.unnamed.insert(file.clone()),
            };
        }
        folded
    }
}

/// Files as inputs are written.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// The inputs.
    pub(crate) inputs: BTreeSet<String>,
    /// Files with names that no description can have: not UTF-8, with a backslash, or with what looks like a variable.
    pub(crate) unnamed: BTreeSet<PathBuf>,
}

/// Whether a manifest can have this path.
fn is_packable(path: &Path) -> bool {
    path.to_str().is_some_and(|text| RelPath::new(text).is_ok())
}

/// Files below the real path `root`, by path from there, in few words, as inputs are written.
pub(crate) fn folded(root: &Path, files: BTreeSet<PathBuf>, exclude: &Exclude) -> Result<Folded, Error> {
    let used = Used { files, ..Used::default() };
    Ok(Inventory::take(root, None)?.folded(&used, exclude))
}

/// The directories that a file is in, the lowest first, without the root.
fn directories(file: &Path) -> impl Iterator<Item = &Path> {
    file.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty())
}

/// Where an absolute path leads.
struct Way {
    /// Every symlink on the way.
    links: Vec<Link>,
    end: PathBuf,
}

/// A symlink on the way.
struct Link {
    path: PathBuf,
    /// The whole path as it goes through it, when that goes only down.
    through: Option<PathBuf>,
}

fn resolve(path: &Path) -> Way {
    let mut way = Way { links: Vec::new(), end: PathBuf::from("/") };
    let mut pending = names(path);
    while let Some(name) = pending.pop() {
        let Some(name) = name else {
            way.end.pop();
            continue;
        };
        way.end.push(name);
        let Ok(target) = fs::read_link(&way.end) else { continue };
        let rest: Option<PathBuf> = pending.iter().rev().cloned().collect();
        let through = rest.filter(|rest| !rest.as_os_str().is_empty()).map(|rest| way.end.join(rest));
        way.links.push(Link { path: way.end.clone(), through });
        if way.links.len() > MAX_HOPS {
            return way;
        }
        way.end.pop();
        if target.is_absolute() {
            way.end = PathBuf::from("/");
        }
        pending.extend(names(&target));
    }
    way
}

/// The components of a path, the last first; `None` for `..`.
fn names(path: &Path) -> Vec<Option<OsString>> {
    let name = |component| match component {
        Component::Normal(name) => Some(Some(OsStr::to_owned(name))),
        Component::ParentDir => Some(None),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "x").unwrap();
        }
        (dir, root)
    }

    fn inputs(root: &Path, before: &Inventory, accesses: &[(&str, Access)]) -> Vec<String> {
        let accesses: Vec<_> = accesses.iter().map(|(path, access)| (root.join(path), *access)).collect();
        let used = before.used(&accesses);
        before.folded(&used, &crate::default_exclude().unwrap()).inputs.into_iter().collect()
    }

    #[test]
    fn what_was_used_and_was_there_before_is_an_input() {
        let (_dir, root) = tree(&["a", "b", "out", "d/only", "new-before"]);
        let before = Inventory::take(&root, Some(&root.join("b"))).unwrap();
        fs::write(root.join("made"), "x").unwrap();
        let used = [
            ("out", Access::Replaced),
            ("out", Access::Used),
            ("d/../a", Access::Used),
            ("a", Access::Replaced),
            ("b", Access::Used),
            ("made", Access::Used),
            ("/etc/passwd", Access::Used),
            ("d/only", Access::Used),
            ("d", Access::Used),
        ];
        assert_eq!(inputs(&root, &before, &used), ["a", "d/only"]);
    }

    #[test]
    fn directories_of_which_everything_was_used_are_folded() {
        let (_dir, root) =
            tree(&["d/a", "d/e/b", "d/e/x.pyc", "p/a", "p/b", "p/q/1", "p/q/2", "r/__pycache__/m.pyc"]);
        let before = Inventory::take(&root, None).unwrap();
        let used =
            ["d/a", "d/e/b", "p/a", "p/q/1", "p/q/2", "r/__pycache__/m.pyc"].map(|path| (path, Access::Used));
        assert_eq!(inputs(&root, &before, &used), ["d/", "p/a", "p/q/"]);
        let excluded = [("d/a", Access::Used), ("d/e/b", Access::Used), ("d/e/x.pyc", Access::Used)];
        assert_eq!(inputs(&root, &before, &excluded), ["d/", "d/e/x.pyc"]);
    }

    #[test]
    fn links_on_the_way_are_inputs_too() {
        let (_dir, root) = tree(&["real/a", "real/other", "b"]);
        symlink("real", root.join("dir")).unwrap();
        symlink("../b", root.join("real/link")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("real", root.join("only-listed")).unwrap();
        let before = Inventory::take(&root, None).unwrap();
        let used = ["dir/a", "dir/link", "loop", "only-listed"].map(|path| (path, Access::Used));
        assert_eq!(
            inputs(&root, &before, &used),
            ["b", "dir/a", "loop", "only-listed/", "real/a", "real/link"]
        );
    }
}
