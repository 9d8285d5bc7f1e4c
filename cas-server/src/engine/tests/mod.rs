//! The engine from the inside: recovery, eviction, damage, full disks, and a model to compare with.

mod compressed;
mod contract;
mod damage;
mod eviction;
mod full_disk;
mod model;
mod pins;
mod recovery;
mod uploads;
mod values;

use super::{Compression, Engine, EngineOptions};
use bytes::Bytes;
use cas::{BlobStore as _, BlobStoreExt as _, Error};
use futures::StreamExt as _;
use proto::{Digest, DigestFunction, Timestamp};
use runtime::ManualClock;
use std::{path::Path, sync::Arc, time::Duration};

const MIB: u64 = 1 << 20;

/// Small segments and files, so that little data has many of both.
fn options() -> EngineOptions {
    EngineOptions {
        max_bytes: 64 * MIB,
        min_free: 0,
        pack_below: 64 * 1024,
        segment_bytes: 1 << 20,
        lease: Duration::from_secs(600),
        patience: Duration::from_secs(5),
        ..EngineOptions::default()
    }
}

fn compressing() -> EngineOptions {
    EngineOptions { compress: Compression::Zstd, ..options() }
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000))
}

fn open(dir: &Path) -> Engine {
    Engine::open(dir, options(), Arc::new(clock())).unwrap()
}

/// Bytes that differ from those of every other seed.
fn blob(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

/// Bytes that get smaller, by about three quarters, and differ from those of every other seed.
fn text(seed: u64, len: usize) -> Bytes {
    let noise = blob(seed, len.div_ceil(3));
    let words = noise.chunks(100).flat_map(|part| [part, part, part]).flatten();
    words.map(|byte| b'a' + byte % 16).take(len).collect()
}

async fn put(engine: &Engine, bytes: &Bytes) -> Digest {
    engine.put(DigestFunction::Blake3, bytes.clone()).await.unwrap()
}

/// By stream, in chunks of odd sizes.
async fn put_stream(engine: &Engine, bytes: &Bytes) -> cas::Result<Digest> {
    let digest = DigestFunction::Sha256.digest(bytes);
    let chunks: Vec<_> = bytes.chunks(77_777).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    engine.write(digest, futures::stream::iter(chunks).boxed()).await?;
    Ok(digest)
}

async fn is_gone(engine: &Engine, digest: Digest) -> bool {
    matches!(engine.get(digest).await, Err(Error::NotFound { digest: named }) if named == digest)
}
