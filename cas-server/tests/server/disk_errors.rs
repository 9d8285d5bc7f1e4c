//! A disk that fails: strace makes calls to the kernel fail with EIO while the server runs.

use crate::support::{Program, request};
use bytes::Bytes;
use cas::{BlobStore as _, BlobStoreExt as _, Error, remote::RemoteStore, testing};
use futures::stream;
use proto::{
    Digest, DigestFunction,
    bytestream::{QueryWriteStatusRequest, WriteRequest, byte_stream_client::ByteStreamClient},
};
use runtime::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Makes calls of a process fail until it is dropped.
struct Failing(Child);

impl Failing {
    /// `calls` fail where they are about `path`, or wherever.
    fn start(server: &Program, calls: &str, path: Option<&Path>) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-p", &server.pid().as_raw_nonzero().to_string()]);
        strace.args([format!("--trace={calls}"), format!("--inject={calls}:error=EIO")]);
        if let Some(path) = path {
            strace.arg("-P").arg(fs::canonicalize(path).unwrap());
        }
        let child = strace.stderr(Stdio::piped()).spawn();
        let mut child = child.expect("strace is installed: tests/setup/tools strace");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let attached = lines.next().unwrap().unwrap();
        assert!(attached.contains("attached"), "strace may not look into the server: {attached}");
        // It must not die of a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

async fn counted(server: &Program, name: &str) -> u64 {
    let text = String::from_utf8(request(server.address(), "GET /metrics", &[], b"").await.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("cas_{name}_total "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn put(store: &RemoteStore, bytes: &Bytes) -> cas::Result<Digest> {
    let digest = DigestFunction::Blake3.digest(bytes);
    store.write_batch(vec![(digest, bytes.clone())]).await?.remove(0).map(|()| digest)
}

fn large_file(data: &Path, digest: Digest) -> PathBuf {
    let bucket = data.join("large").join(&digest.hex()[..2]);
    fs::read_dir(bucket).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_does_not_give_is_an_error_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let store = server.store();
    let (small, large) = (testing::noise(1, 5000), testing::noise(2, 3_000_000));
    let one = put(&store, &small).await.unwrap();
    let two = store.put(DigestFunction::Blake3, large.clone()).await.unwrap();
    let key = "/kv/key";
    assert_eq!(
        request(server.address(), &format!("PUT {key}"), &["Content-Length: 3"], b"abc").await.status,
        201
    );

    for (digest, file) in [(one, dir.path().join("segments/00000000")), (two, large_file(dir.path(), two))] {
        let failing = Failing::start(&server, "pread64,preadv2", Some(&file));
        let refused = store.get(digest).await.unwrap_err();
        assert!(matches!(refused, Error::Internal { .. }), "{refused:?}");
        assert!(refused.to_string().contains("Input/output error"), "{refused}");
        assert_eq!(store.find_missing(&[digest]).await.unwrap(), [], "the entry is kept");
        if digest == one {
            assert_eq!(request(server.address(), &format!("GET {key}"), &[], b"").await.status, 500);
        }
        drop(failing);
    }
    assert_eq!(counted(&server, "corrupt_blobs").await, 0);
    assert!(counted(&server, "disk_errors").await >= 3);
    assert_eq!(store.get(one).await.unwrap(), small);
    assert_eq!(store.get(two).await.unwrap(), large);
    assert_eq!(request(server.address(), &format!("GET {key}"), &[], b"").await.body, b"abc");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_could_not_be_written_or_synced_is_left_and_nothing_of_it_is_acknowledged_later() {
    for calls in ["pwritev", "fdatasync"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Program::start(dir.path());
        let store = server.store();
        let before = put(&store, &testing::noise(1, 5000)).await.unwrap();
        let segment = |id: u32| dir.path().join(format!("segments/{id:08x}"));
        let lost = testing::noise(2, 5000);
        let failing = Failing::start(&server, calls, Some(&segment(0)));
        let refused = put(&store, &lost).await.unwrap_err();
        assert!(matches!(refused, Error::Internal { .. }), "{refused:?}");
        // Another segment is another place of the disk: it goes on without a restart, and without the disk's recovery.
        let digest = DigestFunction::Blake3.digest(&lost);
        assert_eq!(store.find_missing(&[digest]).await.unwrap(), [digest]);
        put(&store, &lost).await.unwrap();
        let on_disk = fs::read(segment(1)).unwrap();
        assert!(on_disk.windows(lost.len()).any(|window| window == lost), "{calls}: it was written anew");
        drop(failing);
        assert_eq!(counted(&server, "disk_errors").await, 1);
        server.kill();
        let server = Program::start(dir.path());
        assert_eq!(server.store().get(before).await.unwrap(), testing::noise(1, 5000));
        assert_eq!(server.store().get(digest).await.unwrap(), lost);
        server.kill();
    }
}

/// What both health checks say, once they agree.
async fn wait_for_health(server: &Program, healthy: bool) -> String {
    let mut health = HealthClient::new(runtime::connect::channel(&server.url, None).unwrap());
    let clock = SystemClock::new();
    let waiting = async {
        loop {
            let answer = request(server.address(), "GET /healthz", &[], b"").await;
            let store = "build.bazel.remote.execution.v2.ContentAddressableStorage";
            let mut told = Vec::new();
            for service in ["", store] {
                let asked = HealthCheckRequest { service: service.into() };
                told.push(health.check(asked).await.unwrap().into_inner().status());
            }
            let (status, word) =
                if healthy { (200, ServingStatus::Serving) } else { (503, ServingStatus::NotServing) };
            if answer.status == status && told == [word, word] {
                return String::from_utf8(answer.body).unwrap();
            }
            clock.sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the health to change")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_index_is_told_to_those_who_ask_for_health_and_works_again_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let before = put(&server.store(), &testing::noise(1, 5000)).await.unwrap();
    wait_for_health(&server, true).await;
    // Its log fails, and when it is opened again to get over that, it cannot be.
    let index = dir.path().join("index");
    let current = fs::read(index.join("CURRENT")).unwrap();
    fs::write(index.join("CURRENT"), "garbage\n").unwrap();
    let mut logs = fs::read_dir(&index).unwrap().map(|file| file.unwrap().path());
    let log = logs.find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap();
    let failing = Failing::start(&server, "write", Some(&log));
    assert!(put(&server.store(), &testing::noise(2, 5000)).await.is_err());
    drop(failing);
    let reason = wait_for_health(&server, false).await;
    assert!(reason.contains("index"), "{reason}");
    fs::write(index.join("CURRENT"), current).unwrap();
    assert_eq!(wait_for_health(&server, true).await, "ok\n");
    let after = put(&server.store(), &testing::noise(2, 5000)).await.unwrap();
    assert_eq!(server.store().get(before).await.unwrap(), testing::noise(1, 5000));
    assert_eq!(server.store().get(after).await.unwrap(), testing::noise(2, 5000));
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_could_not_be_synced_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let bytes = testing::noise(1, 3_000_000);
    let digest = DigestFunction::Sha256.digest(&bytes);
    let name = format!("uploads/1/blobs/{}/{}", digest.hex(), digest.size());
    let mut streams = ByteStreamClient::new(runtime::connect::channel(&server.url, None).unwrap());
    let message = |at: usize| WriteRequest {
        resource_name: name.clone(),
        write_offset: i64::try_from(at).unwrap(),
        finish_write: at + 1_000_000 == bytes.len(),
        data: bytes[at..at + 1_000_000].to_vec().into(),
    };
    let messages = [0, 1_000_000, 2_000_000].map(message);
    let failing = Failing::start(&server, "fdatasync", None);
    let refused = streams.write(stream::iter(messages.clone())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Internal, "{refused}");
    drop(failing);
    // The bytes are in the kernel's memory, where they look as if they were on the disk.
    let query = QueryWriteStatusRequest { resource_name: name.clone() };
    let status = streams.query_write_status(query).await.unwrap().into_inner();
    assert_eq!((status.committed_size, status.complete), (0, false));
    streams.write(stream::iter(messages)).await.unwrap();
    assert_eq!(server.store().get(digest).await.unwrap(), bytes);
    assert_eq!(server.terminate(), Some(0));
}
