//! What a command left: all of `${ISOLATED_OUTDIR}`, at the root, and the declared outputs, where they are in the input.

use crate::workdir::WorkDir;
use bytes::Bytes;
use cas::{
    Silent,
    isolated::{Entry, Isolated},
    tree::{self, Broken, HashCache, Input, Snapshot, SnapshotOptions, Sources, Symlinks},
};
use proto::{Digest, DigestFunction, RelPath};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Outputs, ready to be uploaded.
#[derive(Debug)]
pub(super) struct Collected {
    /// The manifest among them.
    pub(super) sources: Sources,
    /// `None` when there are no outputs.
    pub(super) manifest: Option<Digest>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

/// Most names in one note.
const NAMED: usize = 5;

/// Archives what is in `dir`. Blocks. What cannot be archived (a socket, a symlink to nothing or out of `dir`, a declared output
/// that is not there) is left out and noted.
pub(super) fn collect(
    dir: &WorkDir,
    declared: &[RelPath],
    function: DigestFunction,
) -> Result<Collected, tree::Error> {
    let mut notes = Vec::new();
    let snapshot = |root: &Path, inputs: &[Input]| {
        // A command may link to all of the host: that is neither its output nor ever done with.
        let (broken, symlinks) = (Broken::Skip, Symlinks::Within);
        let options = SnapshotOptions { function, broken, symlinks, ..SnapshotOptions::default() };
        tree::snapshot(root, inputs, &options, &HashCache::disabled(), None, &Silent)
    };
    let outdir = snapshot(&dir.outputs(), &[Input::Everything])?;
    note(&mut notes, "not archived", &dir.outputs(), &outdir);
    let (mut files, mut sources) = (outdir.files, outdir.sources);
    if !declared.is_empty() {
        let inputs: Vec<Input> = declared.iter().cloned().map(Input::Path).collect();
        let declared = snapshot(&dir.input(), &inputs)?;
        note(
            &mut notes,
            "declared outputs that are not there or cannot be archived",
            &dir.input(),
            &declared,
        );
        if add(&mut files, &declared.files) {
            sources.extend(declared.sources);
        } else {
            notes.push(
                "declared outputs were left out: they lie where others in ${ISOLATED_OUTDIR} do".into(),
            );
        }
    }
    if files.is_empty() {
        return Ok(Collected { sources, manifest: None, notes });
    }
    let isolated = Isolated { files, ..Isolated::new(function) };
    let manifest = sources.add_bytes(function, Bytes::from(isolated.to_bytes()));
    Ok(Collected { sources, manifest: Some(manifest), notes })
}

/// Adds all of `more`, or nothing when an entry would lie at, above or below another one that is different.
fn add(files: &mut BTreeMap<RelPath, Entry>, more: &BTreeMap<RelPath, Entry>) -> bool {
    let above = |of: &BTreeMap<RelPath, Entry>, path: &RelPath| {
        std::iter::successors(path.parent(), RelPath::parent).any(|parent| of.contains_key(&parent))
    };
    let collides = more
        .iter()
        .any(|(path, entry)| files.get(path).is_some_and(|other| other != entry) || above(files, path))
        || files.keys().any(|path| above(more, path));
    if !collides {
        files.extend(more.iter().map(|(path, entry)| (path.clone(), entry.clone())));
    }
    !collides
}

fn note(notes: &mut Vec<String>, what: &str, root: &Path, snapshot: &Snapshot) {
    let skipped = &snapshot.skipped;
    if skipped.is_empty() {
        return;
    }
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let mut names: Vec<String> = skipped.iter().take(NAMED).map(name).collect();
    if skipped.len() > NAMED {
        names.push(format!("and {} more", skipped.len() - NAMED));
    }
    notes.push(format!("{what}: {}", names.join(", ")));
}
