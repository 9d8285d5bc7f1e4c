//! Trees of files to a store and back, the same two verbs for those who archive and those who run:
//!
//! - [`snapshot()`] lists and hashes, [`upload()`] asks once what is missing and sends that;
//! - [`renew()`] does the same for a tree of which is known what changed, as if it had looked at all of it;
//! - [`fetch_into()`] brings what a manifest names, or several, each in a directory of one tree, into the local cache, and lays
//!   it out in an empty directory meanwhile. What somebody has to look at first, [`fetch()`] brings into the cache only, and
//!   [`materialize()`] lays it out.
//!
//! `snapshot`, `materialize` and [`Begun::finish`] block and use all cores; call them on a thread where that is fine. `upload`,
//! `fetch` and `fetch_into` are asynchronous.

mod again;
mod archives;
mod early;
mod error;
mod fetch;
mod gate;
mod graft;
mod groups;
mod hashes;
mod hashing;
mod includes;
mod last;
mod link_text;
mod materialize;
mod pages;
mod place;
mod plan;
mod snapshot;
mod sources;
#[cfg(test)]
mod tests;
mod upload;
mod walk;

pub use again::{Again, Changes, Kept, Reach, Renewed, TRUSTED, renew};
pub use early::{Early, Inlet, Outlet, early, upload_early};
pub use error::{Collision, Error};
pub use fetch::{Fetched, fetch, fetch_into};
pub use graft::Graft;
pub use hashes::HashCache;
pub use includes::manifest;
pub use last::LastManifest;
pub use materialize::{Begun, materialize};
pub use snapshot::{Broken, Exclude, Input, Snapshot, SnapshotOptions, Symlinks, snapshot};
pub use sources::{Source, Sources};
pub use upload::{Uploaded, upload};
