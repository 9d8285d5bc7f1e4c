//! The file descriptors of the process, shared out: the index must never lack one, and whoever else does comes back later.

use runtime::descriptors::limit;

/// Open directories, the log that grows, what RocksDB has open beside its tables, and files of reads and uploads.
const OTHERS: u64 = 24;

/// Tables that the index keeps open. RocksDB takes no fewer than 20.
pub(crate) fn index_files() -> u64 {
    (limit() / 4).clamp(20, 256)
}

/// Segments that are kept open for reading.
pub(crate) fn segments() -> u64 {
    (limit() / 8).clamp(4, 256)
}

/// What a store needs of the process's descriptors. Connections have the rest.
pub fn store_descriptors() -> u64 {
    // Large blobs on their way have one each.
    let transfers = (limit() / 8).min(4096);
    index_files() + segments() + OTHERS + transfers
}
