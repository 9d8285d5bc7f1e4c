//! How a file of the cache that was changed in place is told from one that was not, without reading it and without a list.
//!
//! A file's times are its seal. The time of modification, which is that of last use, has millionths of a second that follow
//! from the blob's name and the rest of the time, and the time of change, which nobody can set, is the same moment. A write
//! sets a time of modification of its own; putting the old one back moves the time of change; so does putting
//! another file in the place. What has no seal is hashed before it is used again, and sealed anew or dropped. It
//! stays unseen when a change comes within 100 ms of a use and puts the times back, and once in a million changes by chance.

use proto::Digest;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
};

/// How far both times may be apart: what lies between a use and noting it down, on a busy machine.
const SLACK_NANOS: i128 = 100_000_000;

const NANOS: i128 = 1_000_000_000;
const TAGS: i64 = 1_000_000;

/// The time of last use, in seconds and nanoseconds.
pub(super) fn used(found: &Metadata) -> (i64, i64) {
    (found.mtime(), found.mtime_nsec())
}

/// Makes this the time of last use. To be called when the content is known to be right.
pub(super) fn touch(file: &File, digest: Digest) -> io::Result<()> {
    set(file, Timespec { tv_sec: 0, tv_nsec: UTIME_NOW })?;
    seal(file, &file.metadata()?, digest)
}

/// The same for a file that was made just now, and is like this.
pub(super) fn seal(file: &File, changed: &Metadata, digest: Digest) -> io::Result<()> {
    let (seconds, nanos) = (changed.ctime(), changed.ctime_nsec());
    let millis = nanos / TAGS * TAGS;
    set(file, Timespec { tv_sec: seconds, tv_nsec: millis + tag(digest, seconds, millis) })
}

/// Leaves it without a seal, whatever was done to it a moment ago: it is hashed before it is used again.
pub(super) fn break_off(file: &File, digest: Digest) -> io::Result<()> {
    let found = file.metadata()?;
    let (seconds, nanos) = (found.ctime(), found.ctime_nsec());
    let millis = nanos / TAGS * TAGS;
    let other = (tag(digest, seconds, millis) + 1) % TAGS;
    set(file, Timespec { tv_sec: seconds, tv_nsec: millis + other })
}

/// Whether it is as it was when it was sealed.
pub(super) fn is_sealed(found: &Metadata, digest: Digest) -> bool {
    let (seconds, nanos) = (found.mtime(), found.mtime_nsec());
    let time = |seconds: i64, nanos: i64| i128::from(seconds) * NANOS + i128::from(nanos);
    let apart = time(found.ctime(), found.ctime_nsec()) - time(seconds, nanos);
    apart.abs() <= SLACK_NANOS && nanos % TAGS == tag(digest, seconds, nanos / TAGS * TAGS)
}

fn set(file: &File, time: Timespec) -> io::Result<()> {
    Ok(futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// Below [`TAGS`]. No secret: accidents are what it is for.
fn tag(digest: Digest, seconds: i64, nanos: i64) -> i64 {
    let name = digest.hash().iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte));
    let time = seconds.wrapping_mul(1_000_000_007).wrapping_add(nanos).cast_unsigned();
    let mixed = (name ^ time).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32).cast_signed() % TAGS
}
