//! How long a bot stands still between two shards, and how long a user waits for the first line.

use super::table::{line, percentile};
use proto::v1::{self, ShardState};
use runtime::{Clock as _, SystemClock};
use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};
use tests::System;

const SHARDS: u32 = 300;
const TRIGGERS: usize = 30;

/// Prints the scheduling part of the table.
pub(crate) async fn bench() {
    let system = System::start(1).await;
    let suite = system.path().join("clock");
    fs::create_dir(&suite).unwrap();
    let script = suite.join("clock.sh");
    fs::write(&script, "#!/bin/sh\ndate +%s%N\ndate +%s%N\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let archive = ["archive", "-q", "--root", suite.to_str().unwrap(), "clock.sh", "--", "./clock.sh"];
    let archived = system.run("isolate", archive).await.expect(0);
    let digest = archived.stdout.split_whitespace().next().unwrap();
    gaps(&system, digest).await;
    first_lines(&system, digest).await;
}

/// The shell script says when it starts and when it ends, so that a gap holds all that we do in between: collecting
/// outputs, the report, the next lease, setting up inputs, starting a process.
async fn gaps(system: &System, digest: &str) {
    let id = system.trigger(digest, SHARDS).await;
    let run = system.wait_for(&id, |run| run.ended.is_some()).await;
    let mut times: Vec<(u64, u64)> = Vec::new();
    for shard in &run.shards {
        assert_eq!(shard.state(), ShardState::Completed, "{shard:?}");
        let output = system.output(&shard.id).await;
        let stamps: Vec<u64> = output.lines().map(|stamp| stamp.parse().unwrap()).collect();
        times.push((stamps[0], stamps[1]));
    }
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| Duration::from_nanos(pair[1].0.saturating_sub(pair[0].1)));
    // The first shard fetches its input; all later ones are warm.
    let mut gaps: Vec<Duration> = gaps.skip(1).collect();
    gaps.sort_unstable();
    println!("\n{SHARDS} shards of nothing on one bot, warm, journal durable");
    line("dispatch gap, end of a shard to start of the next, p50", percentile(&gaps, 50), "");
    line("dispatch gap, end of a shard to start of the next, p99", percentile(&gaps, 99), "");
}

async fn first_lines(system: &System, digest: &str) {
    let mut client = system.client();
    let mut all = Vec::new();
    for number in 0..TRIGGERS {
        let step = v1::StepSpec {
            input: Some(digest.parse::<proto::Digest>().unwrap().into()),
            fan_out: Some(v1::FanOut {
                policy: Some(v1::fan_out::Policy::Shards(v1::fan_out::Shards { count: 1 })),
            }),
            ..Default::default()
        };
        let run = v1::RunSpec {
            name: "first-line".into(),
            user: "bench".into(),
            steps: vec![step],
            ..Default::default()
        };
        let request = v1::TriggerRequest {
            request_id: format!("first-line-{number}"),
            run: Some(run),
            ..Default::default()
        };
        let clock = SystemClock::new();
        let id = client.trigger(request).await.unwrap().into_inner().run_id;
        let request =
            v1::ReadOutputRequest { shard_id: format!("{id}/0/0"), follow: true, ..Default::default() };
        let mut stream = client.read_output(request).await.unwrap().into_inner();
        while stream.message().await.unwrap().is_some_and(|part| part.data.is_empty()) {}
        all.push(clock.elapsed());
        system.wait_for(&id, |run| run.ended.is_some()).await;
    }
    all.sort_unstable();
    println!("\n{TRIGGERS} runs of one shard, bot idle and warm");
    line("trigger to first output line, p50", percentile(&all, 50), "");
    line("trigger to first output line, p99", percentile(&all, 99), "");
}
