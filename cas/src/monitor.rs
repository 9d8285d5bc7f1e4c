//! Where progress goes. The library never prints.

/// What a long operation tells as it goes. Totals may grow while the work is being discovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many more files and bytes are to be looked at or moved.
    Planned {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Files were hashed, or found unchanged since they were hashed last.
    Hashed {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Blobs were uploaded.
    Uploaded {
        /// Blobs.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Blobs need no upload: the store has them.
    Present {
        /// Blobs.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Blobs were fetched.
    Fetched {
        /// Blobs.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Blobs need no fetch: the local cache has them.
    Cached {
        /// Blobs.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
}

/// Follows an operation.
pub trait Monitor: Send + Sync {
    /// Called often and from several threads; must be quick.
    fn progress(&self, progress: Progress);
}

/// Follows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn progress(&self, _: Progress) {}
}
