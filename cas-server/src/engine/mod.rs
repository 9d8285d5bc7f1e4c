//! The durable store of blobs, and of values: bytes under a name, which can be replaced (`values`).
//!
//! - Blobs below 1 MiB are *packed*: appended as self-describing records (`record`) to segment files
//!   (`segments`). Larger ones have a file each (`files`), staged under `uploads/`
//!   (`staging`), where it stays when the upload is cut off, so that it can go on (`uploads`).
//! - One writer (`writer`) appends, syncs once for a whole group of uploads, tells the index, and only then
//!   acknowledges. The segments are the log: a large blob leaves a record without payload there too.
//! - The index (`index`, RocksDB) says where each blob is and when it was used last. It is written unsynced, each
//!   batch together with the log position that it covers; opening replays the log from there (`replay`).
//! - Space comes back in the background (`evict`), least recently used first, never what is under lease.
//!
//! Blobs that get smaller by it are compressed, if that is asked for (`frames`, `framed`), and go out as they are to
//! those who take that (`stored`).
//!
//! Every byte is verified when it is written and when it is read. What turns out damaged is dropped and counted, and
//! reads as not found. Opening lists the segments, a handful, and no other directory.

mod ahead;
pub(crate) mod blocking;
mod codec;
mod damage;
mod descriptors;
mod directory;
mod endings;
mod evict;
mod explain;
mod files;
mod framed;
mod frames;
pub(crate) mod fuzzing;
mod index;
mod io;
mod key;
mod metrics;
mod offline;
mod options;
mod pins;
mod read;
mod record;
mod replay;
mod retention;
mod room;
mod scrub;
mod segments;
mod shared;
mod staging;
mod store;
mod stored;
mod tail;
mod touches;
mod upload;
mod uploads;
mod values;
mod writer;

pub use descriptors::store_descriptors;
pub use endings::{Cause, Ending};
pub use explain::{Explanation, State};
pub use key::ValueName;
pub use offline::{Offline, ScrubReport};
pub use options::{Compression, EngineOptions, OpenError};
pub use pins::{MAX_CLOSURE, Pin, PinError, PinKind, PinMode, PinName, PinRequest};
pub use store::{Engine, Usage};
pub use stored::Stored;
pub use uploads::UploadName;
pub use values::MAX_VALUE_BYTES;

#[cfg(test)]
mod tests;
