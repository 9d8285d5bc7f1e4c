//! The journal's disk is full, and then is not.

use crate::support::{Bench, eventually, run_spec, soon};
use proto::v1::{ReadOutputRequest, swarm_client::SwarmClient};
use runtime::testing::SmallDisk;
use tonic::{Code, transport::Endpoint};

#[tokio::test]
async fn a_full_disk_is_said_loses_nothing_and_is_got_over() {
    let disk = SmallDisk::new(8);
    let mut bench = Bench::in_directory(disk.path()).await;
    let mut acknowledged = vec![bench.trigger("first", 1).await];
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    disk.fill();
    let mut spec = run_spec(1);
    spec.steps[0].extra_args = vec!["x".repeat(100_000)];
    let mut number = 0;
    let status = eventually(async || {
        number += 1;
        match bench.trigger_spec(&format!("r{number}"), spec.clone()).await {
            Ok(made) => {
                acknowledged.push(made.run_id);
                None
            }
            Err(status) => Some(status),
        }
    })
    .await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    // From now on it says why.
    let status = eventually(async || {
        let status = bench.trigger_spec("later", spec.clone()).await.unwrap_err();
        status.message().contains("no space left").then_some(status)
    })
    .await;
    assert!(status.message().contains("free some, the scheduler goes on by itself"), "{status:?}");
    assert_eq!(bot.synchronize().await.unwrap_err().code(), Code::Unavailable);
    let mut client = bench.client();
    let get = proto::v1::GetRequest { run_id: acknowledged[0].clone() };
    // What is durable can be read until a write is tried.
    let status = eventually(async || {
        bench.trigger_spec("later", spec.clone()).await.unwrap_err();
        let refused = client.get(get.clone()).await.err()?;
        refused.message().contains("no space left").then_some(refused)
    })
    .await;
    assert_eq!(status.code(), Code::Unavailable);
    // Nothing is written meanwhile, and it does not take itself to be well.
    let health = bench.http("/healthz").await;
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("no space left"), "{health}");
    assert_eq!(bench.grpc_health().await, ["NOT_SERVING"; 3]);

    disk.relieve();
    let made = eventually(async || bench.trigger_spec("later", spec.clone()).await.ok()).await;
    acknowledged.push(made.run_id);
    assert!(bench.http("/healthz").await.ends_with("ok\n"));
    eventually(async || (bench.grpc_health().await == ["SERVING"; 3]).then_some(())).await;
    for run in &acknowledged {
        assert_eq!(bench.get(run).await.id, *run);
    }
    bot.finish(0);
    bot.synchronize().await.unwrap();
    assert_eq!(bench.get(&acknowledged[0]).await.counts.unwrap().succeeded, 1);
    bench.stop().await;
}

#[tokio::test]
async fn one_who_stops_reading_does_not_keep_a_failed_journal_from_being_opened_again() {
    let disk = SmallDisk::new(32);
    let mut bench = Bench::in_directory(disk.path()).await;
    let run = bench.trigger("first", 1).await;
    let mut bot = bench.bot("b").no_wait();
    bot.work().await;
    for _ in 0..4 {
        bot.print(&"x".repeat(1 << 20));
        bot.synchronize().await.unwrap();
    }
    // It takes the first message and no other: the rest does not fit into its window.
    let endpoint = Endpoint::from_shared(bench.url.clone()).unwrap().initial_stream_window_size(65_535);
    let request = ReadOutputRequest { shard_id: format!("{run}/0/0"), ..Default::default() };
    let mut reader =
        SwarmClient::new(endpoint.connect_lazy()).read_output(request).await.unwrap().into_inner();
    assert!(soon(reader.message()).await.unwrap().is_some());

    disk.fill();
    let mut spec = run_spec(1);
    spec.steps[0].extra_args = vec!["x".repeat(100_000)];
    let mut number = 0;
    eventually(async || {
        number += 1;
        bench.trigger_spec(&format!("r{number}"), spec.clone()).await.err()
    })
    .await;
    disk.relieve();
    eventually(async || bench.trigger_spec("later", spec.clone()).await.ok()).await;
    let rest = async {
        while reader.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    assert_eq!(
        soon(rest).await.unwrap_err().code(),
        Code::Unavailable,
        "it goes on from its offset elsewhere"
    );
    bench.stop().await;
}
