//! The local cache of blobs that the work on one machine shares: between slots of a bot, between processes.
//!
//! The file system is the index:
//!
//! ```text
//! packs/blake3-67ee…02-55012     small blobs that came together, with a table of them: see `packs`
//! blobs/af/blake3-af13…49-1234   other blobs, a file each, read-only: a small one filled under its name, a large one published by rename
//! staging/session-x7Gq1b/        one directory per open cache, locked while its process lives
//! usage                          about how many bytes and blobs there are, and the oldest use; a hint that every trim puts right
//! lock                           held while `usage` is changed, blobs are trimmed and sessions come and go
//! ```
//!
//! - **Whole.** Large blobs are hashed while they are staged, and renamed when they are right; small ones, known to be right,
//!   are written under their names. Nothing is synced: after a loss of power a file may be shorter than it was, which
//!   shows in its size, because file systems that order data before metadata (ext4, XFS, btrfs, by default) extend a file
//!   on disk only when its data is there. A file that is too short counts as none, and whole bytes take its place; one that
//!   is too long is dropped when it is met.
//! - **Unchanged.** What was changed in place is found out before it is used again, by its times alone: see `seal`.
//! - **Least recently used.** The time of last use is the file's mtime, moved when it is older than a minute. When there
//!   are too many bytes or blobs the oldest go, down to nine tenths; so does what was not used for too long, and as
//!   much as the disk has too little free space.
//! - **In use.** What a live [`Pins`] names stays. Other processes' pins are not known; what was used in the last ten
//!   minutes stays for their sake, unless nothing else is left to go.
//! - **Cheap.** No scan at start, none per fetch, none after a crash: only a trim looks at everything. Tables of packs are
//!   read once by each process. What a process that
//!   was killed may not have counted is bounded, and is counted in full by whoever opens the cache next.
//!
//! Files are handed out to be copied. A large one may be lent to a tree that is not meant to write to it, to one at a time; what was
//! lent is hashed before it is used again: see `lend`.

mod accounting;
mod cache;
mod layout;
mod lend;
mod limits;
mod loose;
mod packed;
mod packs;
mod pins;
mod seal;
mod session;
mod staged;
mod store;
#[cfg(test)]
mod tests;
mod trim;

pub(crate) use cache::present;
pub use cache::{DiskCache, Stats};
pub(crate) use lend::{LENDABLE, Lent};
pub use limits::DiskCacheOptions;
pub(crate) use packs::{Gathering, SMALL};
pub use pins::Pins;
pub use staged::Staged;
pub(crate) use staged::Trust;
pub use store::DiskStore;
