//! Trees of files to a store and back, the same two verbs for those who archive and those who run:
//!
//! - [`snapshot()`] lists and hashes, [`upload()`] asks once what is missing and sends that;
//! - [`fetch()`] brings what a manifest names into the local cache, [`fetch_grafted()`] what several do, each in a directory
//!   of one tree; [`materialize()`] lays it out in an empty directory.
//!
//! `snapshot` and `materialize` block and use all cores; call them on a thread where that is fine. `upload` and `fetch`
//! are asynchronous.

mod archives;
mod early;
mod error;
mod fetch;
mod graft;
mod hashes;
mod hashing;
mod includes;
mod last;
mod materialize;
mod pages;
mod place;
mod snapshot;
mod sources;
#[cfg(test)]
mod tests;
mod upload;
mod walk;

pub use early::{Early, Inlet, Outlet, early, upload_early};
pub use error::{Collision, Error};
pub use fetch::{Fetched, fetch};
pub use graft::{Graft, fetch_grafted};
pub use hashes::HashCache;
pub use includes::manifest;
pub use last::LastManifest;
pub use materialize::materialize;
pub use snapshot::{Broken, Exclude, Input, Snapshot, SnapshotOptions, Symlinks, snapshot};
pub use sources::{Source, Sources};
pub use upload::{Uploaded, upload};
