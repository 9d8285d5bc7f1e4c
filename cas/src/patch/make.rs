//! What differs between two manifests, or other texts of entries in an order.

use bytes::Bytes;
use proto::limits;
use std::cmp::Ordering;

/// A patch that nearly is as long as what it makes is not worth a call that may fail: at most a half of it.
const WORTHWHILE: usize = 2;

/// What takes hardly longer than the fastest one, and makes hardly more than the best.
const LEVEL: i32 = 3;

/// A number of edits, at most, takes so many bytes.
const MAX_VARINT: usize = 10;

/// What makes `target` of `base`. `None`: it would be too large, or of little use.
///
/// Goes once through both. Entries end with `}`, and are taken for sorted by what is before `":{`, as those of manifests are:
/// of texts that are not, patches are right, too, but large. What moved to another place is inserted there.
pub fn make(base: &[u8], target: &[u8]) -> Option<Bytes> {
    differences(base, target)?.worthwhile(target.len())
}

/// `None`: there is more to insert than fits into a patch.
pub(super) fn differences(base: &[u8], target: &[u8]) -> Option<Edits> {
    let (mut old, mut new) = (base, target);
    let mut edits = Edits::default();
    while edits.inserted.len() as u64 <= limits::MAX_PATCH_BYTES {
        let same = common(old, new);
        if same == new.len() {
            edits.copy(same);
            return Some(edits);
        }
        // Back to where the entries begin that differ.
        let same = new[..same].iter().rposition(|byte| *byte == END).map_or(0, |at| at + 1);
        edits.copy(same);
        (old, new) = (&old[same..], &new[same..]);
        let (gone, come) = (first(old), first(new));
        match key(gone).cmp(key(come)) {
            Ordering::Less if !gone.is_empty() => {
                edits.skip(gone.len());
                old = &old[gone.len()..];
            }
            Ordering::Equal => {
                edits.replace(gone, come);
                (old, new) = (&old[gone.len()..], &new[come.len()..]);
            }
            _ => {
                edits.insert(come);
                new = &new[come.len()..];
            }
        }
    }
    None
}

/// The last byte of an entry.
const END: u8 = b'}';

/// The first entry, or all there is.
fn first(text: &[u8]) -> &[u8] {
    text.split_inclusive(|byte| *byte == END).next().unwrap_or_default()
}

/// What entries are sorted by.
fn key(entry: &[u8]) -> &[u8] {
    let end = entry.windows(3).position(|window| window == b"\":{");
    &entry[..end.unwrap_or(entry.len())]
}

/// How many bytes are the same from the first one on.
fn common(one: &[u8], other: &[u8]) -> usize {
    /// Compared at a time.
    const STEP: usize = 256;
    let steps = one.chunks(STEP).zip(other.chunks(STEP));
    let same = steps.take_while(|(one, other)| one == other).map(|(step, _)| step.len()).sum();
    let rest = one[same..].iter().zip(&other[same..]);
    same + rest.take_while(|(one, other)| one == other).count()
}

/// Edits so far, of a base from its beginning on.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Bytes to copy, to skip and to insert.
    done: Vec<[usize; 3]>,
    open: [usize; 3],
    inserted: Vec<u8>,
}

impl Edits {
    /// Keeps the next bytes of the base.
    pub(crate) fn copy(&mut self, count: usize) {
        if count > 0 && self.open[1..] != [0, 0] {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open[0] += count;
    }

    /// Leaves out the next bytes of the base.
    pub(crate) fn skip(&mut self, count: usize) {
        self.open[1] += count;
    }

    /// Adds bytes that the base does not have here.
    pub(crate) fn insert(&mut self, bytes: &[u8]) {
        self.open[2] += bytes.len();
        self.inserted.extend_from_slice(bytes);
    }

    /// Puts one entry in the place of another one, of which it keeps what it can at both ends.
    pub(crate) fn replace(&mut self, gone: &[u8], come: &[u8]) {
        let before = common(gone, come);
        let (gone, come) = (&gone[before..], &come[before..]);
        let ends = gone.iter().rev().zip(come.iter().rev());
        let after = ends.take_while(|(gone, come)| gone == come).count();
        self.copy(before);
        self.skip(gone.len() - after);
        self.insert(&come[..come.len() - after]);
        self.copy(after);
    }

    /// The patch, if sending it spares enough of a target of so many bytes.
    pub(crate) fn worthwhile(self, target: usize) -> Option<Bytes> {
        self.finish(target / WORTHWHILE)
    }

    /// The patch, if it is of `most` bytes at most.
    pub(super) fn finish(mut self, most: usize) -> Option<Bytes> {
        if self.open != [0; 3] {
            self.done.push(self.open);
        }
        let mut numbers = Vec::with_capacity(self.done.len() * 4 + MAX_VARINT);
        write_number(&mut numbers, self.done.len());
        for which in 0..3 {
            self.done.iter().for_each(|edit| write_number(&mut numbers, edit[which]));
        }
        if (numbers.len() + self.inserted.len()) as u64 > limits::MAX_PATCH_BYTES {
            return None;
        }
        let mut patch = zstd::bulk::compress(&numbers, LEVEL).ok()?;
        patch.extend(zstd::bulk::compress(&self.inserted, LEVEL).ok()?);
        (patch.len() <= most && patch.len() as u64 <= limits::MAX_PATCH_BYTES).then(|| patch.into())
    }
}

/// As protobuf has varints.
pub(super) fn write_number(into: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}
