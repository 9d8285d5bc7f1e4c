//! Clients that are too many, or too slow: others hear of it, and nothing is lost.

use crate::support::{Program, command};
use bytes::Bytes;
use cas::{BlobStoreExt as _, Error, testing};
use futures::StreamExt as _;
use proto::{
    Digest, DigestFunction,
    bytestream::{ReadRequest, byte_stream_client::ByteStreamClient},
};
use runtime::{Clock as _, SystemClock};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Endpoint};

async fn put(server: &Program, seed: u64, len: usize) -> cas::Result<Digest> {
    let bytes: Bytes = testing::noise(seed, len);
    tokio::time::timeout(Duration::from_secs(60), server.store().put(DigestFunction::Blake3, bytes))
        .await
        .unwrap()
}

/// Tries until it works.
async fn put_at_last(server: &Program, seed: u64, len: usize) -> Digest {
    let trying = async {
        loop {
            if let Ok(digest) = put(server, seed, len).await {
                return digest;
            }
            SystemClock::new().sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), trying).await.expect("it works again")
}

/// Asks on a connection that stays open. Gives it, and what was said.
async fn ask(server: SocketAddr) -> (Option<TcpStream>, String) {
    let asked = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await.ok()?;
        let mut answer = vec![0; 1000];
        let len = stream.read(&mut answer).await.ok()?;
        Some((stream, String::from_utf8_lossy(&answer[..len]).into_owned()))
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), asked).await.expect("an answer or none, soon");
    asked.map_or_else(|| (None, String::new()), |(stream, answer)| (Some(stream), answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_clients_is_told_so_and_does_no_lasting_harm() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start_limited("-n 64", dir.path());
    let before = put(&server, 1, 100).await.unwrap();
    // Some say nothing, and hold their places all the same.
    let (mut crowd, mut served, mut refused) = (Vec::new(), 0, 0);
    for at in 0..200 {
        if at % 50 == 10 {
            crowd.extend(TcpStream::connect(server.address()).await);
            continue;
        }
        let (stream, answer) = ask(server.address()).await;
        served += usize::from(answer.starts_with("HTTP/1.1 200"));
        let is_refusal = answer.starts_with("HTTP/1.1 503");
        assert!(
            !is_refusal || answer.contains("too many connections") && answer.contains("retry-after"),
            "{answer}"
        );
        refused += usize::from(is_refusal);
        crowd.extend(stream);
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    let error = put(&server, 2, 2_000_000).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    drop(crowd);
    let (small, large) = (put_at_last(&server, 3, 100).await, put_at_last(&server, 4, 6_000_000).await);
    for (digest, bytes) in [
        (before, testing::noise(1, 100)),
        (small, testing::noise(3, 100)),
        (large, testing::noise(4, 6_000_000)),
    ] {
        assert_eq!(server.store().get(digest).await.unwrap(), bytes);
    }
    assert_eq!(server.terminate(), Some(0));
    let scrub = command().arg("scrub").arg("--data").arg(dir.path()).output().unwrap();
    assert!(scrub.status.success(), "{scrub:?}");
}

/// The most that the process had in memory, in MiB.
fn peak(server: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn start(dir: &Path) -> Program {
    let mut command: Command = command();
    command.arg("--max-memory=32MiB").stderr(Stdio::null());
    Program::start_by(command, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_hold_no_more_than_there_is_room_for() {
    const SIZE: usize = 8 << 20;
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let large = put(&server, 1, SIZE).await.unwrap();
    let small = put(&server, 2, 900_000).await.unwrap();
    let key = format!("PUT /kv/key HTTP/1.1\r\nHost: test\r\nContent-Length: {SIZE}\r\n\r\n");
    let mut writer = TcpStream::connect(server.address()).await.unwrap();
    writer.write_all(key.as_bytes()).await.unwrap();
    writer.write_all(&testing::noise(3, SIZE)).await.unwrap();
    assert!(writer.read(&mut [0; 100]).await.unwrap() > 0);
    let before = peak(&server);

    // Blobs as streams of which a first piece is taken, and no more than a small window.
    let endpoint = Endpoint::from_shared(server.url.clone()).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(1 << 24);
    let (mut stalled, mut told) = (Vec::new(), 0);
    for digest in [large, small] {
        let name = format!("blobs/blake3/{}/{}", digest.hex(), digest.size());
        let channel = endpoint.connect().await.unwrap();
        let readers = (0..120).map(|_| {
            let (mut client, name) =
                (ByteStreamClient::new(channel.clone()).max_decoding_message_size(1 << 24), name.clone());
            async move {
                let mut stream = client
                    .read(ReadRequest { resource_name: name, ..Default::default() })
                    .await?
                    .into_inner();
                // Who asks is told soon that there is no room, or hears nothing because it does not read.
                let waited = tokio::time::timeout(Duration::from_secs(15), stream.next()).await;
                if let Ok(Some(Err(status))) = waited {
                    return Err(status);
                }
                Ok((client, stream))
            }
        });
        for outcome in futures::future::join_all(readers).await {
            match outcome {
                Ok(reader) => stalled.push(reader),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    told += 1;
                }
            }
        }
    }
    // Values over HTTP.
    let mut silent = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"GET /kv/key HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        silent.push(stream);
    }
    // Whoever asked last has been waited for.
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    let after = peak(&server);
    println!("{before} MiB before, {after} MiB after, {} stalled, {told} told", stalled.len());
    assert!(after < before + 150, "{before} MiB before, {after} MiB after");
    assert!(!stalled.is_empty(), "some are served");
    assert!(told > 0, "there is a bound, and who is beyond hears of it");
    // Uploads have room of their own.
    put(&server, 4, 5_000_000).await.unwrap();
    drop((silent, stalled));
    assert_eq!(server.store().get(large).await.unwrap(), testing::noise(1, SIZE));
    assert_eq!(server.terminate(), Some(0));
}
