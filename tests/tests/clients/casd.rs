//! buildbox-casd as a proxy before our server, as BuildStream and recc use it.

use crate::support::{Cache, client, free_port};
use proto::{
    DigestFunction,
    reapi::{
        self, action_cache_client::ActionCacheClient, capabilities_client::CapabilitiesClient,
        content_addressable_storage_client::ContentAddressableStorageClient,
    },
};
use std::{fs, process::Stdio};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

const SHA256: i32 = reapi::digest_function::Value::Sha256 as i32;

/// A proxy with an empty store of its own. Killed when dropped.
struct Casd {
    _child: Child,
    channel: Channel,
}

impl Casd {
    async fn start(cache: &Cache, name: &str) -> Self {
        let (program, dir, port) = (client("buildbox-casd").await, cache.path(name), free_port());
        fs::create_dir(&dir).unwrap();
        let mut command = Command::new(program);
        command.args([format!("--bind=127.0.0.1:{port}"), format!("--remote=http://{}", cache.address())]);
        command.arg("--log-level=error").arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.kill_on_drop(true).spawn().unwrap();
        let channel = runtime::connect::channel(&format!("127.0.0.1:{port}"), None).unwrap();
        tests::eventually("buildbox-casd to answer", || {
            let mut client = CapabilitiesClient::new(channel.clone());
            async move { client.get_capabilities(reapi::GetCapabilitiesRequest::default()).await.ok() }
        })
        .await;
        Self { _child: child, channel }
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
