//! The Remote Execution API, through our client and with messages of our own making.

use crate::support::Server;
use cas::testing::{conformance, noise};
use proto::{
    Digest, DigestFunction,
    bytestream::{QueryWriteStatusRequest, ReadRequest, WriteRequest, byte_stream_client::ByteStreamClient},
    limits, reapi,
};
use reapi::{
    BatchReadBlobsRequest, BatchUpdateBlobsRequest, FindMissingBlobsRequest, GetCapabilitiesRequest,
    batch_update_blobs_request::Request as Upload, capabilities_client::CapabilitiesClient,
    content_addressable_storage_client::ContentAddressableStorageClient,
};
use tonic::{Code, transport::Channel};

pub(crate) fn wire(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().cast_signed() }
}

pub(crate) fn cas(server: &Server) -> ContentAddressableStorageClient<Channel> {
    ContentAddressableStorageClient::new(server.channel())
}

pub(crate) fn bytestream(server: &Server) -> ByteStreamClient<Channel> {
    ByteStreamClient::new(server.channel())
}

fn upload_name(digest: &Digest) -> String {
    format!("uploads/00000000-0000-0000-0000-000000000000/blobs/{}/{}", digest.hex(), digest.size())
}

pub(crate) fn chunk(name: &str, write_offset: i64, data: &[u8], finish_write: bool) -> WriteRequest {
    WriteRequest { resource_name: name.to_owned(), write_offset, finish_write, data: data.to_vec().into() }
}

/// The committed size, or the code.
pub(crate) async fn write(server: &Server, messages: Vec<WriteRequest>) -> Result<i64, Code> {
    let answer = bytestream(server).write(futures::stream::iter(messages)).await;
    answer.map(|answer| answer.into_inner().committed_size).map_err(|status| status.code())
}

pub(crate) async fn read(
    server: &Server,
    name: &str,
    read_offset: i64,
    read_limit: i64,
) -> Result<Vec<u8>, Code> {
    let request = ReadRequest { resource_name: name.to_owned(), read_offset, read_limit };
    let mut stream = bytestream(server).read(request).await.map_err(|status| status.code())?.into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await.map_err(|status| status.code())? {
        assert!(message.data.len() <= limits::STREAM_CHUNK);
        bytes.extend(message.data);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_behind_its_client_is_a_blob_store() {
    let server = Server::start().await;
    conformance::all(&server.store()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_say_what_is_there() {
    let server = Server::start().await;
    let answer =
        CapabilitiesClient::new(server.channel()).get_capabilities(GetCapabilitiesRequest::default()).await;
    let answer = answer.unwrap().into_inner();
    let cache = answer.cache_capabilities.unwrap();
    let mut functions = cache.digest_functions.clone();
    functions.sort_unstable();
    assert_eq!(functions, [1, 2, 5, 6, 9]);
    assert_eq!(cache.digest_functions[0], 1);
    assert!(cache.action_cache_update_capabilities.unwrap().update_enabled);
    assert!(cache.split_blob_support && cache.splice_blob_support);
    let cutting = cache.fast_cdc_2020_params.unwrap();
    assert_eq!((cutting.avg_chunk_size_bytes, cutting.seed), (524_288, 0));
    assert_eq!(cache.max_batch_total_size_bytes, limits::MAX_BATCH_BYTES.cast_signed());
    assert_eq!((cache.supported_compressors, cache.supported_batch_update_compressors), (vec![1], vec![1]));
    // Without the segment that uploads leave free.
    assert_eq!(cache.max_cas_blob_size_bytes, (20 << 30) - (256 << 20));
    assert_eq!(answer.low_api_version.unwrap().major, 2);
    assert!(answer.execution_capabilities.is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_named_is_the_one_of_the_hashs_length() {
    let server = Server::start().await;
    let data = noise(1, 100);
    for function in
        [DigestFunction::Sha256, DigestFunction::Sha1, DigestFunction::Sha384, DigestFunction::Sha512]
    {
        let digest = Some(wire(&function.digest(&data)));
        let requests = vec![Upload { digest: digest.clone(), data: data.clone(), compressor: 0 }];
        let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
        let answer = cas(&server).batch_update_blobs(request).await.unwrap().into_inner();
        assert_eq!(answer.responses[0].status.as_ref().unwrap().code, 0);
        let request = BatchReadBlobsRequest { digests: vec![digest.clone().unwrap()], ..Default::default() };
        let answer = cas(&server).batch_read_blobs(request).await.unwrap().into_inner();
        assert_eq!(answer.responses[0].data, data);
        assert_eq!(answer.responses[0].digest, digest);
    }
    // BLAKE3 has to be named.
    let blake3 = wire(&DigestFunction::Blake3.digest(&data));
    let requests = vec![Upload { digest: Some(blake3), data: data.clone(), compressor: 0 }];
    let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
    let answer = cas(&server).batch_update_blobs(request).await.unwrap().into_inner();
    assert_eq!(answer.responses[0].status.as_ref().unwrap().code, Code::InvalidArgument as i32);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_of_a_batch_has_a_status_of_its_own() {
    let server = Server::start().await;
    let data = noise(1, 100);
    let good = wire(&DigestFunction::Sha256.digest(&data));
    let requests = vec![
        Upload { digest: Some(good.clone()), data: data.clone(), compressor: 0 },
        Upload { digest: Some(good.clone()), data: noise(2, 100), compressor: 0 },
        Upload { digest: Some(good.clone()), data: data.clone(), compressor: 1 },
        Upload { digest: None, data: data.clone(), compressor: 0 },
        Upload {
            digest: Some(reapi::Digest { size_bytes: 99, ..good.clone() }),
            data: data.clone(),
            compressor: 0,
        },
        Upload { digest: Some(good.clone()), data: data.clone(), compressor: 0 },
    ];
    let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
    let answer = cas(&server).batch_update_blobs(request).await.unwrap().into_inner();
    let codes: Vec<i32> =
        answer.responses.iter().map(|response| response.status.as_ref().unwrap().code).collect();
    assert_eq!(codes, [0, 3, 3, 3, 3, 0]);
    let absent = wire(&DigestFunction::Sha256.digest(b"absent"));
    let malformed = reapi::Digest { hash: "..".into(), size_bytes: 1 };
    let request = BatchReadBlobsRequest { digests: vec![absent, malformed, good], ..Default::default() };
    let answer = cas(&server).batch_read_blobs(request).await.unwrap().into_inner();
    let codes: Vec<i32> =
        answer.responses.iter().map(|response| response.status.as_ref().unwrap().code).collect();
    assert_eq!(codes, [5, 3, 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_above_the_limit_and_malformed_questions_are_refused_as_a_whole() {
    let server = Server::start().await;
    let data = noise(1, limits::MAX_BATCH_BYTES as usize + 1);
    let digest = wire(&DigestFunction::Sha256.digest(&data));
    let requests = vec![Upload { digest: Some(digest.clone()), data: data.clone(), compressor: 0 }];
    let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
    assert_eq!(cas(&server).batch_update_blobs(request).await.unwrap_err().code(), Code::InvalidArgument);
    let request = BatchReadBlobsRequest { digests: vec![digest.clone()], ..Default::default() };
    assert_eq!(cas(&server).batch_read_blobs(request).await.unwrap_err().code(), Code::InvalidArgument);
    for wrong in [
        reapi::Digest { hash: "xyz".into(), size_bytes: 1 },
        reapi::Digest { size_bytes: -1, ..digest.clone() },
        reapi::Digest { size_bytes: 0, ..digest.clone() },
        reapi::Digest { hash: digest.hash.to_uppercase(), ..digest.clone() },
    ] {
        let request = FindMissingBlobsRequest { blob_digests: vec![wrong], ..Default::default() };
        assert_eq!(cas(&server).find_missing_blobs(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let request = FindMissingBlobsRequest { digest_function: 4, ..Default::default() };
    let refused = cas(&server).find_missing_blobs(request).await.unwrap_err();
    assert!(refused.message().contains("vso"), "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_follow_the_rules_of_bytestream() {
    let server = Server::start().await;
    let data = noise(1, 3_000_000);
    let digest = DigestFunction::Sha256.digest(&data);
    let name = upload_name(&digest);
    let (head, tail) = data.split_at(1_000_000);
    assert_eq!(write(&server, vec![]).await, Err(Code::InvalidArgument));
    assert_eq!(write(&server, vec![chunk("", 0, &data, true)]).await, Err(Code::InvalidArgument));
    assert_eq!(write(&server, vec![chunk(&name, 1, head, false)]).await, Err(Code::InvalidArgument));
    let gap = vec![chunk(&name, 0, head, false), chunk("", 1_000_001, tail, true)];
    assert_eq!(write(&server, gap).await, Err(Code::InvalidArgument));
    let unfinished = vec![chunk(&name, 0, head, false), chunk("", 1_000_000, tail, false)];
    assert_eq!(write(&server, unfinished).await, Err(Code::InvalidArgument));
    let short = vec![chunk(&name, 0, head, true)];
    assert_eq!(write(&server, short).await, Err(Code::InvalidArgument));
    let two_names = vec![chunk(&name, 0, head, false), chunk("other", 1_000_000, tail, true)];
    assert_eq!(write(&server, two_names).await, Err(Code::InvalidArgument));
    let long = vec![chunk(&name, 0, &data, false), chunk("", 3_000_000, b"x", true)];
    assert_eq!(write(&server, long).await, Err(Code::InvalidArgument));
    assert_eq!(read(&server, &format!("blobs/{}/3000000", digest.hex()), 0, 0).await, Err(Code::NotFound));

    let status = QueryWriteStatusRequest { resource_name: name.clone() };
    let before = bytestream(&server).query_write_status(status.clone()).await.unwrap().into_inner();
    assert_eq!((before.committed_size, before.complete), (0, false));
    let right = vec![
        chunk(&name, 0, head, false),
        chunk("", 1_000_000, b"", false),
        chunk(&name, 1_000_000, tail, true),
    ];
    assert_eq!(write(&server, right).await, Ok(3_000_000));
    let after = bytestream(&server).query_write_status(status).await.unwrap().into_inner();
    assert_eq!((after.committed_size, after.complete), (3_000_000, true));
    // It is there: the rest is not waited for.
    assert_eq!(write(&server, vec![chunk(&name, 0, head, false)]).await, Ok(3_000_000));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_follow_the_rules_of_bytestream() {
    let server = Server::start().await;
    let data = noise(1, 2_500_000);
    let digest = DigestFunction::Sha256.digest(&data);
    assert_eq!(write(&server, vec![chunk(&upload_name(&digest), 0, &data, true)]).await, Ok(2_500_000));
    let name = format!("some/instance/blobs/sha256/{}/2500000", digest.hex());
    assert!(read(&server, &name, 0, 0).await.unwrap() == data);
    assert!(read(&server, &name, 1_048_577, 1000).await.unwrap() == data[1_048_577..1_049_577]);
    assert!(read(&server, &name, 2_499_999, 1 << 40).await.unwrap() == data[2_499_999..]);
    assert_eq!(read(&server, &name, 2_500_000, 0).await, Ok(vec![]));
    assert_eq!(read(&server, &name, 2_500_001, 0).await, Err(Code::OutOfRange));
    assert_eq!(read(&server, &name, -1, 0).await, Err(Code::OutOfRange));
    assert_eq!(read(&server, &name, 0, -1).await, Err(Code::InvalidArgument));
    assert_eq!(read(&server, "blobs/abc/1", 0, 0).await, Err(Code::InvalidArgument));
    let other_size = format!("blobs/{}/2499999", digest.hex());
    assert_eq!(read(&server, &other_size, 0, 0).await, Err(Code::NotFound));
    let compressed = format!("compressed-blobs/brotli/{}/2500000", digest.hex());
    assert_eq!(read(&server, &compressed, 0, 0).await, Err(Code::InvalidArgument));
    let empty = format!("blobs/{}/0", DigestFunction::Sha256.digest(b"").hex());
    assert_eq!(read(&server, &empty, 0, 0).await, Ok(vec![]));
    server.stop().await;
}
