//! Archiving a tree again of which somebody has watched what changed: the rest is not looked at.
//!
//! What is kept of the archive before ([`Again`], [`Kept`]) says where its walk began ([`Reach`]), so which of the changed paths are in the tree. These
//! are looked at as any input is, and the manifest's text is put together of the one before and theirs (`splice`). The store is
//! asked about their blobs only: that it has the others it has said, not long ago, and that it is the same store, with the
//! manifest before, shows in that it takes the new one as a patch of that. [`renew()`] does all of it, or nothing: whatever
//! is not exactly as it should be leads to looking at everything, which is what it has to come to the same as.

mod kept;
mod reach;
mod renew;
mod splice;
#[cfg(test)]
mod tests;

pub use kept::{Again, Kept, TRUSTED};
pub use reach::Reach;
pub use renew::{Changes, Renewed, renew};
