//! A manifest from the one before it: the text of what changed is put into the text of the rest, which is neither taken apart
//! nor written anew. Pure. What comes out is, byte for byte, what writing the whole manifest would give.

use crate::{
    isolated::{Entry, entry_bytes},
    patch::Edits,
};
use bytes::Bytes;
use proto::RelPath;
use std::{borrow::Cow, collections::BTreeMap};

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Spliced {
    pub(super) manifest: Vec<u8>,
    /// What makes it of the one before, if that is worth a call.
    pub(super) patch: Option<Bytes>,
    /// Files and symlinks in it, and the sum of the sizes of the files.
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Of these, files that are as they were, and the sum of their sizes.
    pub(super) same: u64,
    pub(super) same_bytes: u64,
    /// Where it has symlinks.
    pub(super) links: Vec<RelPath>,
    /// Whether nothing came and nothing went: every changed path was a file and is one.
    pub(super) only_rewritten: bool,
}

/// Takes what is at and below each of `changed` out of the manifest `old`, whose hashes have `hash` bytes, and puts `files` there,
/// all of which are at or below one of these. `None`: it is not written as ours are, or what changed is more than files.
pub(super) fn splice(
    old: &[u8],
    hash: usize,
    changed: &[RelPath],
    files: &BTreeMap<RelPath, Entry>,
) -> Option<Spliced> {
    let mut old = Old::new(old, hash)?;
    let mut into = Into { old: old.text, ..Into::default() };
    let mut ranges = Ranges::of(changed);
    let mut files = files.iter().peekable();
    let (mut spliced, mut came, mut went) = (Spliced::default(), 0, 0);
    // Files at changed paths that were files before.
    let mut rewritten = 0;
    while let Some(entry) = old.next()? {
        let path = entry.path(old.text)?;
        while let Some((path, file)) = files.next_if(|(new, _)| new.as_str() < &*path) {
            into.insert(entry.before(), path, file);
            spliced.add(file)?;
            came += 1;
        }
        let new = files.next_if(|(new, _)| new.as_str() == path);
        match (ranges.hold(&path), new, entry.size) {
            (false, None, Some(size)) => {
                into.keep(&entry);
                spliced.keep(size);
            }
            (false, None, None) => {
                into.keep(&entry);
                spliced.links.push(RelPath::new(&path).ok()?);
            }
            (true, Some((path, file)), Some(_)) => {
                into.replace(&entry, path, file);
                spliced.add(file)?;
                rewritten += 1;
            }
            (true, None, Some(_)) => {
                into.remove(&entry);
                went += 1;
            }
            // A symlink changed, or there is something where nothing did.
            (true, _, None) | (false, Some(_), _) => return None,
        }
    }
    for (path, file) in files {
        into.insert(old.at, path, file);
        spliced.add(file)?;
        came += 1;
    }
    spliced.only_rewritten = came == 0 && went == 0 && rewritten == changed.len();
    spliced.entries += spliced.same + spliced.links.len() as u64;
    spliced.bytes = spliced.bytes.saturating_add(spliced.same_bytes);
    (spliced.manifest, spliced.patch) = into.finish();
    Some(spliced)
}

impl Spliced {
    fn keep(&mut self, size: u64) {
        self.same += 1;
        self.same_bytes = self.same_bytes.saturating_add(size);
    }

    /// `None`: it is no plain file.
    fn add(&mut self, entry: &Entry) -> Option<()> {
        let Entry::File { digest, .. } = entry else { return None };
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(digest.size());
        Some(())
    }
}

/// What is at or below some paths, as sorted ranges: from a text on, up to another one, that one not among them.
struct Ranges {
    ranges: Vec<(String, String)>,
    next: usize,
}

impl Ranges {
    /// None of `paths` is below another one.
    fn of(paths: &[RelPath]) -> Self {
        // Between a path and what is below it there may be others: `a`, `a!`, `a/b`. No path has a NUL, and `0` comes after `/`.
        let both = |path: &RelPath| {
            [(path.to_string(), format!("{path}\0")), (format!("{path}/"), format!("{path}0"))]
        };
        let mut ranges: Vec<_> = paths.iter().flat_map(both).collect();
        ranges.sort_unstable();
        Self { ranges, next: 0 }
    }

    /// Whether they have `path`, which is not before any that was asked for.
    fn hold(&mut self, path: &str) -> bool {
        while self.ranges.get(self.next).is_some_and(|(_, end)| &**end <= path) {
            self.next += 1;
        }
        self.ranges.get(self.next).is_some_and(|(from, _)| &**from <= path)
    }
}

/// A manifest on its way.
#[derive(Default)]
struct Into<'a> {
    old: &'a [u8],
    /// So far `old` is dealt with. What comes after it is kept unless something else happens to it.
    at: usize,
    new: Vec<u8>,
    edits: Edits,
    /// Whether there is an entry already, so that the next one needs a comma.
    any: bool,
}

impl Into<'_> {
    fn copy_to(&mut self, to: usize) {
        if self.new.capacity() == 0 {
            self.new.reserve(self.old.len() + self.old.len() / 8);
        }
        self.new.extend_from_slice(&self.old[self.at..to]);
        self.edits.copy(to - self.at);
        self.at = to;
    }

    fn skip_to(&mut self, to: usize) {
        self.edits.skip(to - self.at);
        self.at = to;
    }

    fn add(&mut self, text: &[u8]) {
        self.edits.insert(text);
        self.new.extend_from_slice(text);
    }

    fn keep(&mut self, entry: &Place) {
        match (self.any, entry.is_first) {
            (true, true) => {
                self.copy_to(entry.from);
                self.add(b",");
            }
            (false, false) => {
                self.copy_to(entry.before());
                self.skip_to(entry.from);
            }
            _ => {}
        }
        self.any = true;
    }

    fn remove(&mut self, entry: &Place) {
        self.copy_to(entry.before());
        self.skip_to(entry.to);
    }

    fn replace(&mut self, entry: &Place, path: &RelPath, file: &Entry) {
        self.keep(entry);
        self.copy_to(entry.from);
        let text = entry_bytes(path, file);
        self.edits.replace(&self.old[entry.from..entry.to], &text);
        self.new.extend_from_slice(&text);
        self.at = entry.to;
    }

    fn insert(&mut self, at: usize, path: &RelPath, file: &Entry) {
        // What was taken away may end here.
        if at > self.at {
            self.copy_to(at);
        }
        if self.any {
            self.add(b",");
        }
        self.add(&entry_bytes(path, file));
        self.any = true;
    }

    fn finish(mut self) -> (Vec<u8>, Option<Bytes>) {
        self.copy_to(self.old.len());
        let patch = self.edits.worthwhile(self.new.len());
        (self.new, patch)
    }
}

/// A manifest that is read an entry at a time.
struct Old<'a> {
    text: &'a [u8],
    /// Where the next entry begins, or its comma; at the end, the bracket behind the last one.
    at: usize,
    is_first: bool,
    /// Hexadecimal digits of a hash.
    digits: usize,
}

/// An entry in the text.
struct Place {
    from: usize,
    /// Behind the quotes of its path.
    key: usize,
    to: usize,
    is_first: bool,
    /// Of a file; a symlink has none.
    size: Option<u64>,
}

impl Place {
    /// Where it begins, with its comma.
    fn before(&self) -> usize {
        if self.is_first { self.from } else { self.from - 1 }
    }

    fn path<'a>(&self, text: &'a [u8]) -> Option<Cow<'a, str>> {
        let quoted = text.get(self.from..self.key)?;
        let plain = &quoted[1..quoted.len() - 1];
        match plain.contains(&b'\\') {
            false => std::str::from_utf8(plain).ok().map(Cow::Borrowed),
            true => serde_json::from_slice(quoted).ok().map(Cow::Owned),
        }
    }
}

/// Where the entries begin. No text within a manifest can have this: its quotes would be escaped.
const FILES: &[u8] = b"\"files\":{";

impl<'a> Old<'a> {
    fn new(text: &'a [u8], hash: usize) -> Option<Self> {
        let at = text.windows(FILES.len()).position(|window| window == FILES)? + FILES.len();
        Some(Self { text, at, is_first: true, digits: 2 * hash })
    }

    /// The outer `None`: this is no manifest as ours are.
    #[expect(clippy::option_option, reason = "not what it seems to be, and at its end, are two things")]
    fn next(&mut self) -> Option<Option<Place>> {
        let is_first = std::mem::take(&mut self.is_first);
        match (self.text.get(self.at)?, is_first) {
            (b'}', _) => return Some(None),
            (b',', false) => self.at += 1,
            (b'"', true) => {}
            _ => return None,
        }
        let from = self.at;
        self.string()?;
        let key = self.at;
        self.take(b":{\"")?;
        let size = match self.text.get(self.at)? {
            b'l' => {
                self.take(b"l\":")?;
                self.string()?;
                None
            }
            _ => {
                self.take(b"h\":\"")?;
                self.at += self.digits;
                self.take(b"\"")?;
                if self.take(b",\"m\":").is_some() {
                    self.number()?;
                }
                self.take(b",\"s\":")?;
                Some(self.number()?)
            }
        };
        self.take(b"}")?;
        Some(Some(Place { from, key, to: self.at, is_first, size }))
    }

    fn take(&mut self, expected: &[u8]) -> Option<()> {
        let is_there = self.text.get(self.at..)?.starts_with(expected);
        is_there.then(|| self.at += expected.len())
    }

    fn string(&mut self) -> Option<()> {
        self.take(b"\"")?;
        loop {
            let rest = self.text.get(self.at..)?;
            let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            self.at += length + 1;
            if rest[length] == b'"' {
                return Some(());
            }
            // Whatever is escaped, it is not the end.
            self.at += 1;
        }
    }

    fn number(&mut self) -> Option<u64> {
        let rest = self.text.get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let (number, count) = digits.fold((Some(0_u64), 0), |(number, count), digit| {
            let more = |number: u64| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
            (number.and_then(more), count + 1)
        });
        self.at += count;
        number.filter(|_| count > 0)
    }
}
