//! Whatever is sent, the answer says what is wrong with it, and the scheduler stays up.

use crate::support::{Bench, completed, run_spec, soon};
use proto::v1::{
    CancelRequest, Dimension, ExplainRequest, GetRequest, HeldAttempt, LeaseRef, ListRequest,
    ReadOutputRequest, SynchronizeRequest, TriggerRequest,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Status};

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, expected: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().starts_with(expected), "`{}` for `{expected}`", status.message());
}

#[tokio::test]
async fn every_verb_names_the_field_that_is_wrong() {
    let mut bench = Bench::start().await;
    let mut client = bench.client();
    let bad = || "nonsense".to_owned();
    let trigger =
        |request_id: &str, run| TriggerRequest { request_id: request_id.into(), run, ..Default::default() };
    refused(client.trigger(trigger("", Some(run_spec(1)))).await, "request_id: ");
    refused(client.trigger(trigger("r", None)).await, "run: is missing");
    refused(client.trigger(trigger("r", Some(run_spec(0)))).await, "run.steps[0].fan_out.shards.count: ");
    refused(client.trigger(trigger("r", Some(run_spec(100_001)))).await, "run.steps: make 100001 shards");
    refused(client.get(GetRequest { run_id: bad() }).await, "run_id: ");
    refused(client.cancel(CancelRequest { run_id: bad(), kill_running: false }).await, "run_id: ");
    refused(client.explain(ExplainRequest { id: bad() }).await, "id: ");
    refused(client.explain(ExplainRequest { id: "a/b".into() }).await, "id: ");
    refused(client.list(ListRequest { page_token: bad(), ..Default::default() }).await, "page_token: ");
    refused(client.list(ListRequest { states: vec![99], ..Default::default() }).await, "states: 99");
    let read = ReadOutputRequest { shard_id: bad(), ..Default::default() };
    refused(client.read_output(read).await.map(drop), "shard_id: ");
    bench.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let mut bench = Bench::start().await;
    let mut client = bench.client();
    let run = "0000000000000".to_owned();
    let shard = format!("{}/0/7", bench.trigger("r", 1).await);
    let codes = [
        client.get(GetRequest { run_id: run.clone() }).await.map(drop),
        client.cancel(CancelRequest { run_id: run.clone(), kill_running: true }).await.map(drop),
        client.explain(ExplainRequest { id: run }).await.map(drop),
        client.explain(ExplainRequest { id: shard.clone() }).await.map(drop),
        client.read_output(ReadOutputRequest { shard_id: shard, ..Default::default() }).await.map(drop),
    ];
    for answer in codes {
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_bot_that_talks_nonsense_is_told_so_and_harms_nobody() {
    let mut bench = Bench::start().await;
    let run = bench.trigger("r", 1).await;
    let mut good = bench.bot("good").no_wait();
    let lease = good.work().await.lease.unwrap();
    let bot = bench.bot("bad").no_wait();
    let hold = |lease: Option<LeaseRef>| HeldAttempt { lease, ..Default::default() };
    let mut no_code = completed(0);
    no_code.exit_code = None;
    let cases: [(&str, SynchronizeRequest); 8] = [
        ("quarantined: ", SynchronizeRequest { quarantined: "x".repeat(1025), ..bot.request.clone() }),
        ("state: ", SynchronizeRequest { state: "x".repeat(65_537), ..bot.request.clone() }),
        ("bot_id: ", SynchronizeRequest { bot_id: "a b".into(), ..bot.request.clone() }),
        ("session_id: ", SynchronizeRequest { session_id: String::new(), ..bot.request.clone() }),
        ("slots: ", SynchronizeRequest { slots: u32::MAX, ..bot.request.clone() }),
        (
            "dimensions: ",
            SynchronizeRequest {
                dimensions: vec![Dimension { key: "os".into(), values: vec!["a|b".into()] }],
                ..bot.request.clone()
            },
        ),
        ("held[0].lease: ", SynchronizeRequest { held: vec![hold(None)], ..bot.request.clone() }),
        (
            "held[0].result.exit_code: ",
            SynchronizeRequest {
                held: vec![HeldAttempt { result: Some(no_code), ..hold(Some(lease.clone())) }],
                ..bot.request.clone()
            },
        ),
    ];
    for (expected, request) in cases {
        refused(bot.client.clone().synchronize(request).await, expected);
    }
    // Well-formed, but not its own: under a made-up token, for a shard that is not there, in another's name.
    let made_up = LeaseRef { token: u64::MAX, ..lease.clone() };
    let elsewhere = LeaseRef { shard_id: format!("{run}/9/9"), ..lease.clone() };
    let mut thief = bot.clone();
    for stolen in [made_up, elsewhere, lease] {
        let mut held = hold(Some(stolen));
        held.result = Some(completed(1));
        held.output = b"stolen"[..].into();
        held.output_offset = 1 << 60;
        thief.request.held = vec![held.clone(), held];
        assert_eq!(thief.synchronize().await.unwrap(), []);
    }
    good.finish(0);
    good.synchronize().await.unwrap();
    assert_eq!(bench.get(&run).await.shards[0].attempts[0].output_size, 0);
    assert!(bench.get(&run).await.counts.unwrap().succeeded == 1);
    bench.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_protocol_end_their_connection_only() {
    let mut bench = Bench::start().await;
    let address = bench.url.strip_prefix("http://").unwrap().to_owned();
    let grpc = "POST /isoswarm.v1.Swarm/Trigger HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n";
    let lying =
        format!("{grpc}content-length: 9\r\nconnection: close\r\n\r\n\0\0\0\0\u{4}\u{1}\u{2}\u{3}\u{4}");
    for bytes in [
        &b"\0\xff garbage \r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff",
        lying.as_bytes(),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
    }
    bench.trigger("r", 1).await;
    bench.stop().await;
}
