//! What lies below what, and where symlinks lead, decided without a file system.

use super::{Entry, IsolatedError};
use proto::RelPath;
use std::collections::BTreeMap;

/// As many links as Linux follows in one path.
const MAX_HOPS: usize = 40;

/// Longest target that Linux takes, in bytes.
const MAX_TARGET: usize = 4095;

/// Refuses entries below files and symlinks, and symlinks that lead out of the tree, be it through other symlinks.
pub(crate) fn check_layout(files: &BTreeMap<RelPath, Entry>) -> Result<(), IsolatedError> {
    for (path, entry) in files {
        let mut below = path.parent();
        while let Some(parent) = below {
            if let Some(entry) = files.get(&parent) {
                let kind = match entry {
                    Entry::File { .. } => "file",
                    Entry::Symlink { .. } => "symlink",
                };
                return Err(IsolatedError::Below { path: path.clone(), parent, kind });
            }
            below = parent.parent();
        }
        if let Entry::Symlink { target } = entry {
            check_target(files, path, target).map_err(|reason| IsolatedError::Symlink {
                path: path.clone(),
                target: target.clone(),
                reason,
            })?;
        }
    }
    Ok(())
}

/// Walks the target as the kernel would, over the links of the manifest.
fn check_target(files: &BTreeMap<RelPath, Entry>, link: &RelPath, target: &str) -> Result<(), &'static str> {
    let mut place: Vec<&str> = link.components().collect();
    place.pop();
    let mut pending = components(target)?;
    let mut hops = 0;
    while let Some(component) = pending.pop() {
        match component {
            "." => {}
            ".." => {
                place.pop().ok_or("it leads out of the tree")?;
            }
            name => {
                place.push(name);
                if let Some(Entry::Symlink { target }) = files.get(place.join("/").as_str()) {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err("it leads back to itself");
                    }
                    place.pop();
                    pending.extend(components(target)?);
                }
            }
        }
    }
    Ok(())
}

/// The components of a target, the last first.
fn components(target: &str) -> Result<Vec<&str>, &'static str> {
    match target {
        "" => Err("it is empty"),
        target if target.starts_with('/') => Err("it is absolute"),
        target if target.contains('\0') => Err("it contains a NUL"),
        target if target.len() > MAX_TARGET => Err("it is longer than 4095 bytes"),
        target => Ok(target.split('/').rev().filter(|component| !component.is_empty()).collect()),
    }
}
