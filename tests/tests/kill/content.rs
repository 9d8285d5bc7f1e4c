//! Bytes by seed.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// Bytes that no other seed has; every second KiB is one that compresses.
pub(crate) fn content(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![b'-'; len];
    let mut random = SmallRng::seed_from_u64(seed);
    for piece in bytes.chunks_mut(2048) {
        let half = piece.len().min(1024);
        random.fill_bytes(&mut piece[..half]);
    }
    bytes.into()
}
