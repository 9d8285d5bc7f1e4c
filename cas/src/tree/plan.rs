//! What is to be made of a manifest, by directory, and where each blob goes.

use crate::isolated::{Entry, Isolated};
use proto::{Digest, RelPath};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
};

/// Files of one directory that a thread makes at a time.
pub(super) const AT_ONCE: usize = 512;

/// What is to be made, ordered so that parents come before what is in them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) directories: BTreeSet<RelPath>,
    /// By directory, `None` being the root.
    pub(super) files: Vec<(Option<RelPath>, Vec<FileToMake>)>,
    pub(super) symlinks: Vec<(RelPath, String)>,
    /// All files with bytes, by the beginning of the digest's hash, then by digest, then in the order of the tree.
    by_digest: Vec<(u64, Spot)>,
}

#[derive(Debug)]
pub(super) struct FileToMake {
    pub(super) path: RelPath,
    pub(super) digest: Digest,
    /// As the manifest has it.
    pub(super) mode: Option<u32>,
    /// Whether it is there already.
    pub(super) is_made: AtomicBool,
}

/// A file of a [`Plan`]. Of neither are there more than a manifest has bytes, which is far below 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) directory: u32,
    pub(super) file: u32,
}

impl Plan {
    /// Of a manifest, whose files move here, and `directories` that may be empty.
    pub(super) fn take(isolated: &mut Isolated, directories: &BTreeSet<RelPath>) -> Self {
        // Where the command starts is made even if no file lies there, unless the manifest has something else there.
        let starting = isolated.relative_cwd.iter().filter(|path| !is_taken(isolated, path)).cloned();
        let parents = isolated.files.keys().filter_map(RelPath::parent);
        let mut all = BTreeSet::new();
        for mut directory in starting.chain(parents).chain(directories.iter().cloned()) {
            while all.insert(directory.clone()) {
                let Some(parent) = directory.parent() else { break };
                directory = parent;
            }
        }
        let mut files: BTreeMap<Option<RelPath>, Vec<FileToMake>> = BTreeMap::new();
        let mut symlinks = Vec::new();
        for (path, entry) in std::mem::take(&mut isolated.files) {
            match entry {
                Entry::File { digest, mode } => {
                    let parent = path.parent();
                    let file = FileToMake { path, digest, mode, is_made: AtomicBool::new(false) };
                    files.entry(parent).or_default().push(file);
                }
                // Its files stand beside it since it was fetched.
                Entry::Tar { .. } => {}
                Entry::Symlink { target } => symlinks.push((path, target)),
            }
        }
        let files: Vec<_> = files.into_iter().collect();
        let by_digest = by_digest(&files);
        Self { directories: all, files, symlinks, by_digest }
    }

    fn digest(&self, spot: Spot) -> &Digest {
        &self.files[spot.directory as usize].1[spot.file as usize].digest
    }

    /// Those of all files, some more than once.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.files.iter().flat_map(|(_, files)| files).map(|file| file.digest)
    }

    /// All files of a blob, in the order of the tree.
    pub(super) fn spots(&self, digest: Digest) -> impl Iterator<Item = Spot> {
        let sought = mark(&digest);
        let is_before = |(mark, spot): &(u64, Spot)| {
            mark.cmp(&sought).then_with(|| self.digest(*spot).cmp(&digest)) == Ordering::Less
        };
        let begin = self.by_digest.partition_point(is_before);
        let spots = self.by_digest[begin..].iter().map(|(_, spot)| *spot);
        spots.take_while(move |spot| *self.digest(*spot) == digest)
    }

    /// Brings blobs into the order of their first files.
    pub(super) fn in_order(&self, mut digests: Vec<Digest>) -> Vec<Digest> {
        digests.sort_by_cached_key(|digest| self.spots(*digest).next());
        digests
    }
}

fn by_digest(files: &[(Option<RelPath>, Vec<FileToMake>)]) -> Vec<(u64, Spot)> {
    let mut spots = Vec::new();
    for (directory, (_, files)) in (0..).zip(files) {
        // Nobody asks for the empty ones, of which there may be many.
        let filled = (0..).zip(files).filter(|(_, file)| !file.digest.is_empty());
        spots.extend(filled.map(|(file, made)| (mark(&made.digest), Spot { directory, file })));
    }
    let digest = |spot: Spot| &files[spot.directory as usize].1[spot.file as usize].digest;
    // Of those that begin alike, which a manifest may have many of, each is found at once, too.
    spots.sort_unstable_by(|(mark, spot), (other_mark, other)| {
        let digests = || digest(*spot).cmp(digest(*other));
        mark.cmp(other_mark).then_with(digests).then_with(|| spot.cmp(other))
    });
    spots
}

/// The beginning of a digest's hash.
fn mark(digest: &Digest) -> u64 {
    digest.hash().iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

/// Whether the path, or one above it, is a file or symlink.
fn is_taken(isolated: &Isolated, path: &RelPath) -> bool {
    std::iter::successors(Some(path.clone()), RelPath::parent).any(|path| isolated.files.contains_key(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::DigestFunction;

    #[test]
    fn blobs_whose_hashes_begin_alike_are_told_apart() {
        let digest =
            |last: u8| Digest::new(DigestFunction::Blake3, &[&[7; 31][..], &[last]].concat(), 1).unwrap();
        let mut isolated = Isolated::new(DigestFunction::Blake3);
        for number in 0..200u8 {
            let path = RelPath::new(&format!("f{number:03}")).unwrap();
            isolated.files.insert(path, Entry::File { digest: digest(199 - number / 2), mode: None });
        }
        let plan = Plan::take(&mut isolated, &BTreeSet::new());
        for number in 0..100 {
            let files: Vec<u32> = plan.spots(digest(199 - number)).map(|spot| spot.file).collect();
            assert_eq!(files, [u32::from(number) * 2, u32::from(number) * 2 + 1]);
        }
        let (first, last) = (digest(199), digest(100));
        assert_eq!(plan.in_order(vec![last, first]), [first, last]);
    }

    proptest! {
        #[test]
        fn a_blob_has_all_of_its_files_and_the_order_is_that_of_the_tree(
            contents in proptest::collection::vec(0..12u8, 0..60),
            absent in proptest::collection::btree_set(0..12u8, 0..12),
        ) {
            let digest = |content: u8| DigestFunction::Blake3.digest(&vec![content; usize::from(content)]);
            let mut isolated = Isolated::new(DigestFunction::Blake3);
            for (number, content) in contents.iter().enumerate() {
                let path = RelPath::new(&format!("d{}/e{}/f{number}", number % 3, number % 2)).unwrap();
                isolated.files.insert(path, Entry::File { digest: digest(*content), mode: None });
            }
            let files = isolated.files.clone();
            let plan = Plan::take(&mut isolated, &BTreeSet::new());
            prop_assert!(isolated.files.is_empty());
            for content in 1..12 {
                let expected: BTreeSet<&RelPath> = files
                    .iter()
                    .filter(|(_, entry)| entry.digest() == Some(digest(content)))
                    .map(|(path, _)| path)
                    .collect();
                let path = |spot: Spot| &plan.files[spot.directory as usize].1[spot.file as usize].path;
                let found: Vec<&RelPath> = plan.spots(digest(content)).map(path).collect();
                prop_assert_eq!(found.len(), expected.len());
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            }
            let wanted: Vec<Digest> = absent.into_iter().filter(|content| *content > 0).map(digest).collect();
            let ordered = plan.in_order(wanted.clone());
            let first = |digest: &Digest| plan.digests().position(|other| other == *digest);
            prop_assert!(ordered.is_sorted_by_key(first));
            prop_assert_eq!(ordered.into_iter().collect::<BTreeSet<_>>(), wanted.into_iter().collect());
        }
    }
}
