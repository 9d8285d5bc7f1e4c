//! How the shards of a step are told apart by their commands, where the framework divides the tests itself.

use crate::queue::FanOut;
use proto::ShardId;

/// The names under which test frameworks look for the shard's number, and for the number of shards.
const NUMBERS: [(&str, &str); 3] = [
    ("GTEST_SHARD_INDEX", "GTEST_TOTAL_SHARDS"),
    ("TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS"),
    ("SHARD_INDEX", "SHARD_TOTAL"),
];

/// The variables of one shard. Numbers count from 0.
pub(crate) fn environment(shard: ShardId, fan_out: &FanOut) -> Vec<(&'static str, String)> {
    let total = match fan_out {
        FanOut::Shards(total) => Some(total),
        // What the shard is for is in its words, or its driver tells it: a framework that knows these variables would run
        // a part of that only.
        FanOut::Tests(_) | FanOut::Items(_) | FanOut::EachBot(_) => None,
    };
    let numbers = total.into_iter().flat_map(|total| {
        NUMBERS
            .iter()
            .flat_map(move |(index, of)| [(*index, shard.index.to_string()), (*of, total.to_string())])
    });
    let names = [("SWARM_RUN_ID", shard.run.to_string()), ("SWARM_SHARD_ID", shard.to_string())];
    numbers.chain(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{RunId, Timestamp};
    use std::num::NonZeroU32;

    #[test]
    fn every_framework_finds_its_variables() {
        let run = RunId::new(Timestamp::from_micros(0), 0);
        let shard = ShardId { run, step: 1, index: 2 };
        let environment = environment(shard, &FanOut::Shards(NonZeroU32::new(6).unwrap()));
        let text: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            text,
            [
                "GTEST_SHARD_INDEX=2",
                "GTEST_TOTAL_SHARDS=6",
                "TEST_SHARD_INDEX=2",
                "TEST_TOTAL_SHARDS=6",
                "SHARD_INDEX=2",
                "SHARD_TOTAL=6",
                "SWARM_RUN_ID=0000000000000",
                "SWARM_SHARD_ID=0000000000000/1/2",
            ]
        );
    }
}
