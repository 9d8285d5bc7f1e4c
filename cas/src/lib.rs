//! Blobs and trees, as a library: what stores blobs, what carries trees of files to a store and back.
//!
//! - [`BlobStore`] is the seam; `remote` speaks to a server, `memory` keeps blobs in RAM, `layers` add one
//!   behaviour each.
//! - `patch` is what makes one blob of another one.
//! - `isolated` is the manifest that names the files of a work item; `tree` turns directories into manifests and
//!   blobs, and manifests into directories; `disk` is the local cache that both directions share; `named` keeps
//!   directories for the commands that fill them.
//!
//! Nothing here prints: progress goes to a [`Monitor`].

mod batches;
mod blocking;
mod connect;
pub mod disk;
mod error;
pub mod isolated;
pub mod layers;
pub mod memory;
mod monitor;
pub mod named;
mod parallel;
pub mod patch;
pub mod remote;
mod removal;
pub mod status;
mod store;
pub mod testing;
pub mod tree;

pub use connect::{Address, connect};
pub use error::{Error, Result};
pub use monitor::{Monitor, Progress, Silent};
pub use removal::remove;
pub use store::{BlobStore, BlobStoreExt, ByteStream, Range, Reopen};
