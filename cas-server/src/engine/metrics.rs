//! What an engine counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// Which call looked for a blob, and whether it was there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lookup {
    operation: &'static str,
    outcome: &'static str,
}

/// Handles on the engine's metrics. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) blobs: Gauge,
    pub(crate) bytes: Gauge,
    pub(crate) limit: Gauge,
    pub(crate) written_blobs: Counter,
    pub(crate) written_bytes: Counter,
    /// Bytes of uploads as they came, whatever became of them.
    pub(crate) received_bytes: Counter,
    pub(crate) evicted_blobs: Counter,
    pub(crate) evicted_bytes: Counter,
    pub(crate) reclaimed_segments: Counter,
    /// Time from last use to eviction of what was evicted last.
    pub(crate) evicted_age: Gauge,
    /// Bytes that pins keep.
    pub(crate) pinned: Gauge,
    pub(crate) corrupt: Counter,
    /// Calls to the disk that failed for another reason than a lack of space.
    pub(crate) disk_errors: Counter,
    pub(crate) commits: Counter,
    /// Bytes of uploads that were cut off.
    pub(crate) kept_uploads: Gauge,
    pub(crate) resumed_uploads: Counter,
    /// Bytes of the blobs that are compressed …
    pub(crate) compressed_content: Gauge,
    /// … and of what is stored of them.
    pub(crate) compressed_stored: Gauge,
    /// Reads of compressed blobs that gave what is stored …
    pub(crate) passed_through: Counter,
    /// … and that took decompressing it.
    pub(crate) decompressed: Counter,
    lookups: Family<Lookup, Counter>,
}

impl Metrics {
    /// Counts the outcome of looking for blobs.
    pub(crate) fn looked_up(&self, operation: &'static str, hits: usize, misses: usize) {
        let count = |outcome, n: usize| {
            self.lookups.get_or_create(&Lookup { operation, outcome }).inc_by(n as u64);
        };
        count("hit", hits);
        count("miss", misses);
    }

    /// Hands the metrics to whoever exports them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("blobs", "Blobs in the store", self.blobs.clone());
        let bytes = "Bytes on disk, dead ones and the index included";
        registry.register_with_unit("used", bytes, Unit::Bytes, self.bytes.clone());
        let limit = "Bytes that budget and disk allow to be used";
        registry.register_with_unit("limit", limit, Unit::Bytes, self.limit.clone());
        registry.register("written_blobs", "Blobs written", self.written_blobs.clone());
        registry.register("written_bytes", "Bytes of the blobs written", self.written_bytes.clone());
        let received =
            "Bytes of blobs in uploads as they came: compressed, as a patch, or of a blob that was there";
        registry.register("received_bytes", received, self.received_bytes.clone());
        registry.register("evicted_blobs", "Blobs evicted", self.evicted_blobs.clone());
        registry.register("evicted_bytes", "Bytes of the blobs evicted", self.evicted_bytes.clone());
        let reclaimed = "Segments whose live records were copied forward";
        registry.register("reclaimed_segments", reclaimed, self.reclaimed_segments.clone());
        let age = "Time from last use to eviction of what was evicted last: the retention";
        registry.register_with_unit("last_evicted_age", age, Unit::Seconds, self.evicted_age.clone());
        let pinned = "Bytes of pinned closures, what several share as often as it is pinned";
        registry.register_with_unit("pinned", pinned, Unit::Bytes, self.pinned.clone());
        registry.register("corrupt_blobs", "Blobs found damaged and dropped", self.corrupt.clone());
        let disk = "Reads and writes that the disk failed; what they were about is kept";
        registry.register("disk_errors", disk, self.disk_errors.clone());
        registry.register("commits", "Groups of uploads that shared one sync", self.commits.clone());
        let kept = "Bytes of uploads that were cut off and may go on";
        registry.register_with_unit("kept_uploads", kept, Unit::Bytes, self.kept_uploads.clone());
        let resumed = "Uploads that went on where they were cut off";
        registry.register("resumed_uploads", resumed, self.resumed_uploads.clone());
        let content = "Bytes of the blobs that are stored compressed";
        registry.register_with_unit(
            "compressed_content",
            content,
            Unit::Bytes,
            self.compressed_content.clone(),
        );
        let stored = "Bytes of their frames: by compressed_content_bytes, the compression ratio";
        registry.register_with_unit("compressed_stored", stored, Unit::Bytes, self.compressed_stored.clone());
        let passed = "Reads of compressed blobs that gave what is stored";
        registry.register("compressed_reads_passed_through", passed, self.passed_through.clone());
        let decompressed = "Reads of compressed blobs that took decompressing them";
        registry.register("compressed_reads_decompressed", decompressed, self.decompressed.clone());
        registry.register("lookups", "Blobs looked for", self.lookups.clone());
    }
}

/// For a gauge.
pub(crate) fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
