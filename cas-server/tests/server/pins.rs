//! The `Pins` service: closures of both kinds, kept while the store is filled again and again, and its refusals.

use crate::support::config;
use bytes::Bytes;
use cas::{
    BlobStore as _, BlobStoreExt as _,
    isolated::{Entry, Include, Isolated},
    remote::RemoteStore,
    testing,
};
use cas_server::Config;
use prost::Message as _;
use proto::{
    Digest, DigestFunction, Timestamp, reapi,
    v1::{self, PinKind, pins_client::PinsClient},
};
use runtime::{ManualClock, Shutdown, SystemEntropy};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

/// A server of 8 MiB whose time stands still until it is told otherwise.
struct Bench {
    clock: ManualClock,
    channel: Channel,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Bench {
    async fn start(dir: &Path, clock: &ManualClock) -> Self {
        let config = Config { max_size: bytesize::ByteSize::mib(8), ..config(dir) };
        let running =
            cas_server::start(config, Arc::new(clock.clone()), SystemEntropy::shared()).await.unwrap();
        let channel = runtime::connect::channel(&running.url(), None).unwrap();
        let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
        tasks.spawn(running.run_until(shutdown.clone()));
        Self { clock: clock.clone(), channel, shutdown, tasks }
    }

    async fn stop(mut self) {
        self.shutdown.request();
        while self.tasks.join_next().await.is_some() {}
    }

    fn store(&self) -> RemoteStore {
        RemoteStore::new(self.channel.clone(), "")
    }

    fn pins(&self) -> PinsClient<Channel> {
        PinsClient::new(self.channel.clone())
    }

    async fn put(&self, bytes: Bytes) -> Digest {
        self.store().put(DigestFunction::Blake3, bytes).await.unwrap()
    }

    /// Writes three times the budget over ten days.
    async fn churn(&self, seed: u64) {
        for at in 0..240 {
            self.put(testing::noise((seed << 32) + at, 100_000)).await;
            self.clock.advance(Duration::from_hours(1));
        }
    }

    async fn create(&self, name: &str, root: Digest, kind: PinKind) -> Result<v1::Pin, Status> {
        let request = v1::CreatePinRequest {
            name: name.into(),
            root: Some(root.into()),
            kind: kind.into(),
            lifetime: days(25),
        };
        self.pins().create_pin(request).await.map(tonic::Response::into_inner)
    }
}

fn days(days: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: days * 24 * 3600, nanos: 0 })
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000))
}

/// A manifest with a file that includes another one with another file. The root comes first.
async fn isolated(bench: &Bench) -> Vec<Digest> {
    let manifest = |file: Digest, includes| {
        let files = [("file".parse().unwrap(), Entry::File { digest: file, mode: Some(0o644) })].into();
        Isolated { files, includes, ..Isolated::new(DigestFunction::Blake3) }.to_bytes()
    };
    let (one, two) = (bench.put(testing::noise(1, 5000)).await, bench.put(testing::noise(2, 700_000)).await);
    let inner = bench.put(manifest(two, Vec::new()).into()).await;
    let root = bench.put(manifest(one, vec![Include::Sized(inner)]).into()).await;
    vec![root, inner, one, two]
}

/// A directory with a file in a directory that is in it twice. The root comes first.
async fn directory(bench: &Bench) -> Vec<Digest> {
    let wire =
        |digest: Digest| Some(reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() });
    let file = bench.put(testing::noise(3, 9000)).await;
    let node = reapi::FileNode { name: "file".into(), digest: wire(file), ..Default::default() };
    let inner = reapi::Directory { files: vec![node], ..Default::default() };
    let inner = bench.put(inner.encode_to_vec().into()).await;
    let node = |name: &str| reapi::DirectoryNode { name: name.into(), digest: wire(inner) };
    let root = reapi::Directory { directories: vec![node("a"), node("b")], ..Default::default() };
    vec![bench.put(root.encode_to_vec().into()).await, inner, file]
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_closures_outlive_a_store_that_is_filled_several_times_over_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let mut bench = Bench::start(dir.path(), &clock).await;
    let (isolated, directory) = (isolated(&bench).await, directory(&bench).await);
    let loose = bench.put(testing::noise(4, 100)).await;
    let pin = bench.create("release/isolated", isolated[0], PinKind::Isolated).await.unwrap();
    assert_eq!((pin.blobs, pin.root), (4, Some(isolated[0].into())));
    assert_eq!(bench.create("release/tree", directory[0], PinKind::Directory).await.unwrap().blobs, 3);
    bench.churn(1).await;
    bench.stop().await;
    bench = Bench::start(dir.path(), &clock).await;
    bench.churn(2).await;
    let kept: Vec<Digest> = isolated.iter().chain(&directory).copied().chain([loose]).collect();
    assert_eq!(bench.store().find_missing(&kept).await.unwrap(), [loose]);
    assert_eq!(bench.store().get(isolated[3]).await.unwrap(), testing::noise(2, 700_000));
    let listed = bench.pins().list_pins(v1::ListPinsRequest {}).await.unwrap().into_inner();
    let names: Vec<_> = listed.pins.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!((names, listed.quota_bytes), (vec!["release/isolated", "release/tree"], 4 << 20));
    // One is released, the other one expires.
    let release = v1::ReleasePinRequest { name: "release/isolated".into() };
    bench.pins().release_pin(release.clone()).await.unwrap();
    assert_eq!(bench.pins().release_pin(release).await.unwrap_err().code(), Code::NotFound);
    bench.churn(3).await;
    bench.churn(4).await;
    assert_eq!(bench.store().find_missing(&kept).await.unwrap().len(), kept.len());
    assert!(bench.pins().list_pins(v1::ListPinsRequest {}).await.unwrap().into_inner().pins.is_empty());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), &clock()).await;
    let isolated = isolated(&bench).await;
    let refused = async |name: &str, root: Digest, kind: PinKind| {
        let status = bench.create(name, root, kind).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let absent = DigestFunction::Blake3.digest(b"never written");
    let (code, message) = refused("a", absent, PinKind::Isolated).await;
    assert!(code == Code::FailedPrecondition && message.contains(&absent.hex()), "{code} {message}");
    let (code, message) = refused("a", isolated[2], PinKind::Isolated).await;
    assert!(code == Code::InvalidArgument && message.contains("manifest"), "{code} {message}");
    let (code, message) = refused("a", isolated[2], PinKind::Directory).await;
    assert!(code == Code::InvalidArgument && message.contains("Directory"), "{code} {message}");
    let (code, message) = refused("a", isolated[0], PinKind::Unspecified).await;
    assert!(code == Code::InvalidArgument && message.contains("kind"), "{code} {message}");
    let (code, message) = refused("two words", isolated[0], PinKind::Isolated).await;
    assert!(code == Code::InvalidArgument && message.contains("name"), "{code} {message}");
    bench.create("a", isolated[0], PinKind::Isolated).await.unwrap();
    let (code, message) = refused("a", isolated[1], PinKind::Isolated).await;
    assert!(code == Code::AlreadyExists && message.contains(&isolated[0].hex()), "{code} {message}");

    let swap = |name: &str, lifetime| v1::SwapPinRequest {
        name: name.into(),
        root: Some(isolated[1].into()),
        kind: PinKind::Isolated.into(),
        lifetime,
    };
    assert_eq!(bench.pins().swap_pin(swap("b", days(1))).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bench.pins().swap_pin(swap("a", None)).await.unwrap_err().code(), Code::InvalidArgument);
    let swapped = bench.pins().swap_pin(swap("a", days(1))).await.unwrap().into_inner();
    assert_eq!(swapped.blobs, 2);
    let renew = v1::RenewPinRequest { name: "a".into(), lifetime: days(2) };
    let renewed = bench.pins().renew_pin(renew).await.unwrap().into_inner();
    assert_eq!(renewed.expires.unwrap().seconds, swapped.expires.unwrap().seconds + 24 * 3600);

    // Files of more bytes than half of the budget.
    let large =
        [bench.put(testing::noise(8, 2_500_000)).await, bench.put(testing::noise(9, 2_500_000)).await];
    let names = ["x", "y"].map(|name| name.parse().unwrap());
    let files = names.into_iter().zip(large.map(|digest| Entry::File { digest, mode: None })).collect();
    let manifest = Isolated { files, ..Isolated::new(DigestFunction::Blake3) }.to_bytes();
    let root = bench.put(manifest.into()).await;
    let (code, message) = refused("large", root, PinKind::Isolated).await;
    assert!(code == Code::ResourceExhausted && message.contains("--pin-quota"), "{code} {message}");
    bench.stop().await;
}
