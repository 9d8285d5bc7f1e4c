//! How large messages go, as a client of the public protocols sends them.

#![expect(clippy::unwrap_used, reason = "tests may unwrap, also in their helpers")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use prost::Message as _;
use proto::reapi::{
    BatchUpdateBlobsRequest, batch_update_blobs_request::Request as Blob,
    content_addressable_storage_client::ContentAddressableStorageClient,
};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tonic::body::Body;

/// What a client sends of this message, one piece for each time that it had something.
async fn sent(message: BatchUpdateBlobsRequest) -> Vec<Bytes> {
    let pieces = Arc::<Mutex<Vec<Bytes>>>::default();
    let kept = Arc::clone(&pieces);
    let server = tower::service_fn(move |request: Request<Body>| {
        let kept = Arc::clone(&kept);
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                kept.lock().unwrap().extend(frame.unwrap().into_data());
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let mut client = ContentAddressableStorageClient::new(server);
    client.batch_update_blobs(message).await.unwrap_err();
    std::mem::take(&mut *pieces.lock().unwrap())
}

#[tokio::test]
async fn a_batch_is_written_in_one_piece_into_room_of_its_size() {
    let blob = |_| Blob { data: vec![7; 11_000].into(), ..Blob::default() };
    let requests = (0..100).map(blob).collect();
    let message = BatchUpdateBlobsRequest { requests, ..BatchUpdateBlobsRequest::default() };
    let len = message.encoded_len();
    let [piece] = <[Bytes; 1]>::try_from(sent(message.clone()).await).unwrap();
    // Behind a byte that says that it is not compressed, and four of its length.
    assert_eq!(BatchUpdateBlobsRequest::decode(&piece[5..]).unwrap(), message);
    let room = piece.try_into_mut().unwrap().capacity();
    assert!(room < len + len / 10, "{room} bytes for {len}");
}
