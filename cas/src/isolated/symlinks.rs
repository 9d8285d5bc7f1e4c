//! What lies below what, and where symlinks lead, decided without a file system.

use super::{Entry, IsolatedError};
use proto::RelPath;
use std::{collections::BTreeMap, iter::successors};

/// As many links as Linux follows in one path.
const MAX_HOPS: usize = 40;

/// Longest target that Linux takes, in bytes.
const MAX_TARGET: usize = 4095;

/// Most components that are walked in all, of a manifest without entries and for each entry more. Real links take a few
/// each; some that point through each other as often as they may would take days.
const STEPS: u64 = 1_000_000;
const STEPS_PER_ENTRY: u64 = 64;

/// Refuses entries below files and symlinks, and symlinks that lead out of the tree, be it through other symlinks.
pub(crate) fn check_layout(files: &BTreeMap<RelPath, Entry>) -> Result<(), IsolatedError> {
    let mut walk = Walk { files, steps: STEPS + STEPS_PER_ENTRY * files.len() as u64 };
    for (path, entry) in files {
        let above = successors(parent(path.as_str()), |path| parent(path));
        if let Some((parent, entry)) = above.filter_map(|path| files.get_key_value(path)).next() {
            let kind = match entry {
                Entry::File { .. } => "file",
                Entry::Tar { .. } => "tar archive",
                Entry::Symlink { .. } => "symlink",
            };
            return Err(IsolatedError::Below { path: path.clone(), parent: parent.clone(), kind });
        }
        if let Entry::Symlink { target } = entry {
            walk.target(path, target).map_err(|reason| IsolatedError::Symlink {
                path: path.clone(),
                target: target.clone(),
                reason,
            })?;
        }
    }
    Ok(())
}

/// Refuses targets that no manifest can have, wherever they lead.
pub(crate) fn check_target(target: &str) -> Result<(), &'static str> {
    components(target).map(drop)
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

struct Walk<'a> {
    files: &'a BTreeMap<RelPath, Entry>,
    /// How many more are made.
    steps: u64,
}

impl Walk<'_> {
    /// Goes where a link points as the kernel would, over the links of the manifest.
    fn target(&mut self, link: &RelPath, target: &str) -> Result<(), &'static str> {
        // The root is empty.
        let mut place = parent(link.as_str()).unwrap_or_default().to_owned();
        let mut pending = components(target)?;
        let mut hops = 0;
        while let Some(component) = pending.pop() {
            self.steps = self.steps.checked_sub(1).ok_or("the manifest's symlinks are too entangled")?;
            match component {
                "." => {}
                ".." if place.is_empty() => return Err("it leads out of the tree"),
                ".." => place.truncate(place.rfind('/').unwrap_or(0)),
                name => {
                    let above = place.len();
                    if !place.is_empty() {
                        place.push('/');
                    }
                    place.push_str(name);
                    if let Some(Entry::Symlink { target }) = self.files.get(place.as_str()) {
                        hops += 1;
                        if hops > MAX_HOPS {
                            return Err("it leads back to itself");
                        }
                        place.truncate(above);
                        pending.extend(components(target)?);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The components of a target, the last first.
fn components(target: &str) -> Result<Vec<&str>, &'static str> {
    match target {
        "" => Err("it is empty"),
        target if target.starts_with('/') => Err("it is absolute"),
        target if target.contains('\0') => Err("it contains a NUL"),
        // Whoever reads it takes that for a slash.
        target if target.contains('\\') => Err("it contains a backslash"),
        target if target.len() > MAX_TARGET => Err("it is longer than 4095 bytes"),
        target => Ok(target.split('/').rev().filter(|component| !component.is_empty()).collect()),
    }
}
