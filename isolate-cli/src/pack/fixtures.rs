//! The files of a package that its tests may read: what version control would keep.

use super::PackError;
use crate::{
    Error, default_exclude,
    trace::{Folded, folded},
};
use ignore::{DirEntry, WalkBuilder};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// What is below `dir`, but for what `.gitignore` files leave out and what is at or below one of `without`: absolute paths,
/// with a slash at the end for whole directories.
pub(super) fn fixtures(dir: &Path, without: &BTreeSet<PathBuf>) -> Result<BTreeSet<String>, Error> {
    let mut files = BTreeSet::new();
    for entry in walk(dir, without.clone()) {
        let entry = entry.map_err(|error| PackError::io(dir, io::Error::other(error)))?;
        if entry.file_type().is_some_and(|kind| kind.is_file() || kind.is_symlink())
            && let Ok(path) = entry.path().strip_prefix(dir)
        {
            files.insert(path.to_owned());
        }
    }
    let absolute = |name: String| {
        let slash = if name.ends_with('/') { "/" } else { "" };
        format!("{}{slash}", dir.join(&name).components().collect::<PathBuf>().display())
    };
    let Folded { inputs, unnamed } = folded(dir, files, &default_exclude()?)?;
    if let Some(path) = unnamed.first() {
        let reason =
            "its name is not UTF-8, or has a backslash or a `<(NAME)`: rename it, or add it to .gitignore";
        return Err(PackError::Unfit { path: dir.join(path), reason }.into());
    }
    Ok(inputs.into_iter().map(absolute).collect())
}

/// Hidden files are files like others; what is ignored is told by `.gitignore` alone, with or without a repository.
fn walk(dir: &Path, without: BTreeSet<PathBuf>) -> ignore::Walk {
    let mut walk = WalkBuilder::new(dir);
    walk.hidden(false).ignore(false).git_global(false).require_git(false).follow_links(false);
    let wanted = move |entry: &DirEntry| entry.file_name() != ".git" && !without.contains(entry.path());
    walk.filter_entry(wanted).build()
}
