//! Calls to the server under test, each with a deadline.

use super::{
    Server,
    blob::{Blob, message},
    expect::{Outcome, ok, same_bytes, that},
    server::{number, within},
};
use futures::{Stream, StreamExt as _, stream};
use proto::{
    bytestream::{
        QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, WriteRequest,
        byte_stream_client::ByteStreamClient,
    },
    reapi::{
        self, ServerCapabilities, action_cache_client::ActionCacheClient, batch_update_blobs_request,
        capabilities_client::CapabilitiesClient,
        content_addressable_storage_client::ContentAddressableStorageClient as CasClient,
    },
};
use std::time::Duration;
use tonic::{Status, transport::Channel};

/// Larger than what any client accepts, so that a rule can see what such a client would refuse.
const MAX_MESSAGE: usize = 256 << 20;

impl Server {
    pub(super) async fn get_capabilities(&self, instance: &str) -> Result<ServerCapabilities, Status> {
        let request = reapi::GetCapabilitiesRequest { instance_name: instance.to_owned() };
        let mut client = CapabilitiesClient::new(self.channel());
        within(self.deadline(), client.get_capabilities(request)).await.map(tonic::Response::into_inner)
    }

    pub(super) fn cas(&self) -> CasClient<Channel> {
        CasClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn action_cache(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn byte_stream(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Which of these it lacks. `function` 0 leaves the function out.
    pub(super) async fn missing(
        &self,
        function: i32,
        digests: Vec<reapi::Digest>,
    ) -> Result<Vec<reapi::Digest>, Status> {
        let request = reapi::FindMissingBlobsRequest {
            instance_name: self.instance().to_owned(),
            blob_digests: digests,
            digest_function: function,
        };
        let answer = within(self.deadline(), self.cas().find_missing_blobs(request)).await?;
        Ok(answer.into_inner().missing_blob_digests)
    }

    /// Whether it has a blob.
    pub(super) async fn has(&self, blob: &Blob) -> Outcome<bool> {
        let missing = self.missing(number(blob.function), vec![blob.digest.clone()]).await;
        Ok(ok("FindMissingBlobs", missing)?.is_empty())
    }

    /// Fails unless it has the blob, all of it.
    pub(super) async fn serves(&self, blob: &Blob) -> Outcome {
        let read = ok("reading the blob", self.read(&self.read_name(blob), 0, 0).await)?;
        same_bytes("the blob", &blob.data, &read)
    }

    /// Fails if the server has the blob.
    pub(super) async fn lacks(&self, blob: &Blob) -> Outcome {
        that(!self.has(blob).await?, "FindMissingBlobs lists the blob", "the blob is present")
    }

    pub(super) async fn update(
        &self,
        function: i32,
        requests: Vec<batch_update_blobs_request::Request>,
    ) -> Result<reapi::BatchUpdateBlobsResponse, Status> {
        let request = reapi::BatchUpdateBlobsRequest {
            instance_name: self.instance().to_owned(),
            requests,
            digest_function: function,
        };
        within(self.deadline(), self.cas().batch_update_blobs(request)).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn read_batch(
        &self,
        function: i32,
        digests: Vec<reapi::Digest>,
        compressors: Vec<i32>,
    ) -> Result<reapi::BatchReadBlobsResponse, Status> {
        let request = reapi::BatchReadBlobsRequest {
            instance_name: self.instance().to_owned(),
            digests,
            acceptable_compressors: compressors,
            digest_function: function,
        };
        within(self.deadline(), self.cas().batch_read_blobs(request)).await.map(tonic::Response::into_inner)
    }

    /// All bytes that a read gives.
    pub(super) async fn read(&self, name: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Status> {
        Ok(self.read_messages(name, offset, limit).await?.concat())
    }

    /// The messages of a read.
    pub(super) async fn read_messages(
        &self,
        name: &str,
        offset: i64,
        limit: i64,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let request = ReadRequest { resource_name: name.to_owned(), read_offset: offset, read_limit: limit };
        let mut client = self.byte_stream();
        within(self.deadline(), async {
            let mut answer = client.read(request).await?.into_inner();
            let mut messages = Vec::new();
            while let Some(message) = answer.message().await? {
                messages.push(message.data.to_vec());
            }
            Ok(messages)
        })
        .await
    }

    /// The committed size that an upload of these messages ends with.
    pub(super) async fn write(&self, messages: Vec<WriteRequest>) -> Result<i64, Status> {
        self.write_stream(stream::iter(messages)).await
    }

    /// The same for a client that could send more, and waits for the answer first.
    pub(super) async fn write_open(&self, messages: Vec<WriteRequest>) -> Result<i64, Status> {
        self.write_stream(stream::iter(messages).chain(stream::pending())).await
    }

    async fn write_stream(
        &self,
        messages: impl Stream<Item = WriteRequest> + Send + 'static,
    ) -> Result<i64, Status> {
        let mut client = self.byte_stream();
        let answer = within(self.deadline(), client.write(messages)).await?;
        Ok(answer.into_inner().committed_size)
    }

    /// Sends a part of an upload and hangs up, as a client does that dies.
    pub(super) async fn write_broken(&self, name: &str, offset: i64, data: &[u8]) {
        let part = message(name, offset, data, false);
        let mut client = self.byte_stream();
        let upload = client.write(stream::iter([part]).chain(stream::pending()));
        // There is nothing that says when the server has got it: what it has kept is asked for afterwards.
        let _ = tokio::time::timeout(Duration::from_secs(1), upload).await;
    }

    pub(super) async fn query(&self, name: &str) -> Result<QueryWriteStatusResponse, Status> {
        let request = QueryWriteStatusRequest { resource_name: name.to_owned() };
        let mut client = self.byte_stream();
        within(self.deadline(), client.query_write_status(request)).await.map(tonic::Response::into_inner)
    }
}
