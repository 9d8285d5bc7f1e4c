//! The manifest of a work item: files by digest, the command that runs over them, and what they may do.
//!
//! Its own digest names the whole work item. The format is Chromium's `.isolated`: versions 1.0 to 1.6 and 2.0 are
//! read, 1.6 and 2.0 are written, byte for byte as the original did (`docs/isolate-format.md`). We add `blake3` to `algo`, and an `includes` item may carry its size as `HASH/SIZE`, because the
//! Remote Execution API cannot fetch a blob of unknown size.
//!
//! Pure: bytes in, bytes out. What is parsed here never leaves the directory it is laid out in, whatever it contains.

mod document;
mod error;
mod include;
mod manifest;
mod parse;
mod read_only;
mod symlinks;
#[cfg(test)]
mod tests;
mod write;

pub use error::IsolatedError;
pub use include::Include;
pub use manifest::{Entry, Isolated, ReadOnly, Version};

pub(crate) use document::Document;
pub(crate) use symlinks::{check_layout, check_target};
pub(crate) use write::entry as entry_bytes;
