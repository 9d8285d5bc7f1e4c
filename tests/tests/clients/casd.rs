//! buildbox-casd as a proxy before our server, as BuildStream and recc use it.

use crate::support::{Cache, client, free_port};
use proto::{
    DigestFunction,
    reapi::{
        self, action_cache_client::ActionCacheClient, capabilities_client::CapabilitiesClient,
        content_addressable_storage_client::ContentAddressableStorageClient,
    },
};
use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

const SHA256: i32 = reapi::digest_function::Value::Sha256 as i32;

/// A proxy with an empty store of its own. Killed when dropped.
struct Casd {
    _child: Child,
    address: String,
    channel: Channel,
}

impl Casd {
    async fn start(cache: &Cache, name: &str) -> Self {
        Self::over(&cache.path(name), &[format!("--remote=http://{}", cache.address())]).await
    }

    async fn over(dir: &Path, args: &[String]) -> Self {
        let (program, port) = (client("buildbox-casd").await, free_port());
        fs::create_dir(dir).unwrap();
        let mut command = Command::new(program);
        command.arg(format!("--bind=127.0.0.1:{port}")).args(args);
        command.arg("--log-level=error").arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.kill_on_drop(true).spawn().unwrap();
        let channel = runtime::connect::channel(&format!("127.0.0.1:{port}"), None).unwrap();
        tests::eventually("buildbox-casd to answer", || {
            let mut client = CapabilitiesClient::new(channel.clone());
            async move { client.get_capabilities(reapi::GetCapabilitiesRequest::default()).await.ok() }
        })
        .await;
        Self { _child: child, address: format!("127.0.0.1:{port}"), channel }
    }

    fn cas(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
    }

    fn action_cache(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone())
    }
}

fn digest(bytes: &[u8]) -> reapi::Digest {
    let digest = DigestFunction::Sha256.digest(bytes);
    reapi::Digest { hash: digest.hex(), size_bytes: bytes.len().try_into().unwrap() }
}

/// Blobs small and large.
fn blobs() -> [Vec<u8>; 3] {
    [b"small".to_vec(), vec![7; 100_000], (0..3_000_000_u64).map(|n| ((n * n) >> 7) as u8).collect()]
}

async fn upload(casd: &Casd) {
    for blob in blobs() {
        let data = blob.clone();
        let request = reapi::batch_update_blobs_request::Request {
            digest: Some(digest(&blob)),
            data: data.into_iter().collect(),
            compressor: 0,
        };
        let request = reapi::BatchUpdateBlobsRequest {
            requests: vec![request],
            digest_function: SHA256,
            ..Default::default()
        };
        let answer = casd.cas().batch_update_blobs(request).await.unwrap().into_inner();
        assert_eq!(answer.responses[0].status.as_ref().map_or(0, |status| status.code), 0, "{answer:?}");
    }
    let output =
        reapi::OutputFile { path: "out".into(), digest: Some(digest(&blobs()[1])), ..Default::default() };
    let request = reapi::UpdateActionResultRequest {
        action_digest: Some(digest(b"an action")),
        action_result: Some(reapi::ActionResult { output_files: vec![output], ..Default::default() }),
        digest_function: SHA256,
        ..Default::default()
    };
    casd.action_cache().update_action_result(request).await.unwrap();
}

#[tokio::test]
async fn what_one_proxy_has_sent_another_finds() {
    let cache = Cache::start(&[]).await;
    let first = Casd::start(&cache, "first").await;
    upload(&first).await;
    assert!(cache.written().await >= 3, "the blobs are in our store");
    assert_eq!(cache.calls("UpdateActionResult").await, 1);

    let second = Casd::start(&cache, "second").await;
    let request = reapi::GetActionResultRequest {
        action_digest: Some(digest(b"an action")),
        digest_function: SHA256,
        ..Default::default()
    };
    let result = second.action_cache().get_action_result(request).await.unwrap().into_inner();
    assert_eq!(result.output_files[0].digest, Some(digest(&blobs()[1])));
    for blob in blobs() {
        let request = reapi::BatchReadBlobsRequest {
            digests: vec![digest(&blob)],
            digest_function: SHA256,
            ..Default::default()
        };
        let answer = second.cas().batch_read_blobs(request).await.unwrap().into_inner();
        assert_eq!(answer.responses[0].status.as_ref().map_or(0, |status| status.code), 0);
        assert!(answer.responses[0].data == blob, "other bytes came back");
    }
    let read = cache.calls("BatchReadBlobs").await + cache.calls("Read").await;
    assert!(read >= 1, "they came from our store");
    let request = reapi::FindMissingBlobsRequest {
        blob_digests: vec![digest(b"small"), digest(b"nobody has this")],
        digest_function: SHA256,
        ..Default::default()
    };
    let missing = second.cas().find_missing_blobs(request).await.unwrap().into_inner();
    assert_eq!(missing.missing_blob_digests, [digest(b"nobody has this")]);
}

/// Without any server of ours.
#[tokio::test]
async fn isolate_packages_and_fetches_by_a_foreign_cas() {
    let dir = tempfile::tempdir().unwrap();
    let casd = Casd::over(&dir.path().join("casd"), &["--digest-function=SHA256".to_owned()]).await;
    fs::create_dir_all(dir.path().join("src/data")).unwrap();
    fs::write(dir.path().join("src/data/large"), &blobs()[2]).unwrap();
    fs::write(dir.path().join("src/small"), "small").unwrap();
    let isolate = async |args: &[&str], cache: &str| -> Output {
        let mut isolate = Command::new(tests::binary("isolate"));
        isolate.args(args).current_dir(&dir).env("XDG_CACHE_HOME", dir.path().join(cache));
        isolate.env("ISOSWARM_CAS", &casd.address).output().await.unwrap()
    };
    let archive = ["archive", "src", "--function", "sha-256", "--", "cat", "src/small"];
    let archived = isolate(&archive, "here").await;
    assert!(archived.status.success(), "{archived:?}");
    let digest = String::from_utf8(archived.stdout).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    let again = String::from_utf8(isolate(&archive, "here").await.stderr).unwrap();
    assert!(again.contains("uploaded 0 blobs (0 B), 3 already there"), "{again}");

    let fetched = isolate(&["download", digest, "-o", "copy"], "elsewhere").await;
    assert!(fetched.status.success(), "{fetched:?}");
    assert_eq!(fs::read(dir.path().join("copy/src/data/large")).unwrap(), blobs()[2]);
    assert_eq!(isolate(&["run", digest], "elsewhere").await.stdout, b"small");
    let refused = isolate(&["archive", "src"], "here").await;
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("every REAPI server knows --function sha-256"), "{told}");
}
