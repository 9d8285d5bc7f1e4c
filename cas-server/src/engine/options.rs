//! What an engine can be told, and why it does not open.

use proto::Digest;
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf, time::Duration};

/// How blobs are kept that get smaller by it. What is stored already stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    #[default]
    Off,
    /// Compressed with zstd.
    Zstd,
}

/// How an [`Engine`](super::Engine) keeps its blobs.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes on disk that it keeps below, by evicting what was used least recently.
    pub max_bytes: u64,
    /// Bytes that it leaves free on the file system for others and for its own bookkeeping.
    pub min_free: u64,
    /// What was found, read or acknowledged this recently is not evicted: writes are refused instead. It has to
    /// outlast the time from a client's being told that something is there to its use; what stays longer is up to the
    /// budget. A lease of the three hours for which Bazel takes remote outputs to last would refuse the writes of
    /// whoever fills a small budget faster than that; their builds are better off with the newer blobs.
    pub lease: Duration,
    /// Bytes that pins may keep from eviction. `None`: half of the budget.
    pub pin_quota: Option<u64>,
    /// A use is written to the index if the last one written is at least this old.
    pub touch_interval: Duration,
    /// Bytes that are held in memory at a time: half of them of uploads and batches, half of answers.
    pub max_memory: u64,
    /// Whether blobs may be named by MD5.
    pub md5: bool,
    /// Blobs of this size and above have a file each.
    pub pack_below: u64,
    /// How blobs are kept that get smaller by it.
    pub compress: Compression,
    /// Where a segment ends. Small budgets get smaller ones, so that space comes back in small pieces.
    pub segment_bytes: u32,
    /// No blob is larger. `None`: those that fit into the budget.
    pub max_blob: Option<u64>,
    /// How long what came of an upload that was cut off is kept.
    pub keep_uploads: Duration,
    /// How long a caller waits for memory, for space or for the disk before it is told to come back later.
    pub patience: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_bytes: 20 << 30,
            min_free: 128 << 20,
            lease: Duration::from_hours(1),
            pin_quota: None,
            touch_interval: Duration::from_secs(120),
            max_memory: 256 << 20,
            md5: false,
            pack_below: 1 << 20,
            compress: Compression::Off,
            segment_bytes: 256 << 20,
            max_blob: None,
            keep_uploads: Duration::from_secs(24 * 3600),
            patience: Duration::from_secs(10),
        }
    }
}

impl EngineOptions {
    /// The size of a segment under this budget: at most a 64th of it, at least 128 KiB.
    pub(crate) fn segment_limit(&self) -> u32 {
        let fair = u32::try_from(self.max_bytes / 64).unwrap_or(u32::MAX);
        self.segment_bytes.min(fair.max(128 << 10))
    }

    /// The largest blob that is taken.
    pub(crate) fn max_blob_bytes(&self) -> u64 {
        let most = self.max_bytes - self.spare();
        self.max_blob.map_or(most, |max_blob| max_blob.min(most))
    }

    /// Bytes of the budget that uploads leave to the copies of reclaimed segments.
    pub(crate) fn spare(&self) -> u64 {
        u64::from(self.segment_limit()).min(self.max_bytes / 32)
    }

    /// Bytes that pins may hold.
    pub(crate) fn pin_quota(&self) -> u64 {
        self.pin_quota.unwrap_or(self.max_bytes / 2)
    }

    /// Refuses what is too large, which needs none of its bytes.
    pub(crate) fn check_size(&self, digest: &Digest) -> cas::Result<()> {
        let (size, most) = (digest.size(), self.max_blob_bytes());
        if size <= most {
            return Ok(());
        }
        let option = if self.max_blob == Some(most) { "--max-blob-size" } else { "--max-size" };
        Err(cas::Error::Invalid {
            reason: format!("a blob of {size} bytes is larger than {most} ({option})"),
        })
    }

    /// How long after the last use that the index knows of a blob is safe: it may have been used once more, one
    /// interval later, without the index being told.
    pub(crate) fn protection(&self) -> Duration {
        self.lease + self.touch_interval
    }
}

/// Why an engine does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another engine of this one, has it open.
    #[error("{} is in use: is another cas-server running on this directory?", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory or a file in it cannot be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The index does not open.
    #[error("cannot open the index in {}: {reason}", path.display())]
    Index {
        /// Its directory.
        path: PathBuf,
        /// What RocksDB says.
        reason: String,
    },
    /// The index finds no space to open in.
    #[error("the disk that {} is on is full: free space on it", path.display())]
    Full {
        /// The index's directory.
        path: PathBuf,
    },
    /// The data was written by a version that this one does not know.
    #[error("{} has format {found}, this program reads up to {known}: use a newer cas-server", path.display())]
    Format {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
    /// The log since the index's last word cannot be replayed.
    #[error("cannot replay the log in {}", path.display())]
    Replay {
        /// The data directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: cas::Error,
    },
}
