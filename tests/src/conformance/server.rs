//! The server under test, what it says of itself, and blobs that it cannot have.

use super::{
    blob::{Blob, Source, carry, messages},
    expect::{Mismatch, Outcome, describe, ok, that},
    http::Http,
};
use proto::{
    DigestFunction,
    reapi::{
        self, CacheCapabilities, ServerCapabilities, batch_update_blobs_request,
        capabilities_client::CapabilitiesClient,
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

impl Server {
    /// Asks the server for its capabilities, which decide what it is tested for.
    pub async fn connect(target: Target, entropy: Arc<dyn Entropy>) -> anyhow::Result<Self> {
        let channel = runtime::connect::channel(&target.address, target.ca_cert.as_deref())?;
        let request = reapi::GetCapabilitiesRequest { instance_name: target.instance.clone() };
        let mut client = CapabilitiesClient::new(channel.clone());
        let capabilities = within(target.deadline, client.get_capabilities(request)).await;
        let capabilities =
            capabilities.map_err(|status| anyhow::anyhow!("GetCapabilities: {}", describe(&status)))?;
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

    /// A connection that comes up again when it was cut.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
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
