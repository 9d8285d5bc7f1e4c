//! What a long history costs.

use super::super::*;
use std::mem::size_of;

/// All history is in memory: a field more costs it for every shard that ever was.
#[test]
fn an_ended_shard_stays_small() {
    let ended = size_of::<Shard>() + size_of::<Attempt>() + size_of::<AttemptResult>();
    assert!(
        ended <= 400,
        "an ended shard takes {} + {} + {} bytes",
        size_of::<Shard>(),
        size_of::<Attempt>(),
        size_of::<AttemptResult>()
    );
}
