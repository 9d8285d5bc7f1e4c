//! What a long history costs.

use super::super::{testing::*, *};
use crate::wire::record::{decode, encode};

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "a measurement: cargo nextest run --release -p scheduler --run-ignored all --no-capture history"]
fn memory_of_an_ended_shard() {
    const RUNS: u32 = 2000;
    const SHARDS: u32 = 100;
    let mut bench = Bench::new();
    for _ in 0..RUNS {
        bench.run(spec(0, [step(SHARDS, &[])]));
        let mut held = vec![];
        while let [lease] = bench.bot("some-host-name-1", held)[..] {
            let mut result = result(Ending::Completed, 0);
            result.stats = Some(AttemptStats::default());
            result.outputs = Some(proto::Digest::empty(proto::DigestFunction::Blake3));
            held = vec![Held { result: Some(result), ..finished(lease, 0) }];
        }
    }
    let before = resident_bytes();
    let mut history = Queue::new(TUNING);
    for record in &bench.records {
        history.replay(&decode(&encode(record)).unwrap()).unwrap();
    }
    let each = (resident_bytes() - before) / u64::from(RUNS * SHARDS);
    eprintln!("{each} bytes for each of {} ended shards", RUNS * SHARDS);
    assert_eq!(history.pending(), 0);
}
