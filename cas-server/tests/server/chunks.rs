//! `SplitBlob` and `SpliceBlob`.

use crate::{
    grpc::{cas, wire},
    support::Server,
};
use cas::{BlobStore as _, BlobStoreExt as _, testing::noise};
use proto::{Digest, DigestFunction, reapi};
use reapi::{SpliceBlobRequest, SplitBlobRequest};
use tonic::Code;

async fn split(server: &Server, blob: &Digest) -> Result<Vec<reapi::Digest>, Code> {
    let request = SplitBlobRequest {
        blob_digest: Some(wire(blob)),
        digest_function: i32::from(blob.function().number()),
        ..Default::default()
    };
    let answer = cas(server).split_blob(request).await.map_err(|status| status.code())?.into_inner();
    assert_eq!(answer.chunking_function, 1);
    Ok(answer.chunk_digests)
}

async fn splice(server: &Server, blob: &Digest, chunk_digests: Vec<reapi::Digest>) -> Result<(), Code> {
    let request = SpliceBlobRequest {
        blob_digest: Some(wire(blob)),
        chunk_digests,
        digest_function: i32::from(blob.function().number()),
        ..Default::default()
    };
    let answer = cas(server).splice_blob(request).await.map_err(|status| status.code())?.into_inner();
    assert_eq!(answer.blob_digest, Some(wire(blob)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chunks_of_a_blob_are_blobs_and_make_it_again_elsewhere() {
    let (here, there) = (Server::start().await, Server::start().await);
    for function in [DigestFunction::Blake3, DigestFunction::Sha256] {
        let bytes = noise(1, 12_345_678);
        let blob = here.store().put(function, bytes.clone()).await.unwrap();
        let chunks = split(&here, &blob).await.unwrap();
        assert!(chunks.len() > 10);
        assert_eq!(split(&here, &blob).await.unwrap(), chunks);
        assert!(chunks.iter().rev().skip(1).all(|chunk| (131_072..=2_097_152).contains(&chunk.size_bytes)));
        let mut whole = Vec::new();
        for chunk in &chunks {
            let size = u64::try_from(chunk.size_bytes).unwrap();
            let chunk = Digest::from_hex(function, &chunk.hash, size).unwrap();
            let bytes = here.store().get(chunk).await.unwrap();
            whole.extend_from_slice(&bytes);
            there.store().put(function, bytes).await.unwrap();
        }
        assert!(whole == bytes);
        assert!(!there.store().contains(blob).await.unwrap());
        splice(&there, &blob, chunks.clone()).await.unwrap();
        splice(&there, &blob, chunks).await.unwrap();
        assert!(there.store().get(blob).await.unwrap() == bytes);
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_below_two_mib_are_their_own_chunk() {
    let server = Server::start().await;
    for len in [0, 1, 2_097_151] {
        let blob = server.store().put(DigestFunction::Sha256, noise(1, len)).await.unwrap();
        assert_eq!(split(&server, &blob).await.unwrap(), [wire(&blob)]);
    }
    for absent in [b"absent".to_vec(), noise(1, 3_000_000).to_vec()] {
        assert_eq!(split(&server, &DigestFunction::Sha256.digest(&absent)).await, Err(Code::NotFound));
    }
    let refused = cas(&server).split_blob(SplitBlobRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_do_not_make_the_blob_leave_nothing() {
    let server = Server::start().await;
    let (head, tail) = (noise(1, 700_000), noise(2, 700_000));
    let blob = DigestFunction::Sha256.digest(&[&head[..], &tail[..]].concat());
    let head = server.store().put(DigestFunction::Sha256, head).await.unwrap();
    let tail_digest = DigestFunction::Sha256.digest(&tail);
    assert_eq!(splice(&server, &blob, vec![wire(&head), wire(&tail_digest)]).await, Err(Code::NotFound));
    server.store().put(DigestFunction::Sha256, tail).await.unwrap();
    let swapped = vec![wire(&tail_digest), wire(&head)];
    assert_eq!(splice(&server, &blob, swapped).await, Err(Code::InvalidArgument));
    assert_eq!(splice(&server, &blob, vec![wire(&head)]).await, Err(Code::InvalidArgument));
    assert_eq!(splice(&server, &blob, vec![]).await, Err(Code::InvalidArgument));
    assert_eq!(server.store().find_missing(&[blob]).await.unwrap(), [blob]);
    splice(&server, &blob, vec![wire(&head), wire(&tail_digest)]).await.unwrap();
    splice(&server, &Digest::empty(DigestFunction::Sha256), vec![]).await.unwrap();
    let nameless = SpliceBlobRequest { chunk_digests: vec![wire(&head)], ..Default::default() };
    assert_eq!(cas(&server).splice_blob(nameless).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(server.store().get(blob).await.unwrap().len() == 1_400_000);
    server.stop().await;
}
