//! Bounds that both ends of a protocol rely on.

/// Largest sum of blob sizes in one `BatchUpdateBlobs` or `BatchReadBlobs`: what gRPC lets through by default
/// (4 MiB), less room for digests and framing.
pub const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024 - 256 * 1024;

/// Most blobs in one batch call. Keeps the digests of many empty-ish blobs within the room left above.
pub const MAX_BATCH_BLOBS: usize = 2000;

/// Most digests in one `FindMissingBlobs` call that every server takes. At about 80 bytes each this fills 4 MiB less headroom.
pub const MAX_FIND_MISSING: usize = 40_000;

/// Most digests in one `FindMissingBlobs` call that our servers take: those of SHA-512 fill [`MAX_MESSAGE_BYTES`] with 152
/// bytes each.
pub const MAX_FIND_MISSING_OURS: usize = 110_000;

/// What our servers accept in one gRPC message.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes in one message of a blob stream. Clients accept 4 MiB by default.
pub const STREAM_CHUNK: usize = 1024 * 1024;

/// Largest `.isolated` manifest that is parsed.
pub const MAX_MANIFEST_BYTES: u64 = 256 * 1024 * 1024;

/// Largest patch of a blob, as it is and decompressed: it is in memory as a whole, like a batch.
pub const MAX_PATCH_BYTES: u64 = MAX_BATCH_BYTES;

/// Most shards in one run.
pub const MAX_SHARDS_PER_RUN: u32 = 100_000;

/// Largest secret of a run.
pub const MAX_SECRET_BYTES: usize = 20 * 1024;

/// Most steps in one run.
pub const MAX_STEPS_PER_RUN: usize = 1000;

/// Most earlier steps that a step waits for, and most whose outputs it is given.
pub const MAX_EARLIER_STEPS: usize = 64;

/// Most shards whose outputs a step is given: a bot hears of all of them in one message.
pub const MAX_INCLUDED_SHARDS: u32 = 1000;

/// Output that the scheduler keeps of one attempt; the rest is dropped and marked so.
pub const MAX_OUTPUT_PER_ATTEMPT: u64 = 100 * 1024 * 1024;

/// Output that a bot sends in one `Synchronize`, over all attempts.
pub const MAX_OUTPUT_PER_SYNC: usize = 1024 * 1024;

/// Most items that one step gives to its commands.
pub const MAX_ITEMS_PER_STEP: usize = 200_000;

/// Longest item.
pub const MAX_ITEM_BYTES: usize = 4096;

/// All items of a run together, with [`ITEM_OVERHEAD`] for each: they are in one record of the journal.
pub const MAX_ITEMS_BYTES: usize = 8 * 1024 * 1024;

/// What an item takes beside its own bytes.
pub const ITEM_OVERHEAD: usize = 8;

/// Most tests of one step.
pub const MAX_TESTS_PER_STEP: usize = 200_000;

/// Largest listing of tests as [`crate::listing::fold`] makes it: it goes to the scheduler in one message.
pub const MAX_LISTING_BYTES: usize = 8 * 1024 * 1024;

/// Most names, groups and files of a listing, in bytes.
pub const MAX_LISTING_TEXT: usize = 64 * 1024 * 1024;

/// Longest name of a test.
pub const MAX_TEST_NAME: usize = 4096;

/// Longest message of a test's report.
pub const MAX_TEST_MESSAGE: usize = 4 * 1024;

/// Most of a test's output that goes along with its report: the end of it.
pub const MAX_TEST_OUTPUT: usize = 16 * 1024;

/// Most reports of tests in one `Synchronize`, over all attempts.
pub const MAX_REPORTS_PER_SYNC: usize = 500;

/// Most parts that a command is cut into that cannot list its tests.
pub const MAX_PARTITIONS: u32 = 10_000;

/// Most often that a failed test is run again.
pub const MAX_TEST_RETRIES: u32 = 10;

/// What a bot says of its host, as JSON.
pub const MAX_BOT_STATE_BYTES: usize = 64 * 1024;

/// Longest reason that a bot gives for a state of its own.
pub const MAX_BOT_WORDS: usize = 1024;
