//! zstd over gRPC.

use crate::{
    grpc::{bytestream, cas, chunk, read, wire, write},
    support::Server,
};
use cas::{BlobStoreExt as _, testing::noise};
use cas_server::engine::Compression;
use proto::{Digest, DigestFunction, bytestream::QueryWriteStatusRequest, reapi};
use reapi::{BatchReadBlobsRequest, BatchUpdateBlobsRequest, batch_update_blobs_request::Request as Upload};
use tonic::Code;

/// Bytes that get smaller.
fn text(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, 1000).iter().copied().cycle().take(len).collect()
}

fn names(bytes: &[u8]) -> (Digest, String, String) {
    let digest = DigestFunction::Sha256.digest(bytes);
    let blob = format!("compressed-blobs/zstd/{}/{}", digest.hex(), digest.size());
    (digest, format!("some/instance/uploads/one/{blob}/metadata"), blob)
}

fn in_messages(name: &str, frame: &[u8], len: usize) -> Vec<proto::bytestream::WriteRequest> {
    let last = frame.len().div_ceil(len) - 1;
    let message = |(at, part): (usize, &[u8])| chunk(name, (at * len) as i64, part, at == last);
    frame.chunks(len).enumerate().map(message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_compressed_is_stored_and_counted_as_it_came() {
    for compress in [Compression::Off, Compression::Zstd] {
        uploads_by(compress).await;
    }
}

async fn uploads_by(compress: Compression) {
    let server = Server::start_with(|config| config.compress = compress).await;
    for len in [1, 100_000, 6_000_000] {
        let bytes = text(1, len);
        let (digest, upload, blob) = names(&bytes);
        let frame = zstd::bulk::compress(&bytes, 3).unwrap();
        assert_eq!(write(&server, in_messages(&upload, &frame, 1000)).await, Ok(frame.len() as i64));
        assert!(server.store().get(digest).await.unwrap() == bytes);
        // The answer before the end, which is not waited for.
        assert_eq!(write(&server, vec![chunk(&upload, 0, &frame[..5], false)]).await, Ok(-1));
        let status = QueryWriteStatusRequest { resource_name: upload };
        let status = bytestream(&server).query_write_status(status).await.unwrap().into_inner();
        assert_eq!((status.committed_size, status.complete), (len as i64, true));
        let compressed = read(&server, &blob, 0, 0).await.unwrap();
        assert!(len < 1000 || compressed.len() < len / 2);
        assert!(zstd::bulk::decompress(&compressed, len).unwrap() == bytes);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_read_begins_anywhere_with_a_frame_of_its_own() {
    for compress in [Compression::Off, Compression::Zstd] {
        reads_by(compress).await;
    }
}

async fn reads_by(compress: Compression) {
    let server = Server::start_with(|config| config.compress = compress).await;
    for len in [5000, 3_000_000] {
        let bytes = text(2, len);
        let (_, _, blob) = names(&bytes);
        server.store().put(DigestFunction::Sha256, bytes.clone().into()).await.unwrap();
        for offset in [0, 1, 4999, len / 2, len - 1, len] {
            let frame = read(&server, &blob, offset as i64, 0).await.unwrap();
            assert!(zstd::bulk::decompress(&frame, len).unwrap() == bytes[offset..], "from {offset}");
        }
        assert_eq!(read(&server, &blob, len as i64 + 1, 0).await, Err(Code::OutOfRange));
        assert_eq!(read(&server, &blob, -1, 0).await, Err(Code::OutOfRange));
        assert_eq!(read(&server, &blob, 0, 1).await, Err(Code::InvalidArgument));
    }
    let (_, upload, blob) = names(b"");
    let frame = read(&server, &blob, 0, 0).await.unwrap();
    assert!(!frame.is_empty() && zstd::bulk::decompress(&frame, 0).unwrap().is_empty());
    assert_eq!(write(&server, in_messages(&upload, &frame, 100)).await, Ok(-1));
    let (_, _, absent) = names(b"absent");
    assert_eq!(read(&server, &absent, 0, 0).await, Err(Code::NotFound));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_cut_frames_bombs_and_lies_are_invalid_and_leave_nothing() {
    let server = Server::start().await;
    for len in [10_000, 6_000_000] {
        let bytes = text(3, len);
        let (digest, upload, _) = names(&bytes);
        let frame = zstd::bulk::compress(&bytes, 3).unwrap();
        let other = zstd::bulk::compress(&text(4, len), 3).unwrap();
        let bomb = zstd::bulk::compress(&vec![0; 200 << 20], 1).unwrap();
        let trailing = [&frame[..], b"more"].concat();
        let garbage = noise(5, 3000);
        for wrong in [&frame[..frame.len() - 1], &other, &bomb, &trailing, &garbage, &bytes[..]] {
            let answer = write(&server, in_messages(&upload, wrong, 100_000)).await;
            assert_eq!(answer, Err(Code::InvalidArgument));
        }
        // Offsets count what was sent.
        let (head, tail) = frame.split_at(100);
        let gap = vec![chunk(&upload, 0, head, false), chunk("", 101, tail, true)];
        assert_eq!(write(&server, gap).await, Err(Code::InvalidArgument));
        assert_eq!(write(&server, vec![chunk(&upload, 1, &frame, true)]).await, Err(Code::InvalidArgument));
        let unfinished = vec![chunk(&upload, 0, &frame, false)];
        assert_eq!(write(&server, unfinished).await, Err(Code::InvalidArgument));
        let after = vec![chunk(&upload, 0, &frame, true), chunk("", frame.len() as i64, b"x", true)];
        assert_eq!(write(&server, after).await, Err(Code::InvalidArgument));
        let status = QueryWriteStatusRequest { resource_name: upload };
        let status = bytestream(&server).query_write_status(status).await.unwrap().into_inner();
        assert_eq!((status.committed_size, status.complete), (0, false));
        assert!(!server.store().contains(digest).await.unwrap());
    }
    server.assert_works().await;
    let dir = server.stop().await;
    assert_eq!(std::fs::read_dir(dir.path().join("data/uploads")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_a_batch_are_compressed_each_by_itself() {
    for compress in [Compression::Off, Compression::Zstd] {
        batches_by(compress).await;
    }
}

async fn batches_by(compress: Compression) {
    let server = Server::start_with(|config| config.compress = compress).await;
    let (one, two, three) = (text(6, 50_000), text(7, 50_000), noise(8, 50_000).to_vec());
    let upload = |bytes: &[u8], data: &[u8], compressor| Upload {
        digest: Some(wire(&DigestFunction::Sha256.digest(bytes))),
        data: data.to_vec().into(),
        compressor,
    };
    let squeeze = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let bomb = zstd::bulk::compress(&vec![0; 100 << 20], 1).unwrap();
    let mut lie = upload(&two, &squeeze(&two), 1);
    lie.digest.as_mut().unwrap().size_bytes = i64::MAX;
    let requests = vec![
        upload(&one, &squeeze(&one), 1),
        upload(&two, &squeeze(&one), 1),
        upload(&two, &bomb, 1),
        lie,
        upload(&two, &two, 0),
        upload(&two, &squeeze(&two), 2),
        upload(&three, &squeeze(&three), 1),
    ];
    let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
    let answer = cas(&server).batch_update_blobs(request).await.unwrap().into_inner();
    let codes: Vec<i32> = answer.responses.iter().map(|one| one.status.as_ref().unwrap().code).collect();
    assert_eq!(codes, [0, 3, 3, 3, 0, 3, 0]);
    let blobs = [&one, &two, &three];
    for zstd in [vec![], vec![0], vec![0, 1], vec![2, 1]] {
        let request = BatchReadBlobsRequest {
            digests: blobs.map(|bytes| wire(&DigestFunction::Sha256.digest(bytes))).to_vec(),
            acceptable_compressors: zstd.clone(),
            ..Default::default()
        };
        let answer = cas(&server).batch_read_blobs(request).await.unwrap().into_inner();
        for (at, (bytes, response)) in blobs.into_iter().zip(answer.responses).enumerate() {
            // The third does not get smaller.
            let expected = i32::from(zstd.contains(&1) && at < 2);
            assert_eq!(response.compressor, expected);
            let data = match expected {
                0 => response.data,
                _ => zstd::bulk::decompress(&response.data, bytes.len()).unwrap().into(),
            };
            assert!(data == *bytes);
        }
    }
    server.stop().await;
}
