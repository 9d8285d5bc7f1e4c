//! Digest functions that not every server takes.

use crate::{
    grpc::{cas, wire},
    support::Server,
};
use cas::{BlobStoreExt as _, testing::noise};
use proto::{DigestFunction, reapi};
use reapi::{
    BatchReadBlobsRequest, BatchUpdateBlobsRequest, FindMissingBlobsRequest, GetCapabilitiesRequest,
    batch_update_blobs_request::Request as Upload, capabilities_client::CapabilitiesClient,
};
use tonic::Code;

async fn functions(server: &Server) -> Vec<i32> {
    let mut client = CapabilitiesClient::new(server.channel());
    let answer = client.get_capabilities(GetCapabilitiesRequest::default()).await.unwrap().into_inner();
    answer.cache_capabilities.unwrap().digest_functions
}

#[tokio::test(flavor = "multi_thread")]
async fn md5_is_refused_unless_it_is_switched_on() {
    let server = Server::start().await;
    let md5 = wire(&DigestFunction::Md5.digest(b"x"));
    for digest_function in [0, 3] {
        let request = FindMissingBlobsRequest {
            blob_digests: vec![md5.clone()],
            digest_function,
            ..Default::default()
        };
        let refused = cas(&server).find_missing_blobs(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("md5"), "{refused}");
    }
    assert!(server.store().put(DigestFunction::Md5, noise(1, 5_000_000)).await.is_err());
    assert!(!functions(&server).await.contains(&3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn md5_that_is_switched_on_is_told_by_its_length() {
    let server = Server::start_with(|config| config.md5 = true).await;
    assert_eq!(functions(&server).await.last(), Some(&3));
    let data = noise(1, 100);
    let digest = wire(&DigestFunction::Md5.digest(&data));
    let requests = vec![Upload { digest: Some(digest.clone()), data: data.clone(), compressor: 0 }];
    let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
    let answer = cas(&server).batch_update_blobs(request).await.unwrap().into_inner();
    assert_eq!(answer.responses[0].status.as_ref().unwrap().code, 0);
    let request = BatchReadBlobsRequest { digests: vec![digest], digest_function: 3, ..Default::default() };
    let answer = cas(&server).batch_read_blobs(request).await.unwrap().into_inner();
    assert_eq!(answer.responses[0].data, data);
    let large = server.store().put(DigestFunction::Md5, noise(2, 5_000_000)).await.unwrap();
    assert_eq!(server.store().get(large).await.unwrap(), noise(2, 5_000_000));
    server.stop().await;
}
