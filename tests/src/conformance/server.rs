//! The server under test: the generated clients, with a deadline on every call.

use super::{
    blob::{Blob, Source, carry, message, messages},
    expect::{Mismatch, Outcome, ok, that},
    http::Http,
};
use futures::stream;
use proto::{
    DigestFunction,
    bytestream::{
        QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, WriteRequest,
        byte_stream_client::ByteStreamClient,
    },
    reapi::{
        self, CacheCapabilities, ServerCapabilities, action_cache_client::ActionCacheClient,
        batch_update_blobs_request, capabilities_client::CapabilitiesClient,
        content_addressable_storage_client::ContentAddressableStorageClient as CasClient,
    },
};
use runtime::Entropy;
use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};
use tonic::{Status, transport::Channel};

/// Whom to test, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// `HOST:PORT`, or a URL of `http`, `https`, `grpc` or `grpcs`.
    pub address: String,
    /// Instance name for all calls that do not test instance names.
    pub instance: String,
    /// PEM file of the certificates to trust; for TLS.
    pub ca_cert: Option<PathBuf>,
    /// How long the server may take for one call.
    pub deadline: Duration,
}

/// A server, and what it said of itself.
#[derive(Debug)]
pub struct Server {
    target: Target,
    channel: Channel,
    capabilities: ServerCapabilities,
    function: DigestFunction,
    http: Option<Http>,
    source: Source,
}

/// Larger than what any client accepts, so that a rule can see what such a client would refuse.
const MAX_MESSAGE: usize = 256 << 20;

impl Server {
    /// Asks the server for its capabilities, which decide what it is tested for.
    pub async fn connect(target: Target, entropy: Arc<dyn Entropy>) -> anyhow::Result<Self> {
        let channel = runtime::connect::channel(&target.address, target.ca_cert.as_deref())?;
        let request = reapi::GetCapabilitiesRequest { instance_name: target.instance.clone() };
        let mut client = CapabilitiesClient::new(channel.clone());
        let capabilities = within(target.deadline, client.get_capabilities(request)).await;
        let capabilities = capabilities
            .map_err(|status| anyhow::anyhow!("GetCapabilities: {}", super::expect::describe(&status)))?;
        let capabilities = capabilities.into_inner();
        let listed = capabilities.cache_capabilities.as_ref().map(|cache| cache.digest_functions.as_slice());
        let known: Vec<_> = listed
            .unwrap_or_default()
            .iter()
            .filter_map(|number| DigestFunction::from_number(*number))
            .collect();
        let function =
            if known.contains(&DigestFunction::Sha256) { Some(DigestFunction::Sha256) } else { None };
        let function = function.or(known.first().copied()).ok_or_else(|| {
            anyhow::anyhow!("the server lists no digest function that this suite can compute")
        })?;
        let http = Http::probe(&target.address, target.deadline).await;
        Ok(Self { target, channel, capabilities, function, http, source: Source::new(entropy) })
    }

    /// What it said it is.
    pub(super) fn capabilities(&self) -> &ServerCapabilities {
        &self.capabilities
    }

    /// What it said of its cache.
    pub(super) fn cache(&self) -> CacheCapabilities {
        self.capabilities.cache_capabilities.clone().unwrap_or_default()
    }

    pub(super) fn has_function(&self, function: DigestFunction) -> bool {
        self.cache().digest_functions.contains(&i32::from(function.number()))
    }

    pub(super) fn takes_results(&self) -> bool {
        self.cache().action_cache_update_capabilities.is_some_and(|updates| updates.update_enabled)
    }

    /// What it takes in one batch; 0 when it does not say.
    pub(super) fn batch_limit(&self) -> usize {
        usize::try_from(self.cache().max_batch_total_size_bytes).unwrap_or_default()
    }

    /// The newest version that it knows of major version 2.
    pub(super) fn minor(&self) -> i32 {
        self.capabilities.high_api_version.as_ref().map_or(0, |version| version.minor)
    }

    pub(super) fn http(&self) -> Option<&Http> {
        self.http.as_ref()
    }

    /// How long it may take for one call.
    pub(super) fn deadline(&self) -> Duration {
        self.target.deadline
    }

    pub(super) fn address(&self) -> &str {
        &self.target.address
    }

    pub(super) fn instance(&self) -> &str {
        &self.target.instance
    }

    /// The function of all blobs that do not test functions.
    pub(super) fn function(&self) -> DigestFunction {
        self.function
    }

    // === Blobs and their names ===

    /// A blob that the server cannot have.
    pub(super) fn fresh(&self, length: usize) -> Blob {
        self.fresh_by(self.function, length)
    }

    pub(super) fn fresh_by(&self, function: DigestFunction, length: usize) -> Blob {
        Blob::new(function, self.source.bytes(length))
    }

    /// A new blob that the server has taken.
    pub(super) async fn stored(&self, length: usize) -> Outcome<Blob> {
        let blob = self.fresh(length);
        self.store(&blob).await?;
        Ok(blob)
    }

    pub(super) async fn store(&self, blob: &Blob) -> Outcome {
        let upload = messages(&self.write_name(blob), &blob.data, 1 << 20);
        let committed = ok("uploading a blob", self.write(upload).await)?;
        let expected = blob.digest.size_bytes;
        that(committed == expected, format!("committed_size {expected}"), committed.to_string())
    }

    pub(super) fn uuid(&self) -> String {
        self.source.uuid()
    }

    pub(super) fn read_name(&self, blob: &Blob) -> String {
        self.name("blobs", blob.function, &blob.digest)
    }

    /// With a UUID that was never used.
    pub(super) fn write_name(&self, blob: &Blob) -> String {
        self.name(&format!("uploads/{}/blobs", self.uuid()), blob.function, &blob.digest)
    }

    pub(super) fn zstd_read_name(&self, blob: &Blob) -> String {
        self.name("compressed-blobs/zstd", blob.function, &blob.digest)
    }

    pub(super) fn zstd_write_name(&self, blob: &Blob) -> String {
        let kind = format!("uploads/{}/compressed-blobs/zstd", self.uuid());
        self.name(&kind, blob.function, &blob.digest)
    }

    /// `[INSTANCE/]KIND/[FUNCTION/]HASH/SIZE`
    pub(super) fn name(&self, kind: &str, function: DigestFunction, digest: &reapi::Digest) -> String {
        let instance =
            if self.instance().is_empty() { String::new() } else { format!("{}/", self.instance()) };
        let function = if function == DigestFunction::Blake3 { "blake3/" } else { "" };
        format!("{instance}{kind}/{function}{}/{}", digest.hash, digest.size_bytes)
    }

    // === Calls ===

    pub(super) async fn get_capabilities(&self, instance: &str) -> Result<ServerCapabilities, Status> {
        let request = reapi::GetCapabilitiesRequest { instance_name: instance.to_owned() };
        let mut client = CapabilitiesClient::new(self.channel.clone());
        within(self.deadline(), client.get_capabilities(request)).await.map(tonic::Response::into_inner)
    }

    pub(super) fn cas(&self) -> CasClient<Channel> {
        CasClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn action_cache(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn byte_stream(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel.clone())
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
        super::expect::same_bytes("the blob", &blob.data, &read)
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
        use futures::StreamExt as _;
        self.write_stream(stream::iter(messages).chain(stream::pending())).await
    }

    async fn write_stream(
        &self,
        messages: impl futures::Stream<Item = WriteRequest> + Send + 'static,
    ) -> Result<i64, Status> {
        let mut client = self.byte_stream();
        let answer = within(self.deadline(), client.write(messages)).await?;
        Ok(answer.into_inner().committed_size)
    }

    /// Sends a part of an upload and hangs up, as a client does that dies.
    pub(super) async fn write_broken(&self, name: &str, offset: i64, data: &[u8]) {
        let part = message(name, offset, data, false);
        let mut client = self.byte_stream();
        use futures::StreamExt as _;
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

/// The answer, or a status that says that there was none in time.
pub(super) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("no answer within {deadline:?}"));
    tokio::time::timeout(deadline, call).await.map_err(late)?
}

/// A function as the wire has it.
pub(super) fn number(function: DigestFunction) -> i32 {
    i32::from(function.number())
}

/// A blob in a batch.
pub(super) fn entry(blob: &Blob) -> batch_update_blobs_request::Request {
    batch_update_blobs_request::Request {
        digest: Some(blob.digest.clone()),
        data: carry(&blob.data),
        compressor: 0,
    }
}

/// Fails with these words.
pub(super) fn failed(expected: &str, seen: impl Into<String>) -> Mismatch {
    Mismatch { expected: expected.to_owned(), seen: seen.into() }
}
