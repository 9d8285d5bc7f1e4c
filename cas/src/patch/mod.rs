//! Patches: a blob as what it has in common with another one, and what it has not. For manifests, most of which stays as it
//! was when a few files of a tree change; nearly all that is sent then are the new hashes, which nothing makes smaller.
//!
//! The format is that of `isoswarm.v1.Patches` (`cas.proto`): numbers of bytes to copy, to skip and to insert, and the bytes
//! to insert, compressed with zstd. Numbers and bytes are frames of their own, since hex digits come to four bits each only
//! among themselves. zstd with the base as its prefix takes a fourth more: its blocks of 128 KiB each tell their codes anew.
//!
//! [`make()`] compares; [`Patch`] puts together as a stream: it holds the patch and one step, never the base or the target.

mod apply;
mod make;
#[cfg(test)]
mod tests;

pub use apply::Patch;
pub(crate) use make::Edits;
pub use make::make;

use crate::{BlobStore, Range, Result, blocking::blocking};
use bytes::Bytes;
use proto::Digest;

/// Stores `digest`, made of `base` and `patch`, with the reads and writes of `store`.
pub(crate) async fn write<S: BlobStore + ?Sized>(
    store: &S,
    base: Digest,
    digest: Digest,
    patch: Bytes,
) -> Result<()> {
    let patch = blocking(move || Patch::parse(&patch, base, digest)).await?;
    let base = store.read(base, Range::ALL).await?;
    store.write(digest, patch.apply(base)).await
}
