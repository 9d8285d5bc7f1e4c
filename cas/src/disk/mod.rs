//! The local cache of blobs that the work on one machine shares: between slots of a bot, between processes.
//!
//! The file system is the index:
//!
//! ```text
//! blobs/af/blake3-af13…49-1234   one file per blob, read-only, published by rename
//! staging/session-x7Gq1b/        one directory per open cache, locked while its process lives
//! usage                          about how many bytes there are; a hint that every trim puts right
//! lock                           held while `usage` is changed, blobs are trimmed and sessions come and go
//! ```
//!
//! - **Whole.** Bytes are hashed while they are staged, and renamed when they are right. Nothing is synced: after a loss
//!   of power a file may be shorter than it was, which shows in its size, because file systems that order data
//!   before metadata (ext4, XFS, btrfs, by default) extend a file on disk only when its data is there. So a file whose
//!   size is not that of its name is dropped when it is met, and no content is read again to be sure.
//! - **Least recently used.** The time of last use is the file's mtime, moved when it is older than a minute. When the
//!   budget is full the oldest files go, down to nine tenths.
//! - **In use.** What a live [`Pins`] names stays. Other processes' pins are not known; what was used in the last ten
//!   minutes stays for their sake, unless nothing else is left to go.
//! - **Cheap.** No scan at start, none per fetch: only a trim looks at everything.
//!
//! It never hands out a file to be written to: see `tree::materialize`.

mod accounting;
mod cache;
mod layout;
mod pins;
mod session;
mod staged;
mod store;
#[cfg(test)]
mod tests;
mod trim;

pub use cache::{DiskCache, DiskCacheOptions, Stats};
pub use pins::Pins;
pub use staged::Staged;
pub use store::DiskStore;
