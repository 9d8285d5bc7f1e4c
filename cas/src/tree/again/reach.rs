//! What of a tree a walk came to, told by where it began: so that of a path that changed it can be said whether the next walk
//! would come to it, without walking. Pure.
//!
//! It holds for a walk that followed no symlink out of the tree and left nothing out as broken. All that it gave are then
//! real places below the root: what it was asked for, where the symlinks in there lead, and what is below these and is not excluded.

use crate::tree::SnapshotOptions;
use proto::RelPath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// As many beginnings as are kept.
const MOST: usize = 10_000;

/// Where a walk began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Places from the root, which is empty.
    starts: BTreeSet<String>,
    /// Files with another name, by which they may be written to, of which nobody tells.
    linked: BTreeSet<String>,
}

impl Reach {
    /// `None`: there are too many.
    pub(in crate::tree) fn of(starts: BTreeSet<String>) -> Option<Self> {
        (starts.len() <= MOST).then_some(Self { starts, linked: BTreeSet::new() })
    }

    /// The same with files that have other names. `None`: there are too many.
    pub(in crate::tree) fn with_linked(self, linked: BTreeSet<String>) -> Option<Self> {
        (linked.len() <= MOST).then_some(Self { linked, ..self })
    }

    /// Whether files had other names: they are looked at each time.
    pub(super) fn has_linked(&self) -> bool {
        !self.linked.is_empty()
    }

    /// Whether all files with other names are among those of `before`.
    pub(super) fn has_no_other_linked(&self, before: &Self) -> bool {
        self.linked.is_subset(&before.linked)
    }

    /// Whether the walk began at this place.
    pub(super) fn begins_at(&self, path: &RelPath) -> bool {
        self.starts.contains(path.as_str())
    }

    /// Of the paths that changed, and of the files with other names, those that a walk would come to; in order, none below another one. `None`: it would begin
    /// below one of them, so that there may be no such place any more, or another one.
    pub(super) fn of_interest(
        &self,
        mut changed: Vec<RelPath>,
        options: &SnapshotOptions,
    ) -> Option<Vec<RelPath>> {
        changed.extend(self.linked.iter().filter_map(|place| RelPath::new(place).ok()));
        let has_start_below = |path: &RelPath| {
            let below = format!("{path}/");
            self.starts.range(below.clone()..).next().is_some_and(|start| start.starts_with(&below))
        };
        if changed.iter().any(has_start_below) {
            return None;
        }
        changed.retain(|path| self.comes_to(path, options));
        // What is below another one is dealt with there, and comes after it here.
        changed.sort_unstable_by(|one, other| one.components().cmp(other.components()));
        let mut kept: Vec<RelPath> = Vec::with_capacity(changed.len());
        for path in changed {
            if !kept.last().is_some_and(|last| path.as_path().starts_with(last.as_path())) {
                kept.push(path);
            }
        }
        Some(kept)
    }

    /// Whether a walk comes to `path`, from the nearest start above it: what is excluded from there is excluded from any.
    fn comes_to(&self, path: &RelPath, options: &SnapshotOptions) -> bool {
        let mut next = Some(path.clone());
        while let Some(place) = next {
            if self.begins_at(&place) {
                return true;
            }
            if options.excludes(&place) {
                return false;
            }
            next = place.parent();
        }
        self.starts.contains("")
    }
}
