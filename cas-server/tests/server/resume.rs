//! Uploads that go on where they were cut off, as clients of the protocol see them.

use crate::{
    grpc::{bytestream, chunk, write},
    support::{Program, Server},
};
use cas::{
    BlobStore as _, BlobStoreExt as _, Silent,
    testing::{noise, stream_of},
    tree::{Source, Sources, upload},
};
use futures::{FutureExt as _, StreamExt as _};
use proto::{
    Digest, DigestFunction, RelPath,
    bytestream::{QueryWriteStatusRequest, WriteRequest, byte_stream_client::ByteStreamClient},
};
use runtime::{SystemClock, SystemEntropy};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
};
use tonic::{Code, transport::Channel};

fn name(upload: &str, digest: &Digest) -> String {
    format!("main/uploads/{upload}/blobs/{}/{}", digest.hex(), digest.size())
}

async fn status(client: &mut ByteStreamClient<Channel>, name: &str) -> (i64, bool) {
    let request = QueryWriteStatusRequest { resource_name: name.to_owned() };
    let answer = client.query_write_status(request).await.unwrap().into_inner();
    (answer.committed_size, answer.complete)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_stream_that_ended_early_and_after_a_restart() {
    let server = Server::start().await;
    let data = noise(1, 5_000_000);
    let digest = DigestFunction::Sha256.digest(&data);
    let (one, two) = (name("one", &digest), name("two", &digest));
    let mut client = bytestream(&server);
    assert_eq!(status(&mut client, &one).await, (0, false), "what nobody knows of is not an error");
    let cut = vec![chunk(&one, 0, &data[..1_500_000], false)];
    assert_eq!(write(&server, cut).await, Err(Code::InvalidArgument));
    assert_eq!(status(&mut client, &one).await, (1_500_000, false));
    assert_eq!(status(&mut client, &two).await, (0, false));
    let more = vec![chunk(&one, 1_500_000, &data[1_500_000..4_000_000], false)];
    assert_eq!(write(&server, more).await, Err(Code::InvalidArgument));
    for offset in [1_500_000, 3_999_999, 4_000_001, -1] {
        let wrong = vec![chunk(&one, offset, &data[4_000_000..], true)];
        assert_eq!(write(&server, wrong).await, Err(Code::InvalidArgument), "{offset}");
    }
    let dir = server.stop().await;

    let server = Server::start_on(dir, |_| {}).await;
    let mut client = bytestream(&server);
    assert_eq!(status(&mut client, &one).await, (4_000_000, false));
    // The same blob by another name begins by itself and does not disturb.
    let cut = vec![chunk(&two, 0, &data[..2_000_000], false)];
    assert_eq!(write(&server, cut).await, Err(Code::InvalidArgument));
    assert_eq!(status(&mut client, &one).await, (4_000_000, false));
    assert_eq!(write(&server, vec![chunk(&one, 4_000_000, &data[4_000_000..], true)]).await, Ok(5_000_000));
    assert_eq!(status(&mut client, &one).await, (5_000_000, true));
    assert_eq!(status(&mut client, &two).await, (5_000_000, true));
    assert!(server.store().get(digest).await.unwrap() == data);
    // To go on with what is there by now is to have it at once.
    assert_eq!(write(&server, vec![chunk(&two, 2_000_000, b"any", false)]).await, Ok(5_000_000));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_start_over_under_its_name() {
    let server = Server::start().await;
    let data = noise(2, 3_000_000);
    let digest = DigestFunction::Sha256.digest(&data);
    let one = name("one", &digest);
    let cut = vec![chunk(&one, 0, &noise(3, 2_000_000), false)];
    assert_eq!(write(&server, cut).await, Err(Code::InvalidArgument));
    assert_eq!(write(&server, vec![chunk(&one, 0, &data, true)]).await, Ok(3_000_000));
    // Small uploads are not kept: they start over.
    let small = DigestFunction::Sha256.digest(b"small");
    let small_name = name("one", &small);
    assert_eq!(write(&server, vec![chunk(&small_name, 0, b"sma", false)]).await, Err(Code::InvalidArgument));
    assert_eq!(status(&mut bytestream(&server), &small_name).await, (0, false));
    assert_eq!(write(&server, vec![chunk(&small_name, 3, b"ll", true)]).await, Err(Code::InvalidArgument));
    assert_eq!(write(&server, vec![chunk(&small_name, 0, b"small", true)]).await, Ok(5));
    server.stop().await;
}

/// An upload that sends its first `len` bytes and then stands still, until it is dropped.
fn stalled(
    mut client: ByteStreamClient<Channel>,
    name: &str,
    data: &[u8],
    len: usize,
) -> tokio::task::JoinSet<tonic::Code> {
    let messages: Vec<WriteRequest> = data[..len]
        .chunks(500_000)
        .enumerate()
        .map(|(at, part)| chunk(name, (at * 500_000) as i64, part, false))
        .collect();
    let mut writing = tokio::task::JoinSet::new();
    let stream = futures::stream::iter(messages).chain(futures::stream::pending());
    writing.spawn(async move { client.write(stream).await.unwrap_err().code() });
    writing
}

/// Until there is as much of it.
async fn arrived(client: &mut ByteStreamClient<Channel>, name: &str, bytes: i64) -> i64 {
    let mut last = 0;
    loop {
        let (committed, complete) = status(client, name).await;
        assert!(committed >= last && !complete, "it never decreases");
        if committed >= bytes {
            return committed;
        }
        last = committed;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_from_what_it_was_told_takes_over_from_a_connection_that_nobody_saw_die() {
    let server = Server::start().await;
    let data = noise(4, 8_000_000);
    let digest = DigestFunction::Sha256.digest(&data);
    let one = name("one", &digest);
    let mut client = bytestream(&server);
    let mut writing = stalled(client.clone(), &one, &data, 6_000_000);
    let committed = arrived(&mut client, &one, 3_000_000).await;
    let rest = chunk(&one, committed, &data[usize::try_from(committed).unwrap()..], true);
    assert_eq!(write(&server, vec![rest]).await, Ok(8_000_000));
    assert_eq!(writing.join_next().await.unwrap().unwrap(), Code::Unavailable);
    assert!(server.store().get(digest).await.unwrap() == data);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_server_was_killed_is_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let data = noise(5, 40_000_000);
    let digest = DigestFunction::Sha256.digest(&data);
    let one = name("one", &digest);
    let program = Program::start(dir.path());
    let mut client = ByteStreamClient::new(runtime::connect::channel(&program.url, None).unwrap());
    let writing = stalled(client.clone(), &one, &data, 30_000_000);
    let committed = arrived(&mut client, &one, 25_000_000).await;
    program.kill();
    drop(writing);
    let program = Program::start(dir.path());
    let mut client = ByteStreamClient::new(runtime::connect::channel(&program.url, None).unwrap());
    let (kept, complete) = status(&mut client, &one).await;
    assert!(kept >= committed && !complete, "{kept} after {committed}");
    let rest = data.slice(usize::try_from(kept).unwrap()..);
    let messages: Vec<_> = rest
        .chunks(1 << 20)
        .enumerate()
        .map(|(at, part)| {
            let sent = at << 20;
            chunk(&one, kept + sent as i64, part, sent + part.len() == rest.len())
        })
        .collect();
    let answer = client.write(futures::stream::iter(messages)).await.unwrap().into_inner();
    assert_eq!(answer.committed_size, 40_000_000);
    assert!(program.store().get(digest).await.unwrap() == data);
    assert_eq!(program.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_above_the_limit_are_refused_by_their_name() {
    let server = Server::start_with(|config| config.max_blob_size = Some(bytesize::ByteSize::mb(2))).await;
    let data = noise(6, 2_000_001);
    let digest = DigestFunction::Sha256.digest(&data);
    let never_ends = stalled(bytestream(&server), &name("one", &digest), &data, 1000);
    let refused = tokio::time::timeout(Duration::from_secs(20), never_ends.join_all()).await.unwrap();
    assert_eq!(refused, [Code::InvalidArgument]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_names_another_resource_is_refused() {
    let server = Server::start().await;
    let digest = DigestFunction::Sha256.digest(b"data");
    let one = name("one", &digest);
    for (header, expected) in [(one.as_str(), Ok(4)), ("other", Err(Code::InvalidArgument))] {
        let mut request = tonic::Request::new(futures::stream::iter([chunk(&one, 0, b"data", true)]));
        let key = "build.bazel.remote.execution.v2.resource-name";
        request.metadata_mut().insert(key, header.parse().unwrap());
        let answer = bytestream(&server).write(request).await;
        assert_eq!(answer.map(|a| a.into_inner().committed_size).map_err(|s| s.code()), expected);
    }
    server.stop().await;
}

/// Cuts each connection after so many bytes from the client. Gives its address and the bytes that came in all.
async fn cutting(server: SocketAddr, after: u64) -> (SocketAddr, Arc<AtomicU64>, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let total = Arc::new(AtomicU64::new(0));
    let (mut tasks, counted) = (tokio::task::JoinSet::new(), Arc::clone(&total));
    tasks.spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(server).await.unwrap();
            let (from_near, mut to_near) = near.into_split();
            let (mut from_far, mut to_far) = far.into_split();
            let mut from_near = from_near.take(after);
            let forward = async {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(len @ 1..) = from_near.read(&mut buffer).await {
                    counted.fetch_add(len as u64, Ordering::Relaxed);
                    if to_far.write_all(&buffer[..len]).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = forward => {}
                _ = copy(&mut from_far, &mut to_near) => {}
            }
        }
    });
    (address, total, tasks)
}

/// Uploads a file of `size` bytes over connections that break after so many. Gives the bytes that it took.
async fn sent_in_pieces(size: usize, after: u64) -> u64 {
    let server = Server::start().await;
    let (proxy, total, _tasks) = cutting(server.address, after).await;
    let data = noise(7, size);
    let digest = DigestFunction::Blake3.digest(&data);
    let (root, path) = (server.dir.path().into(), RelPath::new("file").unwrap());
    std::fs::write(server.dir.path().join("file"), &data).unwrap();
    let sources = Sources::from_iter([(digest, Source::File { root, path })]);
    let address = proxy.to_string();
    let address = cas::Address::open(&address, None);
    let store = cas::connect(address, SystemClock::shared(), SystemEntropy::shared()).unwrap();
    upload(&*store, &sources, &Silent).await.unwrap();
    let sent = total.load(Ordering::Relaxed);
    let found = server.store().read_batch(&[digest]).await.unwrap().remove(0).unwrap();
    assert!(found == data);
    server.stop().await;
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_sends_a_large_file_about_once_however_often_the_connection_breaks() {
    // What was on its way at each cut is sent again; from the beginning it would never arrive.
    let sent = sent_in_pieces(64 << 20, 16 << 20).await;
    assert!(sent < 96 << 20, "{sent} bytes for 64 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_within_a_window_still_brings_the_upload_forward() {
    // All that comes over one of these connections may be read by nobody when it breaks.
    let sent = sent_in_pieces(32 << 20, 4 << 20).await;
    assert!(sent < 64 << 20, "{sent} bytes for 32 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_starts_over_when_what_the_server_has_is_not_what_it_should_be() {
    let server = Server::start().await;
    let data = noise(8, 6_000_000);
    let digest = DigestFunction::Blake3.digest(&data);
    let opened = std::sync::Mutex::new(Vec::new());
    let source = |offset: u64| {
        let mut opened = opened.lock().unwrap();
        let first = opened.is_empty();
        opened.push(offset);
        // Other bytes at first, and a break when some of them have arrived.
        let uploads = server.dir.path().join("data/uploads");
        let cut = async move {
            let len = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
            while std::fs::read_dir(&uploads).unwrap().map(len).sum::<u64>() < 2_000_000 {
                tokio::task::yield_now().await;
            }
            Err(cas::Error::Unavailable { reason: "cut".into() })
        };
        let wrong = stream_of(noise(9, 3_000_000), 1_000_000).chain(futures::stream::once(cut)).boxed();
        let right = stream_of(data.slice(usize::try_from(offset).unwrap()..), 1_000_000);
        async move { Ok(if first { wrong } else { right }) }.boxed()
    };
    let store = server.store();
    assert!(store.write_from(digest, &source).await.unwrap_err().is_transient());
    assert!(store.write_from(digest, &source).await.unwrap_err().is_transient());
    store.write_from(digest, &source).await.unwrap();
    assert!(server.store().get(digest).await.unwrap() == data);
    let opened = opened.lock().unwrap().clone();
    assert!(opened[1] > 0 && opened[2] == 0, "{opened:?}");
    server.stop().await;
}
